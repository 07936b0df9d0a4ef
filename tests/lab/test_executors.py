"""Tasks on any workers: this module is imported by the workers too, for the tasks that it defines."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gradlab.lab import executors
from gradlab.lab.executors import workers
from gradlab.lab.tasks import WorkerDiedError, run_all

HERE = Path(__file__).parent


def square(i):
    return i * i


def pid_of(folder):
    (Path(folder) / str(os.getpid())).touch()
    return os.getpid(), {name: os.environ.get(name) for name in executors.ONE_THREAD}


def square_unless(i, failing, folder):
    """Square a number, or raise an error, or take the worker along: always, or the first time only."""
    if failing == "raise":
        raise OSError(f"no room for {i}")
    first = Path(folder) / f"tried-{i}"
    if failing == "always" or (failing == "once" and not first.exists()):
        first.touch()
        time.sleep(0.2)  # the neighbour is at work meanwhile
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    time.sleep(0.05)
    return i * i


def sleep_noting(folder):
    (Path(folder) / f"began-{os.getpid()}").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (Path(folder) / f"interrupted-{os.getpid()}").touch()
        raise


def unsendable():
    return threading.Lock()


def until(true, seconds=600.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


@pytest.fixture(params=["1", "2", "cluster"])
def where(request):
    return request.getfixturevalue("cluster") if request.param == "cluster" else request.param


def test_every_task_is_done_once_whoever_does_it(where):
    done = []
    with workers(where) as found:
        outcomes = run_all({str(i): (i,) for i in range(7)}, square, found, lambda key, _: done.append(key))
    assert {key: outcome.value for key, outcome in outcomes.items()} == {str(i): i * i for i in range(7)}
    assert list(outcomes) == [str(i) for i in range(7)]
    assert sorted(done) == [str(i) for i in range(7)]


def test_a_task_that_fails_costs_no_other(where, tmp_path):
    tasks = {str(i): (i, "raise" if i == 1 else "", str(tmp_path)) for i in range(4)}
    with workers(where) as found:
        outcomes = run_all(tasks, square_unless, found)
    assert [outcomes[key].value for key in "0123"] == [0, None, 4, 9]
    assert str(outcomes["1"].error) == "no room for 1"
    assert outcomes["1"].tries == 1


@pytest.mark.parametrize("where", ["2", "cluster"], indirect=True)
def test_a_worker_that_dies_costs_only_its_task_which_is_tried_once_more(where, tmp_path):
    failing = {2: "always", 4: "once"}
    tasks = {str(i): (i, failing.get(i, ""), str(tmp_path)) for i in range(7)}
    with workers(where) as found:
        outcomes = run_all(tasks, square_unless, found)
    assert [outcomes[str(i)].value for i in range(7)] == [0, 1, None, 9, 16, 25, 36]
    assert isinstance(outcomes["2"].error, WorkerDiedError)
    assert str(outcomes["2"].error) == "its worker died each of 2 times that it was tried"
    assert (outcomes["2"].tries, outcomes["4"].tries) == (2, 2)


def test_a_worker_is_kept_for_many_tasks_and_has_one_thread(tmp_path):
    before = dict(os.environ)
    with workers("2") as found:
        outcomes = run_all({str(i): (str(tmp_path),) for i in range(6)}, pid_of, found)
    assert len(list(tmp_path.iterdir())) <= 2
    pids = {outcome.value[0] for outcome in outcomes.values()}
    assert os.getpid() not in pids
    assert all(set(outcome.value[1].values()) == {"1"} for outcome in outcomes.values())
    assert dict(os.environ) == before
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals there")
def test_a_worker_that_dies_with_nothing_to_do_costs_nothing(tmp_path):
    with workers("2") as found:
        first = run_all({str(i): (str(tmp_path),) for i in range(4)}, pid_of, found)
        for pid in {outcome.value[0] for outcome in first.values()}:
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not is_alive(pid))
        time.sleep(0.3)  # until its other threads have ended, and let go of their end of the pipe
        outcomes = run_all({str(i): (i,) for i in range(4)}, square, found)
    assert [outcome.value for outcome in outcomes.values()] == [0, 1, 4, 9]
    assert {outcome.tries for outcome in outcomes.values()} == {1}


def test_what_cannot_be_sent_back_is_an_error_and_no_death():
    with workers("2") as found:
        outcome = run_all({"a": ()}, unsendable, found)["a"]
    assert outcome.tries == 1
    assert "cannot be sent to another process" in str(outcome.error)


PROGRAM = """
import sys
from test_executors import sleep_noting
from gradlab.lab.executors import workers
from gradlab.lab.tasks import run_all
if __name__ == "__main__":
    with workers("2") as found:
        run_all({str(i): (sys.argv[1],) for i in range(5)}, sleep_noting, found)
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals there")
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGKILL]])
def test_workers_end_with_the_process_that_began_them(signals, begin, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    process = begin(sys.executable, tmp_path / "program.py", tmp_path, env=environment, stderr=subprocess.PIPE)
    until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    for number in signals:
        process.send_signal(number)
    errors = process.communicate(timeout=600)[1]
    pids = [path.name.removeprefix("began-") for path in tmp_path.glob("began-*")]
    until(lambda: not any(is_alive(int(pid)) for pid in pids))
    assert len(pids) == 2  # no other task was begun
    if len(signals) == 1 and signals[0] == signal.SIGINT:
        assert {path.name for path in tmp_path.glob("interrupted-*")} == {f"interrupted-{pid}" for pid in pids}
    own = len(signals) if signals[0] == signal.SIGINT else 0  # a second interrupt may hit the handling of the first
    assert errors.count("Traceback") in {min(own, 1), own}
    assert "SpawnProcess" not in errors
    assert "resource_tracker" not in errors


@pytest.mark.parametrize("where", ["0", "-1", "1.5", "1025", "", "two", "tcp://", "tcp://a", "tcp://a:b", "http://a:1"])
def test_workers_that_nobody_could_be_are_refused(where):
    message = "is neither a number of processes from 1 to 1024 nor tcp://HOST:PORT"
    with pytest.raises(ValueError, match=message), workers(where):
        pass


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "CONNECT", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"{address}: no Dask scheduler answers there"), workers(address):
            pass


def test_a_cluster_gets_its_setting_back(cluster):
    from distributed import Client

    def allowed(dask_scheduler):
        return dask_scheduler.allowed_failures

    with Client(cluster, set_as_default=False) as client:
        before = client.run_on_scheduler(allowed)
        with workers(cluster):
            assert client.run_on_scheduler(allowed) == 0
        assert client.run_on_scheduler(allowed) == before > 0


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = r'needs distributed: pip install "gradlab\[cluster\]"'
    with pytest.raises(ValueError, match=message), workers("tcp://127.0.0.1:1"):
        pass


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")
def test_a_worker_that_dies_before_it_has_its_task_costs_nothing():
    with executors.Processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        os.kill(pid, signal.SIGSTOP)  # so that it has nothing to say of the task
        future = executor.submit(os.getpid)
        time.sleep(0.2)  # most likely long enough for the task to be sent
        os.kill(pid, signal.SIGKILL)
        assert future.result(timeout=600) != pid


# Why the processes are ours, and not loky's: each of these passes as long as loky does not give what ours promise.

LOKY_PROGRAM = """
import sys
from joblib.externals.loky import ProcessPoolExecutor
from test_executors import sleep_noting
if __name__ == "__main__":
    ProcessPoolExecutor(1).submit(sleep_noting, sys.argv[1]).result()
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals there")
def test_in_loky_a_worker_that_dies_costs_every_task_and_nothing_tells_which_was_its_own(tmp_path):
    from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

    with ProcessPoolExecutor(2) as executor:
        neighbour = executor.submit(sleep_noting, str(tmp_path))
        until(lambda: any(tmp_path.glob("began-*")))
        killer = executor.submit(square_unless, 1, "always", str(tmp_path))
        waiting = [executor.submit(square, i) for i in range(3)]
        errors = [future.exception(timeout=600) for future in (neighbour, killer, *waiting)]
    assert {type(error) for error in errors} == {TerminatedWorkerError}
    assert len({str(error) for error in errors}) == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals there")
def test_in_loky_a_worker_outlives_the_process_that_began_it(begin, tmp_path):
    (tmp_path / "program.py").write_text(LOKY_PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    process = begin(sys.executable, tmp_path / "program.py", tmp_path, env=environment, stderr=subprocess.DEVNULL)
    until(lambda: any(tmp_path.glob("began-*")))
    [pid] = [int(path.name.removeprefix("began-")) for path in tmp_path.glob("began-*")]
    process.kill()
    process.wait()
    time.sleep(2.0)  # ours are gone within a moment
    try:
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
