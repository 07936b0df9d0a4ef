"""The exercises as a learner meets them: a file to start from, a solution to read, and what has been solved so far."""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from gradlab.files import whole_or_not_at_all
from gradlab.learn.exercises import EXERCISES, solution
from gradlab.nn.checks import lookup

STUB = 'raise NotImplementedError("write it here, in place of this line")'


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
    ----------
    name, title : str
    functions : tuple of str
        What is to be written.
    """

    name: str
    title: str
    functions: tuple[str, ...]


def exercises() -> list[Exercise]:
    """Return all exercises in their order."""
    found = []
    for name in EXERCISES:
        tree = ast.parse(solution_text(name))
        title = (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")
        found.append(Exercise(name, title, tuple(f.name for f in _functions(tree))))
    return found


def solution_text(name: str) -> str:
    """Return the file that solves an exercise, its derivation in the comments.

    Raises
    ------
    ValueError
        For an unknown name; it lists the names.
    """
    lookup("exercise", name, dict.fromkeys(EXERCISES))
    return Path(inspect.getfile(solution(name))).read_text("utf-8")


def task_text(name: str) -> str:
    """Return the file to start from: the solution, with nothing below the functions' docstrings.

    Raises
    ------
    ValueError
        For an unknown name; it lists the names.
    """
    text = solution_text(name)
    lines = text.splitlines()
    for function in reversed(_functions(ast.parse(text))):
        docstring, end = function.body[0].end_lineno, function.end_lineno
        lines[docstring:end] = [f"    {STUB}"]
    head = f"# Check it with: gradlab exercise check {name}.py"
    return "\n".join([head, *lines, ""])


def _functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def start(name: str, path: Path) -> None:
    """Write the file to start from.

    Raises
    ------
    FileExistsError, FileNotFoundError
        If there is something at `path`, as an answer is not written over; or no folder for it.
    """
    text = task_text(name)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if path.exists():
        raise FileExistsError(f"{path}: it exists, and is not written over; move it away, or name another file")
    with whole_or_not_at_all(path) as file:
        file.write(text.encode())


def exercise_of(path: Path) -> str:
    """Tell which exercise a file answers: it says so itself, as in ``EXERCISE = "adam"``.

    Raises
    ------
    ValueError
        If it cannot be read, is no Python, or says nothing that is known.
    """
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text in UTF-8") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"{path}{line}: not Python: {getattr(error, 'msg', error)}") from None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and any(getattr(t, "id", "") == "EXERCISE" for t in targets):
            name = getattr(node.value, "value", None)
            try:
                lookup("EXERCISE", name, dict.fromkeys(EXERCISES))
            except ValueError as error:
                raise ValueError(f"{path}, line {node.lineno}: {error}") from None
            return str(name)
    if path.stem in EXERCISES:
        return path.stem
    raise ValueError(
        f'{path}: it does not say which exercise it answers; write EXERCISE = "{EXERCISES[0]}", or another'
    )


# --- what has been solved ------------------------------------------------------------------------------------------


def progress_file() -> Path:
    """Return where it is kept which exercises have been solved: in the user's own folder for such things."""
    return Path(os.environ.get("GRADLAB_PROGRESS") or _settings_folder() / "gradlab" / "exercises.json")


def _settings_folder() -> Path:
    """Return where this system keeps what programs note for a user."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home())
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def solved() -> dict[str, str]:
    """Return the exercises that have been solved, with the day.

    Raises
    ------
    ValueError
        If the file that keeps it holds something else.
    """
    path = progress_file()
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read: {error}; remove it to begin anew") from None
    if not isinstance(kept, dict) or not all(isinstance(day, str) for day in kept.values()):
        raise ValueError(f"{path}: not a list of exercises with the day; remove it to begin anew")
    return {name: day for name, day in kept.items() if name in EXERCISES}


def note_solved(name: str) -> None:
    """Keep that an exercise has been solved; the first day stays.

    Raises
    ------
    ValueError, OSError
        If it cannot be kept; nothing is lost then.
    """
    days = solved()
    if name not in days:
        path, today = progress_file(), datetime.date.today().isoformat()  # noqa: DTZ011  # the learner's own day
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not_at_all(path) as file:
            file.write(json.dumps(days | {name: today}, indent=1).encode())
