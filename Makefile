# The commands of this repository; each makes the environment that it needs.
#   make demo   find things in a picture, with masks
#   make test   run the quick tests
#   make check  format, lint, types, import contract, spelling

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/
PYTEST := OMP_NUM_THREADS=1 $(RUN)python -m pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format wheel clean

help:
	@sed -n 's/^#   //p' Makefile

# One stamp for each kind of environment: the demo needs no development tools.
$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[sam]'
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(RUN)pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/run
	$(RUN)python examples/demo.py

test: $(VENV)/dev
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/dev
	$(PYTEST) -m slow

check: $(VENV)/dev
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)codespell

format: $(VENV)/dev
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

wheel: $(VENV)/dev
	$(RUN)python -m build --wheel

clean:
	rm -rf $(VENV) build dist out .mypy_cache .ruff_cache .pytest_cache
