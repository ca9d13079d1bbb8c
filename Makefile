# `make train` and `make test` do everything on a fresh machine with Python >= 3.11, gcc and a package index.
PYTHON ?= $(firstword $(foreach v,3.13 3.12 3.11,$(shell command -v python$(v))) python3)
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help setup train test lint clean

help:
	@echo "make train   set up, train on the built-in letters, print the table"
	@echo "make test    set up, then lint and tests"
	@echo "make setup   make .venv and install everything"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove .venv and caches; runs and packed data stay"

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fewshot needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev,wandb,tensorboard]'
	@# learn2learn 0.2.0 ships C files that Python 3.11 no longer compiles; built from its Cython sources it works.
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt 'cython<3.1' 'setuptools<80' wheel gym requests tqdm scipy
	$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-build-isolation --no-deps \
		--config-settings=--global-option=build_ext learn2learn==0.2.0 \
		|| echo "learn2learn could not be built (is gcc there?): all but MAML and ANIL works without it"
	@touch $@

train: setup
	$(BIN)/fewshot train --config glyphs

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint
	$(BIN)/pytest

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build *.egg-info
