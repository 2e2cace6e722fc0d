# Two commands do all the set-up: `make demo` and `make test`. Both work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

SEED ?= 1

.PHONY: demo test contract lint types check install install-dev clean

demo: $(VENV)/.train
	$(BIN)/segx demo

test: $(VENV)/.dev $(VENV)/.browser lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# The service against its own document, for minutes instead of seconds.
contract: $(VENV)/.dev
	SEGX_CONTRACT_EXAMPLES=500 SEGX_CONTRACT_SEED=$(SEED) $(BIN)/python -m pytest tests/serve/test_contract.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases bench docs examples

install: $(VENV)/.train
install-dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segx needs Python 3.11 or newer; set PYTHON=/path/to/it")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV); on Linux this brings torch's CUDA build, several GB."
	$(PIP) install -c constraints.txt -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) install -c constraints.txt -e '.[train,dev]'
	@touch $@

# What the browser example runs on, from npm. Without it its test is skipped, and everything else is as it was.
$(VENV)/.browser: $(VENV)/.dev examples/browser/package-lock.json
	@if PATH="$(abspath $(BIN)):$$PATH" $(BIN)/npm ci --prefix examples/browser --loglevel=error; then touch $@; \
	else echo "npm could not fetch onnxruntime-web: the tests of examples/browser are skipped."; fi

clean:
	rm -rf $(VENV) examples/browser/node_modules build dist .pytest_cache .mypy_cache .ruff_cache
