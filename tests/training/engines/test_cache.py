"""What is compiled is kept where nobody else can write, or nowhere; and a line says that it takes a while."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from gradlab.nn import Network, mlp
from gradlab.training import EngineError, engines
from gradlab.training.engines import cache

numba = pytest.importorskip("numba")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A package that cannot be written, and a home of the user's own."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "_is_writable", lambda path: path.name != "__pycache__" and os.access(path, os.W_OK))
    return tmp_path / "home" / "gradlab"


def test_the_packages_own_folder_comes_first(monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(cache, "_is_writable", lambda path: True)
    assert cache.folder().name == "__pycache__"


def test_a_folder_that_is_named_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert cache.folder() == tmp_path


def test_a_folder_that_is_named_and_cannot_be_written_is_refused(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(cache.NoCacheError, match="NUMBA_CACHE_DIR"):
        cache.folder()


def test_else_it_is_a_folder_of_the_users_own(home):
    assert cache.folder() == home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755])
def test_a_folder_that_others_can_enter_is_not_used(home, mode):
    home.mkdir(parents=True)
    home.chmod(mode)
    with pytest.raises(cache.NoCacheError, match="chmod 700"):
        cache.folder()


def test_with_no_place_it_is_plain_and_one_line_says_so(home, monkeypatch, capsys):
    home.parent.write_text("a file where a folder should be")
    network = Network(mlp([2, 3, 1]))
    assert engines.choose("auto", network) == "plain"
    said = capsys.readouterr().err
    assert said.startswith("gradlab: the plain engine is used: ")
    assert said.count("\n") == 1
    with pytest.raises(EngineError, match="cannot be written"):
        engines.choose("compiled", network)


def test_without_a_home_it_is_plain(home, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cache.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home directory")))
    with pytest.raises(cache.NoCacheError, match="no home directory"):
        cache.folder()


COLD = """
import numpy as np
from gradlab import Adam, BinaryCrossEntropy, Network, mlp, train
x = np.zeros((4, 2))
network, loss = Network(mlp([2, 3, 1])), BinaryCrossEntropy()
steps = train(network, loss, Adam(), x, x[:, 0], epochs=1, batch_size=2, engine="compiled")
print(len(list(steps)))
import numba
print(repr(numba.config.CACHE_DIR))
"""


@pytest.mark.slow
def test_compiling_is_announced_once_and_the_cache_is_used_then(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, env=environment, check=True)
        for _ in range(2)
    )
    assert first.stderr.splitlines() == ["gradlab: compiling the engine for float64, once: about 20 seconds"]
    assert second.stderr == ""
    assert list(tmp_path.rglob("*.nbc"))
    assert first.stdout == second.stdout == f"2\n{str(tmp_path)!r}\n"
    assert len(list(tmp_path.rglob("*.nbc"))) == 2  # nothing was compiled again


def test_small_work_imports_no_numba():
    script = COLD.replace(', engine="compiled"', "").replace("import numba\nprint(repr(numba.config.CACHE_DIR))", "")
    script += "import sys; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2", "False"]


def test_one_process_at_a_time_compiles(monkeypatch):
    from filelock import FileLock, Timeout

    seen = []

    def compile_while_another_tries(interpreter, dtype):
        with pytest.raises(Timeout), FileLock(cache.folder() / cache.LOCK, timeout=0):
            pass
        seen.append(dtype)

    monkeypatch.setattr(cache, "_compile", compile_while_another_tries)
    cache.load.__wrapped__(np.dtype(np.float32))
    assert seen == [np.float32]
    with FileLock(cache.folder() / cache.LOCK, timeout=600):  # it is free again, or another test has it for a moment
        pass
