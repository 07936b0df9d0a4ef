"""The networks that a run trained, in one file: to be used again, by whoever has only that file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.lab.experiment import Result
from gradlab.lab.store import save


def save_model(path: Path, results: Sequence[Result]) -> None:
    """Write all parameters and running statistics, and what is needed to use them: the data's columns, and classes."""
    about: dict[str, Any] = {}
    tensors: dict[str, np.ndarray] = {}
    for result in results:
        name = result.experiment.name
        about[name] = {
            "network": result.experiment.network.model_dump(mode="json"),
            "seeds": result.experiment.seeds,
            "median_seed": result.median_seed,
            "features": result.features,
            "classes": result.classes,
        }
        tensors |= {f"{name}/{parameter}": array for parameter, array in result.tensors.items()}
        tensors |= {f"{name}/data.mean": result.mean, f"{name}/data.scale": result.scale}
    save(path, "model", {"variants": about}, tensors)
