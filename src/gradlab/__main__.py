"""Where ``gradlab`` and ``python -m gradlab`` begin: so early that no interrupt ends in a traceback."""

import sys


def main() -> None:
    """Run the command line, and exit with its code."""
    try:
        from gradlab.cli import run_app

        run_app()
    except KeyboardInterrupt:
        print("gradlab: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
