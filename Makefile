# setup, test and bench need nothing but Python 3.11 or later, pip, gcc and Debian's package manager.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup test lint types bench clean

setup: $(VENV)/.ready

# Debian's python3 makes no virtual environments until python3-venv is there.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { apt-get update -q && apt-get install -qy python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

test: lint types
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m bench.plan

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build src/*.egg-info
