# The daily habits. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Most tests wait for a server or a process: a few at once keep two cores busy.
AT_ONCE ?= 4
UV = $(shell command -v uv || echo .tools/bin/uv)

.PHONY: help demo demo-real test chaos check lint types contract unit format bench docs schemas lock provision clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

.venv/.ready: pyproject.toml requirements.lock .ci/bootstrap
	@.ci/bootstrap

demo: .venv/.ready  ## the whole path on this machine alone, with embedded defaults
	@$(BIN)/arriero demo $(ARGS)

demo-real: .venv/.ready  ## the same through real servers, started for it and stopped after it
	@$(BIN)/python -m tests.support.provision --for demo-real
	@$(BIN)/python -m tests.support.demo_real $(ARGS)

test: .venv/.ready lint types contract  ## every test, real servers included
	@$(BIN)/python -m tests.support.provision --for test
	@rm -f .coverage .coverage.*
	$(PYTEST) -n $(AT_ONCE) --dist worksteal --cov --cov-report= $(ARGS)
	@$(BIN)/python -m coverage report --fail-under=80 --format=total | sed 's/^/coverage with branches, per cent: /'

chaos: .venv/.ready  ## kill the forwarder thousands of times while a camera writes (KILLS=4000)
	@$(BIN)/python -m tests.support.provision --for test
	ARRIERO_CHAOS_KILLS=$(or $(KILLS),4000) $(PYTEST) -n 2 -q tests/chaos tests/integration/test_forwarder_crashes.py $(ARGS)

check: .venv/.ready lint types contract unit  ## lint, types, import contract, unit tests

lint: .venv/.ready
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .

types: .venv/.ready
	@$(BIN)/mypy --no-error-summary

contract: .venv/.ready
	@$(BIN)/lint-imports --no-cache > .venv/import-contract.log 2>&1 || { cat .venv/import-contract.log; exit 1; }

unit: .venv/.ready
	@ARRIERO_ALLOW_MISSING_SERVERS=1 $(PYTEST) -q -n $(AT_ONCE) --dist worksteal tests/unit $(ARGS)

format: .venv/.ready  ## let ruff lay out the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

bench: .venv/.ready  ## every benchmark in its quick form, figures on the terminal
	@$(BIN)/python -m benchmarks.kit.peers
	@for script in benchmarks/*.py; do name=benchmarks.$$(basename $$script .py); \
	    quick=$$($(BIN)/python -m $$name --help | grep -o -m1 -e '--quick' | head -1); \
	    echo; $(BIN)/python -m $$name $$quick || [ $$? = 77 ] || exit 1; done  # 77: not measurable here

docs: .venv/.ready  ## the documentation as HTML in docs/_build/html
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

schemas: .venv/.ready  ## write the generated files of config/ again
	@$(BIN)/python -m daemons.cli.generate

lock: .venv/.ready  ## resolve the dependencies anew
	@$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
	    --generate-hashes --no-annotate --no-header pyproject.toml --output-file requirements.lock

provision: .venv/.ready  ## install the real servers that the tests start
	@$(BIN)/python -m tests.support.provision --for test

clean:
	rm -rf .venv .tools build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
