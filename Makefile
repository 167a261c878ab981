# On a bare machine (Python 3.11+, git, make): make the environment, then do the thing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all lint clean

demo: .venv/installed
	$(BIN)/python train.py -m optim.lr=1e-3,1e-4 'seed=range(0,50)'
	$(BIN)/python analyze.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --durations 10

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: pyproject.toml setup.py $(wildcard zoo/engines/lanes/src/*)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
