# `make` sets up everything and runs the main job; `make test` sets up everything and runs the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REPORTS ?= -q
JOBS ?= 2

.PHONY: run test test-slow lint docs clean

run: $(VENV)/installed-run
	$(BIN)/python scripts/train.py --config configs/quickstart.json

test: lint
	$(BIN)/python -m pytest $(REPORTS) -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest $(REPORTS) -m slow

lint: docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Builds the documentation into site/. A warning, such as a link to a page that is not there, is an error.
docs: $(VENV)/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/installed-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

$(VENV)/installed-run: EXTRAS = quickstart
$(VENV)/installed-test: EXTRAS = augmentation,c2pa,dev,docs,ffmpeg,hub,onnx,quickstart,torch

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
