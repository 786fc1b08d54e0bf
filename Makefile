# Everything happens inside this folder: the virtual environment in .venv, caches in .cache, the
# data of Kinetag in .kinetag. Removing the folder removes everything.
SHELL := /bin/sh
.DEFAULT_GOAL := help
ROOT := $(CURDIR)
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin

export KINETAG_HOME := $(ROOT)/.kinetag
export KINETAG_DATA_DIR := $(ROOT)/.kinetag
export XDG_CACHE_HOME := $(ROOT)/.cache
export XDG_CONFIG_HOME := $(ROOT)/.cache/config
export XDG_DATA_HOME := $(ROOT)/.cache/data
export XDG_STATE_HOME := $(ROOT)/.cache/state
export MPLCONFIGDIR := $(ROOT)/.cache/matplotlib
export TORCH_HOME := $(ROOT)/.cache/torch
export FVCORE_CACHE := $(ROOT)/.cache/fvcore
export PRE_COMMIT_HOME := $(ROOT)/.cache/pre-commit
# Two gigabytes of wheels are not kept a second time.
export PIP_NO_CACHE_DIR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME

# The oldest and newest Python that the locks are made for.
PYTHON_RANGE := (3, 11) <= sys.version_info[:2] <= (3, 13)
PYTHON_CANDIDATES := $(PYTHON) python3.12 python3.11 python3.13 python3
# Source distributions that have no wheel anywhere; everything else must be a wheel.
SDISTS := fvcore,iopath,pytorchvideo
PIP_LOCKED := $(BIN)/python -m pip install --require-hashes --no-deps --only-binary :all:

# A stamp's name carries a checksum of what it stands for, so a changed lock installs again and
# an unchanged one costs nothing. The folder is part of it: a moved environment is a broken one.
LOCKS := requirements/build.txt requirements/dev.txt
NATIVE := pyproject.toml CMakeLists.txt $(wildcard models/flow/CMakeLists.txt models/flow/*.cpp models/flow/*.h models/flow/*.hpp)
DEPS_STAMP := $(VENV)/.deps-$(shell { pwd; cat $(LOCKS); } | cksum | tr ' ' '-')
APP_STAMP := $(VENV)/.app-$(shell { pwd; cat $(LOCKS) $(NATIVE); } | cksum | tr ' ' '-')

.PHONY: help install demo test lint format lock bundled-model clean

help:
	@echo "make demo           install into .venv, then draw a video and find the actions in it"
	@echo "make test           install into .venv, then run all tests"
	@echo "make lint           ruff, mypy and the import contracts"
	@echo "make format         let ruff format and repair"
	@echo "make install        only install into .venv"
	@echo "make lock           resolve requirements/*.txt anew (needs uv)"
	@echo "make bundled-model  draw the training data and train the demo model anew (an hour or two)"
	@echo "make clean          remove .venv, .cache and build"

install: $(APP_STAMP)

$(DEPS_STAMP): $(LOCKS)
	@echo "== Python environment in .venv"
	@found=; for candidate in $(PYTHON_CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(not $(PYTHON_RANGE))' >/dev/null 2>&1; then \
	    found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "Kinetag needs Python 3.11, 3.12 or 3.13 and found none of them on the PATH." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi; \
	if ! "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$found lacks its venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; fi; \
	echo "   using $$found: $$("$$found" --version)"; \
	rm -f $(VENV)/.deps-* $(VENV)/.app-*; \
	if [ "$$(cat $(VENV)/.folder 2>/dev/null)" = "$(ROOT)" ] && \
	  $(BIN)/python -c 'import pip, sys; sys.exit(not $(PYTHON_RANGE))' >/dev/null 2>&1; then \
	  echo "   .venv is there; only what the locks changed is installed"; \
	else "$$found" -m venv --clear $(VENV) && echo "$(ROOT)" > $(VENV)/.folder; fi
	@mkdir -p $(ROOT)/.cache/tmp
	@echo "== Build tools, exact versions, checked by hash"
	TMPDIR=$(ROOT)/.cache/tmp $(PIP_LOCKED) --quiet -r requirements/build.txt
	@echo "== Dependencies, exact versions, checked by hash: torch with CUDA is most of it,"
	@echo "   about 3 GB to download and 5 GB on disk; this happens once"
	TMPDIR=$(ROOT)/.cache/tmp $(PIP_LOCKED) --no-binary $(SDISTS) --no-build-isolation \
	  --progress-bar off -r requirements/dev.txt
	@touch $@

$(APP_STAMP): $(DEPS_STAMP) $(NATIVE)
	@echo "== Kinetag itself, with its native optical-flow kernel"
	@rm -f $(VENV)/.app-*
	TMPDIR=$(ROOT)/.cache/tmp $(BIN)/python -m pip install --quiet --no-deps \
	  --no-build-isolation --editable .
	@$(BIN)/python -c 'import models.flow._tvl1' 2>/dev/null || { \
	  echo "WARNING: the native optical-flow kernel could not be built; OpenCV, many times" >&2; \
	  echo "slower, takes its place. Install a C++ compiler, then: rm .venv/.app-*; make install" >&2; }
	@touch $@

demo: install
	@echo "== kinetag demo: a fresh video, the real service, its segments beside the truth"
	@$(BIN)/kinetag demo $(DEMO_OPTIONS)

test: install
	@echo "== all tests; PYTEST_OPTIONS='-k word' picks some"
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS)

lint: install
	@echo "== ruff check"
	@$(BIN)/ruff check .
	@echo "== ruff format"
	@$(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/python -m mypy
	@echo "== import contracts"
	@$(BIN)/lint-imports

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Without an index host in the output: a mirror's address must not end up in the repository.
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --quiet
lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) pyproject.toml --extra demo --extra tracing --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --extra worker -c requirements/dev.txt --output-file requirements/worker.txt
	$(COMPILE) pyproject.toml -c requirements/dev.txt --output-file requirements/base.txt
	$(COMPILE) --group build -c requirements/dev.txt --output-file requirements/build.txt

bundled-model: install
	@echo "== models.bundled.cli: draws the data, trains both streams and the head"
	@$(BIN)/python -m models.bundled.cli

clean:
	rm -rf $(VENV) $(ROOT)/.cache $(ROOT)/build
