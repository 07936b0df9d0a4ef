"""``gradlab compile``: the compiled engine is made ready before it is needed."""

import json
import sys
import time
from typing import Annotated

import typer

from gradlab.cli.app import FAILED, USAGE, app


@app.command("compile")
def compile_(
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Compile the engine that runs whole epochs without Python, for both float widths, and keep it for later runs.

    What is there already is only loaded. Exits with 1 if there is no folder to keep it in, and 2 without Numba.
    """
    import numpy as np

    from gradlab.training.engines import INSTALL, compiled
    from gradlab.training.engines.cache import NoCacheError, folder, load

    if not compiled.is_installed():
        print(f"gradlab: {INSTALL}", file=sys.stderr)
        raise typer.Exit(USAGE)
    try:
        where = folder()
    except NoCacheError as error:
        print(f"gradlab: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    seconds = {}
    for dtype in ("float64", "float32"):
        began = time.perf_counter()
        load(np.dtype(dtype))
        seconds[dtype] = round(time.perf_counter() - began, 3)
    if as_json:
        print(json.dumps({"folder": str(where), "seconds": seconds}))
    else:
        took = " and ".join(f"{dtype} in {time:.1f} s" for dtype, time in seconds.items())
        print(f"the compiled engine is ready, {took}; it is kept in {where}")
