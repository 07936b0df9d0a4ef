import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.datasets import DATASETS
from gradlab.lab.config import load_config
from gradlab.lab.errors import ConfigError
from gradlab.lab.names import OPTIMIZER_OPTIONS
from gradlab.lab.schema import TABLES

CONFIGS = Path(__file__).parents[2] / "configs"


def load(tmp_path, text, *overrides, **options):
    path = tmp_path / "test.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides, **options)


def problems(tmp_path, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]


def test_an_empty_file_is_one_network_with_every_default(tmp_path):
    config = load(tmp_path, "")
    (experiment,) = config.experiments
    assert config.title == experiment.name == "test"
    assert experiment.seeds == (0,)
    assert experiment.network.widths == (32,)


NAMED = """
    network.depth = 2
    [[variants]]
    name = "lr"
    [[variants]]
    name = "lr=0.1"
    network.depth = 3
    [[variants]]
    name = "lr=0.1:a"
"""


def test_an_override_can_be_aimed_at_a_variant(tmp_path):
    def depths(*overrides):
        return [e.network.depth for e in load(tmp_path, NAMED, *overrides).experiments]

    assert depths() == [2, 3, 2]
    assert depths("lr:network.depth=5") == [5, 3, 2]
    assert depths("lr=0.1:network.depth=5") == [2, 5, 2]
    assert depths("lr=0.1:a:network.depth=5") == [2, 3, 5]  # the longest name counts
    assert depths("lr:network.depth=5", "network.depth=4") == [4, 4, 4]
    assert depths("network.depth=4", "lr:network.depth=5") == [5, 4, 4]
    (alone,) = load(tmp_path, "", "test:training.class_weight=balanced").experiments  # a file's only variant
    assert (alone.name, alone.training.class_weight) == ("test", "balanced")


def test_an_aim_that_misses_is_named(tmp_path):
    (line,) = problems(tmp_path, NAMED, "lt:network.depth=5")
    assert line == "--set lt:network.depth=5: variant: 'lt' is not one of lr, lr=0.1, lr=0.1:a"
    assert problems(tmp_path, NAMED, "lr:seeds=3")[0].startswith(
        "--set lr:seeds=3: of one variant only the tables data"
    )
    assert problems(tmp_path, NAMED, "lr:network.depth=x")[0].startswith("--set: variants[0].network.depth: 'x' is not")
    assert problems(tmp_path, "", "training.class_weight=equal")[0].startswith(
        "--set: training.class_weight: 'equal' is not one of balanced"
    )


def test_a_default_class_weight_leaves_no_trace(tmp_path):
    assert "class_weight" not in load(tmp_path, "").resolved["training"]


def test_a_variant_changes_only_what_it_says(tmp_path):
    text = """
        seeds = [3, 0]
        [network]
        depth = 4
        [[variants]]
        name = "a"
        [[variants]]
        name = "b"
        network.activation = "relu"
    """
    a, b = load(tmp_path, text).experiments
    assert (a.network.activation, b.network.activation) == ("sigmoid", "relu")
    assert a.network.widths == b.network.widths == (32,) * 4
    assert a.seeds == (3, 0)


def test_a_sweep_is_every_variant_at_every_point(tmp_path):
    text = """
        [[variants]]
        name = "a"
        [[variants]]
        name = "b"
        [sweep]
        "network.depth" = [1, 2]
        training.learning_rate = [0.1, 1]
        [[expect]]
        variant = "a"
        measure = "test_accuracy"
        above = 0
        [[expect]]
        variant = "b, depth=2, learning_rate=1"
        measure = "test_accuracy"
        above = 0
    """
    config = load(tmp_path, text)
    assert len(config.experiments) == 8
    assert config.experiments[-1].name == "b, depth=2, learning_rate=1"
    assert config.experiments[-1].training.learning_rate == 1.0
    assert [len(config.expected_of(e)) for e in config.expectations] == [4, 1]


def test_an_override_is_over_what_variants_and_sweep_say(tmp_path):
    text = """
        [[variants]]
        name = "a"
        network.activation = "relu"
        training.epochs = 2
        [sweep]
        "network.depth" = [1, 2]
        training.learning_rate = [0.1, 0.2]
    """
    config = load(tmp_path, text, "network.activation=tanh", "network.depth=3", "training.learning_rate=1")
    (experiment,) = config.experiments
    assert experiment.name == "a"
    assert (experiment.network.activation, len(experiment.network.widths)) == ("tanh", 3)
    assert (experiment.training.learning_rate, experiment.training.epochs) == (1.0, 2)


def test_overrides_are_read_as_toml_or_as_text(tmp_path):
    config = load(tmp_path, "", "network.depth=3", "network.activation=relu", "network.width=[4, 5, 6]", "title='x'")
    assert config.experiments[0].network.widths == (4, 5, 6)
    assert config.experiments[0].network.activation == "relu"
    assert config.title == "x"
    assert len(load(tmp_path, "seeds = 2", seeds=5).experiments[0].seeds) == 5


@pytest.mark.parametrize(
    "text, wanted",
    [
        ('network.activation = "sigmod"', "test.toml: network.activation: 'sigmod' is not one of sigmoid, tanh, relu,"),
        ('network.activation = "sigmod"', "; did you mean 'sigmoid'?"),
        ("network.depth = 1e9", "network.depth: 1000000000.0 is not a whole number from 1 to 1000"),
        ("network.depth = 0", "network.depth: 0 is not a whole number from 1 to 1000"),
        ("network.depth = true", "network.depth: True is not a whole number"),
        ("network.dept = 2", "network.dept: unknown key: 'dept' is not one of depth,"),
        ("netwrk.depth = 2", "netwrk: unknown key: 'netwrk' is not one of title, seeds,"),
        ("network = 2", "network: 2 is not a table"),
        ('network."de\\npth" = 2', "network.de\\npth: unknown key: 'de\\npth' is not one of depth,"),
        ("network.width = [4, 5]\nnetwork.depth = 3", "network.width: 2 widths for a depth of 3"),
        ('network.activation = ["relu"]\nnetwork.depth = 3', "network.activation: 1 activations for a depth of 3"),
        ("network.width = []", "network.width: [] is not a list of 1 to 1000 entries"),
        ("training.learning_rate = -1", "training.learning_rate: -1 is not a number above 0 and at most 1e+06"),
        ("training.learning_rate = nan", "training.learning_rate: nan is not a number"),
        ("training.learning_rate = inf", "training.learning_rate: inf is not a number"),
        (
            'training.optimizer = "adam"\ntraining.momentum = 0.9',
            "training.momentum: adam takes no momentum, only beta1",
        ),
        ("training.nesterov = true", "training.nesterov: it needs a momentum above 0"),
        ('training.schedule = "step"', "training.schedule_every: missing"),
        ("training.schedule_floor = 0.1", "the schedule constant takes no schedule_floor"),
        ('training.batch_size = "32"', "training.batch_size: '32' is not a whole number"),
        ('data.name = "moon"', "data.name: 'moon' is not one of moons,"),
        ("data.n_samples = 10_000_000", "data.n_samples: 10000000 is not a whole number"),
        ('data.name = "breast_cancer"\ndata.noise = 0.1', "data.noise: breast_cancer takes no noise"),
        ('data.name = "csv"\ndata.target = "y"', "data.path: missing; csv needs it"),
        ("data.test_fraction = 1", "data.test_fraction: 1 is not a number above 0 and below 1"),
        ('data.name = "digits"\ndata.positive = [10]', "data.positive:"),
        ("seeds = 0", "seeds: 0 is not a whole number from 1 to 1000"),
        ("seeds = [1, 1]", "seeds: [1, 1] names a seed twice"),
        ("seeds = [-1]", "seeds: -1 is not a whole number from 0"),
        ("[[variants]]\nnetwork.depth = 1", "variants[0].name: missing"),
        ('[[variants]]\nname = "a"\n[[variants]]\nname = "a"', "variants[1].name: 'a' is the name of another variant"),
        ('[[variants]]\nname = "a/b"', "variants[0].name: 'a/b' is not a name"),
        ('[[variants]]\nname = "a"\nnetwork.activation = 3', "variants[0].network.activation: 3 is not one of"),
        ('[[variants]]\nname = "a"\ndepth = 3', "variants[0].depth: unknown key"),
        ("variants = 3", "variants: write it as [[variants]], once for each"),
        ("variants = []", "variants: there must be at least one"),
        ("[sweep]\ndepth = [1]", "sweep.depth: unknown key"),
        ('[sweep]\n"network.depth" = 1', "sweep.network.depth: 1 is not a list"),
        ('[sweep]\n"network.depth" = [1, 0]', "sweep.network.depth: 0 is not a whole number"),
        ('[sweep]\n"network.depth" = [1, 1]', "sweep.network.depth: [1, 1] names a value twice"),
        (
            f'[sweep]\n"network.depth" = {list(range(1, 1000))}\n"data.seed" = [1, 2]',
            "sweep: 1998 experiments are more",
        ),
        ('[[expect]]\nmeasure = "accuracy"\nabove = 0', "expect[0].measure: 'accuracy' is not one of test_accuracy,"),
        ("[[expect]]\nabove = 0", "expect[0].measure: missing"),
        ('[[expect]]\nmeasure = "test_loss"', "expect[0]: a bound is missing"),
        ('[[expect]]\nmeasure = "test_loss"\nabove = 2\nbelow = 1', "expect[0]: nothing is above 2 and below 1"),
        ('[[expect]]\nvariant = "x"\nmeasure = "test_loss"\nabove = 2', "expect[0].variant: 'x' is not one of test"),
        ("probe.every = 0", "probe.every: 0 is not 'step', 'epoch' or a whole number of steps"),
        ("probe.limit = 1", "probe.limit: 1 is not a whole number from 2 to 1000000"),
        ("title = 3", "title: 3 is not a text"),
        ('title = " "', "title: ' ' is not a text"),
        ("network.residual = 1", "network.residual: 1 is not true or false"),
        ('network.width = "4"', "network.width: '4' is not a whole number from 1 to 10000"),
        ("network.width = [4, 0]", "network.width: 0 is not a whole number from 1 to 10000"),
        ('network.activation = ["relu", "rulu"]', "network.activation: 'rulu' is not one of sigmoid, tanh, relu,"),
        ('network.dtype = "float16"', "network.dtype: 'float16' is not one of float64, float32; did you mean"),
        ("training.momentum = 2", "training.momentum: 2 is not a number of at least 0 and at most 1"),
        (
            'training.optimizer = "adam"\ntraining.beta1 = 1',
            "training.beta1: 1 is not a number of at least 0 and below 1",
        ),
        ('training.engine = "compild"', "'compild' is not one of auto, plain, compiled; did you mean 'compiled'?"),
        ("data.noise = -1", "data.noise: -1 is not a finite number of at least 0"),
        ("network.bias_std = -1", "network.bias_std: -1 is not a number of at least 0"),
        ("network.bias_std = 0.2\nnetwork.bias_init = 'normal'", "network.bias_std: biases of normal have no standard"),
        ("probe.what = ['weight_nrm']", "probe.what: 'weight_nrm' is not one of"),
        ("probe.what = 'weight_norm'", "probe.what: 'weight_norm' is not a list of names of probes"),
        ("probe.what = ['weight_norm', 'weight_norm']", "names a probe twice"),
        ("probe.what = ['delta_rms@7']", "probe.what: 'delta_rms@7': there is no layer 7 in the network, only 0, 1, 2"),
        ("network.batch_norm = true\ntraining.batch_size = 1", "training.batch_size: 1 leaves batch normalisation"),
        ("variants = [3]", "variants[0]: 3 is not a table"),
        ('[[variants]]\nname = "a"\nnetwork = 3', "variants[0].network: 3 is not a table"),
        ('[[variants]]\nname = "a"\nnetwork.dept = 3', "variants[0].network.dept: unknown key: 'dept' is not one of d"),
        ("sweep = 3", "sweep: 3 is not a table"),
        ('[sweep]\n"network.dept" = [1]', "; did you mean 'network.depth'?"),
        ("expect = 3", "expect: write it as [[expect]], once for each"),
        ('[[expect]]\nmeasure = "test_loss"\nabove = inf', "expect[0].above: inf is not a number of at least -1e+300"),
        ('[[expect]]\nmeasure = "test_loss"\nabov = 1', "expect[0].abov: unknown key: 'abov' is not one of variant,"),
        ("a = [", "test.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(tmp_path, text, wanted):
    lines = problems(tmp_path, text)
    assert len(lines) == 1
    assert lines[0].startswith("test.toml: ")
    assert wanted in lines[0]


def test_all_mistakes_come_at_once(tmp_path):
    text = 'seeds = 0\nnetwork.depth = 0\nnetwork.activation = "x"\n[[variants]]\nname = "a"\ndata.seed = -1'
    keys = [line.split(": ")[1] for line in problems(tmp_path, text)]
    assert keys == ["seeds", "network.depth", "network.activation", "variants[0].data.seed"]


def test_every_entry_and_every_variant_is_looked_at(tmp_path):
    text = 'network.width = [0, 1, "x"]\n[[variants]]\nseeds = 1\n[[variants]]\nname = "a"\n[[variants]]\nname = "a"'
    assert [line.removeprefix("test.toml: ") for line in problems(tmp_path, text)] == [
        "network.width: 0 is not a whole number from 1 to 10000",
        "network.width: 'x' is not a whole number from 1 to 10000",
        "variants[0].name: missing",
        "variants[0].seeds: unknown key: 'seeds' is not one of name, data, network, training, probe",
        "variants[2].name: 'a' is the name of another variant",
    ]


def test_what_does_not_go_together_is_named_with_the_experiment_if_there_are_several(tmp_path):
    text = '[[variants]]\nname = "a"\ntraining.beta1 = 0.5\n[[variants]]\nname = "b"\n[sweep]\n"training.decay" = [0.5]'
    assert [line.split(": ")[1] for line in problems(tmp_path, text)] == [
        "training.decay (variant a, decay=0.5)",
        "training.beta1 (variant a, decay=0.5)",
        "training.decay (variant b, decay=0.5)",
    ]


def test_a_mistake_in_an_override_is_said_to_be_there(tmp_path):
    assert problems(tmp_path, "", "network.depth=x")[0].startswith("--set: network.depth: 'x' is not a whole number")
    with pytest.raises(ConfigError, match=r"^--seeds: seeds: 0 is not"):
        load(tmp_path, "", seeds=0)
    assert "not of the form KEY=VALUE" in problems(tmp_path, "", "network.depth")[0]
    assert "only the tables" in problems(tmp_path, "", "variants.name=a")[0]
    assert "data is not a table" in problems(tmp_path, "data = 1", "data.seed=1")[0]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.toml: No such file"):
        load_config(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="it is not a file"):
        load_config(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a text in UTF-8"):
        load_config(tmp_path / "binary.toml")


def test_a_data_file_is_looked_for_beside_the_configuration(tmp_path):
    config = load(tmp_path, 'data.name = "csv"\ndata.path = "a.csv"\ndata.target = "y"')
    assert Path(config.experiments[0].data.path) == tmp_path / "a.csv"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_here_is_valid_and_states_claims(path):
    assert load_config(path).expectations


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_resolved_configuration_spells_everything_out(path, tmp_path):
    config = load_config(path)
    resolved = tmp_path / path.name
    resolved.write_text(tomli_w.dumps(config.resolved), encoding="utf-8")
    again = load_config(resolved)
    assert again.resolved == config.resolved
    assert [e.name for e in again.experiments] == [e.name for e in config.experiments]
    for one, two in zip(config.experiments, again.experiments, strict=True):
        assert one.network == two.network
        assert set(two.training.optimizer_options) == set(OPTIMIZER_OPTIONS[two.training.optimizer])
        assert set(two.data.options) == set(DATASETS[two.data.name].options)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value is not None)
fields = [f"{table}.{name}" for table, model in TABLES.items() for name in model.model_fields]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*fields, "title", "seeds", "variants", "sweep", "expect"]), values, max_size=4))
def test_any_file_is_a_configuration_or_has_named_mistakes(tmp_path_factory, settings):
    raw: dict = {}
    for key, value in settings.items():
        table, _, name = key.partition(".")
        if name:
            raw.setdefault(table, {})[name] = value
        else:
            raw[table] = value
    path = tmp_path_factory.mktemp("any") / "any.toml"
    try:
        path.write_text(tomli_w.dumps(raw), encoding="utf-8")
    except (TypeError, UnicodeEncodeError, AttributeError):
        return  # not to be said in TOML: a list with None in it, a lone surrogate
    try:
        tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError:
        return
    lines = []
    try:
        load_config(path)
    except ConfigError as error:
        lines = error.problems
        if not lines:
            raise
    assert all(line.startswith(str(path)) for line in lines)
