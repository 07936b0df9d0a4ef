"""What the repository says of itself in several places is the same in all of them."""

import re
import tomllib
from pathlib import Path

import gradlab

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CITATION = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE))


def test_the_version_stands_in_the_package_and_is_cited():
    assert PROJECT["dynamic"] == ["version"]
    assert CITATION["version"] == gradlab.__version__


def test_the_license_is_the_same():
    assert CITATION["license"] == PROJECT["license"]


def test_the_tests_run_on_every_version_of_python_that_is_named():
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert re.search(r"^ +python: (\[.*\])$", workflow, re.MULTILINE)[1] == str(named).replace("'", '"')
    assert PROJECT["requires-python"] == f">={named[0]}"
