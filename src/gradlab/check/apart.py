"""Somebody's own file runs in a process of its own, with a time limit: whatever it does, the answer is a sentence.

It is no sandbox: the file may do what its owner may do. It keeps an endless loop, a crash or a changed NumPy from
reaching the program that asks.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import linecache
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

SECONDS = 10.0  # for the file and everything that is tried on it
GRACE = 20.0  # for Python and its imports, before and after
WRONG, UNUSABLE = "wrong", "unusable"


class UnusableFileError(ValueError):
    """A file that cannot be checked at all: a sentence that names it, and the line where there is one."""


class FailedCodeError(ValueError):
    """Code that raised an error, or came to no end: a sentence that names the line."""


def run_apart(work: Callable[..., dict[str, Any]], *arguments: Any, seconds: float = SECONDS) -> dict[str, Any]:
    """Call a function in a process of its own.

    Parameters
    ----------
    work : callable
        A function of a module, whose result JSON can hold. Its first argument is the path of the file that it runs.
    *arguments
        What JSON can hold.
    seconds : float
        After so long, the process is ended.

    Returns
    -------
    dict
        What the function returned.

    Raises
    ------
    UnusableFileError
        If the function raised it.
    FailedCodeError
        If the function raised it, the time was up, or the process ended itself.
    """
    path = str(arguments[0])
    request = json.dumps([work.__module__, work.__qualname__, list(arguments), seconds])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = "1"
    command = [sys.executable, "-P", "-c", f"import {__name__} as apart; apart.answer_one_request()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        try:
            answer, _ = process.communicate(request.encode(), timeout=seconds + GRACE)
        except subprocess.TimeoutExpired:
            raise FailedCodeError(f"{path}: it came to no end within {seconds:g} seconds") from None
        finally:
            process.kill()
    try:
        kind, result = json.loads(answer)
    except ValueError:
        raise FailedCodeError(f"{path}: it ended Python itself, with exit code {process.returncode}") from None
    if kind == UNUSABLE:
        raise UnusableFileError(result)
    if kind == WRONG:
        raise FailedCodeError(result)
    return result


def load_file(path: str) -> ModuleType:
    """Run a file as a module, or import one by its dotted name.

    Raises
    ------
    UnusableFileError
        If it cannot be read, is no Python, or raises an error.
    """
    if not path.endswith(".py") and re.fullmatch(r"[\w.]+", path):
        return _load_module(path)
    if not Path(path).is_file():
        raise UnusableFileError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise UnusableFileError(f"{path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses and the like expect
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UnusableFileError(f"{path}, line {error.lineno}: {error.msg}{_quoted(error.text)}") from None
    except BaseException as error:  # whatever a file raises
        raise UnusableFileError(describe(error, path)) from None
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UnusableFileError(f"{name}: there is no such file or module ({error})") from None
    except BaseException as error:  # whatever a module raises
        raise UnusableFileError(describe(error, name)) from None


def describe(error: BaseException, path: str, doing: str = "", line: int | None = None) -> str:
    """Say in a sentence what a file raised, and at which of its lines; `line` is where, if none of them was at work."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if _is(frame.filename, path)]
    number = lines[-1].lineno if lines else line
    place = f", line {number}" if number else ""
    quoted = _quoted(lines[-1].line) if lines else ""
    try:
        told = " ".join(str(error).split())
    except Exception:  # of an error of one's own, that too may fail
        told = ""
    return f"{path}{place}: {doing}{type(error).__name__}{f': {told}' if told else ''}{quoted}"


def _quoted(line: str | None) -> str:
    return f", in `{line.strip()}`" if line and line.strip() else ""


def _is(filename: str, path: str) -> bool:
    return os.path.abspath(filename) == os.path.abspath(path)


# --- inside the process --------------------------------------------------------------------------------------------


def answer_one_request() -> None:
    """Read a request from standard input, and write what came of it to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the program that asks
    module, name, arguments, seconds = json.loads(sys.stdin.buffer.read())
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the file prints goes where messages go
    sys.stdin = open(os.devnull)  # noqa: SIM115
    answered = threading.Lock()

    def answer(kind: str, result: Any) -> None:
        if answered.acquire(blocking=False):
            sys.stdout.flush()
            answers.write(json.dumps([kind, result]).encode())
            answers.close()
            os._exit(0)  # whatever threads the file has started

    def watch(thread: int) -> None:
        threading.Event().wait(seconds)
        frame = sys._current_frames().get(thread)
        answer(WRONG, f"{_place_of(frame, arguments[0])}: still running after {seconds:g} seconds: an endless loop?")

    function = getattr(importlib.import_module(module), name)
    threading.Thread(target=watch, args=(threading.get_ident(),), daemon=True).start()
    try:
        result = function(*arguments)
    except UnusableFileError as error:
        answer(UNUSABLE, str(error))
    except FailedCodeError as error:
        answer(WRONG, str(error))
    except BaseException as error:  # what was raised where nothing of somebody's own was thought to be at work
        answer(WRONG, describe(error, str(arguments[0])))
    answer("", result)


def _place_of(frame: FrameType | None, path: str) -> str:
    """Return the innermost line of a file that is at work."""
    while frame is not None and not _is(frame.f_code.co_filename, path):
        frame = frame.f_back
    if frame is None:
        return path
    return f"{path}, line {frame.f_lineno}{_quoted(linecache.getline(frame.f_code.co_filename, frame.f_lineno))}"
