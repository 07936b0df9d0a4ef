"""From TOML to validated experiments: every mistake is named, by its key, before anything is loaded or allocated."""

import copy
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlab.extras import needed_by
from gradlab.files import read_file
from gradlab.lab.errors import ConfigError
from gradlab.lab.expansion import MAX_RUNS, count, expand, with_defaults
from gradlab.lab.schema import TABLES, Config, Expectation, Experiment, File, Sweep, Table, Variant
from gradlab.nn.checks import not_one_of

with needed_by("gradlab.lab"):
    from pydantic import ValidationError

MAX_BYTES = 10**7  # of a configuration
_TABLES: dict[str, type[Table]] = {"": File, "variants": Variant, "expect": Expectation, "sweep": Sweep, **TABLES}


# --- reading -------------------------------------------------------------------------------------------------------


def load_config(path: str | Path, overrides: Sequence[str] = (), seeds: int | None = None) -> Config:
    """Read and validate a configuration file.

    Parameters
    ----------
    path : str or Path
        A TOML file.
    overrides : sequence of str
        ``"network.depth=8"``: the value is read as TOML, else taken as a text; ``"sigmoid:network.depth=8"`` is for
        the variant of that name alone.
    seeds : int, optional
        In place of the file's seeds.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Listing every mistake of the file.
    """
    return _load(_read(Path(path)), Path(path), overrides, seeds)


def config_of(text: str, name: str, overrides: Sequence[str] = ()) -> Config:
    """Validate a configuration that stands in no file; as `load_config`, `name` stands for the file."""
    return _load(tomllib.loads(text), Path(name), overrides, None)


def _load(raw: dict[str, Any], path: Path, overrides: Sequence[str], seeds: int | None) -> Config:
    raw.setdefault("variants", [{"name": _label_of(path.stem)}])
    sources = dict.fromkeys(_override(raw, overrides), "--set")
    if seeds is not None:
        raw["seeds"] = seeds
        sources["seeds"] = "--seeds"
    _find_beside(path.parent, raw, sources)
    try:
        file = File.model_validate(raw)
        experiments = tuple(expand(file)) if count(file) <= MAX_RUNS else ()
        problems = list(_misfits(file, experiments))
    except ValidationError as error:
        problems = list(_mistakes(error))
    problems += _twins(raw)
    if problems:
        lines = (f"{sources.get(key, path)}: {key}: {message}" for key, message in problems)
        raise ConfigError(list(dict.fromkeys(lines)))
    title = file.title or path.stem
    resolved = {"title": title, "seeds": list(file.seeds), **_resolved(file, experiments)}
    resolved |= {key: copy.deepcopy(raw[key]) for key in ("variants", "sweep", "expect") if key in raw}
    return Config(title=title, experiments=experiments, expectations=tuple(file.expect), resolved=resolved)


def _label_of(stem: str) -> str:
    """Name a file's only variant after the file."""
    return re.sub(r"[^\w.-]+", "-", stem)[:60].strip("-") or "default"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path, MAX_BYTES).decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not a text in UTF-8"]) from None
    except (ValueError, RecursionError) as error:  # also for numbers too long and lists too deep for Python
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}; give a TOML file, such as one in configs/"]) from None


def _find_beside(folder: Path, raw: dict[str, Any], changed: Mapping[str, str]) -> None:
    """Look for data files beside the configuration; one named by ``--set`` is looked for from here."""
    tables = [("data.path", raw.get("data"))]
    for i, variant in enumerate(_list_of(raw, "variants")):
        if isinstance(variant, dict):
            tables.append((f"variants[{i}].data.path", variant.get("data")))
    for key, table in tables:
        if isinstance(table, dict) and isinstance(table.get("path"), str):
            table["path"] = os.path.abspath(table["path"] if key in changed else folder / table["path"])


def _resolved(file: File, experiments: Sequence[Experiment]) -> dict[str, Any]:
    """Return the tables with every default; those of options only where all experiments take the same ones."""
    tables = {table: getattr(file, table) for table in TABLES}
    if len({e.data.name for e in experiments}) == 1:
        tables["data"] = with_defaults(tables["data"], experiments[0].data)
    if len({e.training.optimizer for e in experiments}) == 1:
        tables["training"] = with_defaults(tables["training"], experiments[0].training)
    return {name: table.model_dump(exclude_none=True, mode="json", warnings=False) for name, table in tables.items()}


# --- mistakes ------------------------------------------------------------------------------------------------------


def _mistakes(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield each value and key that may not be, by dotted key."""
    for e in error.errors(include_url=False):
        place, kind = e["loc"], e["type"]
        if kind == "extra_forbidden":
            table = next((part for part in reversed(place[:-1]) if isinstance(part, str)), "")
            message = f"unknown key: {not_one_of(place[-1], _TABLES[table].model_fields)}"
        elif kind == "list_type":
            message = f"write it as [[{place[-1]}]], once for each"
        elif kind == "model_type":
            message = f"{e['input']!r} is not a table"
        else:
            message = "missing" if kind == "missing" else str(e["ctx"]["error"])
        yield _key(*place), message


def _key(table: int | str, *within: int | str) -> str:
    """Name a place in the file: ``variants[1].network.width``, whichever of a list of widths it is."""
    if not within or table not in _TABLES:
        return str(table)
    if isinstance(within[0], str):
        return f"{table}.{within[0]}"
    return f"{table}[{within[0]}]" + (f".{_key(*within[1:])}" if within[1:] else "")


def _twins(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each variant that has the name of one before."""
    names = [variant.get("name") for variant in _list_of(raw, "variants") if isinstance(variant, dict)]
    for i, name in enumerate(names):
        if isinstance(name, str) and name in names[:i]:
            yield f"variants[{i}].name", f"{name!r} is the name of another variant"


def _misfits(file: File, experiments: Sequence[Experiment]) -> Iterator[tuple[str, str]]:
    """Yield what is valid by itself, but not together with something else."""
    if not experiments:
        yield "sweep", f"{count(file)} experiments are more than the {MAX_RUNS} allowed"
        return
    for experiment in experiments:
        for key, message in experiment.misfits():
            yield f"{key} (variant {experiment.name})" if len(experiments) > 1 else key, message
    names = [e.name for e in experiments] + [e.variant for e in experiments]
    for i, expectation in enumerate(file.expect):
        if expectation.variant is not None and expectation.variant not in names:
            yield f"expect[{i}].variant", not_one_of(expectation.variant, dict.fromkeys(names))
        for _, message in expectation.misfits():
            yield f"expect[{i}]", message


# --- overrides -----------------------------------------------------------------------------------------------------


def _override(raw: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Write ``key=value`` texts into the tables, over whatever variants and sweep say; return the keys."""
    changed = []
    for override in overrides:
        aim, setting = _aimed(raw, override)
        key, equals, text = setting.partition("=")
        key = key.strip()
        parts = key.split(".")
        if not equals or not all(parts):
            raise ConfigError([f"--set {override}: not of the form KEY=VALUE, such as network.depth=8"])
        if parts[0] in ("variants", "expect", "sweep"):
            raise ConfigError(
                [f"--set {override}: only the tables {', '.join(TABLES)}, and title and seeds, can be set"]
            )
        if aim is not None and parts[0] not in TABLES:
            raise ConfigError([f"--set {override}: of one variant only the tables {', '.join(TABLES)} can be set"])
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            value = text.strip()
        table = raw if aim is None else _list_of(raw, "variants")[aim]
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError([f"--set {override}: {part} is not a table"])
        table[parts[-1]] = value
        changed.append(key if aim is None else f"variants[{aim}].{key}")
        for other in [*(_list_of(raw, "variants") if aim is None else ()), raw.get("sweep")]:
            _forget(other, parts)
    return changed


def _aimed(raw: Mapping[str, Any], override: str) -> tuple[int | None, str]:
    """Return the place of the variant that an override is for, None for all of them, and the override without its name.

    A name may hold any character, so the longest one that is followed by a colon counts.
    """
    given = [v.get("name") if isinstance(v, dict) else None for v in _list_of(raw, "variants")]
    names = {name: i for i, name in enumerate(given) if isinstance(name, str)}
    for name in sorted(names, key=len, reverse=True):
        if override.startswith(f"{name}:"):
            return names[name], override[len(name) + 1 :]
    before = override.partition("=")[0]
    if ":" in before:
        raise ConfigError([f"--set {override}: variant: {not_one_of(before.rpartition(':')[0], names)}"])
    return None, override


def _list_of(raw: Mapping[str, Any], key: str) -> list[Any]:
    value = raw.get(key)
    return value if isinstance(value, list) else []


def _forget(table: Any, parts: Sequence[str]) -> None:
    """Remove a dotted key from a table, however it is nested."""
    if not isinstance(table, dict):
        return
    table.pop(".".join(parts), None)
    if len(parts) > 1:
        _forget(table.get(parts[0]), parts[1:])
