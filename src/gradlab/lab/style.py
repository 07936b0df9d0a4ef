"""How every figure looks: an activation's colour, a line with its band, a name beside its line."""

import textwrap
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

COLOURS = {  # Okabe and Ito's, told apart by the colour-blind; an activation has the same one everywhere
    "sigmoid": "#307EC7",
    "centred_sigmoid": "#000078",
    "tanh": "#009E73",
    "relu": "#D55E00",
    "leaky_relu": "#E69F00",
    "elu": "#CC79A7",
    "selu": "#56B4E9",
    "gelu": "#7F3C8D",
    "silu": "#8C6D00",
    "softplus": "#4D4D4D",
    "softsign": "#00A5A5",
    "identity": "#999999",
}
DERIVATIVE = "#9621E2"
STYLE: Any = {
    "figure.dpi": 120,
    "savefig.dpi": "figure",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
}


def line_and_band(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, marker: str = "") -> None:
    """Draw the median over seeds (seeds, x) as a line, and the middle 80 % of them as a band."""
    seen = np.isfinite(values).any(axis=0)
    if not seen.any():
        return
    low, middle, high = np.nanquantile(values[:, seen], [0.1, 0.5, 0.9], axis=0)
    ax.fill_between(x[seen], low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(x[seen], middle, color=colour, marker=marker, markersize=4, linewidth=1.8)


def label_lines(ax: Axes, ends: Sequence[tuple[str, float, float, str]], left: bool = False) -> None:
    """Write each variant's name beside the end of its line (x, y): in order, within the panel, and none touching."""
    from sklearn.isotonic import isotonic_regression

    figure = ax.get_figure(root=True)
    ends = [end for end in ends if np.isfinite(end[2])]
    if not ends or figure is None:
        return
    labels = [
        ax.annotate(
            short(name), (x, y), xytext=(1.03, 0.5), textcoords="axes fraction", ha="left", va="center",
            color=colour, fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linestyle": ":", "color": colour, "relpos": (float(left), 0.5)},
        )
        for name, x, y, colour in sorted(ends, key=lambda end: end[2])
    ]  # fmt: skip
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)  # so that axes and labels know where they are
    sizes = [Text.get_window_extent(label) for label in labels]
    if left:  # make room between the axis and the lines
        room = (max(size.width for size in sizes) + 30.0) / ax.bbox.width
        right = ax.get_xlim()[1]
        ax.set_xlim((1.0 - room * right) / (1.0 - room), right)
    gap = 1.1 * max(size.height for size in sizes) / ax.bbox.height
    up = gap * np.arange(len(labels))
    heights = np.array([ax.transAxes.inverted().transform(ax.transData.transform(label.xy))[1] for label in labels])
    placed = up + isotonic_regression(heights - up, y_min=gap / 2, y_max=1.0 - gap / 2 - up[-1])
    for label, height in zip(labels, placed, strict=True):
        label.set_position((0.015 if left else 1.03, height))


def save_png(figure: Figure, file: IO[bytes]) -> None:
    """Write a figure, laid out and drawn once; ``savefig`` draws it all twice, to find out how large it is."""
    FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]


def positive(values: np.ndarray) -> np.ndarray:
    """Return the values that a log scale can show; nan in place of the others."""
    return np.where((values > 0.0) & np.isfinite(values), values, np.nan)


def short(name: str, width: int = 26) -> str:
    """Break a name into at most three lines, and cut the rest; a dollar sign is not the start of a formula."""
    lines = textwrap.wrap(str(name), width, max_lines=3, placeholder=" …")
    return "\n".join(lines).replace("$", r"\$")
