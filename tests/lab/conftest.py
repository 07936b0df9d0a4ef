"""A cluster on this machine, for all tests that need one."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cluster():
    """A scheduler and two workers, each a process of its own."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    host, port = address.removeprefix("tcp://").split(":")
    commands = (
        ["distributed.cli.dask_scheduler", "--host", host, "--port", port, "--no-dashboard", "--no-show"],
        ["distributed.cli.dask_worker", address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard"],
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    yield address
    for process in processes:  # each with its own
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
