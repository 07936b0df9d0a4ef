"""``gradlab explain`` and ``gradlab diagram``: one training step, worked and drawn."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gradlab.cli.app import FAILED, app, mistakes_named, print_in_utf_8
from gradlab.cli.configuration import load_all, sizes_of

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
    from gradlab.lab.errors import ConfigError
    from gradlab.learn.worked import lecture
    from gradlab.nn.checks import not_one_of

    with _mistakes_in_a_step():
        if format_ not in FORMATS:
            raise ConfigError([f"--format: {not_one_of(format_, FORMATS)}"])
        lecture.check_precision(precision)
        arguments, update = _next_step(config, set_ or [], sample, step)
        explanation = lecture.explain(**arguments, **update, precision=precision)
    if format_ == "text":
        print_in_utf_8(explanation.text(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    else:
        print_in_utf_8(getattr(explanation, format_)())


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
    from gradlab.lab.errors import ConfigError

    with _mistakes_in_a_step():
        if out is not None and (out.is_dir() or not out.parent.is_dir()):
            raise ConfigError([f"--out {out}: it is a folder, or in a folder that does not exist; name a file"])
        arguments, _ = _next_step(config, set_ or [], sample, step)
        drawing = learn.diagram(**arguments).svg
    if out is None:
        print_in_utf_8(drawing.rstrip("\n"))
        return
    with whole_or_not_at_all(out) as file:
        file.write(drawing.encode())


@contextmanager
def _mistakes_in_a_step() -> Iterator[None]:
    """Compute as `run` trains; exit with 2 and a line for a mistake, and with 1 where training diverges."""
    from threadpoolctl import threadpool_limits

    from gradlab.lab.errors import ConfigError
    from gradlab.training.divergence import DivergenceError

    with mistakes_named():
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


def _next_step(
    config: Path | None, overrides: Sequence[str], samples: Any, index: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train `index` steps, as `run` would; return the network, loss and batch of the next, and what updates it."""
    from gradlab.nn.checks import check_int

    check_int("--step", index, 0)
    begun = _configured(config, overrides) if config or overrides else _on_xor()
    network, loss, optimizer, x, y, batch_size, schedule, penalties = begun
    batch = _train_up_to(index, network, loss, optimizer, x, y, batch_size, schedule, penalties)
    rows = batch if samples is None else samples
    arguments = {"network": network, "loss": loss, "x": x, "y": y, "samples": rows}
    return arguments, {"optimizer": optimizer, **penalties}


def _on_xor() -> tuple[Any, ...]:
    """Make what `XOR` says; from Python, so that no configuration need be read."""
    from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp

    network, (x, y) = Network(mlp([2, 2, 1], "sigmoid"), seed=0), _xor_table()
    return network, BinaryCrossEntropy(), SGD(0.5), x, y, 4, None, {}


def _configured(config: Path | None, overrides: Sequence[str]) -> tuple[Any, ...]:
    """Make network, loss, optimizer, samples, targets, batch size, schedule and penalties of the first experiment."""
    from gradlab.lab.build import build_loss, build_network, build_optimizer, build_schedule
    from gradlab.lab.config import config_of, load_config
    from gradlab.lab.errors import ConfigError

    if config is None:
        on_data = [override for override in overrides if override.strip().startswith("data")]
        if on_data:
            raise ConfigError([f"--set {on_data[0]}: without a CONFIG the data are XOR; name one"])
        configuration = config_of(XOR, "XOR", overrides)
        x, y = _xor_table()
    else:
        configuration = load_config(config, overrides, None)
        configuration = configuration.model_copy(update={"experiments": configuration.experiments[:1]})
        sizes_of(configuration, config)
        [data] = load_all(configuration, config)
        x, y = data.x_train, data.y_train
    [experiment] = configuration.experiments
    training = experiment.training
    network = build_network(experiment.network, x.shape[1], experiment.seeds[0])
    optimizer, schedule = build_optimizer(training, network), build_schedule(training)
    penalties = {"l1": training.l1, "l2": training.l2, "clip_norm": training.clip_norm}
    return network, build_loss(training), optimizer, x, y, training.batch_size, schedule, penalties


def _xor_table() -> tuple[Any, Any]:
    import numpy as np

    return np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0.0, 1.0, 1.0, 0.0])


def _train_up_to(
    index: int, network: Any, loss: Any, optimizer: Any, x: Any, y: Any, batch_size: int, schedule: Any, penalties: Any
) -> list[int]:
    """Take the steps before step `index`; set its learning rate, and return the rows of its batch.

    A batch of all rows takes them in order; smaller ones are those that `train` would draw.
    """
    import numpy as np

    from gradlab.training import train

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
