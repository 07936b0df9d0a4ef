"""The doctor: it trains a copy for a moment, looks at the probes, and says what is wrong, and what to change.

It asks the questions in the order in which one answer makes the next ones meaningless: are there labels to learn, are
the inputs of a size, does the loss belong to the output, do the units differ, do the slopes live, does the gradient
reach the first layer; and only then, by trials, whether the learning rate suits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from gradlab.flow.probes import FlowRecorder
from gradlab.nn import Activation, Identity, LeakyReLU, ReLU, Sigmoid, Softsign, Tanh
from gradlab.nn.checks import check_int
from gradlab.nn.layers import Dense
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError
from gradlab.nn.network import Network
from gradlab.nn.optimizers import SGD, Optimizer
from gradlab.nn.remedies import BatchNorm, Dropout, Residual
from gradlab.nn.wiring import walk
from gradlab.training.divergence import DivergenceError
from gradlab.training.loop import train

# Beyond these a number is an alarm. They stand far outside of what healthy networks show: see the bank of faults.
LARGE_INPUT, SMALL_INPUT = 5.0, 0.05  # typical size of a feature: its root mean square
SATURATED, DEAD, NEARLY_ALL = 0.5, 0.5, 0.95  # share of a layer
VANISHING, EXPLODING = 1e-2, 1e2  # delta at the first hidden layer / delta at the last
LARGE_SIGNAL = 30.0  # standard deviation of a pre-activation
NEIGHBOURS, MOST_SAMPLES = 5, 600  # of the look at the labels
MOMENT = 400  # steps of a trial
FACTORS = (1e-1, 1e-2, 1e-3, 1e1, 1e2, 1e3)  # learning rates that are tried, over the one that was given
STUCK, LITTLE, MUCH, SOLVED = 0.97, 0.9, 0.7, 0.2  # loss after / loss before: from nothing learned to all

WORDS = {
    "no_signal": "labels without signal",
    "unscaled": "unscaled inputs",
    "wrong_loss": "wrong loss for the output",
    "symmetric": "symmetric initialisation",
    "dead": "dead units",
    "saturated": "saturated units",
    "exploding": "exploding gradient",
    "vanishing": "vanishing gradient",
    "rate_too_high": "learning rate too high",
    "rate_too_low": "learning rate too low",
    "unexplained": "nothing is learned",
    "healthy": "nothing wrong",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        A key of `WORDS`.
    text : str
        What is seen, with the numbers that show it.
    advice : str
        What to change.
    override : str
        The same as keys of a configuration, ``key=value``, with spaces between several; empty if none can mend it.
    evidence : dict of float
    """

    kind: str
    text: str
    advice: str
    override: str = ""
    evidence: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{WORDS[self.kind]}: {self.text}", f"  {self.advice}"]
        settings = " ".join(f"--set {assignment}" for assignment in self.override.split())
        return "\n".join([*lines, f"  {settings}"] if settings else lines)


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found, most important first.

    Attributes
    ----------
    findings : tuple of Finding
    """

    findings: tuple[Finding, ...]

    @property
    def kind(self) -> str:
        """The first finding's kind; "healthy" if there is none."""
        return self.findings[0].kind if self.findings else "healthy"

    def __str__(self) -> str:
        return (
            "\n".join(map(str, self.findings)) or "nothing wrong: the gradient arrives, and a moment's training helps"
        )


def diagnose(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    batch_size: int = 32,
    moment: int = MOMENT,
    seed: int = 0,
) -> Diagnosis:
    """Find out why a network does not learn, or that it does.

    Nothing given is changed: copies are trained.

    Parameters
    ----------
    network : Network
        One, not replicas, with its first weights.
    x : ndarray (n, d)
    y : ndarray (n,) or (n, k)
        Targets, as `train` takes them.
    loss : Loss, optional
        Cross-entropy, of sigmoids for one output and of softmax for several, unless given.
    optimizer : Optimizer, optional
        SGD at 0.1, unless given. It has not taken a step yet.
    batch_size : int
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
        For replicas, a network without weights, or data that do not fit; it names them.
    """
    case = _Case(network, x, y, loss, optimizer, batch_size, moment, seed)
    for look in LOOKS:
        case.found.extend(look(case))
    return Diagnosis(tuple(case.found))


class _Case:
    """A patient: what was given, checked, and what was seen in the first step."""

    def __init__(
        self,
        network: Network,
        x: np.ndarray,
        y: np.ndarray,
        loss: Loss | None,
        optimizer: Optimizer | None,
        batch_size: int,
        moment: int,
        seed: int,
    ):
        for name, kind, given in (
            ("network", Network, network),
            ("loss", Loss, loss),
            ("optimizer", Optimizer, optimizer),
        ):
            if given is not None and not isinstance(given, kind):
                raise ValueError(f"{name}: {given!r} is not a {kind.__name__}")
        if network.replicas:
            raise ValueError(f"network: {network!r} is of replicas; diagnose network.replica(r)")
        for layer in walk(network.layers):
            if not isinstance(layer, Dense | Activation | BatchNorm | Dropout | Residual):
                known = "Dense, activations, BatchNorm, Dropout, Residual"
                raise ValueError(f"network: {layer!r} is not among the layers that can be looked into: {known}")
        self.hidden = [layer for layer in walk(network.layers) if isinstance(layer, Dense)][:-1]
        self.network, self.seed = network, check_int("seed", seed, 0)
        self.x, y = np.asarray(x, network.dtype), np.asarray(y, network.dtype)
        if self.x.ndim != 2 or not len(self.x) or not np.isfinite(self.x).all():
            raise ValueError(f"x: an array of shape {self.x.shape} is not (samples, features) of finite numbers")
        self.y = y[:, np.newaxis] if y.ndim == 1 else y
        if self.y.ndim != 2 or len(self.y) != len(self.x) or not np.isfinite(self.y).all():
            raise ValueError(
                f"y: an array of shape {y.shape} does not hold a finite target for each of {len(self.x)} samples"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            k = network.forward(self.x[:1])[-1].shape[-1]
        if self.y.shape[1] != k:
            raise ValueError(f"y: {self.y.shape[1]} targets a sample for a network with {k} output(s)")
        self.loss = loss or (BinaryCrossEntropy() if k == 1 else SoftmaxCrossEntropy())
        self.optimizer = SGD(0.1) if optimizer is None else optimizer
        self.batch_size = min(check_int("batch_size", batch_size), len(self.x))
        self.epochs = max(1, round(check_int("moment", moment) * self.batch_size / len(self.x)))
        self.labels = self.y.argmax(axis=1) if k > 1 else self.y[:, 0] > (self.y.min() + self.y.max()) / 2.0
        self.bends = any(isinstance(layer, Activation) for layer in walk(network.layers))
        self.bounded = any(isinstance(layer, Sigmoid | Tanh | Softsign) for layer in walk(network.layers))
        self.targets_fit = self.loss.target_range[0] <= self.y.min() and self.y.max() <= self.loss.target_range[1]
        self.found: list[Finding] = []  # by the looks so far
        self._first: dict[str, np.ndarray] | None = None
        self._trials: dict[float, float] = {}

    @property
    def first(self) -> dict[str, np.ndarray]:
        """What the probes say of the first step, on all samples: (layers,) each."""
        if self._first is None:
            what = ["delta_rms"]
            if self.bends:
                what += ["saturated_share", "dead_share", "preactivation_std"]
            recorder = FlowRecorder(what=what, x=self.x)
            twin = copy.deepcopy(self.network)
            still = SGD(1e-300)  # a step so short that it changes nothing
            try:
                for step in train(twin, self.loss, still, self.x, self.y, epochs=1, batch_size=len(self.x)):
                    recorder(step)
                self._first = {name: v[0, :, 0] for name, v in recorder.table().items() if v.ndim == 3}
            except DivergenceError:
                self._first = {}
        return self._first

    def has(self, *kinds: str) -> bool:
        """Tell whether one of these kinds has been found."""
        return any(finding.kind in kinds for finding in self.found)

    def after(self, factor: float) -> float:
        """Return loss after a moment's training / loss before, at so many times the learning rate; inf if it diverged.

        The loss after is the mean over the last tenth of the epochs' ends: what jumps about is not learned.
        """
        if factor not in self._trials:
            twin, optimizer = copy.deepcopy(self.network), copy.deepcopy(self.optimizer)
            optimizer.learning_rate *= factor
            before = float(self._loss_of(twin))
            ends = []
            try:
                for step in train(
                    twin, self.loss, optimizer, self.x, self.y, epochs=self.epochs, batch_size=self.batch_size,
                    seed=self.seed,
                ):  # fmt: skip
                    if step.ends_epoch and step.epoch >= 0.9 * self.epochs - 1:
                        ends.append(float(self._loss_of(twin)))
                ratio = float(np.mean(ends)) / before if before > 0.0 else 1.0
            except DivergenceError:
                ratio = np.inf
            self._trials[factor] = ratio if np.isfinite(ratio) else np.inf
        return self._trials[factor]

    def _loss_of(self, network: Network) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.loss.value(network.decision_function(self.x), self.y)


Look = Callable[[_Case], Iterator[Finding]]


def _labels(case: _Case) -> Iterator[Finding]:
    """Ask whether near neighbours share their class more often than chance would have it."""
    x, labels = _standardised(case.x), case.labels
    if len(x) > MOST_SAMPLES:
        rows = np.random.default_rng(0).permutation(len(x))[:MOST_SAMPLES]
        x, labels = x[rows], labels[rows]
    n, classes = len(x), np.unique(labels)
    if len(classes) < 2:
        yield Finding(
            "no_signal", "all samples have the same label", "Look at how inputs and labels were put together."
        )
        return
    if n < 10 * NEIGHBOURS:
        return
    distances = (x**2).sum(axis=1, keepdims=True) - 2.0 * x @ x.T + (x**2).sum(axis=1)
    np.fill_diagonal(distances, np.inf)
    near = labels[np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
    agree = float(np.mean(near == labels[:, np.newaxis]))
    chance = float(sum(np.mean(labels == c) ** 2 for c in classes))
    limit = chance + 3.0 * np.sqrt(chance * (1.0 - chance) / n)
    if agree < limit and _share_right_of_a_line(x, labels) < limit:
        yield Finding(
            "no_signal",
            f"among its {NEIGHBOURS} nearest neighbours a sample finds {agree:.1%} of its own class, and by chance it "
            f"would be {chance:.1%}",
            "Look at how inputs and labels were put together. Were rows shuffled? Do features tell the class?",
            evidence={"agreement": agree, "chance": chance},
        )


def _inputs(case: _Case) -> Iterator[Finding]:
    if isinstance(case.network.layers[0], BatchNorm):
        return
    varies = np.ptp(case.x, axis=0) > 0.0
    if not varies.any():
        return
    spread, offset = case.x[:, varies].std(axis=0), abs(case.x[:, varies].mean(axis=0))
    largest, least = float(np.hypot(spread, offset).max()), float(spread.min())
    if largest > LARGE_INPUT or spread.max() < SMALL_INPUT or (offset > LARGE_INPUT * spread).any():
        yield Finding(
            "unscaled",
            f"the features spread by {least:.3g} to {spread.max():.3g} around means of up to {offset.max():.3g}; "
            "weights are drawn for inputs that spread by about 1 around 0",
            "Standardise each column: subtract its mean, divide by its standard deviation.",
            "data.standardize=true",
            {"largest": largest, "least": least},
        )


def _output(case: _Case) -> Iterator[Finding]:
    last = case.network.layers[-1]
    low, high = case.y.min(), case.y.max()
    two_values = len(np.unique(case.y)) <= 2
    proper = "binary_cross_entropy" if case.y.shape[1] == 1 else "softmax_cross_entropy"
    if not case.targets_fit:
        yield Finding(
            "wrong_loss",
            f"targets go from {low:.3g} to {high:.3g}, and {case.loss!r} takes "
            f"{case.loss.target_range[0]:g} to {case.loss.target_range[1]:g}",
            "Write the two classes as 0 and 1.",
            evidence={"least": float(low), "largest": float(high)},
        )
    elif isinstance(case.loss, SoftmaxCrossEntropy) and case.y.shape[1] == 1:
        yield Finding(
            "wrong_loss",
            f"{case.loss!r} with one output: softmax of a single logit is 1, whatever the logit",
            "Use the binary cross-entropy, or an output for each class.",
            "training.loss=binary_cross_entropy",
        )
    elif isinstance(last, Activation) and not isinstance(last, Identity):
        yield Finding(
            "wrong_loss",
            f"the last layer is {last!r}, and {case.loss!r} bends its output once more",
            "Let the network end with the Dense that gives the logits.",
        )
    elif isinstance(case.loss, SquaredError) and two_values:
        yield Finding(
            "wrong_loss",
            f"{case.loss!r} with targets {low:g} and {high:g}: a wrong output that is sure has next to no slope",
            "Use cross-entropy, whose slope there is 1.",
            f"training.loss={proper}",
        )


def _symmetry(case: _Case) -> Iterator[Finding]:
    for i, dense in enumerate(case.hidden):
        joint = np.concatenate([dense.W, dense.b])
        if dense.n_out > 1 and np.ptp(joint, axis=1).max() <= 1e-12 * max(1.0, float(abs(joint).max())):
            rectified = any(isinstance(layer, ReLU | LeakyReLU) for layer in walk(case.network.layers))
            init = "he_normal" if rectified else "glorot_uniform"
            yield Finding(
                "symmetric",
                f"all {dense.n_out} units of hidden layer {i + 1} have the same weights, so they stay one unit",
                "Draw the first weights at random.",
                f"network.weight_init={init}",
                {"layer": float(i + 1)},
            )
            return


def _slopes(case: _Case) -> Iterator[Finding]:
    if not case.targets_fit or "dead_share" not in case.first or case.has("symmetric"):
        return
    dead, saturated = case.first["dead_share"], case.first["saturated_share"]
    i = int(np.argmax(dead))
    biased = max(float(abs(dense.b).max()) for dense in case.hidden) > 1.0
    if not case.bounded and dead[i] <= DEAD and saturated.max() > NEARLY_ALL:  # a slope, but next to none
        i, dead = int(np.argmax(saturated)), saturated
    if not case.bounded and dead[i] > DEAD:
        yield Finding(
            "dead",
            f"{dead[i]:.0%} of the units of hidden layer {i + 1} have no slope to speak of on the samples",
            "Start with biases of 0 and He's weights, or with an activation that has a slope on both sides.",
            "network.bias_init=zeros" if biased else "network.activation=leaky_relu network.weight_init=he_normal",
            {"layer": float(i + 1), "share": float(dead[i])},
        )
        return
    i = int(np.argmax(saturated))
    if case.bounded and saturated[i] > SATURATED:
        yield Finding(
            "saturated",
            f"{saturated[i]:.0%} of hidden layer {i + 1} is where the slope is below a twentieth of its largest; "
            f"pre-activations spread by {case.first['preactivation_std'][i]:.3g}",
            "Start with biases of 0." if biased else "Draw smaller first weights.",
            "network.bias_init=zeros" if biased else "network.gain=1",
            {"layer": float(i + 1), "share": float(saturated[i])},
        )


def _flow(case: _Case) -> Iterator[Finding]:
    if not case.targets_fit:
        return
    if not case.first:
        yield Finding(
            "exploding",
            "the very first pass leaves the finite numbers",
            "Draw smaller first weights.",
            "network.gain=1",
        )
        return
    deltas = case.first["delta_rms"][:-1]
    if case.has("symmetric", "dead", "saturated") or not deltas.size:
        return
    ratio = float(deltas[0] / deltas[-1]) if deltas[-1] > 0.0 else 0.0
    spread = float(case.first["preactivation_std"].max()) if "preactivation_std" in case.first else 0.0
    evidence = {"ratio": ratio, "layers": float(len(deltas)), "spread": spread}
    if ratio > EXPLODING or spread > LARGE_SIGNAL:
        yield Finding(
            "exploding",
            f"the delta at the first of {len(deltas)} hidden layers is {ratio:.3g} times that at the last, "
            f"and pre-activations spread by up to {spread:.3g}",
            "Draw smaller first weights: He's for the ReLU family, Glorot's for others.",
            "network.gain=1",
            evidence,
        )
    elif len(deltas) > 1 and ratio < VANISHING:
        yield Finding(
            "vanishing",
            f"of the delta at the last of {len(deltas)} hidden layers {ratio:.2g} arrives at the first, "
            f"a factor of {ratio ** (1.0 / (len(deltas) - 1)):.2g} a layer",
            "A ReLU with He's weights keeps it; so does batch normalisation, or a larger gain.",
            "network.activation=relu network.weight_init=he_normal network.gain=1"
            if case.bounded
            else "network.batch_norm=true",
            evidence,
        )


def _rate(case: _Case) -> Iterator[Finding]:
    """Ask by trials whether another learning rate is a good deal better, and this one bad."""
    if case.found:
        return
    now, rate = case.after(1.0), case.optimizer.learning_rate
    tried = {factor: case.after(factor) for factor in FACTORS if factor < 1.0 or now > MUCH}
    best = min(tried, key=lambda factor: tried[factor])
    high, stuck = best < 1.0, now > STUCK and not np.isinf(now)
    if now > MUCH:
        clearly = tried[best] < (LITTLE if stuck and not high else MUCH * min(now, 1.0))
    else:
        clearly = tried[best] < 0.5 * now and now > SOLVED
    if not clearly or (not high and now < LITTLE and tried[best] > 0.5 * now):
        if min(now, tried[best]) > LITTLE:
            yield Finding(
                "unexplained",
                f"in a moment's training the loss stays at {min(now, tried[best]):.0%} of what it was, at this "
                f"learning rate and at {len(tried)} others, and no probe says why",
                "Train for longer; look at the flow and at single samples.",
                evidence={"left": now, "left_at_best": tried[best]},
            )
        return
    seen = "it diverges" if np.isinf(now) else f"the loss goes to {now:.0%} of what it was"
    yield Finding(
        "rate_too_high" if high else "rate_too_low",
        f"in a moment's training at {rate:.3g} {seen}; at {best * rate:.3g} it goes to {tried[best]:.0%}",
        f"Take a {'smaller' if high else 'larger'} learning rate.",
        f"training.learning_rate={best * rate:.3g}",
        {"rate": rate, "better": best * rate, "left": now, "left_at_better": tried[best]},
    )


LOOKS: tuple[Look, ...] = (_labels, _inputs, _output, _symmetry, _slopes, _flow, _rate)


def _share_right_of_a_line(x: np.ndarray, labels: np.ndarray) -> float:
    """Return how often a ridge regression of each class, fitted without the sample, finds its class."""
    n, d = x.shape
    hat = x @ np.linalg.solve(x.T @ x + 0.1 * n * np.eye(d), x.T)
    own = np.diag(hat)[:, np.newaxis]
    classes = np.unique(labels)
    targets = (labels[:, np.newaxis] == classes) - np.mean(labels[:, np.newaxis] == classes, axis=0)
    left_out = (hat @ targets - own * targets) / (1.0 - own)  # the prediction without the sample, in closed form
    return float(np.mean(classes[left_out.argmax(axis=1)] == labels))


def _standardised(x: np.ndarray) -> np.ndarray:
    scale = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
