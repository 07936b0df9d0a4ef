"""The diagnosis: from sign to sign, each with a treatment that was tried, until a moment's training helps."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from gradlab.flow.doctor.patient import Patient, Trial
from gradlab.flow.doctor.signs import IMBALANCED, KINDS, LOOKS, SOLVED, Sign
from gradlab.flow.doctor.treatments import Treatment, as_flags, as_override, as_python, treated
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.optimizers import Optimizer
from gradlab.training.loop import Step

MOMENT = 400  # steps of a trial
MOST = 6  # findings


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    text : str
        What is seen, with the numbers that show it.
    advice : str
        What to change.
    override : str
        The same as keys of a configuration, ``key=value``, with spaces between several; empty if none can mend it.
    python : str
        The same as arguments in Python, and as those of `MLPClassifier`.
    tried : str
        What a moment's training brings with it, and with what was prescribed before it.
    evidence : dict of float
    """

    kind: str
    text: str
    advice: str
    override: str = ""
    python: str = ""
    tried: str = ""
    evidence: dict[str, float] = field(default_factory=dict)

    def flags(self, variant: str = "") -> str:
        """Write the override as options of the command line, for one variant if it is named."""
        return as_flags(self.override, variant)

    def lines(self, prescription: str) -> str:
        """Return the finding as text, with the prescription as it is written there."""
        tried = f" ({self.tried})" if self.tried else ""
        head = f"{KINDS[self.kind]}: {self.text}\n  {self.advice}{tried}"
        return head + (f"\n{textwrap.indent(prescription, '  ')}" if prescription else "")

    def __str__(self) -> str:
        return self.lines(self.python)


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found, in the order in which it is to be mended.

    Attributes
    ----------
    findings : tuple of Finding
    """

    findings: tuple[Finding, ...]

    @property
    def kind(self) -> str:
        """The first finding's kind; "healthy" if there is none."""
        return self.findings[0].kind if self.findings else "healthy"

    def as_text(self, variant: str | None = None) -> str:
        """Return the findings as text: with options of the command line if a variant is given, else as Python."""
        parts = [f.lines(f.python if variant is None else f.flags(variant)) for f in self.findings]
        return "\n".join(parts) or "nothing wrong: the gradient arrives, and a moment's training helps"

    def __str__(self) -> str:
        return self.as_text()


def diagnose(
    network: Network | Step,
    x: Any = None,
    y: Any = None,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    weights: Any = None,
    batch_size: int | None = None,
    moment: int = MOMENT,
    seed: int = 0,
) -> Diagnosis:
    """Find out why a network does not learn, or that it does.

    Nothing given is changed: copies are trained. Each finding comes with a change that was tried; the next finding is
    what is still wrong after it.

    Parameters
    ----------
    network : Network or Step
        One, not replicas, with its first weights or trained; or a step of `train`, which brings the rest along.
    x : ndarray (n, d)
    y : ndarray (n,) or (n, k)
        Targets, as `train` takes them, or the names of the classes, as the classifier does.
    loss : Loss, optional
        Cross-entropy, of sigmoids for one output and of softmax for several, unless given.
    optimizer : Optimizer, optional
        SGD at 0.1, unless given.
    weights : ndarray (n,), optional
        Of the samples.
    batch_size : int, optional
        32, unless given.
    moment : int
        Steps of each trial, at least 1.
    seed : int
        Of the orders of the batches.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        For replicas, a network without weights or with a layer that cannot be looked into, or data that do not fit; it
        names them.

    Examples
    --------
    >>> import numpy as np
    >>> from gradlab.nn import Network, mlp
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 2))
    >>> diagnose(Network(mlp([2, *[16] * 8, 1], "sigmoid")), x, x[:, 0] * x[:, 1] > 0.0).kind
    'vanishing'
    """
    patient = Patient.admit(network, x, y, loss, optimizer, weights, batch_size, moment, seed)
    findings: list[Finding] = []
    while len(findings) < MOST:
        found = _next_finding(patient, {finding.kind for finding in findings})
        if found is None:
            break
        finding, patient, is_final = found
        findings.append(finding)
        if is_final:
            break
    return Diagnosis(tuple(findings))


def _next_finding(patient: Patient, known: set[str]) -> tuple[Finding, Patient, bool] | None:
    """Return the first sign with its treatment, the patient after it, and whether nothing more can be asked.

    That is the first that is certain, or whose treatment helps. One that is neither comes after those behind it whose
    treatments help, and before all others.
    """
    first: tuple[Finding, Patient, bool] | None = None
    for look in LOOKS:
        for sign in look(patient):
            if sign.kind in known:  # its treatment has not removed it; nothing new is learned from it
                continue
            if first is not None and sign.is_last:
                break
            advice, treatment, after = _prescribe(patient, sign)
            if not sign.is_certain and _is_harmless(patient, after):
                continue
            found = _found(patient, sign, advice, treatment, after)
            if (sign.is_certain and first is None) or (after is not None and after.trial.is_better_than(patient.trial)):
                return found
            first = first or found
    return first


def _found(
    patient: Patient, sign: Sign, advice: str, treatment: Treatment, after: Patient | None
) -> tuple[Finding, Patient, bool]:
    """Write a sign and what was tried against it as a finding."""
    if after is None:
        return Finding(sign.kind, sign.text, advice, evidence=sign.evidence), patient, True
    tried = f"tried here: {_compared(patient, patient.trial, after.trial)}"
    override, python = as_override(treatment), as_python(after, treatment)
    return Finding(sign.kind, sign.text, advice, override, python, tried, sign.evidence), after, sign.is_final


def _prescribe(patient: Patient, sign: Sign) -> tuple[str, Treatment, Patient | None]:
    """Choose the first treatment that serves well, or else the one that serves best."""
    best: tuple[str, Treatment, Patient | None] | None = None
    for advice, treatment in sign.treatments:
        after = treated(patient, treatment) if treatment else None
        if after is None:
            continue
        if best is None or best[2] is None or after.trial.left < best[2].trial.left:
            best = advice, treatment, after
        if after.trial.left < 0.5 and after.trial.is_better_than(patient.trial):
            break
    if best is not None:
        return best
    return sign.treatments[0][0] if sign.treatments else "", {}, None


def _is_harmless(patient: Patient, after: Patient | None) -> bool:
    """Tell whether a sign is none: all is learned as it is, or much, and the treatment gains nothing."""
    now = patient.trial
    well = now.left < 0.5 and now.accuracy > patient.reference.accuracy - 0.05
    return well and (now.left < SOLVED or after is None or not after.trial.is_better_than(now))


def _compared(patient: Patient, before: Trial, after: Trial) -> str:
    """Say what a treatment brings."""
    what = "accuracy" if patient.majority < IMBALANCED else "accuracy averaged over the classes"
    return f"{what} {before.accuracy:.2f} → {after.accuracy:.2f}"
