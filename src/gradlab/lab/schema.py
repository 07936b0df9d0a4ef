"""What a configuration may say: every table as a type, and every value with what is allowed in its place."""

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_type_hints

from gradlab.datasets import DATASETS, shape
from gradlab.extras import needed_by
from gradlab.flow.quantities import find_probe
from gradlab.lab.names import CONFIG_LOSSES, ENGINES, MEASURES, OPTIMIZER_OPTIONS, SCHEDULE_OPTIONS, STATISTICS
from gradlab.nn.activations import ACTIVATIONS
from gradlab.nn.architectures import mlp
from gradlab.nn.checks import not_one_of
from gradlab.nn.initializers import INITIALIZERS
from gradlab.nn.layers import Layer
from gradlab.nn.optimizers import OPTIMIZERS
from gradlab.nn.wiring import numbered

with needed_by("gradlab.lab"):
    from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Discriminator,
        Field,
        PlainValidator,
        Strict,
        Tag,
        TypeAdapter,
        ValidationError,
        ValidatorFunctionWrapHandler,
        WrapValidator,
        create_model,
    )

# --- values --------------------------------------------------------------------------------------------------------


class Fits(GroupedMetadata):
    """What pydantic checks of a value, and what is allowed: a value that does not fit is named together with that."""

    def __init__(self, allowed: str, *constraints: object):
        self.allowed, self.constraints = allowed, constraints

    def __iter__(self) -> Iterator[object]:
        yield from (*self.constraints, WrapValidator(self._check))

    def _check(self, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"{value!r} is not {self.allowed}") from None


def _whole(least: int, most: int) -> Fits:
    return Fits(f"a whole number from {least} to {most}", Strict(), Ge(least), Le(most))


def _real(least: float, most: float, *, above: bool = False, below: bool = False) -> Fits:
    start, end = ("above" if above else "of at least"), ("below" if below else "at most")
    allowed = f"a number {start} {least:g} and {end} {most:g}"
    return Fits(allowed, Strict(), (Gt if above else Ge)(least), (Lt if below else Le)(most))


def _choice(choices: Iterable[str]) -> PlainValidator:
    """One of some names; one that is not among them, but like one that is, is asked about."""
    choices = tuple(choices)

    def check(value: object) -> object:
        if value not in choices:
            raise ValueError(not_one_of(value, choices))
        return value

    return PlainValidator(check)


def _list_of(allowed: str, most: float = math.inf, *, least: int = 1, each_once: str = "") -> WrapValidator:
    """Take a list of so many entries, each checked by itself; with a name for them, none may come twice."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise ValueError(f"{value!r} is not a list of {allowed}")
        entries = handler(value)
        if each_once and len({repr(entry) for entry in value}) < len(value):
            raise ValueError(f"{value!r} names a {each_once} twice")
        return entries

    return WrapValidator(check)


_LIST = _list_of("1 to 1000 entries", 1000)
_ONE_OR_LIST = Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "one")

Positive = Annotated[float, _real(0.0, 1e6, above=True)]
Fraction = Annotated[float, _real(0.0, 1.0, above=True, below=True)]
Share = Annotated[float, _real(0.0, 1.0, below=True)]
NotNegative = Annotated[float, _real(0.0, 1e6)]
Bound = Annotated[float, _real(-1e300, 1e300)]
Seed = Annotated[int, _whole(0, 2**32 - 1)]
Units = Annotated[int, _whole(1, 10_000)]
Activation = Annotated[str, _choice(ACTIVATIONS)]
Flag = Annotated[bool, Fits("true or false", Strict())]
Text = Annotated[str, Field(pattern=r"[\s\S]*\S"), Fits("a text", Strict())]
Label = Annotated[
    str,
    Field(pattern=r"\A(?! )[\w .,:+=()\[\]'-]{1,60}(?<! )\Z"),
    Fits("a name of up to 60 letters, digits, spaces and _ . , : + = ( ) [ ] ' -", Strict()),
]

_HOW_MANY_SEEDS = TypeAdapter(Annotated[int, _whole(1, 1000)])


def _counted(value: Any) -> Any:
    """Turn a number of seeds into the seeds from 0 on."""
    return value if isinstance(value, list | tuple) else tuple(range(_HOW_MANY_SEEDS.validate_python(value)))


Seeds = Annotated[tuple[Seed, ...], _list_of("1 to 1000 entries", 1000, each_once="seed"), BeforeValidator(_counted)]


def _probe(value: Any) -> str:
    """Return the name of a quantity that can be recorded."""
    try:
        find_probe(value)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("what: ")) from None
    return str(value)


class Table(BaseModel):
    """A table of a configuration, in which no other key may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True, regex_engine="python-re")

    def misfits(self) -> Iterator[tuple[str, str]]:
        """Yield each key that does not go with another of the table, and why."""
        yield from ()

    def _set_of(self, names: Iterable[str]) -> dict[str, Any]:
        """Return those of some keys that have a value."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


# --- the tables of an experiment -----------------------------------------------------------------------------------


class DataConfig(Table):
    """Which data, and how they are split; the options after `standardize` belong to one data set or another."""

    name: Annotated[str, _choice(DATASETS)] = "moons"
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
        names = list(type(self).model_fields)
        return self._set_of(names[names.index("standardize") + 1 :])

    @property
    def default_options(self) -> dict[str, Any]:
        """The data set's own options that have a default."""
        options = DATASETS[self.name].options
        return {name: option.default for name, option in options.items() if option.default is not None}

    def misfits(self) -> Iterator[tuple[str, str]]:
        """Hold the options against those of the data set, which check them."""
        known = DATASETS[self.name].options
        for name, value in self.options.items():
            if name not in known:
                yield name, f"{self.name} takes no {name}, only {', '.join(known) or 'a seed'}"
                continue
            try:
                known[name].check(name, value)
            except ValueError as error:
                yield name, str(error).removeprefix(f"{name}: ")
        for name, option in known.items():
            if option.default is None and name not in self.options:
                yield name, f"missing; {self.name} needs it"


class NetworkConfig(Table):
    """Hidden layers, their activations, and how large the first weights are."""

    depth: Annotated[int, _whole(1, 1000)] | None = None
    width: Annotated[Annotated[Units, Tag("one")] | Annotated[tuple[Units, ...], _LIST, Tag("list")], _ONE_OR_LIST] = 32
    activation: Annotated[
        Annotated[Activation, Tag("one")] | Annotated[tuple[Activation, ...], _LIST, Tag("list")], _ONE_OR_LIST
    ] = "sigmoid"
    weight_init: Annotated[str, _choice(INITIALIZERS)] | None = None
    bias_init: Annotated[str, _choice(INITIALIZERS)] = "zeros"
    bias_std: NotNegative = 0.0
    gain: Positive = 1.0
    dropout: Share = 0.0
    batch_norm: Flag = False
    residual: Flag = False
    dtype: Annotated[str, _choice(("float64", "float32"))] = "float64"

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer: one, unless depth or a list says otherwise."""
        if isinstance(self.width, tuple):
            return self.width
        lists = len(self.activation) if isinstance(self.activation, tuple) else 1
        return (self.width,) * (self.depth or lists)

    def layers(self, n_features: int) -> list[Layer]:
        """Lay out the network for so many features, all weights 0."""
        return mlp(
            [n_features, *self.widths, 1],
            self.activation,
            "zeros",
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            residual=self.residual,
        )

    def misfits(self) -> Iterator[tuple[str, str]]:
        """Hold the lengths of lists against the depth."""
        depth = len(self.widths)
        if self.bias_std and self.bias_init != "zeros":
            yield "bias_std", f"biases of {self.bias_init} have no standard deviation to be chosen; leave bias_init out"
        if self.depth is not None and depth != self.depth:
            yield "width", f"{depth} widths for a depth of {self.depth}"
        if isinstance(self.activation, tuple) and len(self.activation) != depth:
            yield "activation", f"{len(self.activation)} activations for a depth of {depth}"


class TrainingConfig(Table):
    """Loss, optimizer, how long, and on which engine."""

    loss: Annotated[str, _choice(CONFIG_LOSSES)] = "binary_cross_entropy"
    optimizer: Annotated[str, _choice(OPTIMIZER_OPTIONS)] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Annotated[float, _real(0.0, 1.0)] | None = None
    nesterov: Flag | None = None
    decay: Share | None = None
    beta1: Share | None = None
    beta2: Share | None = None
    epsilon: Positive | None = None
    weight_decay: NotNegative | None = None
    schedule: Annotated[str, _choice(SCHEDULE_OPTIONS)] = "constant"
    schedule_every: Positive | None = None
    schedule_factor: Positive | None = None
    schedule_floor: Share | None = None
    warm_up: NotNegative = 0.0
    batch_size: Annotated[int, _whole(1, 1_000_000)] = 32
    epochs: Annotated[int, _whole(1, 100_000)] = 50
    patience: Annotated[int, _whole(0, 100_000)] = 0
    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    clip_norm: NotNegative = 0.0
    class_weight: Annotated[str, _choice(("balanced",))] | None = None
    engine: Annotated[str, _choice(ENGINES)] = "auto"

    @property
    def optimizer_options(self) -> dict[str, Any]:
        """What was set of the options that belong to one optimizer or another."""
        return self._set_of(dict.fromkeys(name for names in OPTIMIZER_OPTIONS.values() for name in names))

    @property
    def default_options(self) -> dict[str, Any]:
        """The optimizer's own options."""
        arguments = inspect.signature(OPTIMIZERS[self.optimizer]).parameters
        return {name: arguments[name].default for name in OPTIMIZER_OPTIONS[self.optimizer]}

    @property
    def schedule_options(self) -> dict[str, Any]:
        """What was set of the options that belong to one schedule or another."""
        return self._set_of(dict.fromkeys(name for names in SCHEDULE_OPTIONS.values() for name in names))

    def misfits(self) -> Iterator[tuple[str, str]]:
        """Hold the options against those of optimizer and schedule."""
        taken = OPTIMIZER_OPTIONS[self.optimizer]
        for name in self.optimizer_options:
            if name not in taken:
                yield name, f"{self.optimizer} takes no {name}, only {', '.join(taken)}"
        if self.nesterov and self.optimizer == "sgd" and not self.momentum:
            yield "nesterov", "it needs a momentum above 0"
        for name in self.schedule_options:
            if name not in SCHEDULE_OPTIONS[self.schedule]:
                yield name, f"the schedule {self.schedule} takes no {name}"
        if self.schedule == "step" and self.schedule_every is None:
            yield "schedule_every", "missing: after how many epochs the schedule takes a step"


class ProbeConfig(Table):
    """What is recorded of the flow beside the gradient's norms and zeros, how often, and how often at most."""

    what: Annotated[
        tuple[Annotated[str, PlainValidator(_probe)], ...], _list_of("names of probes", least=0, each_once="probe")
    ] = ()
    every: Annotated[
        Literal["step", "epoch"] | Annotated[int, Strict(), Ge(1), Le(10**9)],
        Fits("'step', 'epoch' or a whole number of steps from 1"),
    ] = "epoch"
    limit: Annotated[int, _whole(2, 1_000_000)] = 2000


TABLES: dict[str, type[Table]] = {
    "data": DataConfig,
    "network": NetworkConfig,
    "training": TrainingConfig,
    "probe": ProbeConfig,
}


class Experiment(Table):
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

    def misfits(self) -> Iterator[tuple[str, str]]:
        """Yield what the tables yield, by dotted key."""
        for table in ("network", "training", "data"):
            for key, message in getattr(self, table).misfits():
                yield f"{table}.{key}", message
        if self.network.batch_norm and self.training.batch_size == 1:
            yield "training.batch_size", "1 leaves batch normalisation nothing to normalise; take at least 2"
        yield from self._places_that_are_not()

    def _places_that_are_not(self) -> Iterator[tuple[str, str]]:
        """Yield probes of layers that the network has not; it is laid out as narrow as can be, to find out."""
        fits = not list(self.network.misfits()) and not list(self.data.misfits())
        if fits and any("@" in name for name in self.probe.what):
            widths = [shape(self.data.name, **self.data.options)[1], *self.network.widths]
            narrow = {width: i for i, width in enumerate(dict.fromkeys(widths), 1)}
            few = self.network.model_copy(update={"width": tuple(narrow[w] for w in widths[1:]), "depth": None})
            places = [place for place, _ in numbered(few.layers(narrow[widths[0]]))]
            for name in self.probe.what:
                _, at, place = name.partition("@")
                if at and place not in places:
                    yield "probe.what", f"{name!r}: there is no layer {place} in the network, only {', '.join(places)}"


# --- the file ------------------------------------------------------------------------------------------------------


class Variant(Table):
    """What one variant changes."""

    name: Label
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    probe: ProbeConfig = ProbeConfig()


class Expectation(Table):
    """A claim about the results that a run tests."""

    variant: Label | None = None
    measure: Annotated[str, _choice(MEASURES)]
    statistic: Annotated[str, _choice(STATISTICS)] = "mean"
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
        return above and (self.below is None or measured < self.below) and not math.isnan(measured)

    def misfits(self) -> Iterator[tuple[str, str]]:
        """Hold the bounds against each other."""
        if self.above is None and self.below is None:
            yield "", "a bound is missing: above, below or both"
        elif self.above is not None and self.below is not None and self.above >= self.below:
            yield "", f"nothing is above {self.above:g} and below {self.below:g}"


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is in nested tables by dotted key."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _values_of(table: type[Table]) -> Iterator[tuple[str, Any]]:
    """Yield each key of a table with a list of what may stand there."""
    for name, hint in get_type_hints(table, include_extras=True).items():
        if name in table.model_fields:
            yield name, (Annotated[list[hint], _list_of("at least one value", each_once="value")] | None, None)  # type: ignore[valid-type]


_SWEPT: dict[str, Any] = {f"{table}.{name}": field for table in TABLES for name, field in _values_of(TABLES[table])}
Sweep = create_model("Sweep", __base__=Table, **_SWEPT)


def _checked_sweep(raw: Any) -> dict[str, list[tuple[Any, Any]]]:
    """Return by dotted key each value as it was written, and as it is used."""
    if not isinstance(raw, dict):
        raise ValueError(f"{raw!r} is not a table")
    written = dict(_flat(raw))
    used = Sweep.model_validate(written)
    return {key: list(zip(values, getattr(used, key), strict=True)) for key, values in written.items()}


def _not_empty(variants: list[Variant]) -> list[Variant]:
    if not variants:
        raise ValueError("there must be at least one, or no such key")
    return variants


class File(Table):
    """Everything that a configuration may say."""

    title: Text | None = None
    seeds: Seeds = (0,)
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    probe: ProbeConfig = ProbeConfig()
    variants: Annotated[list[Variant], Strict(), AfterValidator(_not_empty)]
    sweep: Annotated[dict[str, list[tuple[Any, Any]]], PlainValidator(_checked_sweep)] = {}
    expect: Annotated[list[Expectation], Strict()] = []


class Config(Table):
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
