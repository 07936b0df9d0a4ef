"""``gradlab diagnose`` and ``gradlab list``: a look before a run."""

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gradlab.cli.app import USAGE, app, mistakes_named
from gradlab.cli.configuration import load_all, sizes_of


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

    with mistakes_named():
        configuration = load_config(config, set_ or [], None)
        sizes_of(configuration, config)
        found = dict(_diagnoses(configuration, load_all(configuration, config)))
    if as_json:
        from dataclasses import asdict

        print(json.dumps({name: [asdict(finding) for finding in d.findings] for name, d in found.items()}))
        return
    several = len(configuration.experiments) > 1
    for experiment in configuration.experiments:
        text = found[experiment.name].as_text(experiment.variant if several else "")
        print(f"{experiment.name}\n{textwrap.indent(text, '  ')}")


def _diagnoses(configuration: Any, data: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Diagnose the first seed of each experiment."""
    from threadpoolctl import threadpool_limits

    from gradlab.flow import diagnose
    from gradlab.lab.build import build_loss, build_network, build_optimizer, build_weights

    with threadpool_limits(1):
        for experiment, dataset in zip(configuration.experiments, data, strict=True):
            network = build_network(experiment.network, dataset, experiment.seeds[0])
            yield (
                experiment.name,
                diagnose(
                    network,
                    dataset.x_train,
                    dataset.y_train,
                    loss=build_loss(experiment.training),
                    optimizer=build_optimizer(experiment.training, network),
                    weights=build_weights(experiment.training, dataset.y_train),
                    batch_size=experiment.training.batch_size,
                ),
            )


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(metavar="WHAT", help="Which list; without it, all of them.")] = None,
) -> None:
    """List what a configuration can name: datasets, activations, initializers, optimizers, losses, and so on."""
    from gradlab.datasets import DATASETS
    from gradlab.lab import names
    from gradlab.nn.activations import ACTIVATIONS
    from gradlab.nn.checks import not_one_of
    from gradlab.nn.initializers import INITIALIZERS

    def options(taken: Sequence[str]) -> str:
        return f"takes {', '.join(taken)}" if taken else ""

    lists: dict[str, dict[str, str]] = {
        "datasets": {name: spec.description for name, spec in DATASETS.items()},
        "activations": {name: _first_line(activation) for name, activation in ACTIVATIONS.items()},
        "initializers": {name: _first_line(initializer) for name, initializer in INITIALIZERS.items()},
        "optimizers": {name: options(taken) for name, taken in names.OPTIMIZER_OPTIONS.items()},
        "losses": names.CONFIG_LOSSES,
        "schedules": {name: options(taken) for name, taken in names.SCHEDULE_OPTIONS.items()},
        "engines": names.ENGINES,
        "measures": names.MEASURES,
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
