# make run | test | test-slow | check; each makes .venv first if need be. CONFIG= and PYTHON= choose others.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= configs/default.yaml
BIN := .venv/bin

.PHONY: run test test-slow check clean

run: .venv/installed
	$(BIN)/python -m train run --config $(CONFIG)

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m train check

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv runs build dist
