"""``gradlab run``: from a configuration to a folder of results, again and again until it is done."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gradlab.cli.app import CLAIM_FAILED, DONE, FAILED, INTERRUPTED, app, mistakes_named, reason_of
from gradlab.cli.configuration import bytes_at_a_time, in_bytes, load_all, sizes_of
from gradlab.cli.report import report, terminal_width


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
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads of the compiled engine; by default all cores, or 1 for each worker."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no messages.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
) -> None:
    """Train the networks of a configuration, test its claims, and keep the results.

    Whatever ends it, it goes on where it was when started again, to the same numbers; so it does with --resume DIR.
    Exits with 0 if all went well, 1 if training diverged, a file could not be written or read, or another process is
    writing the folder, 2 for a mistake in the configuration, 3 if a claim does not hold, 130 if interrupted.
    """
    from gradlab.lab.config import load_config
    from gradlab.lab.errors import ConfigError

    with mistakes_named():
        n_processes = _count(workers)
        for option, given in (("--checkpoint-every", checkpoint_every), ("--threads", threads)):
            if given is not None and given < 1:
                raise ConfigError([f"{option}: {given} is not a whole number of at least 1"])
        state = None
        if resume is not None:
            others = {"CONFIG": config, "--set": set_, "--seeds": seeds, "--out": out}
            state = _to_resume(resume, [name for name, value in others.items() if value is not None])
            if state.is_done:
                if not quiet:
                    print(f"gradlab: {resume}: this run is done; nothing was trained", file=sys.stderr)
                raise typer.Exit(_show_again(resume, as_json))
            config = resume / "config.toml"
        elif config is None:
            raise ConfigError(["CONFIG: missing; name a TOML file, such as one in configs/, or --resume DIR"])
        configuration = load_config(config, set_ or [], seeds)
        state = state or _to_write(out, configuration, config.stem)
        configuration, remarks = _settled(state, configuration, config)
        sizes = sizes_of(configuration, config, n_processes)
        if not quiet:
            for remark in remarks:
                print(f"gradlab: {remark}", file=sys.stderr)
        if dry_run:
            _print_dry_run(configuration, sizes, n_processes, as_json)
            return
        with _opened(workers) as crew:
            data = load_all(configuration, config)
            if not quiet:
                _say_what_is_left_out(configuration, sizes)
            threads = threads or (None if crew.in_this_process else 1)
            code = _run(configuration, data, state.path, crew, checkpoint_every, threads, as_json, quiet)
    raise typer.Exit(code)


def _to_resume(folder: Path, given: Sequence[str]) -> Any:
    """Look at the folder to go on with; refuse what is no run, and whatever would make another run of it."""
    from gradlab.lab.errors import ConfigError
    from gradlab.lab.examine import examine

    problems = [f"{name}: not together with --resume, which goes on as it was begun" for name in given]
    if problems:
        raise ConfigError(problems)
    state = examine(folder)
    if not state.is_run:
        raise ConfigError([f"--resume {folder}: there is no config.toml in it, so it is no run"])
    if reason := state.other_version():
        raise ConfigError([f"--resume {folder}: {reason}"])
    return state


def _to_write(out: Path | None, configuration: Any, stem: str) -> Any:
    """Look at the folder to write; refuse one that holds something else than this run, before anything is trained."""
    from gradlab.lab.errors import ConfigError
    from gradlab.lab.examine import examine, free_folder, newest_unfinished

    if out is None:
        return newest_unfinished(stem, configuration) or examine(free_folder(stem))
    try:
        state = examine(out)
        is_open = state.is_open_to(configuration)
    except OSError as error:
        raise ConfigError([f"--out {out}: {error.strerror}"]) from None
    if not is_open:
        raise ConfigError([f"--out {out}: it exists and is not an empty folder; name a new one"])
    return state


def _settled(state: Any, configuration: Any, source: Path) -> Any:
    """Settle the engine of each experiment, or say why the one that is asked for cannot be used."""
    from gradlab.lab.errors import ConfigError
    from gradlab.training.engines import EngineError

    try:
        return state.settled(configuration)
    except EngineError as error:
        raise ConfigError([f"{source}: training.{error}"]) from None


@contextmanager
def _opened(workers: str) -> Iterator[Any]:
    """Open the workers, or say what is missing for it."""
    from gradlab.lab import executors
    from gradlab.lab.errors import ConfigError

    with ExitStack() as stack:
        try:
            crew = stack.enter_context(executors.workers(workers))
        except ValueError as error:
            raise ConfigError([f"--workers: {error}"]) from None
        yield crew


def _count(workers: str) -> int:
    """Return how many processes of this machine are asked for; 0 for a cluster."""
    from gradlab.lab import executors
    from gradlab.lab.errors import ConfigError

    try:
        return executors.count(workers)
    except ValueError as error:
        raise ConfigError([f"--workers: {error}"]) from None


def _print_dry_run(configuration: Any, sizes: Sequence[Any], n_processes: int, as_json: bool) -> None:
    """Print the resolved configuration, and what running it would take."""
    import tomli_w

    rows = [
        {
            "name": experiment.name,
            "engine": experiment.training.engine,
            "networks": len(experiment.seeds),
            "parameters": size.parameters,
            "bytes_of_memory": size.memory,
            "bytes_on_disk": size.disk,
            "thinned": size.recorded_steps.thinned,
        }
        for experiment, size in zip(configuration.experiments, sizes, strict=True)
    ]
    whole = {
        "networks": sum(row["networks"] for row in rows),
        "bytes_of_memory": bytes_at_a_time(sizes, n_processes),
        "bytes_on_disk": sum(row["bytes_on_disk"] for row in rows),
    }
    if as_json:
        print(json.dumps({"config": configuration.resolved, "experiments": rows, **whole}))
        return
    print(tomli_w.dumps(configuration.resolved))
    for row in rows:
        print(
            f"# {row['name']}: {row['networks']} networks of {row['parameters']} parameters, {row['engine']} engine, "
            f"{in_bytes(row['bytes_of_memory'])} of memory, {in_bytes(row['bytes_on_disk'])} on disk"
        )
        if row["thinned"]:
            print(f"#   {row['thinned']}")
    print(
        f"# in all: {whole['networks']} networks, at most {in_bytes(whole['bytes_of_memory'])} of memory at a time, "
        f"{in_bytes(whole['bytes_on_disk'])} on disk, without figures"
    )


def _say_what_is_left_out(configuration: Any, sizes: Sequence[Any]) -> None:
    """Say for each experiment whether less of it is recorded than was asked for."""
    for experiment, size in zip(configuration.experiments, sizes, strict=True):
        if size.recorded_steps.thinned:
            print(f"gradlab: {experiment.name}: {size.recorded_steps.thinned}", file=sys.stderr)


def _run(
    configuration: Any,
    data: Sequence[Any],
    path: Path,
    crew: Any,
    checkpoint_every: int | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train and keep, then print, then draw; return the exit code."""
    from gradlab.lab.run_folder import RunFolder

    with RunFolder(path, configuration, threads) as folder:
        if folder.begun and not quiet:
            print(f"gradlab: going on with the unfinished run in {path}", file=sys.stderr)
        try:
            found = _train(configuration, data, folder, crew, checkpoint_every, threads, quiet)
            results = [found.results[e.name] for e in configuration.experiments if e.name in found.results]
            for name, error in found.failures.items():
                print(f"gradlab: {name}: {_named(error)}", file=sys.stderr)
            summary = folder.finish(results, _judge(configuration, results))
            code = _show(summary, as_json) if results or as_json else FAILED
            if not found.interrupted:
                if results:
                    _draw(path)
                if not found.failures:
                    folder.done()
                    return code
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
        for line in report(summary, terminal_width()):
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
    from gradlab.lab.run_folder import read_summary
    from gradlab.lab.store import StoreError

    try:
        return _show(read_summary(folder), as_json)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(folder / "summary.json", "it is not a summary that gradlab wrote") from None


def _named(error: BaseException) -> str:
    """Say why an experiment has no result, in a line."""
    from gradlab.lab.store import StoreError
    from gradlab.lab.tasks import WorkerDiedError

    if isinstance(error, OSError):
        return reason_of(error)
    text = next(iter(str(error).splitlines()), "")
    return text if isinstance(error, StoreError | WorkerDiedError) else f"{type(error).__name__}: {text}"


def _train(
    configuration: Any,
    data: Sequence[Any],
    folder: Any,
    crew: Any,
    checkpoint_every: int | None,
    threads: int | None,
    quiet: bool,
) -> Any:
    """Carry out the experiments, until the end or an interrupt."""
    from threadpoolctl import threadpool_limits

    from gradlab.lab.sweep import carry_out_all

    _fill_cache(configuration)
    with (
        threadpool_limits(1),
        _progress(configuration, data, crew, quiet) as bar,
    ):  # products this small are slower in threads

        def on_epoch(experiment: Any, epoch: int, seeds: Sequence[int], numbers: Any) -> None:
            folder.epoch(experiment, epoch, seeds, numbers)
            bar.set_description_str(experiment.name, refresh=False)
            bar.update(epoch > 0)

        def on_done(name: str) -> None:
            if not crew.in_this_process:
                bar.update(1)

        return carry_out_all(
            configuration.experiments, data, folder.path, crew, checkpoint_every, on_epoch, on_done, threads
        )


def _fill_cache(configuration: Any) -> None:
    """Compile what is not in the cache: once, before a bar is shown and before workers would each do it."""
    import numpy as np

    from gradlab.training.engines.cache import load

    for dtype in dict.fromkeys(e.network.dtype for e in configuration.experiments if e.training.engine == "compiled"):
        load(np.dtype(dtype))


def _judge(configuration: Any, results: Sequence[Any]) -> list[Any]:
    """Hold every claim against the results that it is about."""
    from gradlab.lab.results import judge

    done = {result.experiment.name: result for result in results}
    about = [(e, x.name) for e in configuration.expectations for x in configuration.expected_of(e)]
    return [judge(expectation, done[name]) for expectation, name in about if name in done]


def _draw(folder: Path) -> None:
    """Draw the figures; what keeps one from being drawn costs no result."""
    from gradlab.lab.figures import draw

    try:
        draw(folder)
    except (ValueError, RuntimeError) as error:
        print(f"gradlab: {folder}: the figures could not be drawn: {error}", file=sys.stderr)


def _progress(configuration: Any, data: Sequence[Any], crew: Any, quiet: bool) -> Any:
    """Show a bar over the epochs of all experiments, or, if they run elsewhere, over these; silent off a terminal."""
    from tqdm import tqdm

    from gradlab.lab.size import replicas_at_once

    def groups(experiment: Any, dataset: Any) -> int:
        return -(-len(experiment.seeds) // replicas_at_once(experiment, *dataset.x_train.shape))

    total, unit = len(configuration.experiments), "run"
    if crew.in_this_process:
        total, unit = (
            sum(e.training.epochs * groups(e, d) for e, d in zip(configuration.experiments, data, strict=True)),
            "epoch",
        )
    return tqdm(total=total, disable=True if quiet else None, unit=unit, dynamic_ncols=True, leave=False)
