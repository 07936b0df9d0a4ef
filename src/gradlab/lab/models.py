"""The networks that a run trained, in one file that suffices to use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.lab.build import blank_network, fill, tensor_shapes
from gradlab.lab.expansion import MAX_RUNS
from gradlab.lab.results import Result
from gradlab.lab.schema import Experiment, NetworkConfig
from gradlab.lab.size import count_parameters
from gradlab.lab.store import MAX_ARRAYS, Declared, StoreError, load, save
from gradlab.nn.network import Network
from gradlab.tables import MOST_COLUMNS, read_features


@dataclass(frozen=True, eq=False)
class Model:
    """The networks of one experiment, and what their data were like.

    Attributes
    ----------
    network : NetworkConfig
    seeds : tuple of int
    median_seed : int
        The seed whose test accuracy is the median of all; -1 if training diverged.
    features, classes : tuple of str
        What the data's columns are called, and their classes.
    mean, scale : ndarray (d,)
        What the columns were standardised by.
    tensors : mapping of str to ndarray (seeds, ...)
    """

    network: NetworkConfig
    seeds: tuple[int, ...]
    median_seed: int
    features: tuple[str, ...]
    classes: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    tensors: Mapping[str, np.ndarray]

    def trained(self, seed: int | None = None) -> Network:
        """Make the network of one seed; by default of the median one.

        Raises
        ------
        ValueError
            If there is no such seed, or its training did not come to its end.
        """
        if seed is not None and seed not in self.seeds:
            raise ValueError(f"{seed} is not one of the seeds {', '.join(map(str, self.seeds))}")
        if self.median_seed == -1:
            raise ValueError("its training did not come to its end, so there is nothing to use")
        network = blank_network(self.network, len(self.features))
        return fill(network, self.tensors, self.seeds.index(self.median_seed if seed is None else seed))

    def read(self, table: str) -> np.ndarray:
        """Read a CSV with the columns that the training had, and prepare its rows (n, d) as those were.

        Raises
        ------
        ValueError
            Naming the file, and where and what is wrong with it.
        """
        rows: np.ndarray = (read_features(table, self.features) - self.mean) / self.scale
        return rows


def check_count(path: Path, experiments: Sequence[Experiment]) -> None:
    """Raise StoreError, before anything is trained, if the networks have more arrays than one file may hold."""
    count = sum(2 * len(e.network.widths) * (1 + 2 * e.network.batch_norm) + 4 for e in experiments)
    if count > MAX_ARRAYS:
        raise StoreError(path, f"it would hold {count} arrays, more than {MAX_ARRAYS}; make runs of fewer experiments")


def save_model(path: Path, results: Sequence[Result]) -> None:
    """Write all parameters and running statistics, and what is needed to use them."""
    about: dict[str, Any] = {}
    tensors: dict[str, np.ndarray] = {}
    for result in results:
        name = result.experiment.name
        about[name] = {
            "network": result.experiment.network.model_dump(mode="json", warnings=False),
            "seeds": result.experiment.seeds,
            "median_seed": result.median_seed,
            "features": result.features,
            "classes": result.classes,
        }
        tensors |= {f"{name}/{parameter}": array for parameter, array in result.tensors.items()}
        tensors |= {f"{name}/data.mean": result.mean, f"{name}/data.scale": result.scale}
    save(path, "model", about, tensors)


def load_models(path: Path) -> dict[str, Model]:
    """Read what `save_model` wrote, by the names of the experiments.

    The architectures that the file names are the registry's own, and what they are made of is worked out here; the
    file is then held against it.

    Raises
    ------
    StoreError
        If the file is damaged, or is no such file.
    """
    networks: dict[str, NetworkConfig] = {}

    def declare(about: dict[str, Any]) -> Declared:
        networks.update({name: _network(entry) for name, entry in about.items()})
        claimed = sum(
            len(entry["seeds"]) * count_parameters(networks[name], len(entry["features"]))
            for name, entry in about.items()
        )
        if len(about) > MAX_RUNS or 4 * claimed > path.stat().st_size:
            raise ValueError(f"{len(about)} experiments with {claimed} parameters are more than the file can hold")
        declared: dict[str, Any] = {}
        for name, entry in about.items():
            n_features, n_seeds = len(entry["features"]), len(entry["seeds"])
            declared |= {f"{name}/data.{what}": ("f8", (n_features,)) for what in ("mean", "scale")}
            shapes = tensor_shapes(blank_network(networks[name], n_features))
            declared |= {f"{name}/{p}": (kind, (n_seeds, *shape)) for p, (kind, shape) in shapes.items()}
        return declared

    about, arrays = load(path, "model", declare)
    models = {}
    for name, entry in about.items():
        own = {key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")}
        mean, scale = own.pop("data.mean"), own.pop("data.scale")
        seeds, features, classes = (tuple(entry[key]) for key in ("seeds", "features", "classes"))
        models[name] = Model(networks[name], seeds, entry["median_seed"], features, classes, mean, scale, own)
    return models


def _network(entry: Any) -> NetworkConfig:
    """Check a file's metadata of one experiment, and return its architecture."""
    seeds, features, classes = entry["seeds"], entry["features"], entry["classes"]
    if (
        entry.keys() != {"network", "seeds", "median_seed", "features", "classes"}
        or not all(type(part) is list for part in (seeds, features, classes))
        or not (0 < len(seeds) <= 1000 and 0 < len(features) <= MOST_COLUMNS and len(classes) == 2)
        or not all(type(seed) is int for seed in seeds)
        or not all(type(text) is str for text in (*features, *classes))
        or len(set(features)) < len(features)
        or entry["median_seed"] not in (-1, *seeds)
    ):
        raise ValueError("its metadata are not those of a model")
    return NetworkConfig.model_validate(entry["network"])
