# `make train` and `make test` do everything on a fresh machine with Python >= 3.11, gcc and a package index.
NEW := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do $$p -c '$(NEW)' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
TRAINING := .venv/training
INSTALLED := .venv/installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
PEERS := .venv/peers

.PHONY: help setup train test lint docs coverage benchmark fuzz clean

help:
	@echo "make train   install what training needs, train on the built-in letters, print the table"
	@echo "make test    set up, then lint, tests and documentation"
	@echo "make setup   make .venv and install everything"
	@echo "make lint    ruff, mypy, and which room imports which"
	@echo "make docs    the documentation, into build/docs"
	@echo "make coverage"
	@echo "             the tests again, and which lines they reach"
	@echo "make benchmark [DATA=SPEC] [FEATURES=FILE]"
	@echo "             every stage next to its peers, on your images and features or on generated ones,"
	@echo "             into runs/benchmark"
	@echo "make fuzz [MINUTES=10]"
	@echo "             damaged files of every format, and trainings killed at random moments"
	@echo "make clean   remove .venv and caches; runs and packed data stay"

setup: $(INSTALLED)

# What training needs; the rest comes with everything else.
$(TRAINING): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "fewshot needs Python 3.11 or later; make PYTHON=... names one"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

$(INSTALLED): $(TRAINING)
	$(PIP) --editable '.[dev,docs,export,large,page,ready,tensorboard,timm,wandb]'
	@# learn2learn 0.2.0 ships C files that Python 3.11 no longer compiles; built from its Cython sources it works.
	$(PIP) 'cython<3.1' 'setuptools<80' wheel gym requests tqdm scipy
	$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-build-isolation --no-deps \
		--config-settings=--global-option=build_ext learn2learn==0.2.0 \
		|| echo "learn2learn could not be built (is gcc there?): all but MAML and ANIL works without it"
	@touch $@

train: $(TRAINING)
	$(BIN)/fewshot train --config glyphs

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/docs

# One process per core, each with one thread; the tests of a file share what they prepare.
test: lint docs
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

coverage: setup
	@mkdir -p build
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

$(PEERS): $(INSTALLED)
	$(PIP) --editable '.[benchmark]' \
		|| echo "easyfsl could not be installed: its lines of the benchmark stay empty"
	@touch $@

benchmark: $(PEERS)
	$(BIN)/python experiments/benchmark $(if $(DATA),--data '$(DATA)') $(if $(FEATURES),--features '$(FEATURES)')

fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python experiments/fuzz --minutes $(or $(MINUTES),10)

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build *.egg-info
