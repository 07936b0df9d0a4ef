"""A cluster on this machine, for all tests that need one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cluster(begin_for_all):
    """A scheduler and two workers, each a process of its own."""
    distributed = pytest.importorskip("distributed")
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
    for command in commands:
        options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        begin_for_all(sys.executable, "-m", *command, **options)
    with distributed.Client(address, timeout=600, set_as_default=False) as client:
        client.wait_for_workers(2, 600)
    return address
