"""The command line: it reads arguments, and prints what the laboratory found."""

import io
import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

MEMORY_LIMIT = 8 * 2**30  # bytes
DONE, FAILED, USAGE, CLAIM_FAILED, INTERRUPTED = 0, 1, 2, 3, 130  # exit codes

app = typer.Typer(
    help="Train small networks, and see where the gradient goes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run_app() -> None:
    """Run the command line; exit with its code."""
    try:
        app()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # the reader of our output went away, which is no mistake
            print(f"gradlab: {_reason(error)}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more can be written there
        sys.exit(FAILED)


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)


def _version(wanted: bool) -> None:
    if wanted:
        from gradlab import __version__

        print(f"gradlab {__version__}")
        raise typer.Exit


@app.callback()
def _gradlab(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train small networks, and see where the gradient goes."""


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="A TOML file, such as configs/sigmoid_vs_relu.toml.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Override a key: network.depth=8. Repeatable.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, in place of the file's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; by default a new one in runs/.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with the run in this folder, in place of a CONFIG.")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(metavar="N", help="Keep the state every N epochs; by default every 10 seconds.")
    ] = None,
    workers: Annotated[
        str, typer.Option(metavar="N", help="Processes to run on, or tcp://HOST:PORT of a Dask cluster.")
    ] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no messages.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
) -> None:
    """Train the networks of a configuration, test its claims, and keep the results.

    Whatever ends it, it goes on where it was when started again, to the same numbers; so it does with --resume DIR.
    Exits with 0 if all went well, 1 if training diverged, a file could not be written or read, or another process is
    writing the folder, 2 for a mistake in the configuration, 3 if a claim does not hold, 130 if interrupted.
    """
    from gradlab.lab.config import ConfigError, load_config

    with _mistakes_named():
        n_processes = _count(workers)
        if checkpoint_every is not None and checkpoint_every < 1:
            raise ConfigError([f"--checkpoint-every: {checkpoint_every} is not a whole number of at least 1"])
        if resume is not None:
            given = {"CONFIG": config, "--set": set_, "--seeds": seeds, "--out": out}
            _check_resume(resume, [name for name, value in given.items() if value is not None])
            if (resume / "DONE").exists():
                if not quiet:
                    print(f"gradlab: {resume}: this run is done; nothing was trained", file=sys.stderr)
                raise typer.Exit(_show_again(resume, as_json))
            config = resume / "config.toml"
        elif config is None:
            raise ConfigError(["CONFIG: missing; name a TOML file, such as one in configs/, or --resume DIR"])
        from gradlab.lab.runs import free_folder, unfinished

        plan = load_config(config, set_ or [], seeds)
        _check_out(out, plan)
        sizes = _sizes(plan, config, n_processes)
        if dry_run:
            _print_plan(plan, sizes, n_processes)
            return
        with _opened(workers) as crew:
            data = _load_all(plan, config)
            path = resume or out or unfinished(config.stem, plan) or free_folder(config.stem)
            if not quiet:
                _say_what_is_left_out(plan, sizes)
            code = _run(plan, data, path, crew, checkpoint_every, as_json, quiet)
    raise typer.Exit(code)


@contextmanager
def _mistakes_named() -> Iterator[None]:
    """Exit with 2 and a line for each mistake in the configuration, 1 for a file at fault, and 130 if interrupted."""
    from gradlab.lab.config import ConfigError
    from gradlab.lab.store import StoreError

    try:
        yield
    except ConfigError as error:
        for line in error.problems:
            print(f"gradlab: {line}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
    except StoreError as error:
        print(f"gradlab: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        print("gradlab: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _check_out(out: Path | None, plan: Any) -> None:
    """Refuse a folder that holds something else than this run, before anything is trained for it."""
    from gradlab.lab.config import ConfigError
    from gradlab.lab.runs import is_taken

    try:
        taken = out is not None and is_taken(out, plan)
    except OSError as error:
        raise ConfigError([f"--out {out}: {error.strerror}"]) from None
    if taken:
        raise ConfigError([f"--out {out}: it exists and is not an empty folder; name a new one"])


def _check_resume(folder: Path, given: Sequence[str]) -> None:
    """Refuse what cannot be gone on with, and whatever would make another run of it."""
    from gradlab.lab.config import ConfigError
    from gradlab.lab.runs import other_version

    problems = [f"{name}: not together with --resume, which goes on as it was begun" for name in given]
    if not problems and not (folder / "config.toml").exists():
        problems.append(f"--resume {folder}: there is no config.toml in it, so it is no run")
    elif not problems and (reason := other_version(folder)):
        problems.append(f"--resume {folder}: {reason}")
    if problems:
        raise ConfigError(problems)


@contextmanager
def _opened(workers: str) -> Iterator[Any]:
    """Open the workers, or say what is missing for it."""
    from gradlab.lab import executors
    from gradlab.lab.config import ConfigError

    with ExitStack() as stack:
        try:
            crew = stack.enter_context(executors.workers(workers))
        except ValueError as error:
            raise ConfigError([f"--workers: {error}"]) from None
        yield crew


def _count(workers: str) -> int:
    """Return how many processes of this machine are asked for; 0 for a cluster."""
    from gradlab.lab import executors
    from gradlab.lab.config import ConfigError

    try:
        return executors.count(workers)
    except ValueError as error:
        raise ConfigError([f"--workers: {error}"]) from None


def _sizes(plan: Any, source: Path, n_processes: int = 1) -> list[Any]:
    """Estimate every experiment; refuse what would not fit."""
    from gradlab.lab.config import ConfigError
    from gradlab.lab.experiment import estimate

    sizes = []
    for experiment in plan.experiments:
        try:
            sizes.append(estimate(experiment))
        except ValueError as error:
            raise ConfigError([f"{source}: data.{error}"]) from None
        if sizes[-1].bytes > MEMORY_LIMIT:
            raise ConfigError(
                [
                    f"{source}: variant {experiment.name} would take {_bytes(sizes[-1].bytes)} of memory, "
                    f"more than the {_bytes(MEMORY_LIMIT)} allowed; lower seeds, network.width, network.depth, "
                    'training.batch_size or data.n_samples, or set network.dtype = "float32"'
                ]
            )
    if (together := _at_a_time(sizes, n_processes)) > MEMORY_LIMIT:
        raise ConfigError(
            [
                f"--workers: {n_processes} of these experiments would take {_bytes(together)} of memory together, more "
                f"than the {_bytes(MEMORY_LIMIT)} allowed; lower it"
            ]
        )
    return sizes


def _at_a_time(sizes: Sequence[Any], n_processes: int) -> int:
    """Return the bytes of memory that so many processes may need together; 0 for a cluster, one of whose this is."""
    return sum(sorted((size.bytes for size in sizes), reverse=True)[: n_processes or 1])


def _load_all(plan: Any, source: Path) -> list[Any]:
    """Load the data of every experiment, the same data once."""
    from gradlab.lab.config import ConfigError
    from gradlab.lab.experiment import load_data

    loaded: dict[Any, Any] = {}
    for experiment in plan.experiments:
        key = repr(experiment.data), bool(experiment.training.patience)
        if key not in loaded:
            try:
                loaded[key] = load_data(experiment)
            except ValueError as error:
                raise ConfigError([f"{source}: data.{error}"]) from None
    return [loaded[repr(e.data), bool(e.training.patience)] for e in plan.experiments]


def _print_plan(plan: Any, sizes: Sequence[Any], n_processes: int) -> None:
    """Print the resolved configuration, and what running it would take."""
    import tomli_w

    networks = sum(len(e.seeds) for e in plan.experiments)
    print(tomli_w.dumps(plan.resolved))
    for experiment, size in zip(plan.experiments, sizes, strict=True):
        count = f"{len(experiment.seeds)} networks of {size.parameters} parameters"
        print(f"# {experiment.name}: {count}, {_bytes(size.bytes)} of memory, {_bytes(size.kept)} on disk")
        if size.recording.thinned:
            print(f"#   {size.recording.thinned}")
    print(
        f"# in all: {networks} networks, at most {_bytes(_at_a_time(sizes, n_processes))} of memory at a time, "
        f"{_bytes(sum(size.kept for size in sizes))} on disk, without figures"
    )


def _say_what_is_left_out(plan: Any, sizes: Sequence[Any]) -> None:
    """Say for each experiment whether less of it is recorded than was asked for."""
    for experiment, size in zip(plan.experiments, sizes, strict=True):
        if size.recording.thinned:
            print(f"gradlab: {experiment.name}: {size.recording.thinned}", file=sys.stderr)


def _bytes(n: int) -> str:
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.1f} MiB"


def _run(
    plan: Any, data: Sequence[Any], path: Path, crew: Any, checkpoint_every: int | None, as_json: bool, quiet: bool
) -> int:
    """Train and keep, then print, then draw; return the exit code."""
    from gradlab.lab.runs import RunFolder

    with RunFolder(path, plan) as folder:
        if folder.begun and not quiet:
            print(f"gradlab: going on with the unfinished run in {path}", file=sys.stderr)
        try:
            found = _train(plan, data, folder, crew, checkpoint_every, quiet)
            results = [found.results[e.name] for e in plan.experiments if e.name in found.results]
            summary = folder.finish(results, _judge(plan, results))
            code = _show(summary, as_json)
            if not found.interrupted:
                _draw(path)
                if not found.failures:
                    folder.done()
                    return code
                for name, error in found.failures.items():
                    print(f"gradlab: {name}: {_named(error)}", file=sys.stderr)
                return FAILED
        except KeyboardInterrupt:
            pass
    on = shlex.quote(str(path))
    print(
        f"gradlab: interrupted; what was recorded is in {path}; go on with: gradlab run --resume {on}", file=sys.stderr
    )
    return INTERRUPTED


def _show(summary: dict[str, Any], as_json: bool) -> int:
    """Print what a run found; return its exit code."""
    if as_json:
        print(json.dumps(summary, allow_nan=False))
    else:
        for line in _report(summary, _terminal_width()):
            print(line)
    sys.stdout.flush()
    diverged = {name: v["diverged"] for name, v in summary["variants"].items() if v["diverged"]}
    for name, reason in diverged.items():
        print(f"gradlab: {name}: {reason}", file=sys.stderr)
    if diverged:
        return FAILED
    return DONE if all(e["holds"] for e in summary["expectations"]) else CLAIM_FAILED


def _show_again(folder: Path, as_json: bool) -> int:
    """Print what a run that is done found; return the code that it exited with."""
    from gradlab.lab.runs import read_summary
    from gradlab.lab.store import StoreError

    try:
        return _show(read_summary(folder), as_json)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(folder / "summary.json", "it is not a summary of ours") from None


def _named(error: BaseException) -> str:
    """Say why an experiment has no result, in a line."""
    from gradlab.lab.store import StoreError
    from gradlab.lab.sweep import WorkerDiedError

    if isinstance(error, OSError):
        return _reason(error)
    text = next(iter(str(error).splitlines()), "")
    return text if isinstance(error, StoreError | WorkerDiedError) else f"{type(error).__name__}: {text}"


def _train(plan: Any, data: Sequence[Any], folder: Any, crew: Any, checkpoint_every: int | None, quiet: bool) -> Any:
    """Carry out the experiments, until the end or an interrupt."""
    from threadpoolctl import threadpool_limits

    from gradlab.lab.sweep import carry_out_all

    with threadpool_limits(1), _progress(plan, data, crew, quiet) as bar:  # products this small are slower in threads

        def on_epoch(experiment: Any, epoch: int, seeds: Sequence[int], numbers: Any) -> None:
            folder.epoch(experiment, epoch, seeds, numbers)
            bar.set_description_str(experiment.name, refresh=False)
            bar.update(epoch > 0)

        def on_done(name: str) -> None:
            if not crew.here:
                bar.update(1)

        return carry_out_all(plan.experiments, data, folder.path, crew, checkpoint_every, on_epoch, on_done)


def _judge(plan: Any, results: Sequence[Any]) -> list[Any]:
    """Hold every claim against the results that it is about."""
    from gradlab.lab.experiment import judge

    done = {result.experiment.name: result for result in results}
    about = [(e, x.name) for e in plan.expectations for x in plan.expected_of(e)]
    return [judge(expectation, done[name]) for expectation, name in about if name in done]


def _draw(folder: Path) -> None:
    """Draw the figures; what keeps one from being drawn costs no result."""
    from gradlab.lab.figures import draw

    try:
        draw(folder)
    except (ValueError, RuntimeError) as error:
        print(f"gradlab: {folder}: the figures could not be drawn: {error}", file=sys.stderr)


def _progress(plan: Any, data: Sequence[Any], crew: Any, quiet: bool) -> Any:
    """Show a bar over the epochs of all experiments, or, if they run elsewhere, over these; silent off a terminal."""
    from tqdm import tqdm

    from gradlab.lab.experiment import replicas_at_once

    def groups(experiment: Any, dataset: Any) -> int:
        return -(-len(experiment.seeds) // replicas_at_once(experiment, *dataset.x_train.shape))

    total, unit = len(plan.experiments), "run"
    if crew.here:
        total, unit = (
            sum(e.training.epochs * groups(e, d) for e, d in zip(plan.experiments, data, strict=True)),
            "epoch",
        )
    return tqdm(total=total, disable=True if quiet else None, unit=unit, dynamic_ncols=True, leave=False)


# --- printing ------------------------------------------------------------------------------------------------------


def _terminal_width() -> int | None:
    """Return the width of the terminal; None where the output is no terminal, and may be as wide as it is."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _report(summary: dict[str, Any], width: int | None) -> Iterator[str]:
    """Yield the lines that say what a run found."""
    n = max((len(v["seeds"]) for v in summary["variants"].values()), default=0)
    yield f"{summary['title']} ({n} seed{'s' * (n != 1)}{'; means with 95 % intervals' if n > 1 else ': no intervals'})"
    yield ""
    yield from _table(_rows_of(summary["variants"]), width)
    yield ""
    for name, v in summary["variants"].items():
        if v["underflow"] > 0.0:
            yield f"note: {name}: gradients underflow; up to {v['underflow']:.1%} of a layer's are subnormal numbers"
    if summary["expectations"]:
        for e in summary["expectations"]:
            measured = "nothing" if e["measured"] is None else f"{e['measured']:.4g}"
            yield f"{'HOLDS' if e['holds'] else 'FAILS'}  {e['variant']}: expected {e['bound']}, measured {measured}"
        yield ""
    yield f"results and figures: {summary['run_dir']}"


def _rows_of(variants: dict[str, Any]) -> list[list[str]]:
    """Return a header, and a row for each experiment."""
    header = ["variant", "test accuracy", "final loss", "gradient first/last layer", "at the end", "seconds"]
    return [header] + [
        [
            name,
            _with_interval(v.get("test_accuracy"), ".3f"),
            _with_interval(v.get("train_loss"), ".4f"),
            _median(v.get("gradient_ratio")),
            _median(v.get("final_gradient_ratio")),
            f"{v['seconds']:.1f}",
        ]
        for name, v in variants.items()
    ]


def _table(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
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

    with _mistakes_named(), threadpool_limits(1):  # as the run was trained
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(_predictions(folder, table, proba, variant, seed))
        if out is None:
            print(text.getvalue(), end="")
            return
        with whole_or_not_at_all(out) as file:
            file.write(text.getvalue().encode())


def _predictions(folder: Path, table: Path, proba: bool, variant: str | None, seed: int | None) -> Iterator[list[Any]]:
    """Yield a header, and what the network says of each row."""
    from gradlab.lab.config import ConfigError
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
    from gradlab.lab.config import ConfigError
    from gradlab.lab.store import StoreError

    with _mistakes_named():
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
        for line in _table(_rows_of(found.entries), _terminal_width()):
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


@app.command()
def diagnose(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A TOML file; each of its experiments is looked at.")
    ],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Override a key: network.depth=8. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Train a moment, and say what keeps a network from learning, and what to change.

    Looks at the first seed of every experiment. Exits with 0 whatever is found, 2 for a mistake in the configuration.
    """
    from gradlab.lab.config import load_config

    with _mistakes_named():
        plan = load_config(config, set_ or [], None)
        _sizes(plan, config)
        found = dict(_diagnoses(plan, _load_all(plan, config)))
    if as_json:
        from dataclasses import asdict

        print(json.dumps({name: [asdict(finding) for finding in d.findings] for name, d in found.items()}))
        return
    for name, diagnosis in found.items():
        print(f"{name}\n{textwrap.indent(str(diagnosis), '  ')}")


def _diagnoses(plan: Any, data: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Diagnose the first seed of each experiment."""
    from threadpoolctl import threadpool_limits

    from gradlab.flow import diagnose
    from gradlab.lab.experiment import build_loss, build_network, build_optimizer

    with threadpool_limits(1):
        for experiment, dataset in zip(plan.experiments, data, strict=True):
            network = build_network(experiment.network, dataset, experiment.seeds[0])
            yield (
                experiment.name,
                diagnose(
                    network,
                    dataset.x_train,
                    dataset.y_train,
                    loss=build_loss(experiment.training),
                    optimizer=build_optimizer(experiment.training, network),
                    batch_size=experiment.training.batch_size,
                ),
            )


XOR = """
network.width = 2
training.learning_rate = 0.5
training.batch_size = 4
"""  # what is explained where no CONFIG is named
FORMATS = ("text", "markdown", "html", "json")
StepConfig = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="A TOML file; its first experiment. Without it, a 2-2-1 net on XOR."),
]
StepOverrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="K=V", help="Override a key: network.width=2. Repeatable.")
]
StepSamples = Annotated[
    list[int] | None,
    typer.Option(metavar="N", help="A row to make the batch of, counted from 0. Repeatable; by default the batch."),
]
StepIndex = Annotated[int, typer.Option(metavar="K", help="Train K steps first.")]


@app.command()
def explain(
    config: StepConfig = None,
    set_: StepOverrides = None,
    sample: StepSamples = None,
    format_: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="How to write it.")] = "text",
    precision: Annotated[int, typer.Option(help="Significant digits; json has all.")] = 4,
    step: StepIndex = 0,
) -> None:
    """Work one training step like a lecture: every rule in symbols, in numbers, and against a central difference.

    Looks at the first seed of the first experiment. Exits with 0 whatever the comparison shows, 1 if training diverged,
    2 for a mistake in the arguments or the configuration.
    """
    from gradlab.lab.config import ConfigError
    from gradlab.learn import trace
    from gradlab.nn.checks import not_one_of

    with _mistakes_in_a_step():
        if format_ not in FORMATS:
            raise ConfigError([f"--format: {not_one_of(format_, FORMATS)}"])
        trace.check_precision(precision)
        arguments, update = _next_step(config, set_ or [], sample, step)
        explanation = trace.explain(**arguments, **update, precision=precision)
    if format_ == "text":
        _print_in_utf_8(explanation.text(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    else:
        _print_in_utf_8(getattr(explanation, format_)())


@app.command()
def diagram(
    config: StepConfig = None,
    set_: StepOverrides = None,
    sample: StepSamples = None,
    step: StepIndex = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it; by default to the output.")
    ] = None,
) -> None:
    """Draw the network in one training step, as SVG: activations, deltas and weights by colour and width.

    Looks at the first seed of the first experiment, and shows the sample whose loss has the largest slope. Exits with 1
    if training diverged or the file could not be written, 2 for a mistake in the arguments or the configuration.
    """
    from gradlab import learn
    from gradlab.files import whole_or_not_at_all
    from gradlab.lab.config import ConfigError

    with _mistakes_in_a_step():
        if out is not None and (out.is_dir() or not out.parent.is_dir()):
            raise ConfigError([f"--out {out}: it is a folder, or in a folder that does not exist; name a file"])
        arguments, _ = _next_step(config, set_ or [], sample, step)
        drawing = learn.diagram(**arguments).svg
    if out is None:
        _print_in_utf_8(drawing.rstrip("\n"))
        return
    with whole_or_not_at_all(out) as file:
        file.write(drawing.encode())


@contextmanager
def _mistakes_in_a_step() -> Iterator[None]:
    """Compute as `run` trains; exit with 2 and a line for a mistake, and with 1 where training diverges."""
    from threadpoolctl import threadpool_limits

    from gradlab.lab.config import ConfigError
    from gradlab.nn.training import DivergenceError

    with _mistakes_named():
        try:
            with threadpool_limits(1):
                yield
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError([str(error)]) from None
        except DivergenceError as error:
            print(f"gradlab: {error}", file=sys.stderr)
            raise typer.Exit(FAILED) from None


def _print_in_utf_8(text: str) -> None:
    """Print what says of itself that it is UTF-8; σ has no place in some other encodings."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text)


def _next_step(
    config: Path | None, overrides: Sequence[str], samples: Any, index: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train `index` steps, as `run` would; return the network, loss and batch of the next, and what updates it."""
    import numpy as np

    from gradlab.lab.config import ConfigError, config_of, load_config
    from gradlab.lab.experiment import build_loss, build_network, build_optimizer, build_schedule
    from gradlab.nn.checks import whole

    whole("--step", index, 0)
    if config is None:
        on_data = [override for override in overrides if override.strip().startswith("data")]
        if on_data:
            raise ConfigError([f"--set {on_data[0]}: without a CONFIG the data are XOR; name one"])
        plan = config_of(XOR, "XOR", overrides)
        data: Any = SimpleNamespace(
            x_train=np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), y_train=np.array([0.0, 1.0, 1.0, 0.0])
        )
    else:
        plan = load_config(config, overrides, None)
        plan = plan.model_copy(update={"experiments": plan.experiments[:1]})
        _sizes(plan, config)
        [data] = _load_all(plan, config)
    [experiment] = plan.experiments
    x, y, training = data.x_train, data.y_train, experiment.training
    network, loss = build_network(experiment.network, data, experiment.seeds[0]), build_loss(training)
    optimizer = build_optimizer(training, network)
    penalties = {"l1": training.l1, "l2": training.l2, "clip_norm": training.clip_norm}
    schedule = build_schedule(training)
    batch = _train_up_to(index, network, loss, optimizer, x, y, training.batch_size, schedule, penalties)
    rows = batch if samples is None else samples
    arguments = {"network": network, "loss": loss, "x": x, "y": y, "samples": rows}
    return arguments, {"optimizer": optimizer, **penalties}


def _train_up_to(
    index: int, network: Any, loss: Any, optimizer: Any, x: Any, y: Any, batch_size: int, schedule: Any, penalties: Any
) -> list[int]:
    """Take the steps before step `index`; set its learning rate, and return the rows of its batch.

    A batch of all rows takes them in order; smaller ones are those that `train` would draw.
    """
    import numpy as np

    from gradlab.nn import train

    n = len(x)
    size = min(batch_size, n)
    steps_an_epoch = -(-n // size)
    epoch, batch = divmod(index, steps_an_epoch)
    rng, order = np.random.default_rng([0, network.seeds[0]]), np.arange(n)

    def next_order(_: Any = None) -> Any:
        nonlocal order
        order = rng.permutation(n)
        return order

    if index:
        options = {"epochs": epoch + 1, "batch_size": size, "schedule": schedule, "shuffle": next_order}
        steps = train(network, loss, optimizer, x, y, **options, **penalties)
        for _ in range(index):
            next(steps)
        steps.close()  # type: ignore[attr-defined]  # a generator: it gives the optimizer its first learning rate back
    if not batch:
        next_order()
    start, stop = batch * size, min((batch + 1) * size, n)
    if schedule is not None:
        optimizer.learning_rate *= schedule(epoch + (start + stop) / 2 / n)
    return list(range(n)) if size == n else order[start:stop].tolist()


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(metavar="WHAT", help="Which list; without it, all of them.")] = None,
) -> None:
    """List what a configuration can name: datasets, activations, initializers, optimizers, losses, and so on."""
    from gradlab.datasets import DATASETS
    from gradlab.lab import config
    from gradlab.nn.activations import ACTIVATIONS
    from gradlab.nn.checks import not_one_of
    from gradlab.nn.initializers import INITIALIZERS

    def options(names: Sequence[str]) -> str:
        return f"takes {', '.join(names)}" if names else ""

    lists: dict[str, dict[str, str]] = {
        "datasets": {name: spec.description for name, spec in DATASETS.items()},
        "activations": {name: _first_line(activation) for name, activation in ACTIVATIONS.items()},
        "initializers": {name: _first_line(initializer) for name, initializer in INITIALIZERS.items()},
        "optimizers": {name: options(names) for name, names in config.OPTIMIZER_OPTIONS.items()},
        "losses": config.CONFIG_LOSSES,
        "schedules": {name: options(names) for name, names in config.SCHEDULE_OPTIONS.items()},
        "measures": config.MEASURES,
    }
    if what is not None and what not in lists:
        print(f"gradlab: list: {not_one_of(what, lists)}", file=sys.stderr)
        raise typer.Exit(USAGE)
    for heading in [what] if what else lists:
        if what is None:
            print(f"{heading}:")
        longest = max(map(len, lists[heading]))
        for name, description in lists[heading].items():
            print(f"  {name.ljust(longest)}  {description}".rstrip())


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


# --- learning ------------------------------------------------------------------------------------------------------


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:NAME", help="What to check; arguments may follow: layers.py:Scale(3, gain=2.0)."
        ),
    ],
    like: Annotated[
        str,
        typer.Option(metavar="NAME", help="Whose steps an optimizer should take; by default told from its settings."),
    ] = "",
    seconds: Annotated[float, typer.Option(help="Time after which it counts as an endless loop.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Check a layer, activation, loss or optimizer that you wrote: what is wrong, by how much, and which mistake it is.

    The file runs in a process of its own. Exits with 0 if it is right, 1 if it is wrong, 2 if it cannot be checked.
    """
    from gradlab.learn.check import check_file

    _judge_file(lambda: check_file(target, like, _positive("--seconds", seconds)), as_json)


def _positive(option: str, value: float) -> float:
    from gradlab.learn.apart import UnusableFileError
    from gradlab.nn.checks import real

    try:
        return real(option, value, 0.0, 3600.0, above=True)
    except ValueError as error:
        raise UnusableFileError(str(error)) from None


def _judge_file(judge: Callable[[], Any], as_json: bool = False) -> Any:
    """Print the verdict on somebody's file, and exit with its code; return it if it is right."""
    from gradlab.learn.apart import UnusableFileError

    with _mistakes_named():
        try:
            verdict = judge()
        except UnusableFileError as error:
            print(f"gradlab: {error}", file=sys.stderr)
            raise typer.Exit(USAGE) from None
    if as_json:
        from dataclasses import asdict

        _print_in_utf_8(json.dumps(asdict(verdict), ensure_ascii=False))
    else:
        _print_in_utf_8(str(verdict))
    if not verdict:
        raise typer.Exit(FAILED)
    return verdict


exercise = typer.Typer(
    help="Twelve exercises in backpropagation, and a check that knows the mistake.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(exercise, name="exercise")


@exercise.command("list")
def exercise_list() -> None:
    """List the exercises in their order, and which of them you have solved."""
    from gradlab.learn.workbook import exercises, solved

    days = {}
    try:
        days = solved()
    except ValueError as error:
        print(f"gradlab: {error}", file=sys.stderr)
    every = exercises()
    longest = max(len(e.name) for e in every)
    for e in every:
        print(f"{'solved' if e.name in days else '':6}  {e.name.ljust(longest)}  {e.title}".rstrip())
    following = next((e.name for e in every if e.name not in days), None)
    print(
        f"\n{len(days)} of {len(every)} solved" + (f"; next: gradlab exercise start {following}" if following else "")
    )


@exercise.command("start")
def exercise_start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One that `gradlab exercise list` names.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; by default NAME.py here.")] = None,
) -> None:
    """Write a file with the task, what to derive, and functions to fill in."""
    from gradlab.learn.workbook import start

    path = out or Path(f"{name}.py")
    with _told_as_usage():
        start(name, path)
    print(f"{path}: read it, fill in what is missing, then: gradlab exercise check {path}")


@exercise.command("check")
def exercise_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `gradlab exercise start` wrote.")],
    seconds: Annotated[float, typer.Option(help="Time after which it counts as an endless loop.")] = 10.0,
) -> None:
    """Say whether an answer is right, or what is wrong with it, with the numbers, but not the solution.

    The file runs in a process of its own. Exits with 0 if it is right, 1 if it is wrong, 2 if it cannot be checked.
    """
    from gradlab.learn.exercises import EXERCISES
    from gradlab.learn.grading import grade_file
    from gradlab.learn.workbook import exercise_of, note_solved, solved

    with _told_as_usage():
        name = exercise_of(file)
    _judge_file(lambda: grade_file(str(file), name, _positive("--seconds", seconds)))
    try:
        note_solved(name)
        following = next((other for other in EXERCISES if other not in solved()), None)
    except (ValueError, OSError) as error:
        print(f"gradlab: that it is solved could not be kept: {error}", file=sys.stderr)
        return
    if following:
        print(f"next: gradlab exercise start {following}")


@exercise.command("solution")
def exercise_solution(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One that `gradlab exercise list` names.")],
) -> None:
    """Print our solution, with the derivation."""
    from gradlab.learn.workbook import solution_text

    with _told_as_usage():
        text = solution_text(name)
    _print_in_utf_8(text.rstrip())


@contextmanager
def _told_as_usage() -> Iterator[None]:
    """Exit with 2 for a name that there is not, or a file that cannot be used."""
    try:
        yield
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        print(f"gradlab: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
