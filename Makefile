# make demo: see where the gradient goes. make test: check everything. Needs Python 3.11 or later, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all test-lowest clean

demo: $(VENV)/run.stamp
	$(BIN)/gradlab run configs/sigmoid_vs_relu.toml

test: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy & $(BIN)/gradlab compile; wait $$! # compiled once, rather than in each worker of pytest
	$(BIN)/pytest -n auto --dist worksteal --benchmark-disable

test-all: $(VENV)/test.stamp
	-$(BIN)/gradlab compile
	$(BIN)/pytest -n auto --dist worksteal --benchmark-disable -m ""

test-lowest: $(LOWEST)/test.stamp
	-$(LOWEST)/bin/gradlab compile
	$(LOWEST)/bin/pytest -n auto --dist worksteal --benchmark-disable

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gradlab needs Python 3.11 or later; name one with: make demo PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(BIN)/python pyproject.toml
	@if $(INSTALL) --only-binary numba,llvmlite --editable ".[lab,fast]" 2> /dev/null; then \
	  echo "compiling the engine, once:"; $(BIN)/gradlab compile || true; \
	else \
	  echo "Numba has no build for this Python: gradlab is installed without it, and trains more slowly"; \
	  $(INSTALL) --editable ".[lab]"; \
	fi
	@touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml
	$(INSTALL) --editable ".[test]"
	@touch $@ $(VENV)/run.stamp

$(LOWEST)/test.stamp: $(BIN)/python pyproject.toml # the lowest Python and the lowest versions that pyproject.toml allows
	$(INSTALL) uv
	$(BIN)/uv venv --quiet --clear --python 3.11 $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable ".[test]"
	@touch $@
