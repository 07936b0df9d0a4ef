import csv
import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gradlab.cli import app
from gradlab.datasets import load

TABLE = "seeds = 3\nnetwork.width = 4\nnetwork.batch_norm = true\ntraining.epochs = 3\n"


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def predicted(*arguments):
    done = invoke("predict", *arguments)
    assert done.exit_code == 0, done.output
    return list(csv.reader(io.StringIO(done.stdout)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a CSV and one of two variants on moons; the CSV's features, and the data they were trained on."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 3.0, (80, 2))
    rows = [[repr(a), 'big, "so"' if a + b > 10.0 else "small", repr(b)] for a, b in x.tolist()]
    with open(folder / "all.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["width", "kind", "a, height"], *rows])
    source = 'data = { name = "csv", path = "all.csv", target = "kind" }\n'
    (folder / "csv.toml").write_text(TABLE + source, encoding="utf-8")
    (folder / "two.toml").write_text(
        TABLE + 'data.n_samples = 60\n[[variants]]\nname = "a"\n[[variants]]\nname = "b"\n'
        'network = { activation = "relu", residual = true, depth = 2, dtype = "float32" }\n',
        encoding="utf-8",
    )
    for name in ("csv", "two"):
        done = invoke("run", folder / f"{name}.toml", "--out", folder / name, "--quiet")
        assert done.exit_code == 0, done.output
    return folder, x


def write(path, names, x):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *x.tolist()])


def test_the_classes_are_those_of_the_network_that_was_trained(trained, tmp_path):
    folder, _ = trained
    data = load("csv", path=str(folder / "all.csv"), target="kind")
    write(tmp_path / "test.csv", ["width", "a, height"], data.x_test * data.scale + data.mean)
    measured = json.loads((folder / "csv" / "summary.json").read_text())["variants"]["csv"]
    names = np.array(data.classes)
    for options, accuracy in [
        ([], measured["test_accuracy"]["values"][measured["seeds"].index(measured["median_seed"])]),
        (["--seed", 2], measured["test_accuracy"]["values"][2]),
    ]:
        header, *rows = predicted(folder / "csv", tmp_path / "test.csv", *options)
        assert header == ["class"]
        assert np.mean(np.array(rows)[:, 0] == names[data.y_test.astype(int)]) == accuracy


def test_columns_go_by_name_and_probabilities_by_class(trained, tmp_path):
    folder, x = trained
    write(tmp_path / "one.csv", ["width", "a, height"], x)
    write(tmp_path / "two.csv", [" a, height ", "width"], x[:, ::-1])
    header, *rows = predicted(folder / "csv", tmp_path / "one.csv", "--proba")
    assert header == ['big, "so"', "small"]
    assert [header, *rows] == predicted(folder / "csv", tmp_path / "two.csv", "--proba")
    p = np.array(rows, dtype=float)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-15)
    _, *classes = predicted(folder / "csv", tmp_path / "one.csv")
    assert [name for (name,) in classes] == [header[i] for i in p.argmax(axis=1)]


def test_a_data_set_without_names_has_numbered_columns_and_a_variant_is_chosen(trained, tmp_path):
    folder, _ = trained
    data = load("moons", n_samples=60)
    write(tmp_path / "x.csv", ["x0", "x1"], data.x_test * data.scale + data.mean)
    header, *rows = predicted(folder / "two", tmp_path / "x.csv", "--variant", "b", "--proba")
    assert header == ["upper", "lower"]
    assert len(rows) == len(data.x_test)
    assert rows != predicted(folder / "two", tmp_path / "x.csv", "--variant", "a", "--proba")[1:]


def test_a_file_is_written_whole_or_not_at_all(trained, tmp_path):
    folder, x = trained
    write(tmp_path / "x.csv", ["width", "a, height"], x)
    (tmp_path / "out.csv").write_text("old")
    (tmp_path / "bad.csv").write_text('width,"a, height"\n1,2\n1,x\n')
    done = invoke("predict", folder / "csv", tmp_path / "bad.csv", "-o", tmp_path / "out.csv")
    assert done.exit_code == 2
    assert (tmp_path / "out.csv").read_text() == "old"
    done = invoke("predict", folder / "csv", tmp_path / "x.csv", "-o", tmp_path / "out.csv")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").count("\n") == 81


@pytest.mark.parametrize(
    "content, wanted",
    [
        ("width\n1\n", "line 1: the trained network needs a column: 'a, height'"),
        ("a,b\n1,2\n", "line 1: the trained network needs 2 columns: 'width', 'a, height'"),
        ('width,"a, height",kind\n1,2,3\n', "line 1: the trained network does not know a column: 'kind'"),
        ('width,"a, height",b,c\n1,2,3,4\n', "line 1: the trained network does not know 2 columns: 'b', 'c'"),
        ('width,"a, height"\n1,2\n1,\n', "line 3, column 'a, height': '' is a missing value"),
        ('width,"a, height"\n1,nan\n', "line 2, column 'a, height': 'nan' is a missing value"),
        ('width,"a, height"\ninf,1\n', "line 2, column 'width': 'inf' is not a finite number"),
        ('width,"a, height"\n1\n', "line 2: it has 1 fields; the header has 2"),
        ('width,"a, height"\n', "line 1: nothing follows the header"),
        ("", "the file is empty"),
        (None, "it cannot be read: No such file"),
    ],
)
def test_a_bad_table_is_named_with_its_place(trained, tmp_path, content, wanted):
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_text(content)
    done = invoke("predict", trained[0] / "csv", path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"gradlab: {path}")
    assert wanted in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments, code, wanted",
    [
        (["two"], 2, "--variant: missing; the run has a, b"),
        (["two", "--variant", "c"], 2, "--variant: 'c' is not one of a, b"),
        (["csv", "--seed", "7"], 2, "--seed: 7 is not one of the seeds 0, 1, 2"),
        (["nowhere"], 1, "this is no folder of a run"),
    ],
)
def test_what_there_is_not_is_named(trained, arguments, code, wanted):
    folder, *options = arguments
    done = invoke("predict", trained[0] / folder, "x.csv", *options)
    assert done.exit_code == code
    assert wanted in done.stderr


def test_what_diverged_cannot_be_used(tmp_path):
    (tmp_path / "c.toml").write_text("data.n_samples = 60\ntraining = { learning_rate = 1e6, l2 = 1e6 }")
    assert invoke("run", tmp_path / "c.toml", "--out", tmp_path / "run", "--quiet").exit_code == 1
    (tmp_path / "x.csv").write_text("x0,x1\n1,2\n")
    done = invoke("predict", tmp_path / "run", tmp_path / "x.csv")
    assert done.exit_code == 2
    assert "c: its training did not come to its end, so there is nothing to use" in done.stderr


def test_a_damaged_model_is_named(trained, tmp_path):
    folder, _ = trained
    (tmp_path / "DONE").touch()
    content = (folder / "csv" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = invoke("predict", tmp_path, "x.csv")
    assert done.exit_code == 1
    assert "model.safetensors: its checksum does not fit" in done.stderr


def test_missing_and_extra_columns_are_both_named(trained, tmp_path):
    (tmp_path / "x.csv").write_text("X0,x1\n1,2\n", encoding="utf-8")
    done = invoke("predict", trained[0] / "two", tmp_path / "x.csv", "--variant", "a")
    assert "needs a column: 'x0'; the trained network does not know a column: 'X0'" in done.stderr
