import json
import os
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from gradlab.lab.build import load_data
from gradlab.lab.checkpoints import CheckpointFile, key_of, load_result, save_result
from gradlab.lab.config import load_config
from gradlab.lab.engines import settle
from gradlab.lab.experiment import run_experiment
from gradlab.lab.models import load_models, save_model
from gradlab.lab.store import FORMAT, StoreError, _seal, load, load_archive, save, save_archive
from gradlab.lab.sweep import carry_out

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "none": np.zeros((2, 0), np.float32),
    "one": np.array(3),
    "states": np.full((1, 6), 2**64 - 1, np.uint64),
}
DECLARED = {name: (array.dtype, array.shape) for name, array in ARRAYS.items()}


def read(path, declared=DECLARED, kind="thing"):
    return load(path, kind, lambda about: declared)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.safetensors"
    save(path, "thing", {"x": [1, 0.1, "σ"]}, ARRAYS)
    return path


def test_what_is_saved_is_read_to_the_last_bit(saved):
    about, arrays = read(saved)
    assert about == {"x": [1, 0.1, "σ"]}
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_others_can_read_it(saved):
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(saved)["a"], ARRAYS["a"])


def test_the_same_arrays_make_the_same_file(saved):
    before = saved.read_bytes()
    save(saved, "thing", {"x": [1, 0.1, "σ"]}, dict(reversed(ARRAYS.items())))
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    "declared, wanted",
    [
        (DECLARED | {"more": ("f8", (1,))}, "the array 'more' is missing"),
        ({name: DECLARED[name] for name in list(DECLARED)[1:]}, "it has an array 'a', which does not belong there"),
        (DECLARED | {"a": ("f4", (2, 3))}, r"the array 'a' is F64 \(2, 3\), where F32 \(2, 3\) belongs"),
        (DECLARED | {"a": ("f8", (3, 2))}, r"the array 'a' is F64 \(2, 3\), where F64 \(3, 2\) belongs"),
        (DECLARED | {"a": ("f8", (range(3, 9), 3))}, r"where F64 \(3 to 8, 3\) belongs"),
        (DECLARED | {"a": ("f8", (6,))}, r"where F64 \(6\) belongs"),
    ],
)
def test_only_what_is_declared_is_read(saved, declared, wanted):
    assert read(saved, DECLARED | {"a": ("f8", (range(1, 3), 3))})
    with pytest.raises(StoreError, match=rf"^{saved}: .*{wanted}"):
        read(saved, declared)


def test_another_kind_and_another_format_are_named(saved, monkeypatch):
    with pytest.raises(StoreError, match="it is a file of kind 'thing', where one of kind 'model' is expected"):
        read(saved, kind="model")
    monkeypatch.setattr("gradlab.lab.store.FORMAT", FORMAT + 1)
    with pytest.raises(StoreError, match=f"it is of format {FORMAT}; this version of gradlab reads {FORMAT + 1}"):
        read(saved)


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe"])
def test_what_is_no_file_is_refused(tmp_path, what):
    path = tmp_path / "x"
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes with names here")
        os.mkfifo(path)
    with pytest.raises(StoreError, match=f"^{path}: (No such file|it is not a file)"):
        read(path)


def test_what_follows_the_arrays_and_a_head_too_long_are_refused_unread(saved):
    content = saved.read_bytes()
    saved.write_bytes(content + b"more")
    with pytest.raises(StoreError, match=r"its arrays take \d+ bytes, but \d+ follow its header"):
        read(saved)
    saved.write_bytes((2**30).to_bytes(8, "little"))
    os.truncate(saved, 2**30 + 8)  # with a hole: it takes no room on the disk
    tracemalloc.start()
    with pytest.raises(StoreError, match=r"its header has 1073741824 bytes; at most \d+ are read"):
        read(saved)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_too_many_arrays_are_refused_before_any_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlab.lab.store.MAX_ARRAYS", 2)
    with pytest.raises(StoreError, match="4 arrays are more than the 2"):
        save(tmp_path / "x", "thing", {}, ARRAYS)
    assert not list(tmp_path.iterdir())


# Files that lie


def rewritten(content, change):
    """A file with its head changed by a function of the parsed JSON, or of its text."""
    length = int.from_bytes(content[:8], "little")
    head = change(json.loads(content[8 : 8 + length]))
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def mutated(content, rng):
    """Truncate, extend, flip, replace, or lie in the head: one of the ways in which a file can be wrong."""
    length = int.from_bytes(content[:8], "little")
    name = list(json.loads(content[8 : 8 + length]))[int(rng.integers(1, 4))]

    def entry(**changes):
        return rewritten(content, lambda head: head | {name: head[name] | changes})

    def said(**changes):
        def change(head):
            text = json.dumps(json.loads(head["__metadata__"]["gradlab"]) | changes)
            return head | {"__metadata__": {"gradlab": text}}

        return rewritten(content, change)

    def flipped(first, last):
        at, bit = int(rng.integers(first, last)), 1 << int(rng.integers(8))
        return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]

    huge = int(rng.choice([2**31, 2**40, 2**62, 2**64 - 1, 10**30]))
    ways = [
        lambda: content[: rng.integers(len(content))],
        lambda: content[: 8 + rng.integers(length)],
        lambda: content + rng.bytes(int(rng.integers(1, 100))),
        lambda: flipped(0, len(content)),
        lambda: flipped(0, 8),
        lambda: flipped(8, 8 + length),
        lambda: flipped(8, 8 + length),
        lambda: flipped(8 + length, len(content)),
        lambda: rng.bytes(len(content)),
        lambda: content[:8] + rng.bytes(length) + content[8 + length :],
        lambda: int(rng.integers(2**63)).to_bytes(8, "little") + content[8:],
        lambda: rewritten(content, lambda _: b"[" * 100_000),
        lambda: rewritten(content, lambda _: b'{"a":' * 5000),
        lambda: rewritten(content, lambda _: b"[" + b"[]," * 3_000_000 + b"0]"),
        lambda: rewritten(content, lambda _: b"9" * 100_000),
        lambda: rewritten(content, lambda _: b"{}"),
        lambda: rewritten(content, lambda head: {k: v for k, v in head.items() if k != name}),
        lambda: rewritten(content, lambda head: head | {f"{name}x": head[name]}),
        lambda: rewritten(content, lambda head: {k if k != name else "other": v for k, v in head.items()}),
        lambda: rewritten(content, lambda head: json.dumps(head).encode()[:-1] + b', "__metadata__": {}}'),
        lambda: entry(shape=[huge]),
        lambda: entry(shape=[huge, 0]),
        lambda: entry(shape=[-1]),
        lambda: entry(shape=[1.5]),
        lambda: entry(shape=[True]),
        lambda: entry(shape=[1] * 1000),
        lambda: entry(shape="12"),
        lambda: entry(data_offsets=[0, huge]),
        lambda: entry(data_offsets=[huge, 0]),
        lambda: entry(data_offsets=[-8, 0]),
        lambda: entry(data_offsets=None),
        lambda: entry(dtype=str(rng.choice(["F32", "I64", "F16", "BOOL", "O", "object"]))),
        lambda: entry(dtype=["F64"]),
        lambda: entry(more=1),
        lambda: said(format=1),
        lambda: said(format=None),
        lambda: said(kind="k" * 10**6),
        lambda: said(about=None),
        lambda: said(about={}),
        lambda: said(about={"a": {"network": {"width": 10_000, "depth": 1000}, "seeds": [0]}}),
        lambda: said(sha256="0" * 64),
        lambda: said(sha256=None),
    ]  # fmt: skip
    return ways[int(rng.integers(len(ways)))]()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A result, the model and the checkpoint of a small experiment: how each is read, and what is read."""
    folder = tmp_path_factory.mktemp("kept")
    config = folder / "small.toml"
    config.write_text(
        "seeds = 2\ndata.n_samples = 40\nnetwork.batch_norm = true\nnetwork.width = 3\ntraining.epochs = 3"
    )
    (experiment,) = settle(load_config(config))[0].experiments
    data, key = load_data(experiment), key_of(experiment)
    result = run_experiment(experiment, data, checkpointer=CheckpointFile(folder / "checkpoint", key, every=1))
    save_result(folder / "result", key, result)
    save_model(folder / "model", [result])

    def models(path):
        return {name: vars(model) for name, model in load_models(path).items()}

    def results(path):
        return vars(load_result(path, key, experiment))

    def checkpoints(path):
        continued = run_experiment(experiment, data, checkpointer=CheckpointFile(path, key, every=1000))
        return vars(continued) | {"seconds": 0.0}

    ways = {"model": models, "result": results, "checkpoint": checkpoints}
    return {name: (folder / name, way) for name, way in ways.items()}


@pytest.mark.parametrize("kind, count", [("model", 500), ("result", 250), ("checkpoint", 250)])
def test_no_mutated_file_is_read_as_something_else(trained, kind, count, tmp_path):
    path, loaded = trained[kind]
    content, truth = path.read_bytes(), loaded(path)
    rng = np.random.default_rng(0)
    mutant, refused = tmp_path / "mutant", 0
    for i in range(count):
        mutant.write_bytes(mutated(content, rng))
        tracemalloc.start()
        started = time.process_time()
        error = ""
        try:
            found = loaded(mutant)
        except StoreError as refusal:
            error = str(refusal)
        assert time.process_time() - started < 1.0, i
        assert tracemalloc.get_traced_memory()[1] < 100e6, i
        tracemalloc.stop()
        refused += bool(error)
        if error:
            assert error.startswith(f"{mutant}: "), i
            assert len(error.splitlines()) == 1, i
            assert len(error) < 1000, i
        else:
            np.testing.assert_equal(found, truth, err_msg=str(i))
    assert refused > 0.95 * count


def test_a_file_that_lies_with_a_right_checksum_is_held_to_what_we_know(trained, tmp_path):
    """Whoever writes the checksum anew still cannot make a network, or a state, that there cannot be."""
    path, loaded = trained["model"]
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["gradlab"])["about"]
    _, arrays = load(path, "model", lambda _: {n: (a.dtype, a.shape) for n, a in all_of(path).items()})
    mutant = tmp_path / "mutant"

    def lie(**changes):
        save(mutant, "model", {"small": about["small"] | changes}, arrays)
        loaded(mutant)

    lie()
    network = about["small"]["network"]
    for changes, wanted in [
        ({"network": network | {"width": 10_000, "depth": 1000}}, "more than the file can hold"),
        ({"network": network | {"width": 4}}, "the array 'small/0.W' is"),
        ({"network": network | {"activation": "os.system"}}, "'os.system' is not one of"),
        ({"network": network | {"dtype": "float32"}}, "where F32"),
        ({"seeds": [0]}, "its metadata are not those of a model|belongs"),
        ({"seeds": list(range(10**5))}, "its metadata are not those of a model"),
        ({"features": ["x0", "x0"]}, "its metadata are not those of a model"),
        ({"median_seed": 7}, "its metadata are not those of a model"),
    ]:
        with pytest.raises(StoreError, match=wanted):
            lie(**changes)


def all_of(path):
    from safetensors.numpy import load_file

    return load_file(path)


def test_a_state_that_cannot_be_is_laid_to_the_file(trained, tmp_path):
    path, _ = trained["checkpoint"]
    arrays = all_of(path)
    about = {"done": [], "under_way": [len(arrays["history/train_loss"]), len(arrays["flow/step"])], "seconds": 1.0}
    config = tmp_path / "small.toml"
    config.write_text((path.parent / "small.toml").read_text())
    (experiment,) = settle(load_config(config))[0].experiments
    folder, key = tmp_path / "run", key_of(experiment)
    checkpoint = folder / "checkpoints" / f"{key}.safetensors"
    checkpoint.parent.mkdir(parents=True)
    for name, wrong in [("state/streams", 2**63), ("state/epochs", 10**6), ("flow/step", -5)]:
        array = np.full_like(arrays[name], wrong)
        save(checkpoint, "checkpoint", about | {"key": key}, arrays | {name: array})
        with pytest.raises(StoreError, match=f"^{checkpoint}: "):
            carry_out(experiment, load_data(experiment), folder)


# NumPy's archives


def test_an_archive_of_numbers_and_texts_is_read_as_it_was(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3).T, "names": np.array(["x", "yy"]), "none": np.zeros((0, 3))}
    save_archive(tmp_path / "a.npz", arrays)
    for name, array in load_archive(tmp_path / "a.npz").items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name])


def test_no_damaged_archive_is_read_as_something_else(tmp_path):
    arrays = {"a": np.arange(20.0), "names": np.array(["x", "yy"])}
    path = tmp_path / "a.npz"
    save_archive(path, arrays)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_equal(dict(file), arrays)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for i in range(300):
        at = int(rng.integers(len(content)))
        flipped = content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]
        path.write_bytes(content[:at] if i % 3 == 0 else flipped)
        try:
            found = load_archive(path)
        except StoreError:
            continue
        np.testing.assert_equal(list(found.values()), list(arrays.values()), err_msg=str(i))


def test_an_archive_with_objects_or_false_sizes_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    for write, array, wanted in [
        (np.savez, np.array([{}], dtype=object), "neither numbers nor texts"),
        (np.savez_compressed, np.zeros(10**6), "is not stored as it is"),
        (np.savez, np.zeros(3), "its list of arrays is not as it was written"),
    ]:
        write(path, a=array)
        if "list" not in wanted:
            with zipfile.ZipFile(path, "a") as archive:
                archive.comment = _seal(archive)
        with pytest.raises(StoreError, match=wanted):
            load_archive(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,), }"
        )
    with pytest.raises(StoreError):
        load_archive(path)
