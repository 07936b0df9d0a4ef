"""Commands as a user gives them."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

PYTHON = [sys.executable, "-W", "error"]
CALL = "from gradlab.__main__ import main; main()"
# To be begun, and perhaps interrupted: that may fall between `open` and its `with`.
COMMAND = [*PYTHON, "-W", "ignore::ResourceWarning", "-c", CALL]


def gradlab(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, where what takes a new one seconds to import is at hand already."""
    from gradlab.__main__ import main

    words = [str(argument) for argument in arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as output,
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        mock.patch.object(sys, "argv", ["gradlab", *words]),
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(words, code, output.read(), errors.read())


def gradlab_alone(
    *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, in which warnings are errors, and some code before it there."""
    return subprocess.run(
        [*PYTHON, "-c", before + CALL, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=900,
        check=False,
    )
