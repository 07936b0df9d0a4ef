"""What the experiments share: arguments, claims and their verdicts, saved numbers, and a figure drawn from them.

An experiment is a script with two functions. ``experiment(report, quick)`` measures, writes numbers to the report, and
states its claims; ``draw(numbers)`` makes the figure from the saved numbers and computes nothing. ``main`` does the
rest.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one thread, so that numbers are equal everywhere

import numpy as np
from threadpoolctl import threadpool_limits

threadpool_limits(1)  # a script that names NumPy above this file has loaded it before the variables were set

HERE = Path(__file__).parent
DONE, FAILED, USAGE, CLAIM_FAILS, INTERRUPTED = 0, 1, 2, 3, 130  # exit codes
LEGEND_OF_BANDS = "line: median; band: the middle 80 % of seeds"

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A statement that could have come out false.

    Attributes
    ----------
    says : str
    expected, measured : str
        What must come out, and what did, with its interval.
    holds : bool
    """

    says: str
    expected: str
    measured: str
    holds: bool

    def __str__(self) -> str:
        return f"{'HOLDS' if self.holds else 'FAILS'}  {self.says}: expected {self.expected}, measured {self.measured}"


@dataclass
class Report:
    """What an experiment found.

    Attributes
    ----------
    name, title : str
        The script's name, and the question: the first line of its docstring.
    text : str
        The rest of its docstring: claim, reference, set-up.
    quick : bool
    numbers : dict
        What the figure is drawn from: numbers, strings, and arrays of them.
    claims : list of Claim
    conclusion : str
        One paragraph for the gallery, its numbers put in by the script.
    """

    name: str
    title: str
    text: str
    quick: bool
    numbers: Numbers = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    conclusion: str = ""
    seconds: float = 0.0

    def claim(self, says: str, expected: str, measured: str, holds: bool) -> None:
        """State a claim with its verdict, and print it."""
        self.claims.append(Claim(says, expected, measured, bool(holds)))
        print(self.claims[-1], flush=True)

    def within(self, says: str, measured: Any, target: float, share: float, unit: str = "") -> None:
        """Claim that a number (or an Interval's mean) lies within a share of a target.

        The verdict is the mean's; the interval is shown beside it.
        """
        mean, shown = _mean_and_text(measured)
        expected = f"{target:.5g}{unit} ± {100.0 * share:g} %"
        self.claim(says, expected, shown + unit, abs(mean - target) <= share * abs(target))

    def between(self, says: str, measured: Any, low: float = -math.inf, high: float = math.inf, unit: str = "") -> None:
        """Claim that a number (or an Interval's mean) lies in [low, high]."""
        mean, shown = _mean_and_text(measured)
        if math.isinf(low):
            expected = f"at most {high:.5g}{unit}"
        elif math.isinf(high):
            expected = f"at least {low:.5g}{unit}"
        else:
            expected = f"{low:.5g} to {high:.5g}{unit}"
        self.claim(says, expected, shown + unit, low <= mean <= high)

    def count(self, says: str, successes: np.ndarray, at_least: int) -> None:
        """Claim that something happens in at least so many of the seeds."""
        found = int(np.sum(successes))
        holds = len(successes) > 0 and found >= at_least
        self.claim(says, f"in at least {at_least} of {len(successes)} seeds", f"in {found}", holds)


def main(
    experiment: Callable[[Report, bool], None],
    draw: Callable[[Numbers], Any],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run an experiment from the command line; return the exit code.

    The full size saves ``results/NAME.json`` and ``figures/NAME.png`` beside this file; ``--quick`` saves nothing, and
    ``--out`` names another folder for either. Exit codes: 0, or 3 if a claim fails, 2 for a mistake in the arguments, 1
    if nothing can be written, 130 when interrupted.
    """
    script = Path(inspect.getfile(experiment))
    title, _, text = (inspect.getdoc(inspect.getmodule(experiment)) or script.stem).partition("\n")
    parser = argparse.ArgumentParser(prog=script.name, description=title)
    parser.add_argument("--quick", action="store_true", help="a small version, in seconds; writes only with --out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for numbers and figure; by default here")
    given = parser.parse_args(arguments)
    from matplotlib import rc_context

    from gradlab.files import whole_or_not_at_all
    from gradlab.lab.style import STYLE

    folder = given.out or (None if given.quick else HERE)
    report = Report(script.stem, title.strip(), text.strip(), given.quick)
    print(f"{report.name}: {report.title}", flush=True)
    started = time.process_time()  # seconds of this process alone, whatever else the machine does
    try:
        if folder is not None:
            for part in ("results", "figures"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        experiment(report, given.quick)
        report.seconds = round(time.process_time() - started, 1)
        saved = as_json(report)
        with rc_context(STYLE):
            figure = draw(json.loads(saved)["numbers"])
            if folder is not None:
                with whole_or_not_at_all(folder / "results" / f"{report.name}.json") as file:
                    file.write(saved.encode())
                with whole_or_not_at_all(folder / "figures" / f"{report.name}.png") as file:
                    figure.savefig(file, format="png", metadata={"Software": None})
    except KeyboardInterrupt:
        print(f"{report.name}: interrupted; nothing was saved", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"{report.name}: {error}", file=sys.stderr)
        return FAILED
    print(f"{report.conclusion}\n({report.seconds:g} s)", flush=True)
    if not report.claims:
        print(f"{report.name}: it states no claim", file=sys.stderr)
        return FAILED
    return DONE if all(claim.holds for claim in report.claims) else CLAIM_FAILS


def as_json(report: Report) -> str:
    """Return a report as JSON, with what it was made with; numbers that are not finite become null."""
    machine = {name: version(name) for name in ("gradlab", "numpy", "scipy", "scikit-learn")}
    content = {**asdict(report), "versions": {"python": platform.python_version(), **machine}}
    return json.dumps(_plain(content), ensure_ascii=False) + "\n"


def load(name: str, folder: Path = HERE) -> dict[str, Any]:
    """Read what an experiment saved."""
    return json.loads((folder / "results" / f"{name}.json").read_text(encoding="utf-8"))


def array(values: Any) -> np.ndarray:
    """Return saved numbers as an array of floats; null becomes nan."""
    return np.array(values, dtype=np.float64)


def _mean_and_text(measured: Any) -> tuple[float, str]:
    if hasattr(measured, "mean") and hasattr(measured, "low"):
        return float(measured.mean), f"{measured.mean:.5g} (95 % interval {measured.low:.5g} to {measured.high:.5g})"
    return float(measured), f"{float(measured):.5g}"


def _plain(value: Any) -> Any:
    """Return a value of nothing but what JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
