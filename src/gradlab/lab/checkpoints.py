"""The files of one experiment in a run: its checkpoint while it is trained, then its result, named by a key."""

import hashlib
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gradlab import __version__
from gradlab.datasets import shape
from gradlab.lab.build import blank_network, tensor_shapes
from gradlab.lab.names import MEASURES
from gradlab.lab.recording import flow_names, flow_shapes
from gradlab.lab.results import GRID, HISTORY, Result
from gradlab.lab.schema import Experiment
from gradlab.lab.store import FORMAT, Declare, Declared, StoreError, load, save
from gradlab.nn.network import Network

SECONDS = 10.0  # of training between two checkpoints, unless a number of epochs is given


def key_of(experiment: Experiment) -> str:
    """Return the key of an experiment: 16 hexadecimal digits of a hash of all that its numbers depend on.

    That is its configuration, with the content of a CSV in place of its path and the engine settled, and the version
    that runs it: its first two numbers, and the format of its files.
    """
    if experiment.training.engine == "auto":
        raise ValueError(f"training.engine: that of {experiment.name} is not settled")
    asked = experiment.model_dump(mode="json", warnings=False)
    if experiment.data.path is not None:
        asked["data"]["path"] = _digest_of(experiment.data.path)
    asked["version"] = [__version__.split(".")[:2], FORMAT]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def result_path(folder: Path, experiment: Experiment) -> Path:
    """Return where a run keeps the result of an experiment."""
    return folder / "results" / f"{key_of(experiment)}.safetensors"


def _digest_of(path: str) -> str:
    try:
        status = Path(path).stat()
        return _digest(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise StoreError(path, error.strerror or str(error)) from None


@lru_cache(maxsize=16)
def _digest(path: str, changed: int, size: int) -> str:
    """Hash a file as it was at some time."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CheckpointFile:
    """A `Checkpointer` that saves the state of an experiment in a file.

    Parameters
    ----------
    path : Path
    key : str
        From `key_of`: a file of another experiment is refused.
    every : int, optional
        After how many epochs to save; by default after the first epoch that ends `SECONDS` after the last save.

    Attributes
    ----------
    found : bool
        Whether `load` found a checkpoint.
    """

    def __init__(self, path: Path, key: str, every: int | None = None):
        self.path, self._key, self._every = path, key, every
        self._last = time.monotonic()
        self.found = False

    def load(self, declare: Declare) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Read the file, if there is one; raise StoreError if it is not as declared."""
        if not self.path.exists():
            return None
        found = load(self.path, "checkpoint", lambda about: declare(_without_key(about, self._key)))
        self.found = True
        return found

    def due(self, epoch: int) -> bool:
        """Say whether it is time to save."""
        if self._every is not None:
            return epoch % self._every == 0
        return time.monotonic() - self._last >= SECONDS

    def save(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(exist_ok=True)
        save(self.path, "checkpoint", about | {"key": self._key}, arrays)
        self._last = time.monotonic()


def _without_key(about: dict[str, Any], key: str) -> dict[str, Any]:
    if about.get("key") != key:
        raise ValueError("it is of another experiment")
    return {name: value for name, value in about.items() if name != "key"}


def save_result(path: Path, key: str, result: Result) -> None:
    """Write the result of an experiment, whole or not at all."""
    about = {
        "key": key,
        "features": result.features,
        "classes": result.classes,
        "median_seed": result.median_seed,
        "groups": [history["train_loss"].shape for history in result.history],
        "records": len(result.flow.get("step", ())),
        "points": len(result.boundary.get("points", ())),
        "seconds": result.seconds,
        "diverged": result.diverged,
    }
    arrays = {"data/mean": result.mean, "data/scale": result.scale}
    parts = {"flow": result.flow, "final": result.final, "tensors": result.tensors, "boundary": result.boundary}
    parts |= {f"history/{i}": history for i, history in enumerate(result.history)}
    for part, own in parts.items():
        arrays |= {f"{part}/{name}": array for name, array in own.items() if array.dtype.kind != "U"}
    path.parent.mkdir(exist_ok=True)
    save(path, "result", about, arrays)


def load_result(path: Path, key: str, experiment: Experiment) -> Result:
    """Read what `save_result` wrote of this experiment.

    Raises
    ------
    StoreError
        If the file is damaged, or is no such file.
    """
    n_features = shape(experiment.data.name, **experiment.data.options)[1]
    network = blank_network(experiment.network, n_features)

    def declare(about: dict[str, Any]) -> Declared:
        return _declared(_without_key(about, key), experiment, network, n_features)

    about, arrays = load(path, "result", declare)

    def within(part: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(f"{part}/"): a for name, a in arrays.items() if name.startswith(f"{part}/")}

    boundary = within("boundary")
    if boundary:
        boundary |= {"names": np.array(about["features"]), "classes": np.array(about["classes"])}
    return Result(
        experiment,
        features=tuple(about["features"]),
        classes=tuple(about["classes"]),
        mean=arrays["data/mean"],
        scale=arrays["data/scale"],
        layers=tuple(p.name for p in network.parameters if p.attribute == "W"),
        flow=within("flow"),
        final={name: arrays[f"final/{name}"] for name in MEASURES},
        tensors={name: arrays[f"tensors/{name}"] for name in tensor_shapes(network)},
        boundary=boundary,
        median_seed=about["median_seed"],
        history=[{name: arrays[f"history/{i}/{name}"] for name in HISTORY} for i in range(len(about["groups"]))],
        seconds=about["seconds"],
        diverged=about["diverged"],
    )


def _declared(about: dict[str, Any], experiment: Experiment, network: Network, n_features: int) -> Declared:
    """Declare the arrays of a result, from the metadata of its file."""
    names = {"features", "classes", "median_seed", "groups", "records", "points", "seconds", "diverged"}
    texts, wholes = (*about["features"], *about["classes"], about["diverged"]), (about["records"], about["points"])
    seeds, most = len(experiment.seeds), experiment.training.epochs + 2
    if (
        about.keys() != names
        or (len(about["features"]), len(about["classes"])) != (n_features, 2)
        or not all(type(text) is str for text in texts)
        or not about["diverged"].isprintable()
        or about["median_seed"] not in (-1, *experiment.seeds)
        or not all(type(n) is int and 0 <= n < 2**31 for n in wholes)
        or type(about["seconds"]) is not float
        or not 0.0 <= about["seconds"] < 1e12
    ):
        raise ValueError("its metadata are not those of a result")
    declared: dict[str, Any] = {f"data/{name}": ("f8", (n_features,)) for name in ("mean", "scale")}
    declared |= {f"final/{name}": ("f8", (seeds,)) for name in MEASURES}
    declared |= {f"tensors/{n}": (kind, (seeds, *s)) for n, (kind, s) in tensor_shapes(network).items()}
    if about["records"]:
        for name, (kind, axes) in flow_shapes(experiment, network, n_features, about["records"], seeds).items():
            declared[f"flow/{name}"] = ("f8" if name in flow_names(experiment) else kind, axes)
    if about["points"]:
        axes_of = {"x1": (GRID,), "x2": (GRID,), "points": (about["points"], 2), "labels": (about["points"],)}
        declared |= {f"boundary/{name}": ("f8", axes) for name, axes in axes_of.items()}
        declared["boundary/probability"] = (network.dtype, (GRID, GRID))
    for i, (epochs, n) in enumerate(about["groups"]):
        if not (type(epochs) is type(n) is int and 0 < epochs <= most and 0 < n <= seeds):
            raise ValueError(f"{n!r} seeds and {epochs!r} epochs are none of this experiment")
        declared |= {f"history/{i}/{name}": ("f8", (epochs, n)) for name in HISTORY}
    if sum(n for _, n in about["groups"]) > seeds:
        raise ValueError("it has more seeds than the experiment")
    return declared
