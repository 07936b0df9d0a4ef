"""From TOML to validated experiments: every mistake is named, by its key, before anything is loaded or allocated."""

import copy
import inspect
import itertools
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from gradlab.datasets import DATASETS
from gradlab.files import read_file
from gradlab.nn.activations import ACTIVATIONS
from gradlab.nn.checks import not_one_of
from gradlab.nn.initializers import INITIALIZERS
from gradlab.nn.optimizers import OPTIMIZERS

MOST_BYTES = 10**7  # of a configuration
MAX_RUNS = 1000  # points of a sweep times variants

OPTIMIZER_OPTIONS = {
    "sgd": ("momentum", "nesterov"),
    "rmsprop": ("decay", "epsilon"),
    "adam": ("beta1", "beta2", "epsilon"),
    "adamw": ("beta1", "beta2", "epsilon", "weight_decay"),
}
SCHEDULE_OPTIONS = {
    "constant": (),
    "step": ("schedule_every", "schedule_factor"),
    "exponential": ("schedule_factor",),
    "cosine": ("schedule_floor",),
}
CONFIG_LOSSES = {
    "binary_cross_entropy": "of the sigmoid of the logit, the two fused: a wrong output never stalls",
    "squared_error": "of the sigmoid of the logit, its slope kept: a saturated output stalls",
}
ENGINES = {
    "auto": "compiled where Numba is installed and knows every part, else plain",
    "plain": "the layers themselves, one step after the other",
    "compiled": 'whole epochs without Python, the seeds on threads; needs: pip install "gradlab[fast]"',
}
MEASURES = {
    "test_accuracy": "share of the test part classified rightly, at the end",
    "train_accuracy": "the same of the training part",
    "test_loss": "loss on the test part, at the end",
    "train_loss": "loss on the training part, at the end",
    "gradient_ratio": "norm of the first layer's weight gradient over the last layer's, at the first step",
    "final_gradient_ratio": "the same at the last recorded step",
}
STATISTICS = ("mean", "median", "min", "max")


class ConfigError(ValueError):
    """A configuration that cannot be run: one line a mistake, naming file, key, what was given and what is allowed."""

    def __init__(self, problems: Sequence[str]):
        self.problems = [_on_a_line(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


def _on_a_line(text: str) -> str:
    """Escape what would end the line or not be seen: a key of TOML may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- what a value may be -------------------------------------------------------------------------------------------


def _field(check: Callable[[Any], Any]) -> PlainValidator:
    return PlainValidator(check)


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
        return value

    return check


def _real(least: float, most: float, *, above: bool = False, below: bool = False) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most or (above and value == least) or (below and value == most):
            start, end = ("above" if above else "of at least"), ("below" if below else "at most")
            raise ValueError(f"{value!r} is not a number {start} {least:g} and {end} {most:g}")
        return float(value)

    return check


def _choice(choices: Iterable[str]) -> Callable[[Any], str]:
    choices = tuple(choices)

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(not_one_of(value, choices))
        return value

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a text")
    return value


def _label(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w .,:+=()\[\]'-]{1,60}", value) or value != value.strip():
        raise ValueError(f"{value!r} is not a name of up to 60 letters, digits, spaces and _ . , : + = ( ) [ ] ' -")
    return value


def _as_label(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)[:60].strip("-") or "default"


def _list(check: Callable[[Any], Any], least: int = 1, most: int = 1000) -> Callable[[Any], tuple[Any, ...]]:
    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise ValueError(f"{value!r} is not a list of {least} to {most} entries")
        return tuple(check(entry) for entry in value)

    return check_all


def _one_or_list(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    check_all = _list(check)
    return lambda value: check_all(value) if isinstance(value, list | tuple) else check(value)


def _seeds(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        return tuple(range(_whole(1, 1000)(value)))
    seeds = _list(_whole(0, 2**32 - 1))(value)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{value!r} names a seed twice")
    return seeds


def _every(value: Any) -> str | int:
    if value in ("step", "epoch"):
        return value
    try:
        return _whole(1, 10**9)(value)
    except ValueError:
        raise ValueError(f"{value!r} is not 'step', 'epoch' or a whole number of steps from 1") from None


Positive = Annotated[float, _field(_real(0.0, 1e6, above=True))]
Fraction = Annotated[float, _field(_real(0.0, 1.0, above=True, below=True))]
Share = Annotated[float, _field(_real(0.0, 1.0, below=True))]
NotNegative = Annotated[float, _field(_real(0.0, 1e6))]
Bound = Annotated[float, _field(_real(-1e300, 1e300))]
Seed = Annotated[int, _field(_whole(0, 2**32 - 1))]
Flag = Annotated[bool, _field(_flag)]
Text = Annotated[str, _field(_text)]
Label = Annotated[str, _field(_label)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- the tables ----------------------------------------------------------------------------------------------------


class DataConfig(_Table):
    """Which data, and how they are split; the options after `seed` belong to one data set or another."""

    name: Annotated[str, _field(_choice(DATASETS))] = "moons"
    test_fraction: Fraction = 0.25
    validation_fraction: Fraction = 0.2
    seed: Seed = 0
    standardize: Flag = True
    n_samples: Any = None
    n_features: Any = None
    noise: Any = None
    factor: Any = None
    cluster_std: Any = None
    class_sep: Any = None
    positive: Any = None
    classes: Any = None
    path: Any = None
    target: Any = None

    @property
    def options(self) -> dict[str, Any]:
        """What was set of the data set's own options."""
        own = {"name", "test_fraction", "validation_fraction", "seed", "standardize"}
        return {key: value for key, value in self if key not in own and value is not None}


class NetworkConfig(_Table):
    """Hidden layers, what bends them, and how large the first weights are."""

    depth: Annotated[int, _field(_whole(1, 1000))] | None = None
    width: Annotated[int | tuple[int, ...], _field(_one_or_list(_whole(1, 10_000)))] = 32
    activation: Annotated[str | tuple[str, ...], _field(_one_or_list(_choice(ACTIVATIONS)))] = "sigmoid"
    weight_init: Annotated[str, _field(_choice(INITIALIZERS))] | None = None
    bias_init: Annotated[str, _field(_choice(INITIALIZERS))] = "zeros"
    gain: Positive = 1.0
    dropout: Share = 0.0
    batch_norm: Flag = False
    residual: Flag = False
    dtype: Annotated[str, _field(_choice(("float64", "float32")))] = "float64"

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer: one, unless depth or a list says otherwise."""
        if isinstance(self.width, tuple):
            return self.width
        lists = len(self.activation) if isinstance(self.activation, tuple) else 1
        return (self.width,) * (self.depth or lists)


class TrainingConfig(_Table):
    """Loss, optimizer, how long, and on which engine."""

    loss: Annotated[str, _field(_choice(CONFIG_LOSSES))] = "binary_cross_entropy"
    optimizer: Annotated[str, _field(_choice(OPTIMIZER_OPTIONS))] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Annotated[float, _field(_real(0.0, 1.0))] | None = None
    nesterov: Flag | None = None
    decay: Share | None = None
    beta1: Share | None = None
    beta2: Share | None = None
    epsilon: Positive | None = None
    weight_decay: NotNegative | None = None
    schedule: Annotated[str, _field(_choice(SCHEDULE_OPTIONS))] = "constant"
    schedule_every: Positive | None = None
    schedule_factor: Positive | None = None
    schedule_floor: Share | None = None
    warm_up: NotNegative = 0.0
    batch_size: Annotated[int, _field(_whole(1, 1_000_000))] = 32
    epochs: Annotated[int, _field(_whole(1, 100_000))] = 50
    patience: Annotated[int, _field(_whole(0, 100_000))] = 0
    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    clip_norm: NotNegative = 0.0
    class_weight: Annotated[str, _field(_choice(("balanced",)))] | None = None
    engine: Annotated[str, _field(_choice(ENGINES))] = "auto"

    @property
    def optimizer_options(self) -> dict[str, Any]:
        """What was set of the options that belong to one optimizer or another."""
        names = dict.fromkeys(itertools.chain(*OPTIMIZER_OPTIONS.values()))
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def schedule_options(self) -> dict[str, Any]:
        """What was set of the options that belong to one schedule or another."""
        names = dict.fromkeys(itertools.chain(*SCHEDULE_OPTIONS.values()))
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class ProbeConfig(_Table):
    """How often the gradient flow is recorded, and how often at most."""

    every: Annotated[str | int, _field(_every)] = "epoch"
    limit: Annotated[int, _field(_whole(2, 1_000_000))] = 2000


class Expectation(_Table):
    """A claim about the results that a run tests."""

    variant: Label | None = None
    measure: Annotated[str, _field(_choice(MEASURES))]
    statistic: Annotated[str, _field(_choice(STATISTICS))] = "mean"
    above: Bound | None = None
    below: Bound | None = None

    @property
    def bound(self) -> str:
        """The claim in symbols: ``"0.4 < median test_accuracy < 0.6"``."""
        low = f"{self.above:g} < " if self.above is not None else ""
        high = f" < {self.below:g}" if self.below is not None else ""
        return f"{low}{self.statistic} {self.measure}{high}"

    def holds(self, measured: float) -> bool:
        """Whether a number is within the bounds; nan is not."""
        above = self.above is None or measured > self.above
        return above and (self.below is None or measured < self.below) and measured == measured


class Experiment(_Table):
    """One variant at one point of the sweep: everything that a network and its training are made from.

    Attributes
    ----------
    name : str
        The variant's name, followed by what the sweep sets: ``"sigmoid, depth=4"``.
    variant : str
        The variant's name alone.
    point : dict
        What the sweep sets, by dotted key.
    """

    name: str
    variant: str
    point: dict[str, Any] = Field(default_factory=dict)
    seeds: tuple[int, ...]
    data: DataConfig
    network: NetworkConfig
    training: TrainingConfig
    probe: ProbeConfig


class Config(_Table):
    """A whole file: the experiments that it describes, and what they are expected to show.

    Attributes
    ----------
    resolved : dict
        The file's tables after overrides, with every default filled in; it can be written and run again.
    """

    title: str
    experiments: tuple[Experiment, ...]
    expectations: tuple[Expectation, ...]
    resolved: dict[str, Any]

    def expected_of(self, expectation: Expectation) -> list[Experiment]:
        """Return the experiments that a claim is about: one, a variant at all points of the sweep, or all."""
        wanted = expectation.variant
        return [e for e in self.experiments if wanted is None or wanted in (e.name, e.variant)]

    def as_toml(self) -> bytes:
        """Write what was resolved as a run's folder keeps it."""
        import tomli_w

        return tomli_w.dumps(self.resolved).encode()


class _File(_Table):
    """The top level of a file, without the tables of an experiment."""

    title: Text | None = None
    seeds: Annotated[tuple[int, ...], _field(_seeds)] = (0,)


TABLES: dict[str, type[_Table]] = {
    "data": DataConfig,
    "network": NetworkConfig,
    "training": TrainingConfig,
    "probe": ProbeConfig,
}
TOP_LEVEL = (*_File.model_fields, *TABLES, "variants", "sweep", "expect")


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
    sources = dict.fromkeys(_override(raw, overrides, path.stem), "--set")
    if seeds is not None:
        raw["seeds"] = seeds
        sources["seeds"] = "--seeds"
    _find_beside(path.parent, raw, sources)
    problems = _Problems(str(path), sources)
    config = _build(raw, path.stem, problems)
    if config is None:
        raise ConfigError(problems.lines)
    # Built again from what was resolved, an experiment is the same one whether it is read from here or from there.
    return _build(copy.deepcopy(config.resolved), path.stem, problems) or config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path, MOST_BYTES).decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not a text in UTF-8"]) from None
    except (ValueError, RecursionError) as error:  # also for numbers too long and lists too deep for Python
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}; give a TOML file, such as one in configs/"]) from None


def _override(raw: dict[str, Any], overrides: Sequence[str], stem: str) -> list[str]:
    """Write ``key=value`` texts into the tables, over whatever variants and sweep say; return the keys."""
    changed = []
    for override in overrides:
        aim, setting = _aimed(raw, override, stem)
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


def _aimed(raw: dict[str, Any], override: str, stem: str) -> tuple[int | None, str]:
    """Return the place of the variant that an override is for, None for all of them, and the override without its name.

    A name may hold any character, so the longest one that is followed by a colon counts.
    """
    variants = raw.get("variants", [{"name": _as_label(stem)}])
    given = [v.get("name") if isinstance(v, dict) else None for v in _list_of({"of": variants}, "of")]
    names = {name: i for i, name in enumerate(given) if isinstance(name, str)}
    for name in sorted(names, key=len, reverse=True):
        if override.startswith(f"{name}:"):
            raw["variants"] = variants
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


def _find_beside(folder: Path, raw: dict[str, Any], changed: Mapping[str, str]) -> None:
    """Look for data files beside the configuration; one named by ``--set`` is looked for from here."""
    tables = [] if "data.path" in changed else [raw.get("data")]
    for i, variant in enumerate(_list_of(raw, "variants")):
        if isinstance(variant, dict) and f"variants[{i}].data.path" not in changed:
            tables.append(variant.get("data"))
    for table in tables:
        if isinstance(table, dict) and isinstance(table.get("path"), str):
            table["path"] = str(folder / table["path"])


class _Problems:
    """Collects mistakes, each named by where it stands."""

    def __init__(self, source: str, sources: Mapping[str, str]):
        self.source, self.sources = source, sources  # of the file; of single keys given elsewhere
        self.lines: list[str] = []

    def add(self, key: str, message: str) -> None:
        line = f"{self.sources.get(key, self.source)}: {key}: {message}"
        if line not in self.lines:
            self.lines.append(line)

    def validate(self, model: type[_Table], raw: Any, where: str) -> Any:
        """Return a table as its model, or None with its mistakes added."""
        if not isinstance(raw, dict):
            self.add(where, f"{raw!r} is not a table")
            return None
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for e in error.errors():
                key = ".".join([where, *map(str, e["loc"])] if where else map(str, e["loc"]))
                if e["type"] == "extra_forbidden":
                    self.unknown(key, str(e["loc"][-1]), model.model_fields)
                elif e["type"] == "missing":
                    self.add(key, "missing")
                else:
                    self.add(key, str(e.get("ctx", {}).get("error", e["msg"])))
            return None

    def unknown(self, key: str, name: str, known: Iterable[str]) -> None:
        self.add(key, f"unknown key: {not_one_of(name, known)}")


def _build(raw: dict[str, Any], stem: str, problems: _Problems) -> Config | None:
    """Check the file's tables one by one, then the experiments put together from them."""
    for key in raw:
        if key not in TOP_LEVEL:
            problems.unknown(key, key, TOP_LEVEL)
    top = problems.validate(_File, {k: raw[k] for k in _File.model_fields if k in raw}, "")
    base = {table: raw.get(table, {}) for table in TABLES}
    for table, model in TABLES.items():
        problems.validate(model, base[table], table)
    variants = list(_variants(raw.get("variants", [{"name": _as_label(stem)}]), problems))
    sweep = _sweep(raw.get("sweep", {}), problems)
    expectations = [
        problems.validate(Expectation, e, f"expect[{i}]") for i, e in enumerate(_tables(raw, "expect", problems))
    ]
    if problems.lines:
        return None
    experiments = tuple(_experiments(base, variants, sweep, top.seeds, problems))
    names = [e.name for e in experiments] + [e.variant for e in experiments]
    for i, e in enumerate(expectations):
        if e.variant is not None and e.variant not in names:
            problems.add(f"expect[{i}].variant", not_one_of(e.variant, dict.fromkeys(names)))
        if e.above is None and e.below is None:
            problems.add(f"expect[{i}]", "a bound is missing: above, below or both")
        if e.above is not None and e.below is not None and e.above >= e.below:
            problems.add(f"expect[{i}]", f"nothing is above {e.above:g} and below {e.below:g}")
    if problems.lines:
        return None
    title = top.title or stem
    resolved: dict[str, Any] = {"title": title, "seeds": list(top.seeds)}
    for table, model in TABLES.items():
        resolved[table] = model.model_validate(base[table]).model_dump(exclude_none=True, mode="json", warnings=False)
    resolved["variants"] = [{"name": _as_label(stem)}]
    resolved |= {key: copy.deepcopy(raw[key]) for key in ("variants", "sweep", "expect") if key in raw}
    _spell_out(resolved, experiments)
    return Config(title=title, experiments=experiments, expectations=tuple(expectations), resolved=resolved)


def _spell_out(resolved: dict[str, Any], experiments: Sequence[Experiment]) -> None:
    """Fill in the defaults of what data set and optimizer take, where all experiments have the same one."""
    data, training = resolved["data"], resolved["training"]
    if len({e.data.name for e in experiments}) == 1:
        options = DATASETS[experiments[0].data.name].options
        data |= {k: o.default for k, o in options.items() if k not in data and o.default is not None}
    if len({e.training.optimizer for e in experiments}) == 1:
        defaults = inspect.signature(OPTIMIZERS[experiments[0].training.optimizer]).parameters
        for name in OPTIMIZER_OPTIONS[experiments[0].training.optimizer]:
            training.setdefault(name, defaults[name].default)
    for table in [data, *(v.get("data") or {} for v in _list_of(resolved, "variants"))]:
        if "path" in table:
            table["path"] = os.path.abspath(table["path"])


def _tables(raw: Mapping[str, Any], key: str, problems: _Problems) -> list[Any]:
    value = raw.get(key, [])
    if not isinstance(value, list):
        problems.add(key, f"write it as [[{key}]], once for each")
        return []
    return value


def _variants(raw: Any, problems: _Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each variant, and the tables of what it changes."""
    names: set[str] = set()
    if raw == []:
        problems.add("variants", "there must be at least one, or no such key")
    for i, variant in enumerate(_tables({"variants": raw}, "variants", problems)):
        where = f"variants[{i}]"
        if not isinstance(variant, dict):
            problems.add(where, f"{variant!r} is not a table")
            continue
        try:
            name = _label(variant.get("name"))
        except ValueError as error:
            problems.add(f"{where}.name", str(error) if "name" in variant else "missing")
            continue
        if name in names:
            problems.add(f"{where}.name", f"{name!r} is the name of another variant")
        names.add(name)
        changes = {key: value for key, value in variant.items() if key != "name"}
        for key, value in changes.items():
            if key not in TABLES:
                problems.unknown(f"{where}.{key}", key, ("name", *TABLES))
            else:
                problems.validate(TABLES[key], value, f"{where}.{key}")
        yield name, changes


def _sweep(raw: Any, problems: _Problems) -> dict[str, list[Any]]:
    """Return the lists of a sweep by dotted key, each value checked."""
    if not isinstance(raw, dict):
        problems.add("sweep", f"{raw!r} is not a table")
        return {}
    sweep: dict[str, list[Any]] = {}

    def flatten(table: Mapping[str, Any], path: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                flatten(value, f"{path}{key}.")
            else:
                sweep[f"{path}{key}"] = value

    flatten(raw, "")
    for key, values in sweep.items():
        table, _, name = key.partition(".")
        if table not in TABLES or name not in TABLES[table].model_fields:
            known = [f"{t}.{field}" for t, model in TABLES.items() for field in model.model_fields]
            problems.add(f"sweep.{key}", f"unknown key: {not_one_of(key, known)}")
        elif not isinstance(values, list) or not values:
            problems.add(f"sweep.{key}", f"{values!r} is not a list of at least one value")
        else:
            for value in values:
                problems.validate(TABLES[table], {name: value}, f"sweep.{table}")
            if len({repr(value) for value in values}) < len(values):
                problems.add(f"sweep.{key}", f"{values!r} names a value twice")
    return sweep


def _experiments(
    base: Mapping[str, Mapping[str, Any]],
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    sweep: Mapping[str, Sequence[Any]],
    seeds: tuple[int, ...],
    problems: _Problems,
) -> Iterator[Experiment]:
    """Yield every variant at every point of the sweep, checked as a whole."""
    count = len(variants)
    for values in sweep.values():
        count *= len(values)
    if count > MAX_RUNS:
        problems.add("sweep", f"{count} experiments are more than the {MAX_RUNS} allowed")
        return
    for variant, changes in variants:
        for values in itertools.product(*sweep.values()):
            point = dict(zip(sweep, values, strict=True))
            tables: dict[str, dict[str, Any]] = {t: {**base[t], **changes.get(t, {})} for t in TABLES}
            for key, value in point.items():
                table, _, name = key.partition(".")
                tables[table][name] = copy.copy(value)
            settings = [f"{key.rpartition('.')[2]}={value}" for key, value in point.items()]
            experiment = Experiment.model_validate(
                {"name": ", ".join([variant, *settings]), "variant": variant, "point": point, "seeds": seeds, **tables}
            )
            for key, message in _misfits(experiment):
                problems.add(f"{key} (variant {experiment.name})" if count > 1 else key, message)
            yield experiment


def _misfits(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between the keys of one experiment."""
    network, training, data = experiment.network, experiment.training, experiment.data
    depth = len(network.widths)
    if network.depth is not None and isinstance(network.width, tuple) and depth != network.depth:
        yield "network.width", f"{depth} widths for a depth of {network.depth}"
    if isinstance(network.activation, tuple) and len(network.activation) != depth:
        yield "network.activation", f"{len(network.activation)} activations for a depth of {depth}"
    taken = OPTIMIZER_OPTIONS[training.optimizer]
    for name in training.optimizer_options:
        if name not in taken:
            yield f"training.{name}", f"{training.optimizer} takes no {name}, only {', '.join(taken)}"
    if training.nesterov and training.optimizer == "sgd" and not training.momentum:
        yield "training.nesterov", "it needs a momentum above 0"
    for name in training.schedule_options:
        taken = SCHEDULE_OPTIONS[training.schedule]
        if name not in taken:
            yield f"training.{name}", f"the schedule {training.schedule} takes no {name}"
    if training.schedule == "step" and training.schedule_every is None:
        yield "training.schedule_every", "missing: after how many epochs the schedule takes a step"
    known = DATASETS[data.name].options
    for name, value in data.options.items():
        if name not in known:
            yield f"data.{name}", f"{data.name} takes no {name}, only {', '.join(known) or 'a seed'}"
            continue
        try:
            known[name].check(name, value)
        except ValueError as error:
            yield f"data.{name}", str(error).removeprefix(f"{name}: ")
    for name, option in known.items():
        if option.default is None and name not in data.options:
            yield f"data.{name}", f"missing; {data.name} needs it"
