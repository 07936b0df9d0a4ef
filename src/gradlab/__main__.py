"""Where ``gradlab`` and ``python -m gradlab`` begin: so early that no interrupt ends in a traceback."""

import sys

from gradlab.extras import MissingExtraError, needed_by

OF_THE_LAB = ("run", "diagnose", "collect", "predict")  # what the extra "cli" is not enough for


def main() -> None:
    """Run the command line, and exit with its code; 2 where a command lacks its extra."""
    command = next((argument for argument in sys.argv[1:2] if not argument.startswith("-")), "")
    try:
        with needed_by(f"gradlab {command}".strip(), "lab" if command in OF_THE_LAB else ""):
            from gradlab.cli import run_app

            run_app()
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("gradlab: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
