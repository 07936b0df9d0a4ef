"""``gradlab predict`` and ``gradlab collect``: what runs have left is used."""

import io
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gradlab.cli.app import app, mistakes_named
from gradlab.cli.report import in_columns, rows_of, terminal_width


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that is done.")],
    table: Annotated[Path, typer.Argument(metavar="CSV", help="A table with the columns that the run was trained on.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to; by default to standard output.")] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Each class's probability, in place of the class.")] = False,
    variant: Annotated[str | None, typer.Option(help="Whose network; needed if the run has several variants.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed's; by default the one of median test accuracy.")] = None,
) -> None:
    """Use a network that a run has trained: a line for each row of a table, prepared as the training data were.

    Columns are matched by name, in any order; data sets without names of their own have x0, x1, and so on. Exits with 2
    for a mistake in the table or the arguments, and 1 if the run is not done or damaged.
    """
    import csv

    from threadpoolctl import threadpool_limits

    from gradlab.files import whole_or_not_at_all

    with mistakes_named(), threadpool_limits(1):  # as the run was trained
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(_predictions(folder, table, proba, variant, seed))
        if out is None:
            print(text.getvalue(), end="")
            return
        with whole_or_not_at_all(out) as file:
            file.write(text.getvalue().encode())


def _predictions(folder: Path, table: Path, proba: bool, variant: str | None, seed: int | None) -> Iterator[list[Any]]:
    """Yield a header, and what the network says of each row."""
    from gradlab.lab.errors import ConfigError
    from gradlab.lab.models import load_models
    from gradlab.lab.store import StoreError
    from gradlab.nn.checks import not_one_of

    if not (folder / "DONE").exists():
        run_first = f"go on with: gradlab run --resume {shlex.quote(str(folder))}"
        known = (folder / "config.toml").exists()
        raise StoreError(folder, f"this run is not done; {run_first}" if known else "this is no folder of a run")
    models = load_models(folder / "model.safetensors")
    if variant is None and len(models) > 1:
        raise ConfigError([f"--variant: missing; the run has {', '.join(models)}"])
    name = next(iter(models)) if variant is None else variant
    if name not in models:
        raise ConfigError([f"--variant: {not_one_of(name, models)}"])
    model = models[name]
    try:
        network = model.trained(seed)
    except ValueError as error:
        raise ConfigError([f"{'--seed' if seed is not None else name}: {error}"]) from None
    try:
        x = model.read(str(table))
    except ValueError as error:
        raise ConfigError([str(error).removeprefix("path: ")]) from None
    if proba:
        yield list(model.classes)
        yield from ([1.0 - p, p] for p in network.predict_proba(x)[:, 0].astype(float).tolist())
    else:
        yield ["class"]
        yield from ([model.classes[int(positive)]] for positive in network.decision_function(x)[:, 0] > 0.0)


@app.command()
def collect(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, done or under way.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the table; by default DIR.")] = None,
) -> None:
    """Gather what runs have found into one table, a line for each experiment and seed, and draw it against each key.

    Writes collected.csv, collected.parquet if pyarrow is installed, and figures. Says which experiments have no result
    yet. Exits with 2 for a mistake in the arguments, and 1 if there is nothing to gather or a file is damaged.
    """
    from gradlab.lab import collect as lab
    from gradlab.lab.errors import ConfigError
    from gradlab.lab.store import StoreError

    with mistakes_named():
        if len({folder.resolve().name for folder in folders}) < len(folders):
            raise ConfigError(["DIR: each needs a name of its own, which tells the runs apart in the table"])
        if out is None and len(folders) > 1:
            raise ConfigError(["--out: missing; name the folder for the table of several runs"])
        out = out or folders[0]
        found = lab.collect([folder.resolve() for folder in folders])
        for folder, names in found.missing.items():
            shown = ", ".join(names[:3]) + ", …" * (len(names) > 3)
            print(f"gradlab: {folder}: {len(names)} without a result yet: {shown}", file=sys.stderr)
        if not found.rows:
            raise StoreError(folders[0], "there is no result yet")
        out.mkdir(parents=True, exist_ok=True)
        files = lab.save_table(found.rows, out)
        for line in in_columns(rows_of(found.entries), terminal_width()):
            print(line)
        files += _drawn(found.entries, out)
        print()
        print(f"{len(found.rows)} lines in {', '.join(map(str, files))}")


def _drawn(entries: dict[str, Any], out: Path) -> list[Path]:
    """Draw the sweeps; what keeps one from being drawn costs no table."""
    from gradlab.lab.figures import draw_sweeps

    try:
        return draw_sweeps(entries, out)
    except (ValueError, RuntimeError) as error:
        print(f"gradlab: {out}: the figures could not be drawn: {error}", file=sys.stderr)
        return []
