"""A run's folder is looked at once; what was found there decides what may be done with it."""

import shutil

import pytest

from gradlab.lab.config import load_config
from gradlab.lab.engines import engines_of, settle
from gradlab.lab.examine import examine, free_folder
from gradlab.lab.run_folder import RunFolder
from gradlab.lab.store import StoreError


def configured(folder, text=""):
    (folder / "c.toml").write_text("training = { engine = 'plain', epochs = 1 }\n" + text, encoding="utf-8")
    return settle(load_config(folder / "c.toml"))[0]


@pytest.fixture
def begun(tmp_path):
    """A run that was begun, and its configuration."""
    config = configured(tmp_path)
    RunFolder(tmp_path / "run", config).__exit__(None, None, None)
    return tmp_path / "run", config


@pytest.mark.parametrize(
    "names, is_free",
    [
        ([], True),
        ([".lock", ".writer", ".config.toml.12", "environment.json"], True),
        (["environment.json", "notes.txt"], False),
        (["results/"], False),
        (["DONE"], False),
    ],
)
def test_a_folder_is_free_unless_something_is_in_it(tmp_path, names, is_free):
    (tmp_path / "run").mkdir()
    for name in names:
        (tmp_path / "run" / name).mkdir() if name.endswith("/") else (tmp_path / "run" / name).touch()
    state = examine(tmp_path / "run")
    assert state.is_free == state.is_open_to(configured(tmp_path)) == is_free
    assert not state.is_run
    assert state.obstacle(configured(tmp_path)) == ("" if is_free else "the folder is not empty")


def test_what_is_not_there_is_free_and_a_file_is_not(tmp_path):
    (tmp_path / "file").touch()
    assert examine(tmp_path / "nothing").is_free
    assert not examine(tmp_path / "file").is_free


def test_an_unfinished_run_is_open_to_its_own_configuration_alone(begun, tmp_path):
    folder, config = begun
    state = examine(folder)
    assert state.is_run
    assert not state.is_free
    assert not state.is_done
    assert engines_of(state.unfinished(config)) == engines_of(config)
    assert state.settled(config) == (config, [])
    other = configured(tmp_path, "seeds = 2")
    assert state.unfinished(other) is None
    assert state.obstacle(other) == "the folder is not empty"
    (folder / "DONE").touch()
    assert examine(folder).unfinished(config) is None


def test_what_was_found_is_not_looked_at_again(begun):
    folder, config = begun
    before = examine(folder)
    shutil.rmtree(folder)
    assert before.is_open_to(config)
    assert before.other_version() == ""
    assert examine(folder).is_free


def test_what_somebody_does_between_the_look_and_the_lock_is_seen(tmp_path):
    one, other = configured(tmp_path), configured(tmp_path, "seeds = 2")
    assert examine(tmp_path / "run").is_open_to(one)
    RunFolder(tmp_path / "run", other).__exit__(None, None, None)
    with pytest.raises(FileExistsError, match="the folder is not empty"):
        RunFolder(tmp_path / "run", one)
    assert examine(tmp_path / "run").is_open_to(other)


def test_a_run_that_does_not_say_what_it_was_begun_with_is_named_and_matters_to_its_own_configuration_alone(
    begun, tmp_path
):
    folder, config = begun
    (folder / "environment.json").unlink()
    with pytest.raises(StoreError, match=r"environment\.json: No such file"):
        examine(folder).is_open_to(config)
    assert not examine(folder).is_open_to(configured(tmp_path, "seeds = 2"))
    (folder / "environment.json").write_text("[]")
    with pytest.raises(StoreError, match=r"environment\.json: it is not a JSON object"):
        examine(folder).is_open_to(config)


def test_a_free_folder_is_numbered(tmp_path):
    assert free_folder("a b", tmp_path).name == "a-b"
    (tmp_path / "a-b").mkdir()
    (tmp_path / "a-b-2").mkdir()
    assert free_folder("a b", tmp_path).name == "a-b-3"
