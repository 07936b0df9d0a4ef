import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import datasets as sk
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from gradlab import tables
from gradlab.datasets import DATASETS, check_options, load, shape

NAMES = [
    *("moons", "circles", "blobs", "classification", "gaussian_quantiles", "hastie"),
    *("breast_cancer", "digits", "iris", "wine", "csv"),
]
GENERATORS, BUNDLED = NAMES[:6], NAMES[6:10]


def before(data):
    """All rows of a Dataset as they were before they were standardised: x, y."""
    x = np.concatenate([data.x_train, data.x_test]) * data.scale + data.mean
    return x, np.concatenate([data.y_train, data.y_test])


def in_order(x):
    return x[np.lexsort(x.round(9).T)]


@pytest.fixture
def written(tmp_path):
    """Write text or bytes to a file, and return the options that read it."""

    def write(content, target="y"):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return {"path": str(path), "target": target}

    return write


# --- what is known of a data set -------------------------------------------------------------------------------------


def test_importing_listing_and_measuring_import_no_sklearn(written):
    options = written("a,y\n1,u\n2,v\n")
    program = f"""
import sys
from gradlab.datasets import DATASETS, check_options, shape
for name, spec in DATASETS.items():
    options = {options!r} if name == "csv" else {{}}
    spec.description, spec.options, check_options(name, options), shape(name, **options)
assert "numpy" in sys.modules
sys.exit(any(name.partition(".")[0] in ("sklearn", "scipy", "matplotlib") for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_names_stand_in_order_each_with_a_line():
    assert list(DATASETS) == NAMES
    for spec in DATASETS.values():
        assert spec.description
        assert "\n" not in spec.description


def test_defaults():
    assert {name: check_options(name, {}) for name in NAMES[:-1]} == {
        "moons": {"n_samples": 1000, "noise": 0.2},
        "circles": {"n_samples": 1000, "noise": 0.1, "factor": 0.5},
        "blobs": {"n_samples": 1000, "cluster_std": 1.0, "n_features": 2},
        "classification": {"n_samples": 1000, "n_features": 20, "class_sep": 1.0},
        "gaussian_quantiles": {"n_samples": 1000, "n_features": 2},
        "hastie": {"n_samples": 1000},
        "breast_cancer": {},
        "digits": {"positive": [5, 6, 7, 8, 9]},
        "iris": {"classes": [0, 1]},
        "wine": {"classes": [0, 1]},
    }
    assert {key: option.default for key, option in DATASETS["csv"].options.items()} == {"path": None, "target": None}


@pytest.mark.parametrize(
    "name, options, expected",
    [
        ("moons", {"n_samples": 11}, (11, 2)),
        ("circles", {"n_samples": 13}, (13, 2)),
        ("blobs", {"n_samples": 20, "n_features": 1}, (20, 1)),
        ("classification", {"n_samples": 40, "n_features": 2}, (40, 2)),
        ("classification", {"n_samples": 40, "n_features": 3}, (40, 3)),
        ("classification", {}, (1000, 20)),
        ("gaussian_quantiles", {"n_samples": 21, "n_features": 7}, (21, 7)),
        ("hastie", {"n_samples": 100}, (100, 10)),
        ("breast_cancer", {}, (569, 30)),
        ("digits", {"positive": [3]}, (1797, 64)),
        ("iris", {"classes": [1, 2]}, (100, 4)),
        ("wine", {}, (130, 13)),
        ("wine", {"classes": [0, 2]}, (107, 13)),
        ("wine", {"classes": [2, 1]}, (119, 13)),
    ],
)
def test_the_shape_is_known_before_loading(name, options, expected):
    assert shape(name, **options) == expected
    data = load(name, **options)
    assert (len(data.y_train) + len(data.y_test), data.x_train.shape[1]) == expected


def test_the_shape_of_a_csv_counts_rows_not_lines(written):
    options = written('a,b,y\n1,2,u\n3,4,"u\nv"\n5,6,u\n7,8,"u\nv"\n\n\n')
    assert shape("csv", **options) == (4, 2)
    assert DATASETS["csv"].table(0, **options).x.shape == (4, 2)


# --- what is loaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES[:-1])
def test_every_data_set_is_two_standardised_classes(name):
    data = load(name)
    n, d = shape(name)
    assert data.name == name
    assert data.x_train.shape == (len(data.y_train), d)
    assert data.x_test.shape == (len(data.y_test), d)
    assert len(data.y_test) == np.ceil(n / 4)
    for array in (data.x_train, data.x_test, data.y_train, data.y_test, data.mean, data.scale):
        assert array.dtype == np.float64
        assert np.isfinite(array).all()
    for y in (data.y_train, data.y_test):
        assert set(y) == {0.0, 1.0}
    assert data.mean.shape == data.scale.shape == (d,)
    assert len(set(data.feature_names)) == d
    assert len(set(data.classes)) == 2
    assert {type(text) for text in (*data.feature_names, *data.classes)} == {str}
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0.0, atol=1e-12)
    varies = np.ptp(data.x_train, axis=0) > 0.0
    np.testing.assert_allclose(data.x_train[:, varies].std(axis=0), 1.0)
    assert np.all(data.x_train[:, ~varies] == 0.0)


MADE = {
    "moons": lambda: sk.make_moons(60, noise=0.3, random_state=5),
    "circles": lambda: sk.make_circles(60, noise=0.05, factor=0.25, random_state=5),
    "blobs": lambda: sk.make_blobs(60, 3, centers=2, cluster_std=2.0, random_state=5),
    "classification": lambda: sk.make_classification(60, 6, class_sep=3.0, random_state=5),
    "gaussian_quantiles": lambda: sk.make_gaussian_quantiles(n_samples=60, n_features=3, n_classes=2, random_state=5),
    "hastie": lambda: sk.make_hastie_10_2(60, random_state=5),
}
GIVEN = {
    "moons": {"noise": 0.3},
    "circles": {"noise": 0.05, "factor": 0.25},
    "blobs": {"n_features": 3, "cluster_std": 2},
    "classification": {"n_features": 6, "class_sep": 3.0},
    "gaussian_quantiles": {"n_features": 3},
    "hastie": {},
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_are_scikit_learns_under_the_same_seed(name):
    x, y = before(load(name, n_samples=60, seed=5, **GIVEN[name]))
    x_made, y_made = MADE[name]()
    made = in_order(np.column_stack([y_made > 0, x_made]))
    np.testing.assert_allclose(in_order(np.column_stack([y, x])), made, atol=1e-12)


@pytest.mark.parametrize(
    "name, second, is_second",
    [
        ("circles", "inner", lambda x: np.linalg.norm(x, axis=1) < 0.75),
        ("hastie", "outer", lambda x: np.sum(x**2, axis=1) > 9.34),
        ("moons", "lower", lambda x: np.abs(np.linalg.norm(x - [1.0, 0.5], axis=1) - 1.0) < 1e-9),
    ],
)
def test_the_second_class_lies_where_its_name_says(name, second, is_second):
    data = load(name, n_samples=200, **({} if name == "hastie" else {"noise": 0.0}))
    x, y = before(data)
    assert data.classes[1] == second
    np.testing.assert_array_equal(y == 1.0, is_second(x))


def test_the_outer_quantile_is_further_out():
    data = load("gaussian_quantiles", n_samples=200)
    x, y = before(data)
    radius = np.linalg.norm(x, axis=1)
    assert data.classes == ("inner", "outer")
    assert radius[y == 0.0].max() < radius[y == 1.0].min()


def test_the_classes_of_scikit_learns_tables():
    _, y = before(load("breast_cancer"))
    assert (load("breast_cancer").classes, y.sum()) == (("malignant", "benign"), 357)
    data = load("digits", positive=[3])
    assert data.classes == ("0, 1, 2, 4, 5, 6, 7, 8, 9", "3")
    assert before(data)[1].sum() == np.sum(sk.load_digits().target == 3)
    assert load("digits").classes == ("0, 1, 2, 3, 4", "5, 6, 7, 8, 9")


@pytest.mark.parametrize("name, bunch", [("iris", sk.load_iris()), ("wine", sk.load_wine())])
@pytest.mark.parametrize("classes", [[0, 1], [1, 0], [0, 2], (2, 1)])
def test_the_second_of_the_classes_listed_is_one(name, bunch, classes):
    data = load(name, classes=classes)
    x, y = before(data)
    assert data.classes == tuple(bunch.target_names[list(classes)])
    assert data.feature_names == tuple(bunch.feature_names)
    for value, index in enumerate(classes):
        np.testing.assert_allclose(in_order(x[y == value]), in_order(bunch.data[bunch.target == index]), rtol=1e-12)


# --- split and standardise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_split_first_then_standardise_by_the_training_part(seed):
    x, y = sk.load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=seed, stratify=y)
    scaler = StandardScaler().fit(x_train)
    data = load("breast_cancer", test_fraction=0.4, seed=seed)
    np.testing.assert_allclose(data.x_train, scaler.transform(x_train), atol=1e-10)
    np.testing.assert_allclose(data.x_test, scaler.transform(x_test), atol=1e-10)
    np.testing.assert_array_equal(data.y_train, y_train)
    np.testing.assert_array_equal(data.y_test, y_test)
    np.testing.assert_allclose(data.mean, x_train.mean(axis=0))
    np.testing.assert_allclose(data.scale, x_train.std(axis=0))


def test_the_test_part_does_not_touch_the_statistics(written):
    values = np.arange(40.0)

    def read():
        return load("csv", **written("a,y\n" + "".join(f"{a},{'uv'[i % 2]}\n" for i, a in enumerate(values))))

    calm = read()
    in_test_part = round(before(calm)[0][-1, 0])  # its value, and so its row
    values[in_test_part] = 1e6
    wild = read()
    assert wild.x_test.max() > 1e4
    np.testing.assert_array_equal(wild.x_train, calm.x_train)
    np.testing.assert_array_equal((wild.mean, wild.scale), (calm.mean, calm.scale))


def test_a_constant_column_is_only_centred(written):
    rows = "".join(f"0.1,{i},1e100,1e-200,{i % 2}\n" for i in range(30))
    data = load("csv", **written("constant,varies,large,tiny,y\n" + rows))
    np.testing.assert_array_equal(data.scale[[0, 2, 3]], 1.0)
    np.testing.assert_array_equal(data.mean[[0, 2]], [0.1, 1e100])
    np.testing.assert_array_equal(data.x_train[:, [0, 2]], 0.0)
    np.testing.assert_array_equal(data.x_test[:, [0, 2]], 0.0)
    assert data.x_train[:, 1].std() == pytest.approx(1.0)


def test_the_largest_numbers_stay_finite(written):
    rows = "".join(f"{'-' * (i % 3 == 0)}1e100,{i % 2}e-170,{i % 2}\n" for i in range(20))
    data = load("csv", **written("large,small,y\n" + rows))
    for array in (data.x_train, data.x_test, data.mean, data.scale):
        assert np.isfinite(array).all()
    assert data.x_train[:, 0].std() == pytest.approx(1.0)


@settings(deadline=None)
@given(
    n_samples=st.integers(20, 200), test_fraction=st.floats(0.1, 0.9), seed=st.integers(0, 2**32 - 1), data=st.data()
)
def test_each_part_gets_its_share_of_each_class(tmp_path_factory, n_samples, test_fraction, seed, data):
    n_second = data.draw(st.integers(10, n_samples - 10))
    path = tmp_path_factory.mktemp("share") / "table.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i < n_second}\n" for i in range(n_samples)))
    loaded = load("csv", path=path, target="y", test_fraction=test_fraction, seed=seed)
    assert len(loaded.y_test) == np.ceil(test_fraction * n_samples)
    for y in (loaded.y_train, loaded.y_test):
        assert abs(y.sum() - n_second * len(y) / n_samples) < 1.0 + 1e-9


@pytest.mark.parametrize("name", [*GENERATORS, *BUNDLED])
def test_the_seed_decides_everything(name):
    first, again, other = load(name, seed=3), load(name, seed=3), load(name, seed=4)
    for part in ("x_train", "y_train", "x_test", "y_test", "mean", "scale"):
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
    assert not np.array_equal(first.x_train, other.x_train)


# --- options refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("moon", {}, "name: 'moon' is not one of moons, circles, .*csv; did you mean 'moons'?"),
        (3, {}, "name: 3 is not one of moons"),
        (["moons"], {}, "name: .* is not one of moons"),
        ("moons", {"nois": 1}, "nois: not an option of moons: .* n_samples, noise; did you mean 'noise'?"),
        ("moons", {"factor": 0.5}, "factor: not an option of moons: 'factor' is not one of n_samples, noise"),
        ("hastie", {"noise": 0.5}, "noise: not an option of hastie: 'noise' is not one of n_samples"),
        ("breast_cancer", {"n_samples": 50}, "n_samples: breast_cancer takes no options"),
        ("moons", {"n_samples": 9}, "n_samples: 9 is not a whole number of at least 10"),
        ("moons", {"n_samples": 1_000_001}, "n_samples: 1000001 is not a whole number of at most 1000000"),
        ("moons", {"n_samples": 100.0}, "n_samples: 100.0 is not a whole number"),
        ("moons", {"n_samples": True}, "n_samples: True is not a whole number"),
        ("moons", {"noise": -0.1}, "noise: -0.1 is not a finite number of at least 0 and at most 1e+06"),
        ("moons", {"noise": float("nan")}, "noise: nan is not a finite number"),
        ("moons", {"noise": "0.2"}, "noise: '0.2' is not a finite number"),
        ("moons", {"noise": None}, "noise: None is not a finite number"),
        ("circles", {"factor": 1.0}, "factor: 1.0 is not a number above 0 and below 1"),
        ("circles", {"factor": 0}, "factor: 0 is not a number above 0 and below 1"),
        ("circles", {"factor": "half"}, "factor: 'half' is not a number above 0 and below 1"),
        (
            "blobs",
            {"cluster_std": 2e6},
            "cluster_std: 2000000.0 is not a finite number of at least 0",
        ),
        ("blobs", {"n_features": 0}, "n_features: 0 is not a whole number of at least 1"),
        ("classification", {"n_features": 1}, "n_features: 1 is not a whole number of at least 2"),
        ("classification", {"class_sep": -1}, "class_sep: -1 is not a finite number of at least 0"),
        ("gaussian_quantiles", {"n_features": 10_001}, "n_features: 10001 is not a whole number of at most 10000"),
        *(
            ("digits", {"positive": value}, "positive: .* is not a list of 1 to 9 different numbers from 0 to 9")
            for value in ([], [10], [-1], [3, 3], list(range(10)), 3, "3", [True], ["3"], [1.0], None, {3: 1})
        ),
        *(
            (name, {"classes": value}, "classes: .* is not a list of 2 different numbers from 0 to 2")
            for name in ("iris", "wine")
            for value in ([0], [0, 0], [0, 1, 2], [0, 3], ["a", "b"], "01")
        ),
        ("csv", {"target": "y"}, "path: not given; csv needs path and target"),
        ("csv", {"path": "table.csv"}, "target: not given; csv needs path and target"),
        ("csv", {"path": 3, "target": "y"}, "path: 3 is not the name of a file"),
        ("csv", {"path": b"table.csv", "target": "y"}, "path: b'table.csv' is not the name of a file"),
        ("csv", {"path": "", "target": "y"}, "path: '' is not the name of a file"),
        ("csv", {"path": "a\0b", "target": "y"}, r"path: 'a\x00b' is not the name of a file"),
        ("csv", {"path": "table.csv", "target": 3}, "target: 3 is not the name of a column"),
        ("csv", {"path": "table.csv", "target": " "}, "target: ' ' is not the name of a column"),
        ("csv", {"path": "table.csv", "target": "y", "sep": ";"}, "sep: not an option of csv: .* path, target"),
    ],
)
def test_options_refused(name, options, message):
    for function in (load, shape):
        with pytest.raises(ValueError, match=_beginning(message)):
            function(name, **options)


def _beginning(message):
    """The pattern of what begins with a message, in which `.*` stands for anything."""
    return "^" + ".*".join(map(re.escape, message.split(".*")))


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, -0.5, 1.5, float("nan"), float("inf"), "0.5", None, True, 10**400])
def test_a_test_fraction_outside_zero_to_one_is_refused(value):
    with pytest.raises(ValueError, match=r"^test_fraction: .* is not a number above 0 and below 1$"):
        load("iris", test_fraction=value)


@pytest.mark.parametrize("value", [-1, 2**32, 0.0, "0", None, True])
def test_a_seed_that_scikit_learn_cannot_take_is_refused(value):
    with pytest.raises(ValueError, match=r"^seed: .* is not a whole number of at (least 0|most 4294967295)$"):
        load("moons", seed=value)


@pytest.mark.parametrize("fraction", [1e-9, 0.01, 0.2, 0.95, 1 - 1e-9])
def test_a_part_without_both_classes_is_refused(written, fraction):
    # 0.2 of ten rows is two, which stratified are both of the eight
    options = written("a,y\n" + "".join(f"{i},{'no' if i < 8 else 'yes'}\n" for i in range(10)))
    message = (
        f"^test_fraction: {fraction:g} of 10 samples, 8 of 'no' and 2 of 'yes', does not leave both classes in both"
    )
    with pytest.raises(ValueError, match=message):
        load("csv", test_fraction=fraction, **options)


# --- a CSV that can be read ------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8).map(str.strip)
names = texts.filter(bool)
numbers = st.floats(-1e100, 1e100)
missing = {"", "nan", "na", "n/a", "null", "none", "?"}


def as_number(text):
    try:
        return float(text)
    except ValueError:
        return text


dialects = [  # Python before 3.13 quotes of \r and \n only those that end its lines
    {"quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"},
    *({"quoting": csv.QUOTE_ALL, "lineterminator": end} for end in ("\n", "\r", "\r\n")),
]


@settings(deadline=None)
@given(
    columns=st.lists(names, min_size=2, max_size=5, unique=True),
    labels=st.lists(texts.filter(lambda text: text.lower() not in missing), min_size=2, max_size=2),
    data=st.data(),
)
def test_a_table_written_and_read_is_the_same(tmp_path_factory, columns, labels, data):
    assume(as_number(labels[0]) != as_number(labels[1]))
    d = len(columns) - 1
    row = st.tuples(st.lists(numbers, min_size=d, max_size=d), st.sampled_from(labels))
    rows = data.draw(st.permutations([([0.5] * d, label) for label in labels * 2])) + data.draw(st.lists(row))
    place = data.draw(st.integers(0, d))
    path = tmp_path_factory.mktemp("trip") / "table.csv"
    with open(path, "w", newline="", encoding=data.draw(st.sampled_from(["utf-8", "utf-8-sig"]))) as file:
        writer = csv.writer(file, **data.draw(st.sampled_from(dialects)))
        writer.writerow(columns)
        for values, label in rows:
            writer.writerow([*map(repr, values[:place]), label, *map(repr, values[place:])])

    table = DATASETS["csv"].table(0, path=str(path), target=columns[place])

    assert shape("csv", path=path, target=columns[place]) == (len(rows), d)
    assert table.feature_names == tuple(columns[:place] + columns[place + 1 :])
    assert set(table.classes) == set(labels)
    np.testing.assert_array_equal(table.x, [values for values, _ in rows])
    np.testing.assert_array_equal(np.array(table.classes)[table.y.astype(int)], [label for _, label in rows])


@pytest.mark.parametrize(
    "labels, classes, y",
    [
        (["yes", "no", "no", "yes"], ("no", "yes"), [1, 0, 0, 1]),
        (["10", "9", "9", "10"], ("9", "10"), [1, 0, 0, 1]),
        (["1", "1.0", "0", " 0e0 "], ("0", "1"), [1, 1, 0, 0]),
        (["1.0", "-1", "-1", "1"], ("-1", "1.0"), [1, 0, 0, 1]),
        (["True", "False", "False", "True"], ("False", "True"), [1, 0, 0, 1]),
        (["10", "x", "x", "10"], ("10", "x"), [0, 1, 1, 0]),
        (["b ", " b", "a", '"a"'], ("a", "b"), [1, 1, 0, 0]),
        (["9007199254740993", "9007199254740992"] * 2, ("9007199254740992", "9007199254740993"), [1, 0, 1, 0]),
        (["1e999999999", "5", "5", "1e999999999"], ("5", "1e999999999"), [1, 0, 0, 1]),
        (["-inf", "-3", "-3", "-inf"], ("-3", "-inf"), [1, 0, 0, 1]),
        (["1_0", "10", "10", "1_0"], ("10", "1_0"), [1, 0, 0, 1]),
    ],
)
def test_the_order_of_the_classes(written, labels, classes, y):
    table = DATASETS["csv"].table(0, **written("a,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))))
    assert table.classes == classes
    np.testing.assert_array_equal(table.y, y)


@pytest.mark.parametrize(
    "content",
    [
        "a,b,y\n1,2,u\n3,4,v\n5,6,u\n7,8,v",
        "a,b,y\r\n1,2,u\r\n3,4,v\r\n5,6,u\r\n7,8,v\r\n\r\n\r\n",
        "a,b,y\r1,2,u\r3,4,v\r5,6,u\r7,8,v\r",
        "\ufeffa,b,y\n1,2,u\n3,4,v\n5,6,u\n7,8,v\n  \n\n",
        ' a , "b" , y\n 1 ,+2e0, u\n3.0,4,v \n5,6,u\n7,8,v\n'.replace(' "b" ', '"b"'),
        "y,a,b\nu,1,2\nv,3,4\nu,5,6\nv,7,8\n",
    ],
)
def test_a_csv_of_any_dialect_of_lines(written, content):
    table = DATASETS["csv"].table(0, **written(content))
    assert table.feature_names == ("a", "b")
    np.testing.assert_array_equal(table.x, [[1, 2], [3, 4], [5, 6], [7, 8]])
    np.testing.assert_array_equal(table.y, [0, 1, 0, 1])


def test_a_csv_becomes_a_dataset(written):
    options = written("length,kind\n" + "".join(f"{i},{'late' if i < 8 else 'early'}\n" for i in range(16)), "kind")
    data = load("csv", **options)
    x, y = before(data)
    assert (data.name, data.feature_names, data.classes) == ("csv", ("length",), ("early", "late"))
    np.testing.assert_array_equal(y == 1.0, x[:, 0] < 7.5)


# --- a CSV that cannot be read ---------------------------------------------------------------------------------------

GOOD = "1,2,u\n3,4,v\n"
LARGE = "is not a finite number from -1e+100 to 1e+100; every column but the target holds numbers"
EMPTY = "is a missing value; every field must be filled"
COLUMNS_OF_MANY = ",".join(f"pixel{i}" for i in range(300))


@pytest.mark.parametrize(
    "content, message",
    [
        # the file
        ("", "path: FILE: the file is empty; a header and rows are expected"),
        (b"\xef\xbb\xbf", "path: FILE: the file is empty; a header and rows are expected"),
        ("\n\n", "path: FILE, line 1: it is blank; a header is expected"),
        ("\na,b,y\n" + GOOD, "path: FILE, line 1: it is blank; a header is expected"),
        ("a,b,y\n", "path: FILE, line 1: nothing follows the header; rows are expected"),
        ("a,b,y\n\n \n", "path: FILE, line 1: nothing follows the header; rows are expected"),
        ("a,b,y\n1,2,u\n3,4\0,v\n", "path: FILE, line 3: it holds a NUL byte; only text is read"),
        ("a\0,b,y\n" + GOOD, "path: FILE, line 1: it holds a NUL byte; only text is read"),
        ("a,b,y\n1,2,u\n".encode("utf-16-le"), "path: FILE, line 1: it holds a NUL byte; only text is read"),
        ("a,b,y\n".encode("utf-16"), "path: FILE, line 1: byte 0xff is not UTF-8; only text in UTF-8 is read"),
        ("a,b,y\n1,2,é\n".encode("latin-1"), "path: FILE, line 2: byte 0xe9 is not UTF-8; only text in UTF-8 is read"),
        (b"a,b,y\n1,2,\xed\xb2\x80\n", "path: FILE, line 2: byte 0xed is not UTF-8; only text in UTF-8 is read"),
        (b"a,b,y\n" + b"1,2,u\n" * 5000 + b"\xc3", "path: FILE, line 5002: byte 0xc3 is not UTF-8; only text in UTF-8"),
        ('a,b,y\n1,2,u\n3,"4" ,v\n', "path: FILE, line 3: it is not CSV: ',' expected after '\"'"),
        ('a,b,y\n1,2,u\n3,"4,v\n5,6,u\n', "path: FILE, line 3: it is not CSV: unexpected end of data"),
        ("a,b,y\n1,2," + "u" * 200_000, "path: FILE, line 2: it is not CSV: field larger than field limit (131072)"),
        # the header
        ("a,,y\n" + GOOD, "path: FILE, line 1: column 2 of 3 has no name; every column needs one"),
        ("a,b,y, \n" + GOOD, "path: FILE, line 1: column 4 of 4 has no name; every column needs one"),
        ("a,y,a \n" + GOOD, "path: FILE, line 1, column 'a': columns 1 and 3 have the same name; each needs its own"),
        ("y,b,y\n" + GOOD, "path: FILE, line 1, column 'y': columns 1 and 3 have the same name; each needs its own"),
        ("a,b,Y1\n" + GOOD, "target: FILE, line 1: 'y' is not one of a, b, Y1"),
        ("a,b,yy\n" + GOOD, "target: FILE, line 1: 'y' is not one of a, b, yy; did you mean 'yy'?"),
        (
            f"{COLUMNS_OF_MANY},yy\n",
            "target: FILE, line 1: 'y' is not one of yy, pixel.*, … (301 in all); did you mean",
        ),
        ("y\nu\nv\n", "path: FILE, line 1, column 'y': there is no other column; at least one feature is needed"),
        # what separates
        *(
            (
                content,
                f"target: FILE, line 1: 'y' is not one of .*; the file seems to be separated by {name}; commas are",
            )
            for content, name in (
                ("a;b;y\n1;2;u\n", "';'"),
                ("a\tb\ty\n1\t2\tu\n", "tabs"),
                ("a, in cm;b;y\n1;2;u\n", "';'"),
            )
        ),
        (
            '"a";"b";"y"\n1;2;u\n',
            "path: FILE, line 1: it is not CSV: .*; the file seems to be separated by ';'; commas",
        ),
        ("a;b;y,\n", "path: FILE, line 1: column 2 of 2 has no name; .*separated by ';'; commas are expected"),
        # the rows
        ("a,b,y\n1,2,u\n3,v\n", "path: FILE, line 3: it has 2 fields; the header has 3"),
        ("a,b,y\n1,2,u\n3,4,v,\n", "path: FILE, line 3: it has 4 fields; the header has 3"),
        ("a,b,y\n1;2;u\n", "path: FILE, line 2: it has 1 fields; the header has 3"),
        ("a,b,y\n1,2,u\n\n3,4,v\n", "path: FILE, line 3: it is blank; only the end of the file may be"),
        ('a,b,y\n1,2,"u\nu"\n3,v\n', "path: FILE, line 4: it has 2 fields; the header has 3"),
        # the fields
        *(
            (f"a,b,y\n1,2,u\n3,{field},v\n", f"path: FILE, line 3, column 'b': {field!r} {EMPTY}")
            for field in ("", " ", "nan", "NaN", "NA", "N/A", "null", "NULL", "None", "?", " na ")
        ),
        *(
            (f"a,b,y\n1,2,u\n3,4,{label}\n", f"path: FILE, line 3, column 'y': {label!r} {EMPTY}")
            for label in ("", " ", "nan", "NA", "null", "None", "?")
        ),
        *(
            (f"a,b,y\n1,2,u\n{field},4,v\n", f"path: FILE, line 3, column 'a': {field!r} {LARGE}")
            for field in (
                "one",
                "True",
                "1_000",
                "1.2.3",
                "0x10",
                "1 2",
                "inf",
                "-Infinity",
                "1e999",
                "-1e999",
                "2e100",
            )
        ),
        ("a,b,y\n1,2,u\n-nan,4,v\n", f"path: FILE, line 3, column 'a': '-nan' {LARGE}"),
        (
            f"a,b,y\n1,2,u\n{'x' * 5000},4,v\n",
            f"path: FILE, line 3, column 'a': 'xxxxxxxxxxxx...xxxxxxxxxxxxx' {LARGE}",
        ),
        # the classes
        ("a,b,y\n1,2,u\n3,4,u\n", "path: FILE, column 'y': exactly 2 classes are needed, but it holds 'u' (line 2)"),
        (
            "a,b,y\n1,2,yes\n3,4,no\n5,6,yse\n",
            "path: FILE, column 'y': exactly 2 classes are needed, but it holds 'yes' (line 2), 'no' (line 3), "
            "'yse' (line 4)",
        ),
        (
            "a,b,y\n" + "".join(f"1,2,{i}.5\n" for i in range(50)),
            "path: FILE, column 'y': exactly 2 classes are needed, but it holds '0.5' (line 2), '1.5' (line 3), "
            "'2.5' (line 4), '3.5' (line 5), '4.5' (line 6), …",
        ),
        (
            "a,b,y\n1,2,u\n3,4,u\n5,6,v\n",
            "path: FILE, line 4, column 'y': 'v' has one row; each class needs at least 2",
        ),
    ],
)
def test_a_csv_refused(written, content, message):
    options = written(content)
    with pytest.raises(ValueError, match=_beginning(message.replace("FILE", options["path"]))):
        load("csv", **options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system's messages are those of POSIX")
def test_what_is_not_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for path, what in (
        (tmp_path, "it is a directory; a file is expected"),
        (tmp_path / "pipe", "it is a pipe or a device; a file is expected"),
        (tmp_path / "absent.csv", "it cannot be read: No such file or directory"),
        (tmp_path / "file" / "table.csv", "it cannot be read: Not a directory"),
        (tmp_path / ("x" * 5000), "it cannot be read: File name too long"),
    ):
        for function in (load, shape):
            with pytest.raises(ValueError, match=_beginning(f"path: {path}: {what}")):
                function("csv", path=path, target="y")


def test_a_file_that_may_not_be_read_is_refused(written, monkeypatch):
    options = written("a,y\n1,u\n")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ValueError, match=r"^path: .*table\.csv: it cannot be read: Permission denied$"):
        load("csv", **options)


@pytest.mark.parametrize(
    "limit, most, message",
    [
        ("MOST_BYTES", 29, "path: FILE: it has 30 bytes; at most 29 are read"),
        ("MOST_ROWS", 3, "path: FILE, line 5: at most 3 rows are read"),
        ("MOST_COLUMNS", 2, "path: FILE, line 1: it has 3 columns; at most 2 are read"),
        ("_LONGEST_LINE", 6, "path: FILE, line 1: it has 6 characters or more; a row must be shorter"),
    ],
)
def test_a_file_too_large_is_refused_before_it_is_all_read(written, monkeypatch, limit, most, message):
    options = written("a,b,y\n" + GOOD + GOOD)
    assert len(load("csv", test_fraction=0.5, **options).y_train) == 2
    monkeypatch.setattr(tables, limit, most + 1)
    assert shape("csv", **options) == (4, 2)
    monkeypatch.setattr(tables, limit, most)
    for function in (load, shape):
        with pytest.raises(ValueError, match=_beginning(message.replace("FILE", options["path"]))):
            function("csv", **options)


def test_of_a_line_too_long_only_the_beginning_is_read(written, monkeypatch):
    monkeypatch.setattr(tables, "_LONGEST_LINE", 10)
    with pytest.raises(ValueError, match=r", line 2: it has 10 characters or more"):
        load("csv", **written("a,b,y\n1," + "2" * 1000 + ",u\n"))


def test_nothing_in_a_csv_is_run(written, tmp_path):
    attack = f"__import__('os').mkdir('{tmp_path / 'made'}')"
    for content in (f'a,y\n"{attack}",u\n', f'a,y\n1,"{attack}"\n', f'"{attack}",y\n1,u\n'):
        with pytest.raises(ValueError, match=r"^path: "):
            load("csv", **written(content))
    assert not (tmp_path / "made").exists()


def test_without_standardising_the_columns_stay_as_they_are():
    plain, scaled = load("breast_cancer", standardize=False), load("breast_cancer")
    np.testing.assert_array_equal(plain.mean, np.zeros(30))
    np.testing.assert_array_equal(plain.scale, np.ones(30))
    for part in ("x_train", "x_test"):
        restored = getattr(scaled, part) * scaled.scale + scaled.mean
        np.testing.assert_allclose(getattr(plain, part), restored, rtol=1e-9, atol=1e-12)
