"""``gradlab check`` and ``gradlab exercise``: what somebody has written is judged."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gradlab.cli.app import FAILED, USAGE, app, mistakes_named, print_in_utf_8


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:NAME", help="What to check; arguments may follow: layers.py:Scale(3, gain=2.0)."
        ),
    ],
    like: Annotated[
        str,
        typer.Option(metavar="NAME", help="Whose steps an optimizer should take; by default told from its settings."),
    ] = "",
    seconds: Annotated[float, typer.Option(help="Time after which it counts as an endless loop.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Check a layer, activation, loss or optimizer that you wrote: what is wrong, by how much, and which mistake it is.

    The file runs in a process of its own. Exits with 0 if it is right, 1 if it is wrong, 2 if it cannot be checked.
    """
    from gradlab.check.objects import check_file

    _judge_file(lambda: check_file(target, like, _positive("--seconds", seconds)), as_json)


def _positive(option: str, value: float) -> float:
    from gradlab.check.apart import UnusableFileError
    from gradlab.nn.checks import check_float

    try:
        return check_float(option, value, 0.0, 3600.0, above=True)
    except ValueError as error:
        raise UnusableFileError(str(error)) from None


def _judge_file(judge: Callable[[], Any], as_json: bool = False) -> Any:
    """Print the verdict on somebody's file, and exit with its code; return it if it is right."""
    from gradlab.check.apart import UnusableFileError

    with mistakes_named():
        try:
            verdict = judge()
        except UnusableFileError as error:
            print(f"gradlab: {error}", file=sys.stderr)
            raise typer.Exit(USAGE) from None
    if as_json:
        from dataclasses import asdict

        print_in_utf_8(json.dumps(asdict(verdict), ensure_ascii=False))
    else:
        print_in_utf_8(str(verdict))
    if not verdict:
        raise typer.Exit(FAILED)
    return verdict


exercise = typer.Typer(
    help="Twelve exercises in backpropagation, and a check that knows the mistake.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(exercise, name="exercise")


@exercise.command("list")
def exercise_list() -> None:
    """List the exercises in their order, and which of them you have solved."""
    from gradlab.learn.workbook import exercises, solved

    days = {}
    try:
        days = solved()
    except ValueError as error:
        print(f"gradlab: {error}", file=sys.stderr)
    every = exercises()
    longest = max(len(e.name) for e in every)
    for e in every:
        print(f"{'solved' if e.name in days else '':6}  {e.name.ljust(longest)}  {e.title}".rstrip())
    following = next((e.name for e in every if e.name not in days), None)
    print(
        f"\n{len(days)} of {len(every)} solved" + (f"; next: gradlab exercise start {following}" if following else "")
    )


@exercise.command("start")
def exercise_start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One that `gradlab exercise list` names.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; by default NAME.py here.")] = None,
) -> None:
    """Write a file with the task, what to derive, and functions to fill in."""
    from gradlab.learn.workbook import start

    path = out or Path(f"{name}.py")
    with _told_as_usage():
        start(name, path)
    print(f"{path}: read it, fill in what is missing, then: gradlab exercise check {path}")


@exercise.command("check")
def exercise_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `gradlab exercise start` wrote.")],
    seconds: Annotated[float, typer.Option(help="Time after which it counts as an endless loop.")] = 10.0,
) -> None:
    """Say whether an answer is right, or what is wrong with it, with the numbers, but not the solution.

    The file runs in a process of its own. Exits with 0 if it is right, 1 if it is wrong, 2 if it cannot be checked.
    """
    from gradlab.learn.exercises import EXERCISES
    from gradlab.learn.grading import grade_file
    from gradlab.learn.workbook import exercise_of, note_solved, solved

    with _told_as_usage():
        name = exercise_of(file)
    _judge_file(lambda: grade_file(str(file), name, _positive("--seconds", seconds)))
    try:
        note_solved(name)
        following = next((other for other in EXERCISES if other not in solved()), None)
    except (ValueError, OSError) as error:
        print(f"gradlab: that it is solved could not be kept: {error}", file=sys.stderr)
        return
    if following:
        print(f"next: gradlab exercise start {following}")


@exercise.command("solution")
def exercise_solution(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One that `gradlab exercise list` names.")],
) -> None:
    """Print our solution, with the derivation."""
    from gradlab.learn.workbook import solution_text

    with _told_as_usage():
        text = solution_text(name)
    print_in_utf_8(text.rstrip())


@contextmanager
def _told_as_usage() -> Iterator[None]:
    """Exit with 2 for a name that there is not, or a file that cannot be used."""
    try:
        yield
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        print(f"gradlab: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
