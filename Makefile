# The few things people do here; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check lint types bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(STAMP) ## run the main job on the embedded data set and print its table (about two minutes on 2 cores)
	@$(BIN)/avq-bench run ablation_levels

test: $(STAMP) ## run the tests, but for the slow ones
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not cluster and not exhaustive"

test-slow: $(STAMP) ## run the slow tests: what the README promises
	@$(BIN)/python -m pytest -n auto --maxschedchunk 1 -m slow

check: $(STAMP) ## train the smoke ablation afresh and compare it with results/cpu (about 3 minutes on 2 cores)
	@store=$$(mktemp -d) && trap 'rm -rf "$$store"' EXIT && \
	$(BIN)/avq-bench run ablation_levels --seeds 3 --set steps=300 --fresh --output "$$store" && \
	$(BIN)/avq-bench check "$$store" --baseline results/cpu/ablation_levels-smoke-synthetic-faces.csv --allow timing

lint: $(STAMP) ## check style and formatting
	@$(BIN)/ruff check .

types: $(STAMP) ## check types
	@$(BIN)/mypy

bench: $(STAMP) ## run the benchmarks beside their peers; write results/cpu/benchmarks.csv and the README's table
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@$(BIN)/python -m pytest benchmarks --benchmark-only --save-table

clean: ## remove the environment and what tools leave behind (never the runs in avq-runs)
	rm -rf $(VENV) .tox build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made afresh when what is to be installed changes; the stamp is the last step, so a half-made one does not count.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("avq-bench needs Python 3.11 or later; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Making $(VENV): the pinned dependencies, PyTorch among them, take a minute or more ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
