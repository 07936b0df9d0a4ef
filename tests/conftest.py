"""What all tests share: verdicts depend on no clock and on nothing inherited, and what a test begins ends with it."""

import os
import signal
import subprocess
from contextlib import contextmanager, suppress

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _interrupts():
    """Have programs that tests start heed an interrupt, which a shell lets what it starts with ``&`` ignore.

    SIGTERM interrupts this process too, so that fixtures end what is under way.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def _programs():
    begun = []

    def begin(*command, **options):
        command = [str(part) for part in command]
        begun.append(subprocess.Popen(command, text=True, start_new_session=True, **options))
        return begun[-1]

    try:
        yield begin
    finally:
        for process in begun:
            if hasattr(os, "killpg"):  # by the number of its leader, who may have ended
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.communicate()


@pytest.fixture
def begin():
    """Start programs as `subprocess.Popen` does; at the test's end they are killed, with all that they started."""
    with _programs() as begin:
        yield begin


@pytest.fixture(scope="session")
def begin_for_all():
    """Start programs that several tests use, as `begin` does."""
    with _programs() as begin:
        yield begin
