"""A run's numbers as figures that need no text beside them: it reads the folder, and computes no result."""

import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradlab.files import whole_or_not_at_all
from gradlab.lab.log import read_history
from gradlab.lab.recording import RECORDED
from gradlab.lab.run_folder import read_arrays, read_summary
from gradlab.lab.style import COLOURS, DERIVATIVE, STYLE, label_lines, line_and_band, positive, save_png, short
from gradlab.nn.activations import Sigmoid

CLASSES = (("#B35806", "o"), ("#542788", "^"))  # colour and marker of class 0 and of class 1
PROBABILITY = LinearSegmentedColormap.from_list("probability", ["#F6B26B", "#F7F7F7", "#A79BD0"])
LAYER = "layer (the last: the logits)"
MAX_POINTS = 6  # columns of a figure; of a longer sweep as many are shown, evenly spaced
MAX_VARIANTS = 12  # of more variants only the first are shown
MAX_LABELS = 5  # lines of text beside the curves of a panel; above that there is a legend


@dataclass
class Run:
    """What the figures are drawn from, by experiment name."""

    summary: dict[str, Any]
    history: dict[str, dict[str, np.ndarray]]
    flow: dict[str, dict[str, np.ndarray]]
    boundary: dict[str, dict[str, np.ndarray]]

    def __post_init__(self) -> None:
        entries = self.summary["variants"]
        variants = list(dict.fromkeys(entry["variant"] for entry in entries.values()))
        points = list(dict.fromkeys(_label(entry["point"]) for entry in entries.values()))
        self.variants, self.points, self.notes = variants[:MAX_VARIANTS], points, ""
        if len(points) > MAX_POINTS:
            self.points = [points[i] for i in np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int)]
            self.notes += f"\n{MAX_POINTS} of the sweep's {len(points)} points"
        if len(variants) > MAX_VARIANTS:
            self.notes += f"\nthe first {MAX_VARIANTS} of {len(variants)} variants"
        self.names = {(entry["variant"], _label(entry["point"])): name for name, entry in entries.items()}
        activations: dict[str, list[Any]] = {variant: [] for variant in self.variants}
        for (variant, _), name in self.names.items():
            if variant in activations and entries[name]["activation"] not in activations[variant]:
                activations[variant].append(entries[name]["activation"])
        self.colours = _colours({v: own[0] if len(own) == 1 else None for v, own in activations.items()})
        n = len(next(iter(entries.values()))["seeds"])
        self.seeds = "one seed" if n == 1 else f"median of {n} seeds"
        self.band = self.seeds if n == 1 else f"line: {self.seeds}; band: the middle 80 % of them"
        # whether the names fit beside the lines of one panel
        self.few = sum(1 + short(variant).count("\n") for variant in self.variants) <= MAX_LABELS
        stopped = [self._carry_forward(name) for name in entries if not entries[name]["diverged"]]
        self.carried = "\na seed that stopped early keeps its last value" if any(stopped) else ""

    def _carry_forward(self, name: str) -> bool:
        """Let each seed that stopped early keep its last value; return whether one did."""
        stopped, metrics = False, ("train_loss", "test_accuracy", "weight_gradient_norm")
        for of, metric in zip((self.history, self.history, self.flow), metrics, strict=True):
            if name in of:
                values = of[name][metric]
                missing = np.isnan(values)
                last = len(values) - 1 - np.argmin(missing[::-1], axis=0)
                rows = np.minimum(np.arange(len(values)).reshape(-1, *[1] * last.ndim), last)
                of[name] = of[name] | {metric: np.take_along_axis(values, rows, axis=0)}
                stopped |= bool(missing[-1].any())
        return stopped

    def at(self, point: str) -> Iterator[tuple[str, str, str]]:
        """Yield variant, experiment name and colour of each experiment at a point of the sweep."""
        for variant in self.variants:
            if (variant, point) in self.names:
                name = self.names[variant, point]
                colour = self.colours[variant]
                if len(self.variants) == 1:  # nothing to tell it from, so a sweep over activations shows theirs
                    colour = _colours({variant: self.summary["variants"][name]["activation"]})[variant]
                yield variant, name, colour


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
    (folder / "figures").mkdir(exist_ok=True)
    files = []
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)  # a name in a script the font lacks
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # where training diverged, nothing is drawn
        figures = [(name, figure) for name, drawing in DRAWINGS.items() if (figure := drawing(run)) is not None]
        for name, figure in (*figures, *sorted(asked_for(run), key=lambda named: named[0])):
            files.append(folder / "figures" / f"{name}.png")
            with whole_or_not_at_all(files[-1]) as file:
                save_png(figure, file)
    return files


def draw_sweeps(entries: dict[str, dict[str, Any]], folder: Path) -> list[Path]:
    """Draw the measures against each number that the sweeps change, one line per combination of all else.

    Parameters
    ----------
    entries : dict of str to dict
        The entries of a summary, by experiment.
    folder : Path
        The figures are written into its ``figures/``.

    Returns
    -------
    list of Path
        The files.
    """
    keys = dict.fromkeys(key for entry in entries.values() for key in entry["point"])
    files = []
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        for key in keys:
            figure = sweep(Run({"variants": dict(_along(key, entries))}, {}, {}, {}))
            if figure is not None:
                (folder / "figures").mkdir(exist_ok=True)
                files.append(folder / "figures" / f"collected-{key}.png")
                with whole_or_not_at_all(files[-1]) as file:
                    save_png(figure, file)
    return files


def _along(key: str, entries: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the experiments that set a key, as if it were the only one that a sweep sets."""
    for name, entry in entries.items():
        if key in entry["point"]:
            others = [f"{k.rpartition('.')[2]}={value}" for k, value in entry["point"].items() if k != key]
            variant = ", ".join([entry["variant"], *others])
            yield name, entry | {"variant": variant, "point": {key: entry["point"][key]}}


def gradient_by_layer(run: Run) -> Figure | None:
    """Norm of each layer's weight gradient at the first step, one line per variant, on a log scale."""
    if not run.flow:
        return None
    direct = run.few and len(run.points) == 1
    figure, panels = _panels(1, len(run.points), 5.5 if len(run.points) == 1 else 3.2, 4.2)
    for ax, point in zip(panels[0], run.points, strict=True):
        ends, zero, deepest = [], [], 1
        for variant, name, colour in run.at(point):
            if name not in run.flow:
                continue
            first = positive(run.flow[name]["weight_gradient_norm"][0])
            if np.isnan(first).all():
                zero.append(variant)
            line_and_band(ax, np.arange(1, len(first) + 1), first.T, colour, marker="o")
            ends.append((variant, 1.0, float(np.nanmedian(first[0])), colour))
            deepest = max(deepest, len(first))
        ax.set_xticks(range(1, deepest + 1, 1 + deepest // 12))
        ax.set_yscale("log")
        ax.set_xlabel(LAYER)
        ax.set_title(short(point))
        if zero:
            whose = f": {', '.join(zero)}" if len(zero) < len(ends) else ""
            note = short(f"all gradients are exactly zero{whose}", 40)
            ax.text(0.5, 0.5, note, ha="center", va="center", transform=ax.transAxes)
        if len(zero) == len(ends):
            ax.tick_params(which="both", left=False, labelleft=False)
        if direct:
            label_lines(ax, ends, left=True)
    panels[0, 0].set_ylabel("norm of the layer's weight gradient")
    if not direct and len(run.variants) > 1:
        _legend(figure, run)
    figure.suptitle(f"Gradient reaching each layer at the first training step\n{run.band}{run.notes}", fontsize=11)
    return figure


def gradient_over_time(run: Run) -> Figure | None:
    """Norm of each layer's weight gradient through training: layers upwards, epochs to the right."""
    title = "Gradient reaching every layer through training"
    return over_time(run, "weight_gradient_norm", title, "norm of the layer's weight gradient", LAYER)


def over_time(run: Run, quantity: str, title: str, label: str, rows: str) -> Figure | None:
    """Draw a quantity through training: its rows upwards, epochs to the right; norms on a log scale."""
    tables = {n: table for n, table in run.flow.items() if len(table.get("step", ())) > 1 and quantity in table}
    medians = {name: np.nanmedian(table[quantity], axis=-1) for name, table in tables.items()}
    is_log = quantity.endswith("norm")
    seen = positive if is_log else np.asarray
    values = np.concatenate([seen(median).ravel() for median in medians.values()] or [np.full(1, np.nan)])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    least, most = values.min(), values.max()
    scale = LogNorm(max(least, 1e-30 * most), most) if is_log else Normalize(least, most)
    by_epoch = all(len(table["step"]) <= table["epoch"][-1] + 2 for table in tables.values())  # with the first step
    labels = "epoch (0: the first step)" if by_epoch else "step", rows
    figure, panels, mesh = *_one_panel_each(run, medians, 3.0, *labels), None
    for name, ax in panels.items():
        times = tables[name]["step"]
        if by_epoch:  # how many epochs were over; an epoch of one step begins and ends with it
            times = tables[name]["epoch"] + (times > tables[name]["epoch"])
        layers, shown = np.arange(1, medians[name].shape[1] + 1), seen(medians[name]).T
        mesh = ax.pcolormesh(times, layers, shown, norm=scale, cmap="viridis", shading="nearest")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    if mesh is None:
        return None
    below = "min" if is_log and least < scale.vmin else "neither"
    figure.colorbar(mesh, ax=figure.axes, label=label, extend=below)
    zero = "; white: exactly zero" if is_log and any((median == 0.0).any() for median in medians.values()) else ""
    caption = run.seeds + zero + run.carried + run.notes
    figure.suptitle(f"{title}\n{caption}", fontsize=11)
    return figure


def asked_for(run: Run) -> Iterator[tuple[str, Figure]]:
    """Draw each quantity that ``probe.what`` adds, through training."""
    names = dict.fromkeys(name for table in run.flow.values() for name in table)
    for name in names.keys() - {"step", "epoch", *RECORDED}:
        what, at, place = name.partition("@")
        rows = f"unit of layer {place}, from 1" if at else "layer (1: next to the input)"
        words = what.replace("_", " ")
        figure = over_time(run, name, f"{words.capitalize()} through training", words, rows)
        if figure is not None:
            yield f"flow_{name}", figure


def learning_curves(run: Run) -> Figure | None:
    """Training loss and test accuracy at the end of every epoch."""
    if not run.history:
        return None
    direct = run.few and len(run.points) == 1
    figure, panels = _panels(2, len(run.points), 6.5 if len(run.points) == 1 else 3.2, 2.9)
    for row, metric in zip(panels, ("train_loss", "test_accuracy"), strict=True):
        for ax, point in zip(row, run.points, strict=True):
            ends = []
            for variant, name, colour in run.at(point):
                if name not in run.history:
                    continue
                values = run.history[name][metric].T
                line_and_band(ax, np.arange(values.shape[1]), values, colour)
                ends.append((variant, values.shape[1] - 1.0, float(np.nanmedian(values[:, -1])), colour))
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
            if direct:
                label_lines(ax, ends)
        row[0].set_ylabel({"train_loss": "training loss", "test_accuracy": "test accuracy"}[metric])
    for (above, below), point in zip(panels.T, run.points, strict=True):
        above.set_title(short(point))
        below.set_xlabel("epoch")
    if not direct and len(run.variants) > 1:
        _legend(figure, run)
    figure.suptitle(f"Learning curves\n{run.band}{run.carried}{run.notes}", fontsize=11)
    return figure


def decision_boundary(run: Run) -> Figure | None:
    """Probability that the median seed's network gives each point of the plane, with the test part's samples."""
    if not run.boundary:
        return None
    shown = next(iter(run.boundary.values()))
    classes = [short(c) for c in shown.get("classes", ("class 0", "class 1"))]
    shape = np.ptp(shown["x2"]) / np.ptp(shown["x1"])
    alike = 0.25 < shape < 4.0  # features of one kind, as it seems: a circle stays a circle
    height = 1.2 + 2.6 * shape if alike and len(run.names) > 1 else 3.8
    figure, panels, mesh = *_one_panel_each(run, run.boundary, height, *map(short, shown["names"])), None
    for name, ax in panels.items():
        found = run.boundary[name]
        x1, x2, probability = found["x1"], found["x2"], found["probability"]
        mesh = ax.pcolormesh(x1, x2, probability, cmap=PROBABILITY, vmin=0.0, vmax=1.0, shading="nearest")
        if probability.min() < 0.5 < probability.max():
            ax.contour(x1, x2, probability, levels=[0.5], colors="black", linewidths=1.5)
        else:
            ax.text(
                0.5, 0.03, "no boundary: ½ is nowhere crossed", fontsize=8, ha="center", transform=ax.transAxes,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2.0},
            )  # fmt: skip
        for label, (colour, marker) in enumerate(CLASSES):
            x, y = found["points"][found["labels"] == label].T
            ax.scatter(x, y, s=16, c=colour, marker=marker, edgecolors="white", linewidths=0.5, label=classes[label])
        ax.set_aspect("equal" if alike else "auto")
        entry = run.summary["variants"][name]
        accuracy = entry["test_accuracy"]["values"][entry["seeds"].index(entry["median_seed"])]
        ax.set_title(f"{ax.get_title()}\ntest accuracy {100 * accuracy:.1f} %", color=ax.title.get_color())
    if mesh is None:
        return None
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, markerscale=1.5)
    figure.colorbar(mesh, ax=figure.axes, label=f"probability of {classes[1]}")
    which = "" if run.seeds == "one seed" else " (the seed of median test accuracy)"
    caption = f"points: the test part; black line: probability ½{run.notes}"
    figure.suptitle(f"What the network learnt{which}\n{caption}", fontsize=11)
    return figure


def sweep(run: Run) -> Figure | None:
    """Test accuracy and gradient ratio against the one number that the sweep changes."""
    entries = run.summary["variants"]
    keys = {key for entry in entries.values() for key in entry["point"]}
    if len(keys) != 1:
        return None
    (key,) = keys
    swept = [entry["point"][key] for entry in entries.values()]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in swept):
        return None
    figure, panels = _panels(2, 1, 6.0, 2.9)
    ratio = "weight gradient, first step:\nfirst layer / last layer"
    wanted = [("test_accuracy", "test accuracy"), ("gradient_ratio", ratio)]
    for ax, (measure, label) in zip(panels[:, 0], wanted, strict=True):
        ends = []
        for variant in run.variants:
            own = [e for e in entries.values() if e["variant"] == variant and measure in e]
            own.sort(key=lambda e: e["point"][key])
            if not own:  # it diverged
                continue
            at = np.array([e["point"][key] for e in own])
            values = np.array([e[measure]["values"] for e in own], dtype=float).T
            values = positive(values) if measure == "gradient_ratio" else values
            line_and_band(ax, at, values, run.colours[variant], marker="o")
            ends.append((variant, at[-1], float(np.nanmedian(values[:, -1])), run.colours[variant]))
        if measure == "gradient_ratio":
            ax.set_yscale("log")
        if min(swept) > 0 and max(swept) > 50 * min(swept):
            ax.set_xscale("log")
        elif all(isinstance(value, int) for value in swept):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylabel(label)
        if run.few:
            label_lines(ax, ends)
    if not run.few:
        _legend(figure, run)
    panels[1, 0].set_xlabel(key)
    figure.suptitle(f"What changes with {key}\n{run.band}{run.notes}", fontsize=11)
    return figure


def sweep_map(run: Run) -> Figure | None:
    """Test accuracy and gradient ratio over the two keys that the sweep changes: a map for each variant."""
    entries = list(run.summary["variants"].values())
    keys = list(dict.fromkeys(key for entry in entries for key in entry["point"]))
    if len(keys) != 2 or any(len(entry["point"]) != 2 for entry in entries):
        return None
    along, up = ([*dict.fromkeys(repr(entry["point"][key]) for entry in entries)] for key in keys)
    figure, panels = _panels(2, len(run.variants), 1.6 + 0.6 * len(along), 1.4 + 0.35 * len(up), share=False)
    wanted = [("test_accuracy", "median test accuracy"), ("gradient_ratio", "gradient, first / last layer")]
    for row, (measure, label) in zip(panels, wanted, strict=True):
        maps = {variant: np.full((len(up), len(along)), np.nan) for variant in run.variants}
        for entry in entries:
            x, y = (names.index(repr(entry["point"][key])) for names, key in zip((along, up), keys, strict=True))
            seeds = np.array(entry.get(measure, {}).get("values", []), dtype=float)
            if entry["variant"] in maps and np.isfinite(seeds).any():
                maps[entry["variant"]][y, x] = np.nanmedian(seeds)
        values = np.concatenate([table.ravel() for table in maps.values()])
        if measure == "gradient_ratio":
            values = positive(values)
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        scale = (Normalize if measure == "test_accuracy" else LogNorm)(values.min(), values.max())
        for ax, (variant, table) in zip(row, maps.items(), strict=True):
            mesh = ax.pcolormesh(np.arange(len(along)), np.arange(len(up)), table, norm=scale, shading="nearest")
            for y, x in np.ndindex(table.shape):
                if np.isfinite(table[y, x]):
                    dark = table[y, x] > 0.0 and scale(table[y, x]) < 0.6
                    ax.text(x, y, f"{table[y, x]:.2g}", ha="center", va="center", fontsize=8,
                            color="white" if dark else "black")  # fmt: skip
            ax.grid(visible=False)
            ax.set_xticks(range(len(along)), [short(name.strip("'"), 12) for name in along])
            ax.set_yticks(range(len(up)), [short(name.strip("'"), 12) for name in up])
            ax.set_title(short(variant), color=run.colours[variant])
        row[0].set_ylabel(keys[1])
        figure.colorbar(mesh, ax=row.tolist(), label=label, aspect=14)
    for ax in panels[-1]:
        ax.set_xlabel(keys[0])
    white = "; white: diverged" if any(entry["diverged"] for entry in entries) else ""
    figure.suptitle(f"What changes with {keys[0]} and {keys[1]}\n{run.seeds}{white}", fontsize=11)
    return figure


def sigmoid_shape(_: Run | None = None) -> Figure:
    """σ and σ' on (−6, 6), the axes through the origin."""
    x = np.arange(-6.0, 6.0, 0.01)
    y = Sigmoid().forward(x)
    return sigmoid_and_slope(x, y, Sigmoid().derivative(x, y))


def sigmoid_and_slope(x: np.ndarray, y: np.ndarray, slope: np.ndarray) -> Figure:
    """Draw σ and σ' at x, from −6 to 6, the axes through the origin."""
    figure = Figure(figsize=(7.0, 4.2))
    ax = figure.subplots()
    ax.plot(x, y, color=COLOURS["sigmoid"], linewidth=2.5, label="σ(x) = 1 / (1 + e⁻ˣ)")
    ax.plot(x, slope, color=DERIVATIVE, linewidth=2.5, label="σ′(x) = σ(x)·(1 − σ(x))")
    ax.spines[["left", "bottom"]].set_position("zero")
    ax.grid(visible=False)
    ax.set_yticks([0.5, 1.0], ["½", "1"])
    ax.annotate("σ′(0) = ¼", (0.0, 0.25), xytext=(8, 6), textcoords="offset points", color=DERIVATIVE)
    ax.set(xticks=[-6, -4, -2, 2, 4, 6], ylim=(0.0, 1.05))
    ax.set_xlabel("x", loc="right")
    ax.legend(loc="upper left", frameon=False)
    ax.set_title("The sigmoid and its derivative, which is never above ¼")
    return figure


DRAWINGS: dict[str, Callable[[Run], Figure | None]] = {
    "gradient_by_layer": gradient_by_layer,
    "gradient_over_time": gradient_over_time,
    "learning_curves": learning_curves,
    "decision_boundary": decision_boundary,
    "sweep": sweep,
    "sweep_map": sweep_map,
    "sigmoid": sigmoid_shape,
}


# --- shared --------------------------------------------------------------------------------------------------------


def _panels(rows: int, columns: int, width: float, height: float, share: bool = True) -> tuple[Figure, np.ndarray]:
    """Make a grid of panels, each so many inches wide and high, in a figure wide enough for its title."""
    figure = Figure(figsize=(max(6.4, width * columns + 1.2), height * rows + 0.8))
    return figure, figure.subplots(rows, columns, squeeze=False, sharey="row" if share else False)


def _one_panel_each(
    run: Run, found: Collection[str], height: float, x_label: str, y_label: str
) -> tuple[Figure, dict[str, Axes]]:
    """Make a panel an experiment: the variants one after another, or in rows with the sweep's points in columns."""
    rows, columns = len(run.variants), len(run.points)
    if columns == 1:
        rows = -(-len(run.variants) // 3)
        columns = -(-len(run.variants) // rows)
    lines = max(1 + short(name).count("\n") for name in run.variants) + max(
        bool(point) + short(point).count("\n") for point in run.points
    )
    figure, axes = _panels(rows, columns, 3.2, height + 0.2 * max(lines - 2, 0), share=False)
    panels = {}
    for j, point in enumerate(run.points):
        for variant, name, colour in run.at(point):
            i = run.variants.index(variant)
            ax = panels[name] = axes.flat[i] if len(run.points) == 1 else axes[i, j]
            ax.grid(visible=False)
            ax.set_title("\n".join(filter(None, (short(variant), short(point)))), color=colour)
            ax.set_xlabel(x_label)
            ax.set_ylabel(y_label if ax in axes[:, 0] else "")
            if name not in found:
                panels.pop(name).text(0.5, 0.5, "no result", ha="center", transform=ax.transAxes)
    for ax in axes.flat:
        if not ax.get_title():
            ax.remove()
    return figure, panels


def _legend(figure: Figure, run: Run) -> None:
    """Name the variants' colours below the panels."""
    handles = [Line2D([], [], color=run.colours[v], linewidth=2.5, label=short(v)) for v in run.variants]
    longest = max(len(line) for v in run.variants for line in short(v).split("\n"))
    columns = int(figure.get_figwidth() / (0.09 * longest + 0.8))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), frameon=False)


def _label(point: dict[str, Any]) -> str:
    """Name a point of a sweep: ``"depth = 4"``; empty without a sweep."""
    return ", ".join(f"{key.rpartition('.')[2]} = {value}" for key, value in point.items())


def _colours(activations: dict[str, Any]) -> dict[str, str]:
    """Give each activation's first variant that activation's colour, and any other one that is left over."""
    colours: dict[str, str] = {}
    for variant, activation in activations.items():
        wanted = COLOURS.get(activation if isinstance(activation, str) else "", "#000000")
        if wanted not in colours.values():
            colours[variant] = wanted
    free = (colour for colour in COLOURS.values() if colour not in tuple(colours.values()))
    return {variant: colours.get(variant) or next(free, "#000000") for variant in activations}
