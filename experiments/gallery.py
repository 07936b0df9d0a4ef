"""The gallery: every experiment with its figure, its verdicts and what it found, from the saved numbers.

``python experiments/gallery.py`` writes ``README.md`` from what is in ``results``; with ``--draw`` the figures too.
With ``--run`` it makes all the experiments first, at full size, and with ``--run --quick`` their small versions only,
for a look, which write nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from frame import CLAIM_FAILS, DONE, HERE, load

SUITE = (  # in the order in which they are read
    "sigmoid_shape",
    "exponential_cost",
    "decay_and_mean_field",
    "correlation_map",
    "back_propagated_gradients",
    "attribution",
    "speed_of_learning",
    "depth_and_trainability",
    "remedies",
    "trainable_depth",
    "trainability_map",
    "top_layer_saturation",
    "zero_centred",
    "saturated_output",
    "long_range",
    "relu_is_not_free",
    "he_against_xavier",
    "batch_norm_explodes",
    "self_normalising",
    "doctor",
    "diagnosis",
)
HEAD = """# Experiments: what is said of the sigmoid, and what comes out

This page is written by `python experiments/gallery.py` from the numbers in `results`; nothing in it is typed. Each
experiment is one script: `python experiments/NAME.py` measures it again, in some minutes at most; `--quick` is a small
version in seconds. It prints a line for each claim, and exits with 3 if one fails. Speed is a page of its own:
[speed.md](speed.md).
"""


def page(folder: Path = HERE) -> str:
    """Return the gallery as Markdown."""
    saved = [load(name, folder) for name in SUITE if (folder / "results" / f"{name}.json").exists()]
    parts = [HEAD, _table(saved), *(_section(report) for report in saved)]
    return "\n".join(parts)


def _table(saved: list[dict[str, Any]]) -> str:
    rows = ["| what is said | the question | what came out |", "|---|---|---|"]
    for report in saved:
        fails = sum(not claim["holds"] for claim in report["claims"])
        verdict = f"{len(report['claims']) - fails} hold" + (f", **{fails} fail**" if fails else "")
        said = " ".join(report["text"].partition("\nReference:")[0].removeprefix("Claim:").split())
        rows.append(f"| {said} | [{report['title']}](#{report['name']}) | of our expectations, {verdict} |")
    return "\n".join(rows) + "\n"


def _section(report: dict[str, Any]) -> str:
    name = report["name"]
    claims = [
        f"| {'holds' if c['holds'] else '**fails**'} | {c['says']} | {c['expected']} | {c['measured']} |"
        for c in report["claims"]
    ]
    versions = ", ".join(f"{package} {number}" for package, number in report["versions"].items())
    return "\n".join(
        [
            f"## {name}",
            "",
            f"**{report['title']}** {report['conclusion']}",
            "",
            f"![{report['title']}](figures/{name}.png)",
            "",
            "| | claim | expected | measured |",
            "|---|---|---|---|",
            *claims,
            "",
            "<details><summary>claim, reference, set-up</summary>",
            "",
            report["text"].replace("\nReference:", "\n\nReference:").replace("\nSet-up:", "\n\nSet-up:"),
            "",
            f"Measured in {report['seconds']:g} s with {versions}.",
            f"[Script]({name}.py), [numbers](results/{name}.json).",
            "",
            "</details>",
            "",
        ]
    )


def run_all(quick: bool) -> list[str]:
    """Run every experiment in a process of its own; return the names of those that did not run through."""
    broken = []
    for name in SUITE:
        started = time.perf_counter()
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if quick else [])]
        code = subprocess.run(command, check=False).returncode
        print(f"{name}: exit code {code} after {time.perf_counter() - started:.0f} s\n", flush=True)
        if code not in (DONE, CLAIM_FAILS):
            broken.append(name)
    return broken


def draw_all(folder: Path = HERE) -> None:
    """Draw every figure anew from the saved numbers."""
    from matplotlib import rc_context

    from gradlab.files import whole_or_not_at_all
    from gradlab.lab.style import STYLE

    for name in SUITE:
        if (folder / "results" / f"{name}.json").exists():
            with rc_context(STYLE), whole_or_not_at_all(folder / "figures" / f"{name}.png") as file:
                figure = import_module(name).draw(load(name, folder)["numbers"])
                figure.savefig(file, format="png", metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the gallery; return the exit code, 1 if an experiment did not run through."""
    parser = argparse.ArgumentParser(description="Write the gallery from what the experiments saved.")
    parser.add_argument("--run", action="store_true", help="run all experiments first")
    parser.add_argument("--quick", action="store_true", help="with --run: small versions, which save nothing")
    parser.add_argument("--draw", action="store_true", help="draw all figures anew from the saved numbers")
    given = parser.parse_args(arguments)
    if given.quick and not given.run:
        parser.error("--quick goes with --run")
    broken = run_all(given.quick) if given.run else []
    if given.draw:
        draw_all()
    if not given.quick:
        (HERE / "README.md").write_text(page(), encoding="utf-8")
    for name in broken:
        print(f"{name} did not run through", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
