PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test test-archive test-cluster docs coverage lint imports bench study clean

help:
	@echo "make demo     install, then run the main job on phantoms; ends with a report"
	@echo "make test     install, then run all tests"
	@echo "make test-archive  install, then send to a real archive (Orthanc) and fetch from it; skips where it is missing"
	@echo "make test-cluster  install, then jobs on a real SLURM of one node; skips where SLURM is missing"
	@echo "make docs     install, then build the site of docs/ (mkdocs, warnings are errors)"
	@echo "make coverage install, then run the unit tests with branch coverage"
	@echo "make lint     install, then ruff, mypy, hadolint and import-linter, as in CI"
	@echo "make bench    install, then measure against stock nnU-Net"
	@echo "make study    install, then compare DSMT with baselines and ablations on phantoms (hours)"
	@echo "make install  make $(VENV) with everything"
	@echo "make clean    remove what the demo made"

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $(STAMP)

demo: install
	$(BIN)/dsmt demo

# One run: who waits for a training's end leaves the small tests to the other processes.
test: install
	$(BIN)/python -m pytest tests/e2e tests/unit -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations=10

test-archive: install
	$(BIN)/python -m pytest tests/archive -rs

test-cluster: install
	$(BIN)/python -m pytest tests/cluster -rs

docs: install
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/python -m mkdocs build

coverage: install
	$(BIN)/python -m pytest tests/unit -n auto --maxprocesses 8 --cov --cov-branch --cov-report=term:skip-covered

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(MAKE) --no-print-directory imports

imports: install
	rm -rf build
	$(BIN)/python -c 'from setuptools import setup; setup()' -q build_py --build-lib build/lib
	cd build/lib && ../../$(BIN)/lint-imports ../../pyproject.toml --no-logo

bench: install
	$(BIN)/python -m benchmarks

study: install
	$(BIN)/python -m pip install --quiet -e ".[study]"
	$(BIN)/dsmt study

clean:
	rm -rf demo
