# make demo: see where the gradient goes. make test: check everything. Needs Python 3.11 or later, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all clean

demo: $(VENV)/run.stamp
	$(BIN)/gradlab run configs/sigmoid_vs_relu.toml

test: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	-$(BIN)/gradlab compile # once, rather than in each worker of pytest
	$(BIN)/pytest -n auto --dist worksteal --benchmark-disable

test-all: $(VENV)/test.stamp
	-$(BIN)/gradlab compile
	$(BIN)/pytest -n auto --dist worksteal --benchmark-disable -m ""

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

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
