# Every target first makes .venv from nothing where it is missing, stale, broken or moved.
#
#   make demo                             the whole job on two tables, results in runs/demo
#   make test PYTEST_ARGS='-m "not ray"'  the tests that start no Ray
#   make bench BENCHMARKS='makespan'      some of the benchmarks; see benchmarks/README.md
#   make venv PYTHON=python3.12           another interpreter, 3.11 or later
#   make venv PIP_ARGS='--index-url ...'  another package index

SHELL := /bin/bash
PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2
BENCHMARKS ?= coreset overhead client makespan limiter
BIN := .venv/bin
STAMP := .venv/.installed
MAKEFLAGS += --no-print-directory

# Scripts of an environment hold its path, so one that was copied or moved must be made anew.
VENV_WORKS := $(shell grep -qsF '$(CURDIR)/.venv/bin/python' $(BIN)/pip \
	&& $(BIN)/python -c 'import sys' 2>/dev/null && echo yes)

.DEFAULT_GOAL := help
.PHONY: help venv demo test check bench

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

venv: $(STAMP) ## make .venv with the pinned packages

demo: $(STAMP) ## run the whole job on two tables, without a key; results in runs/demo
	@$(BIN)/rddg run jobs/configs/demo.yaml

test: $(STAMP) ## run the tests
	@$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

check: $(STAMP) ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(STAMP) ## measure coreset, calls, limits and whole chains (some 20 minutes)
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

ifneq ($(VENV_WORKS),yes)
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
ifneq ($(VENV_WORKS),yes)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed, but PYTHON=$(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1); try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; \
		exit 1; }
	@echo "making .venv and installing the packages of constraints.txt; this takes minutes"
	@$(PYTHON) -m venv --clear .venv
endif
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
		-c constraints.txt -e '.[dev]'
	@touch $@
