"""The results of one run or of several as one table, whether they are finished or not."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlab.files import whole_or_not_at_all
from gradlab.lab.checkpoints import load_result, result_path
from gradlab.lab.config import load_config
from gradlab.lab.examine import examine
from gradlab.lab.names import MEASURES
from gradlab.lab.run_folder import entry, read_summary
from gradlab.lab.store import StoreError

_PLAIN = int | float | str | bool


@dataclass
class Collection:
    """What was found in the folders of runs.

    Attributes
    ----------
    entries : dict of str to dict
        Each experiment's entry of a run's summary, by name; if there are several runs, by the folder's and the name.
    missing : dict of str to list
        The names of the experiments that have no result yet, by folder.
    rows : list of dict
        One per experiment and seed: ``run``, ``variant``, the dotted keys of the sweeps, ``seed``, the measures
        of `MEASURES`, and ``diverged``. None stands for what there is not.
    """

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


def collect(folders: Sequence[Path]) -> Collection:
    """Gather what the runs in some folders have found so far.

    Raises
    ------
    ConfigError
        If a run's configuration cannot be read.
    StoreError
        If a file of a run is damaged, or of another version.
    """
    found = Collection()
    for folder in folders:
        entries, missing = _entries(folder)
        if missing:
            found.missing[str(folder)] = missing
        for name, one in entries.items():
            found.entries[name if len(folders) == 1 else f"{folder.name}: {name}"] = (
                one if len(folders) == 1 else one | {"variant": f"{folder.name}: {one['variant']}"}
            )
            found.rows += _rows(folder, one)
    keys = dict.fromkeys(key for row in found.rows for key in row if "." in key)
    columns = ["run", "variant", *keys, "seed", *MEASURES, "diverged"]
    found.rows = [{column: row.get(column) for column in columns} for row in found.rows]
    return found


def _entries(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the summary's entry of each experiment that has a result, and the names of the others."""
    state = examine(folder)
    if state.is_done:
        entries = read_summary(folder).get("variants")
        if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
            raise StoreError(folder / "summary.json", "it is not a summary that gradlab wrote")
        return entries, []
    if not state.is_run:
        raise StoreError(folder, "this is no folder of a run")
    if reason := state.other_version():
        raise StoreError(folder, reason)
    entries, missing = {}, []
    for experiment in state.as_begun(load_config(folder / "config.toml")).experiments:
        path = result_path(folder, experiment)
        if path.exists():
            entries[experiment.name] = entry(load_result(path, path.stem, experiment))
        else:
            missing.append(experiment.name)
    return entries, missing


def _is_entry(one: Any) -> bool:
    """Whether this is an experiment's entry of a summary."""
    try:
        numbers = [one["seconds"], one["underflow"], *one["seeds"]]
        for measure in MEASURES:
            numbers += [one[measure][statistic] or 0.0 for statistic in ("mean", "low", "high", "median")]
            numbers += [value or 0.0 for value in one[measure]["values"]]
            if len(one[measure]["values"]) != len(one["seeds"]):
                return False
        texts = [one["variant"], one["diverged"], *one["activation"], *one["point"].keys()]
    except (KeyError, TypeError, AttributeError):
        return False
    return all(isinstance(n, int | float) for n in numbers) and all(isinstance(text, str) for text in texts)


def _rows(folder: Path, one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return an experiment's rows, one for each seed."""
    settings = {key: value if isinstance(value, _PLAIN) else str(value) for key, value in one["point"].items()}
    about = {"run": folder.name, "variant": one["variant"], **settings, "diverged": bool(one["diverged"])}
    return [
        about | {"seed": seed} | {measure: one[measure]["values"][i] for measure in MEASURES}
        for i, seed in enumerate(one["seeds"])
    ]


def save_table(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write ``collected.csv`` and, if pyarrow is installed, ``collected.parquet``, each whole or not at all.

    Returns
    -------
    list of Path
        What was written.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with whole_or_not_at_all(folder / "collected.csv") as file:
        file.write(text.getvalue().encode())
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return [folder / "collected.csv"]
    columns = {name: _of_one_kind([row[name] for row in rows]) for name in rows[0]}
    with whole_or_not_at_all(folder / "collected.parquet") as file:
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return [folder / "collected.csv", folder / "collected.parquet"]


def _of_one_kind(values: list[Any]) -> list[Any]:
    """Return values as texts unless all of them are numbers, or all are texts or truths."""
    kinds = {float if type(value) is int else type(value) for value in values if value is not None}
    return values if len(kinds) <= 1 else [None if value is None else str(value) for value in values]
