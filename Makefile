# `make demo` and `make test` do everything on a fresh machine with Python 3.11 or later: environment, pinned install, work.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench bench-scoring bench-regression bench-diversity lint check format dictionary demo-data clean

demo: .venv/installed
	$(BIN)/typicality run demo

# Files of tests in turn on as many processes as there are cores, four at most: each may hold a model.
test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Time and memory on made-up data of real size; some minutes.
bench: .venv/dev
	$(BIN)/python -m tests.bench.reading
	$(BIN)/python -m tests.bench.growth
	$(BIN)/python -m tests.bench.diversity

# Pairs a second against other scorers, side by side; they live in an environment of their own.
bench-scoring: .venv-bench/installed
	OMP_WAIT_POLICY=PASSIVE .venv-bench/bin/python -m tests.bench.scoring

# The estimators on a million comparisons; pyfixest and R beside them where they are installed.
bench-regression: .venv-bench/installed
	.venv-bench/bin/python -m tests.bench.regression

# All metrics of diversity on 50,000 generations, and a loop over nltk's sentence_bleu beside Self-BLEU.
bench-diversity: .venv-bench/installed
	.venv-bench/bin/python -m tests.bench.diversity

.venv-bench/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable . lm_eval minicons trl pyfixest nltk
	@touch $@

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The data dictionary is made from the schemas; a test checks that it is up to date.
dictionary: .venv/installed
	$(BIN)/python -m analysis.dictionary > outputs/README.md

demo-data: .venv/installed
	$(BIN)/python data/demo/generate.py
	$(BIN)/python data/demo/coverage.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "typicality needs Python 3.11 or later: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv (once) …"
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-bench build dist *.egg-info
