"""From the tables of a file to its experiments: every variant at every point of the sweep."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from gradlab.lab.schema import TABLES, Experiment, File, Table

MAX_RUNS = 1000  # points of a sweep times variants


def count(file: File) -> int:
    """Count the experiments of a file, before any is made."""
    return len(file.variants) * math.prod(map(len, file.sweep.values()))


def expand(file: File) -> Iterator[Experiment]:
    """Yield every variant at every point of the sweep."""
    for variant in file.variants:
        for point in itertools.product(*file.sweep.values()):
            changes = {table: _given(getattr(variant, table)) for table in TABLES}
            for key, (_, value) in zip(file.sweep, point, strict=True):
                table, name = key.split(".")
                changes[table][name] = value
            tables = {table: getattr(file, table).model_copy(update=changes[table]) for table in TABLES}
            for table in ("data", "training"):
                tables[table] = with_defaults(tables[table], tables[table])
            written = {key: value for key, (value, _) in zip(file.sweep, point, strict=True)}
            settings = [f"{key.rpartition('.')[2]}={value}" for key, value in written.items()]
            name = ", ".join([variant.name, *settings])
            yield Experiment(name=name, variant=variant.name, point=written, seeds=file.seeds, **tables)


def _given(table: Table) -> dict[str, Any]:
    """Return the keys of a table that a file has set."""
    return {name: getattr(table, name) for name in table.model_fields_set}


def with_defaults(table: Any, like: Any) -> Any:
    """Fill in the defaults of the options that another table's data set or optimizer takes."""
    return table.model_copy(update={k: v for k, v in like.default_options.items() if getattr(table, k) is None})
