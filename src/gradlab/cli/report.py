"""How a run is told: a table, the verdicts, and where the results are."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any


def terminal_width() -> int | None:
    """Return the width of the terminal; None where the output is no terminal, and may be as wide as it is."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def report(summary: dict[str, Any], width: int | None) -> Iterator[str]:
    """Yield the lines that say what a run found."""
    n = max((len(v["seeds"]) for v in summary["variants"].values()), default=0)
    yield f"{summary['title']} ({n} seed{'s' * (n != 1)}{'; means with 95 % intervals' if n > 1 else ': no intervals'})"
    yield ""
    yield from in_columns(rows_of(summary["variants"]), width)
    yield ""
    yield from _about_classes(summary["variants"])
    for name, v in summary["variants"].items():
        if v["underflow"] > 0.0:
            yield f"note: {name}: gradients underflow; up to {v['underflow']:.1%} of a layer's are subnormal numbers"
    if summary["expectations"]:
        for e in summary["expectations"]:
            measured = "nothing" if e["measured"] is None else f"{e['measured']:.4g}"
            yield f"{'HOLDS' if e['holds'] else 'FAILS'}  {e['variant']}: expected {e['bound']}, measured {measured}"
        yield ""
    yield f"results and figures: {summary['run_dir']}"


def _about_classes(variants: dict[str, Any]) -> Iterator[str]:
    """Say which networks tell one class only: their accuracy is the majority's share, and may look good."""
    for name, v in variants.items():
        balanced = v.get("test_balanced_accuracy", {}).get("values", [])
        blind = sum(value == 0.5 for value in balanced)
        if blind:
            which = "it predicts" if len(balanced) == 1 else f"{blind} of {len(balanced)} seeds predict"
            share = v["test_majority"]["mean"]
            yield f"note: {name}: {which} one class only; {share:.1%} of the test part are of the larger class"


def rows_of(variants: dict[str, Any]) -> list[list[str]]:
    """Return a header, and a row for each experiment."""
    header = ["variant", "test accuracy", "final loss", "gradient first/last layer", "a layer", "least layer's"]
    return [[*header, "first/last at the end", "seconds"]] + [
        [
            name,
            _with_interval(v.get("test_accuracy"), ".3f"),
            _with_interval(v.get("train_loss"), ".4f"),
            _median(v.get("gradient_ratio")),
            _median(v.get("gradient_decay")),
            _median(v.get("least_gradient")),
            _median(v.get("final_gradient_ratio")),
            f"{v['seconds']:.1f}",
        ]
        for name, v in variants.items()
    ]


def in_columns(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Yield rows in columns, or, where the terminal is too narrow for them, one below another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        for row in rows:
            yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        return
    names = max(map(len, rows[0]))
    for row in rows[1:]:
        yield row[0]
        yield from (f"  {name.ljust(names)}  {cell}" for name, cell in zip(rows[0][1:], row[1:], strict=True))


def _with_interval(measure: dict[str, Any] | None, digits: str) -> str:
    if measure is None or measure["mean"] is None:
        return "-"
    mean = format(measure["mean"], digits)
    return mean if measure["low"] is None else f"{mean} [{measure['low']:{digits}}, {measure['high']:{digits}}]"


def _median(measure: dict[str, Any] | None) -> str:
    return "-" if measure is None or measure["median"] is None else f"{measure['median']:.2g} (median)"
