"""The command line: it reads arguments, and prints what the laboratory found."""

from gradlab.cli import running, results, looking, compiling, step, checking  # noqa: I001  # in the order of --help
from gradlab.cli.app import app, run_app

__all__ = ["app", "checking", "compiling", "looking", "results", "run_app", "running", "step"]
