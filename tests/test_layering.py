"""Imports run one way: nn ← training ← flow, learn ← estimators, lab ← cli ← experiments; what is heavy comes late."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import gradlab

SOURCE = Path(gradlab.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

# What each part may import of gradlab, itself aside; "gradlab" stands for the package's public names.
ALLOWED = {
    "gradlab": {"gradlab.nn", "gradlab.training", "gradlab.check", "gradlab.estimators"},
    "gradlab.nn": set(),
    "gradlab.training": {"gradlab.nn"},
    "gradlab.tables": {"gradlab.nn.checks"},
    "gradlab.datasets": {"gradlab.nn.checks", "gradlab.tables"},
    "gradlab.check": {"gradlab.nn", "gradlab.training"},
    "gradlab.flow": {"gradlab.nn", "gradlab.training", "gradlab.check"},
    "gradlab.learn": {"gradlab.files", "gradlab.nn", "gradlab.training", "gradlab.check", "gradlab.flow"},
    "gradlab.extras": set(),
    "gradlab.files": set(),
    "gradlab.estimators": {
        "gradlab.extras",
        "gradlab.files",
        "gradlab.nn",
        "gradlab.training",
        "gradlab.check",
        "gradlab.flow",
        "gradlab.learn",
        "gradlab.datasets",
    },
    "gradlab.lab": {
        "gradlab",
        "gradlab.extras",
        "gradlab.files",
        "gradlab.tables",
        "gradlab.nn",
        "gradlab.training",
        "gradlab.check",
        "gradlab.flow",
        "gradlab.learn",
        "gradlab.datasets",
        "gradlab.estimators",
    },
    "gradlab.cli": {
        "gradlab",
        "gradlab.files",
        "gradlab.nn",
        "gradlab.training",
        "gradlab.check",
        "gradlab.flow",
        "gradlab.learn",
        "gradlab.datasets",
        "gradlab.estimators",
        "gradlab.lab",
    },
    "gradlab.__main__": {"gradlab.cli", "gradlab.extras"},
}
LATE = {"sklearn", "matplotlib", "torch", "numba", "threadpoolctl"}  # never while a module is being imported,
COMPILING = "gradlab.training.engines"  # nowhere else is anything compiled,
INTERPRETER = f"{COMPILING}.interpreter"  # and this is imported when something is
DRAWING = {"gradlab.lab.figures", "gradlab.lab.style", "gradlab.estimators.display"}
EXCEPT = {
    ("gradlab.lab.figures", "matplotlib"),
    ("gradlab.lab.style", "matplotlib"),
    ("gradlab.estimators", "sklearn"),
    (INTERPRETER, "numba"),
}  # but here
NEEDED = {  # by the parts that need little: at the head of a module, and inside its functions
    "gradlab.nn": ({"numpy"}, {"numpy", "scipy"}),
    "gradlab.training": ({"numpy", "numba"}, {"filelock", "numpy", "numba", "threadpoolctl"}),
    "gradlab.check": ({"numpy"}, {"numpy"}),
    "gradlab.flow": ({"numpy", "scipy"}, {"numpy", "scipy"}),
}


class Import(NamedTuple):
    name: str
    late: bool  # inside a function, or for the type checker only


def module_name(path):
    parts = ("gradlab", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source, module="gradlab"):
    """Return every import, absolute, with ``from package import name`` as ``package.name``."""
    found = []

    def visit(node, late):
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            package = ".".join(filter(None, (base, node.module)))
            found.extend(Import(f"{package}.{alias.name}", late) for alias in node.names)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.iter_child_nodes(node):
            visit(child, late or is_function or for_types)

    visit(ast.parse(source), False)
    return found


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def part_of(name):
    """The part of gradlab that an imported name belongs to: the package itself for its public names."""
    return next((part for part in ALLOWED if part != "gradlab" and within(name, part)), "gradlab")


def faults(source, module):
    """Say what is wrong with the imports of one module."""
    part = part_of(module)
    wrong = []
    for name, late in imports_of(source, module):
        top = name.split(".")[0]
        if within(name, INTERPRETER) and not late:
            wrong.append(f"{module}: {name} must be imported inside a function")
        if top == "gradlab":
            is_own = part_of(name) == part
            if not is_own and not any(
                part_of(name) == "gradlab" if allowed == "gradlab" else within(name, allowed)
                for allowed in ALLOWED[part]
            ):
                wrong.append(f"{module}: {part} must not import {name}")
            continue
        if top == "experiments":
            wrong.append(f"{module}: the package must not import {name}")
        if top == "matplotlib" and module not in DRAWING:
            wrong.append(f"{module}: only figures import {name}")
        if top in LATE and not late and not any(within(module, m) and top == t for m, t in EXCEPT):
            wrong.append(f"{module}: {name} must be imported inside a function")
        if top == "numba" and not within(module, COMPILING):
            wrong.append(f"{module}: only the engines import {name}")
        if part in NEEDED and top not in NEEDED[part][late] | sys.stdlib_module_names:
            wrong.append(f"{module}: {part} must not import {name}{'' if late else ' at its head'}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_imports_only_what_its_layer_may(path):
    assert faults(path.read_text(encoding="utf-8"), module_name(path)) == []


def test_modules_are_found():
    assert {"gradlab", "gradlab.nn", "gradlab.nn.network", INTERPRETER} <= {module_name(path) for path in MODULES}


@pytest.mark.parametrize(
    "module, source",
    [
        ("gradlab.nn.layers", "import gradlab.flow.probes"),
        ("gradlab.nn.layers", "from gradlab.check.tracer import Graph"),
        ("gradlab.training.loop", "from gradlab.check import check_gradients"),
        ("gradlab.check.gradients", "import gradlab.learn"),
        ("gradlab.check.gradients", "import scipy"),
        ("gradlab.nn.layers", "from gradlab import datasets"),
        ("gradlab.nn.layers", "from ..flow import probes"),
        ("gradlab.nn.layers", "from gradlab import __version__"),
        ("gradlab.nn.layers", "def f():\n    from gradlab.lab import sweep"),
        ("gradlab.nn.layers", "from scipy.special import ndtr"),
        ("gradlab.nn.layers", "import tqdm"),
        ("gradlab.nn.layers", "def f():\n    import pandas"),
        ("gradlab.nn.layers", "from gradlab.training import train"),
        ("gradlab.nn.layers", "def f():\n    import numba"),
        ("gradlab.training.loop", "from gradlab.flow import FlowRecorder"),
        ("gradlab.training.loop", "import gradlab.estimators"),
        ("gradlab.training.loop", "from gradlab import Network"),
        ("gradlab.training.loop", "import tqdm"),
        ("gradlab.training.loop", "def f():\n    import scipy"),
        ("gradlab.training.loop", "def f():\n    from numba import njit"),
        ("gradlab.training.engines.compiled", "import numba"),
        ("gradlab.training.engines.compiled", "import threadpoolctl"),
        ("gradlab.training.engines.compiled", "from gradlab.training.engines import interpreter"),
        ("gradlab.training.engines.compiled", "from gradlab.training.engines.interpreter import all_finite"),
        ("gradlab.flow.probes", "def f():\n    import numba"),
        ("gradlab.estimators", "def f():\n    import numba"),
        ("gradlab.lab.sweep", "from numba import njit"),
        ("gradlab.lab.sweep", "from gradlab.training.engines.interpreter import all_finite"),
        ("gradlab.flow.probes", "from gradlab.lab import sweep"),
        ("gradlab.flow.probes", "import gradlab.learn"),
        ("gradlab.flow.probes", "import pandas"),
        ("gradlab.datasets", "from gradlab.nn.network import Network"),
        ("gradlab.datasets", "import sklearn.datasets"),
        ("gradlab.datasets", "class A:\n    from sklearn import datasets"),
        ("gradlab.learn.steps", "import gradlab.estimators"),
        ("gradlab.estimators", "from gradlab.cli import main"),
        ("gradlab.estimators", "import torch"),
        ("gradlab.lab.sweep", "from gradlab import cli"),
        ("gradlab.lab.sweep", "def f():\n    import matplotlib.pyplot as plt"),
        ("gradlab.lab.sweep", "try:\n    import torch\nexcept ImportError:\n    pass"),
        ("gradlab.cli", "from experiments import vanishing"),
        ("gradlab.cli", "from matplotlib import pyplot"),
        ("gradlab", "from gradlab.lab import sweep"),
    ],
)
def test_planted_import_is_found(module, source):
    assert len(faults(source, module)) >= 1


@pytest.mark.parametrize(
    "module, source",
    [
        (
            "gradlab.nn.layers",
            "import math, numpy as np\nfrom gradlab.nn.checks import check_float\nfrom .arrays import product",
        ),
        ("gradlab.nn.activations", "def f():\n    from scipy.special import ndtr"),
        ("gradlab.flow.theory", "from scipy.special import ndtr\nfrom gradlab import nn"),
        (
            "gradlab.training.loop",
            "from gradlab.nn.checks import check_int\nfrom .state import State\nimport threading",
        ),
        ("gradlab.training.engines.interpreter", "from numba import njit, types"),
        ("gradlab.training.engines.cache", "def f():\n    import numba\n    from . import interpreter"),
        ("gradlab.training.engines.compiled", "def f():\n    from threadpoolctl import ThreadpoolController"),
        ("gradlab.lab.sweep", "from gradlab.training.engines import choose"),
        ("gradlab.flow.probes", "from gradlab.training.recording import Weights"),
        ("gradlab.datasets", "from gradlab.nn.checks import check_int\ndef f():\n    from sklearn import datasets"),
        ("gradlab.estimators", "from sklearn.base import BaseEstimator"),
        ("gradlab.lab.figures", "import matplotlib.pyplot as plt\nfrom gradlab import __version__"),
        ("gradlab.cli", "from gradlab.lab import sweep\nimport typer"),
        ("gradlab.lab.sweep", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sklearn"),
        ("gradlab", "from gradlab.nn import *"),
    ],
)
def test_rightful_import_is_left_alone(module, source):
    assert faults(source, module) == []


def test_importing_gradlab_imports_nothing_heavy():
    heavy = {"sklearn", "matplotlib", "scipy", "torch", "numba", "threadpoolctl", "numpy.random", "pydantic", "difflib"}
    heavy |= {"concurrent.futures", "multiprocessing", "asyncio", "tqdm"}
    code = f"import sys, gradlab, gradlab.nn; print(sorted({heavy} & {{*sys.modules}}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
