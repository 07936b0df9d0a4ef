"""What every command does with a configuration before it runs: sizes are estimated, and data loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 8 * 2**30  # bytes


def sizes_of(configuration: Any, source: Path, n_processes: int = 1) -> list[Any]:
    """Estimate every experiment; refuse what would not fit."""
    from gradlab.lab.errors import ConfigError
    from gradlab.lab.size import estimate

    sizes = []
    for experiment in configuration.experiments:
        try:
            sizes.append(estimate(experiment))
        except ValueError as error:
            raise ConfigError([f"{source}: data.{error}"]) from None
        if sizes[-1].memory > MEMORY_LIMIT:
            raise ConfigError(
                [
                    f"{source}: variant {experiment.name} would take {in_bytes(sizes[-1].memory)} of memory, "
                    f"more than the {in_bytes(MEMORY_LIMIT)} allowed; lower seeds, network.width, network.depth, "
                    'training.batch_size or data.n_samples, or set network.dtype = "float32"'
                ]
            )
    if (together := bytes_at_a_time(sizes, n_processes)) > MEMORY_LIMIT:
        raise ConfigError(
            [
                f"--workers: {n_processes} of these experiments would take {in_bytes(together)} of memory together, "
                f"more than the {in_bytes(MEMORY_LIMIT)} allowed; lower it"
            ]
        )
    return sizes


def bytes_at_a_time(sizes: Sequence[Any], n_processes: int) -> int:
    """Return the bytes of memory that so many processes may need together; 0 for a cluster, one of whose this is."""
    return sum(sorted((size.memory for size in sizes), reverse=True)[: n_processes or 1])


def load_all(configuration: Any, source: Path) -> list[Any]:
    """Load the data of every experiment, the same data once."""
    from gradlab.lab.build import load_data
    from gradlab.lab.errors import ConfigError

    loaded: dict[Any, Any] = {}
    for experiment in configuration.experiments:
        key = repr(experiment.data), bool(experiment.training.patience)
        if key not in loaded:
            try:
                loaded[key] = load_data(experiment)
            except ValueError as error:
                raise ConfigError([f"{source}: data.{error}"]) from None
    return [loaded[repr(e.data), bool(e.training.patience)] for e in configuration.experiments]


def in_bytes(n: int) -> str:
    """Write a number of bytes with its unit."""
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.1f} MiB"
