"""A run's numbers as figures that need no text beside them: it reads the folder, and computes no result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradlab.lab.runs import read_arrays, read_history, read_summary
from gradlab.nn.activations import Sigmoid

COLOURS = {  # Okabe and Ito's, told apart by the colour-blind; an activation has the same one everywhere
    "sigmoid": "#307EC7",
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
CLASSES = (("#B35806", "o"), ("#542788", "^"))  # colour and marker of class 0 and of class 1
PROBABILITY = LinearSegmentedColormap.from_list("probability", ["#F6B26B", "#F7F7F7", "#A79BD0"])
STYLE: Any = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
}
MOST_POINTS = 6  # columns of a figure; of a longer sweep as many are shown, evenly spaced


@dataclass
class Run:
    """What the figures are drawn from, by experiment name."""

    summary: dict[str, Any]
    history: dict[str, dict[str, np.ndarray]]
    flow: dict[str, dict[str, np.ndarray]]
    boundary: dict[str, dict[str, np.ndarray]]

    def __post_init__(self) -> None:
        variants = self.summary["variants"]
        self.variants = list(dict.fromkeys(v["variant"] for v in variants.values()))
        labels = list(dict.fromkeys(_label(v["point"]) for v in variants.values()))
        if len(labels) > MOST_POINTS:
            chosen = np.linspace(0, len(labels) - 1, MOST_POINTS).round().astype(int)
            labels = [labels[i] for i in chosen]
        self.points = labels
        self.names = {(v["variant"], _label(v["point"])): name for name, v in variants.items()}
        self.colours = _colours({v["variant"]: v["activation"] for v in variants.values()})

    @property
    def seeds(self) -> str:
        """The number of seeds, in words."""
        n = len(next(iter(self.summary["variants"].values()))["seeds"])
        return "1 seed" if n == 1 else f"{n} seeds"

    @property
    def band(self) -> str:
        """What line and band show, in words."""
        return "one seed" if self.seeds == "1 seed" else f"line: median of {self.seeds}; band: the middle 80 % of them"


def draw(folder: Path) -> list[Path]:
    """Draw every figure that the run's folder has numbers for.

    Parameters
    ----------
    folder : Path
        Of a run.

    Returns
    -------
    list of Path
        The files, in ``figures/``.
    """
    run = Run(
        read_summary(folder), read_history(folder), read_arrays(folder, "flow.npz"), read_arrays(folder, "boundary.npz")
    )
    drawings: dict[str, Callable[[Run], Figure | None]] = {
        "gradient_by_layer": gradient_by_layer,
        "gradient_over_time": gradient_over_time,
        "learning_curves": learning_curves,
        "decision_boundary": decision_boundary,
        "sweep": sweep,
        "sigmoid": lambda run: sigmoid_shape(),
    }
    (folder / "figures").mkdir(exist_ok=True)
    files = []
    with rc_context(STYLE):
        for name, drawing in drawings.items():
            figure = drawing(run)
            if figure is not None:
                files.append(folder / "figures" / f"{name}.png")
                figure.savefig(files[-1])
    return files


def gradient_by_layer(run: Run) -> Figure | None:
    """Norm of each layer's weight gradient at the first step, a line a variant, on a log scale."""
    if not run.flow:
        return None
    figure, panels = _panels(1, len(run.points), 5.5 if len(run.points) == 1 else 3.2, 4.2)
    for column, point in enumerate(run.points):
        ax: Axes = panels[0, column]
        ends = []
        for variant in run.variants:
            norms = run.flow.get(run.names[variant, point], {}).get("weight_gradient_norm")
            if norms is None:
                continue
            first = np.where(norms[0] > 0.0, norms[0], np.nan)
            layers = np.arange(1, len(first) + 1)
            _line_and_band(ax, layers, first.T, run.colours[variant], marker="o")
            ends.append((variant, layers[0], np.nanmedian(first[0]) if np.isfinite(first[0]).any() else np.nan))
        ax.set_yscale("log")
        ax.set_xlabel("layer (1 = next to the input)")
        ax.set_title(point)
        ax.margins(x=0.04)
        ax.set_xlim(left=1.0 - 0.17 * (ax.get_xlim()[1] - 1.0))  # room for the names
        last = int(ax.get_xlim()[1])
        ax.set_xticks(range(1, last + 1, 1 + last // 12))
        _label_lines(ax, ends, run.colours, side="left")
    panels[0, 0].set_ylabel("norm of the layer's weight gradient")
    figure.suptitle(f"Gradient reaching each layer at the first training step\n{run.band}", fontsize=11)
    return figure


def gradient_over_time(run: Run) -> Figure | None:
    """Norm of each layer's weight gradient through training: layers upwards, epochs to the right."""
    names = [name for (_, point), name in run.names.items() if point in run.points and name in run.flow]
    medians = {name: np.nanmedian(run.flow[name]["weight_gradient_norm"], axis=-1) for name in names}
    positive = np.concatenate([median[median > 0.0] for median in medians.values()] or [np.empty(0)])
    if not positive.size:
        return None
    scale = LogNorm(max(positive.min(), 1e-30 * positive.max()), positive.max())
    figure, panels, mesh = *_one_panel_each(run, 3.2, 3.4), None
    for name, ax in panels.items():
        ax.set_facecolor("#BBBBBB")  # where nothing was recorded, or all of it was zero
        if name not in medians:
            continue
        median, table = medians[name], run.flow[name]
        by_epoch = len(table["step"]) <= table["epoch"][-1] + 2  # the first step, then the last of each epoch
        times = np.arange(len(median)) if by_epoch else table["step"]
        layers = np.arange(1, median.shape[1] + 1)
        shown = np.where(median > 0.0, median, np.nan).T
        mesh = ax.pcolormesh(times, layers, shown, norm=scale, cmap="viridis", shading="nearest")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        figure.supxlabel("epoch (0: the first step)" if by_epoch else "step", fontsize=10)
    assert mesh is not None
    figure.supylabel("layer (1 = next to the input)", fontsize=10)
    figure.colorbar(mesh, ax=list(panels.values()), label="norm of the layer's weight gradient")
    figure.suptitle(f"Gradient reaching every layer through training (median of {run.seeds})", fontsize=11)
    return figure


def learning_curves(run: Run) -> Figure | None:
    """Training loss and test accuracy at the end of every epoch."""
    if not run.history:
        return None
    figure, panels = _panels(2, len(run.points), 6.5 if len(run.points) == 1 else 3.2, 2.9)
    wanted = [("train_loss", "training loss"), ("test_accuracy", "test accuracy")]
    for row, (metric, label) in enumerate(wanted):
        for column, point in enumerate(run.points):
            ax: Axes = panels[row, column]
            ends = []
            for variant in run.variants:
                history = run.history.get(run.names[variant, point])
                if history is None:
                    continue
                values = history[metric].T
                epochs = np.arange(values.shape[1])
                _line_and_band(ax, epochs, values, run.colours[variant])
                seen = np.isfinite(values).any(axis=0)
                last = np.flatnonzero(seen)[-1] if seen.any() else 0
                ends.append((variant, epochs[last], np.nanmedian(values[:, last]) if seen.any() else np.nan))
            if row == 0:
                ax.set_title(point)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            _label_lines(ax, ends, run.colours, side="right")
        panels[row, 0].set_ylabel(label)
    for ax in panels[1]:
        ax.set_xlabel("epoch")
    figure.suptitle(f"Learning curves\n{run.band}", fontsize=11)
    return figure


def decision_boundary(run: Run) -> Figure | None:
    """Probability that the median seed's network gives each point of the plane, with the test part's samples."""
    if not run.boundary:
        return None
    figure, panels, mesh = *_one_panel_each(run, 3.2, 3.4), None
    for name, ax in panels.items():
        found = run.boundary.get(name)
        if found is None:
            ax.text(0.5, 0.5, "no result", ha="center", transform=ax.transAxes)
            continue
        x1, x2, probability = found["x1"], found["x2"], found["probability"]
        mesh = ax.pcolormesh(x1, x2, probability, cmap=PROBABILITY, vmin=0.0, vmax=1.0, shading="nearest")
        if probability.min() < 0.5 < probability.max():
            ax.contour(x1, x2, probability, levels=[0.5], colors="black", linewidths=1.5)
        for label, (colour, marker) in enumerate(CLASSES):
            x, y = found["points"][found["labels"] == label].T
            ax.scatter(x, y, s=16, c=colour, marker=marker, edgecolors="white", linewidths=0.5, label=f"class {label}")
        entry = run.summary["variants"][name]
        accuracy = entry["test_accuracy"]["values"][entry["seeds"].index(entry["median_seed"])]
        ax.set_xlabel(f"{accuracy:.1%} of the test part right (seed {entry['median_seed']})", fontsize=9)
        figure.supxlabel(found["names"][0], fontsize=10)
        figure.supylabel(found["names"][1], fontsize=10)
    assert mesh is not None
    handles, labels = next(ax for ax in panels.values() if ax.collections).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    figure.colorbar(mesh, ax=list(panels.values()), label="probability of class 1")
    figure.suptitle("What the network of median test accuracy learnt (black line: probability ½)", fontsize=11)
    return figure


def sweep(run: Run) -> Figure | None:
    """Test accuracy and gradient ratio against the one number that the sweep changes."""
    entries = run.summary["variants"]
    keys = {key for entry in entries.values() for key in entry["point"]}
    if len(keys) != 1:
        return None
    key = keys.pop()
    if not all(isinstance(entry["point"][key], int | float) for entry in entries.values()):
        return None
    figure, panels = _panels(2, 1, 6.0, 2.9)
    wanted = [
        ("test_accuracy", "test accuracy"),
        ("gradient_ratio", "weight gradient, first step:\nfirst layer / last layer"),
    ]
    for ax, (measure, label) in zip(panels[:, 0], wanted, strict=True):
        ends = []
        for variant in run.variants:
            own = [e for e in entries.values() if e["variant"] == variant and measure in e]
            own.sort(key=lambda e: e["point"][key])
            if not own:
                continue
            at = np.array([e["point"][key] for e in own])
            values = np.array([e[measure]["values"] for e in own], dtype=float).T
            if measure == "gradient_ratio":
                values = np.where(values > 0.0, values, np.nan)
            _line_and_band(ax, at, values, run.colours[variant], marker="o")
            ends.append((variant, at[-1], np.nanmedian(values[:, -1])))
        if measure == "gradient_ratio":
            ax.set_yscale("log")
        ax.set_ylabel(label)
        _label_lines(ax, ends, run.colours, side="right")
    panels[1, 0].set_xlabel(key)
    figure.suptitle(f"What changes with {key}\n{run.band}", fontsize=11)
    return figure


def sigmoid_shape() -> Figure:
    """σ and σ' on (−6, 6), the axes through the origin."""
    x = np.arange(-6.0, 6.0, 0.01)
    y = Sigmoid().forward(x)
    slope = Sigmoid().backward(np.ones_like(x), x, y)
    figure = Figure(figsize=(7.0, 4.2))
    ax = figure.subplots()
    ax.plot(x, y, color="#307EC7", linewidth=2.5, label="σ(x) = 1 / (1 + e$^{-x}$)")
    ax.plot(x, slope, color=DERIVATIVE, linewidth=2.5, label="σ′(x) = σ(x)·(1 − σ(x))")
    ax.spines["left"].set_position("zero")
    ax.spines["bottom"].set_position("zero")
    ax.grid(visible=False)
    ax.set_yticks([0.5, 1.0], ["½", "1"])
    ax.annotate("σ′(0) = ¼", (0.0, 0.25), xytext=(8, 6), textcoords="offset points", color=DERIVATIVE)
    ax.set_xticks([-6, -4, -2, 2, 4, 6])
    ax.set_xlabel("x", loc="right")
    ax.set_ylim(0.0, 1.05)
    ax.legend(loc="upper left", frameon=False)
    ax.set_title("The sigmoid and its derivative, which is never above ¼")
    return figure


# --- shared --------------------------------------------------------------------------------------------------------


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width * columns + 1.2, height * rows + 0.8))
    return figure, figure.subplots(rows, columns, squeeze=False, sharey="row")


def _one_panel_each(run: Run, width: float, height: float) -> tuple[Figure, dict[str, Axes]]:
    """Make a panel an experiment: the variants in a row, or in rows with the points of the sweep in columns."""
    in_a_row = len(run.points) == 1
    shape = (1, len(run.variants)) if in_a_row else (len(run.variants), len(run.points))
    figure, axes = _panels(*shape, width, height if in_a_row else 0.75 * height)
    panels = {}
    for i, variant in enumerate(run.variants):
        for j, point in enumerate(run.points):
            ax = panels[run.names[variant, point]] = axes[0, i] if in_a_row else axes[i, j]
            ax.set_title(variant if in_a_row else f"{variant}, {point}", color=run.colours[variant])
            ax.grid(visible=False)
    return figure, panels


def _line_and_band(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, marker: str = "") -> None:
    """Draw the median over seeds (seeds, x) as a line, and the middle 80 % of them as a band."""
    seen = np.isfinite(values).any(axis=0)
    if not seen.any():
        return
    low, middle, high = np.nanquantile(values[:, seen], [0.1, 0.5, 0.9], axis=0)
    ax.fill_between(x[seen], low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(x[seen], middle, color=colour, marker=marker, markersize=4, linewidth=1.8)


def _label_lines(ax: Axes, ends: Sequence[tuple[str, float, float]], colours: dict[str, str], side: str) -> None:
    """Write each variant's name at the end of its line, pushed apart where two would touch."""
    ends = [end for end in ends if np.isfinite(end[2])]
    if not ends:
        return
    left = side == "left"
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # so that the axes know where they are
    heights = np.array([ax.transData.transform((x, y))[1] for _, x, y in ends])
    order = np.argsort(heights)
    gap = 13.0 * figure.dpi / 72.0
    placed = heights.copy()
    lowest, highest = -np.inf, ax.bbox.ymax
    for k in order:  # upwards, where the one below takes the room
        placed[k] = lowest = max(placed[k], lowest + gap)
    for k in order[::-1]:  # and down again from the top of the panel
        placed[k] = min(placed[k], highest)
        highest = placed[k] - gap
    for k in order:
        name, x, y = ends[k]
        offset = (placed[k] - heights[k]) * 72.0 / figure.dpi
        ax.annotate(
            name, (x, y), xytext=(-8 if left else 8, offset), textcoords="offset points", color=colours[name],
            ha="right" if left else "left", va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _label(point: dict[str, Any]) -> str:
    """Name a point of a sweep: ``"depth = 4"``; empty without a sweep."""
    return ", ".join(f"{key.rpartition('.')[2]} = {value}" for key, value in point.items())


def _colours(activations: dict[str, Any]) -> dict[str, str]:
    """Give each variant its activation's colour, or the first free one if that is taken."""
    colours: dict[str, str] = {}
    for variant, activation in activations.items():
        wanted = COLOURS.get(activation if isinstance(activation, str) else "", "#000000")
        free = [c for c in COLOURS.values() if c not in colours.values()] or ["#000000"]
        colours[variant] = wanted if wanted not in colours.values() else free[0]
    return colours
