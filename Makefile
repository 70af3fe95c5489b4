# The front door. `make help` lists what it opens.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

python ?= python3
torch ?= torch==2.13.0
conf ?= quickstart
args ?=
venv := .venv
bin := $(venv)/bin
ready := $(venv)/.ready
official := .venv-vlmeval

.PHONY: help setup experiment sweep plan compare evolve train eval test test-engines test-slow lint types check bench standins vlmeval-env peers-env clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo "  conf=NAME chooses conf/experiment/NAME.yaml (default quickstart); args=\"key=value ...\" overrides it"

setup: $(ready) ## build .venv from pinned versions (once; set torch=... for another wheel)

$(ready): pyproject.toml constraints.txt
	test -x $(bin)/python || $(python) -m venv $(venv)
	$(bin)/pip install --quiet --upgrade pip
	$(bin)/pip install --quiet -c constraints.txt "$(torch)"
	$(bin)/pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $(ready)

experiment: $(ready) ## run an experiment, or go on with it: conf=NAME args="k=v ..."
	@$(bin)/mmevol run experiment=$(conf) $(args)

sweep: $(ready) ## run every point of conf/sweep/SWEEP.yaml: conf=NAME sweep=SWEEP
	@$(bin)/mmevol run -m experiment=$(conf) sweep=$(or $(sweep),seeds) $(args)

plan: $(ready) ## what would run, what is done, what is missing; spends nothing
	@$(bin)/mmevol plan experiment=$(conf) $(args)

compare: $(ready) ## all finished experiments side by side
	@$(bin)/mmevol compare

evolve: $(ready) ## the data engine alone: seed, evolve, mixture
	@$(bin)/mmevol run experiment=$(conf) stages=[dataengine] $(args)

train: $(ready) ## up to the checkpoints
	@$(bin)/mmevol run experiment=$(conf) stages=[train] $(args)

eval: $(ready) ## up to the scores
	@$(bin)/mmevol run experiment=$(conf) stages=[evaluation] $(args)

test: $(ready) ## the fast test suite (under five minutes), in two processes
	@$(bin)/pytest -q -n 2 --dist loadfile $(args)

test-engines: $(ready) ## both backbones through every engine that runs on a CPU, two processes each (minutes)
	@$(bin)/pytest -q -m engine -n 2 --dist loadfile tests/train/test_engines.py tests/train/test_launchers.py $(args)

test-slow: $(ready) ## every test
	@$(bin)/pytest -q -m "slow or not slow" $(args)

lint: $(ready) ## ruff
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .

types: $(ready) ## mypy, strict
	@$(bin)/mypy

check: lint types test ## what must hold before a commit

bench: $(ready) ## performance benchmarks, one after the other
	@for script in benchmarks/*.py; do echo "== $$script"; $(bin)/python $$script; done

standins: $(ready) ## train the tiny stand-ins again (an hour), from every train picture of the tiny world
	@$(bin)/mmevol run experiment=quickstart name=standins stages=[seed] data.shapes=null data.digits=null
	@$(bin)/python -m mmevol_train.standins outputs/standins/seed

vlmeval-env: $(official)/.ready ## the official VLMEvalKit in an environment of its own, .venv-vlmeval

$(official)/.ready: requirements-vlmeval.txt
	@echo "building $(official) from requirements-vlmeval.txt: 2.3 GB, a few minutes"
	@test -x $(official)/bin/python || $(python) -m venv $(official)
	$(official)/bin/pip install --quiet -c requirements-vlmeval.txt "$(torch)"
	$(official)/bin/pip install --quiet --no-deps -r requirements-vlmeval.txt
	@$(official)/bin/python packages/eval/mmevol_eval/backends/inside/driver.py
	@touch $@

peers-env: ## the engines that benchmarks/peers.py sets ours beside, .venv-curator and .venv-distilabel
	@test -x .venv-uv/bin/uv || { $(python) -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv==0.13.8; }
	@for peer in curator distilabel; do \
		test -x .venv-$$peer/bin/python || .venv-uv/bin/uv venv --quiet --python $(python) .venv-$$peer; \
		.venv-uv/bin/uv pip install --system-certs --python .venv-$$peer/bin/python -r benchmarks/peers-$$peer.txt; done

clean: ## delete outputs (asks first)
	@read -r -p "delete outputs/ with all stage runs? [y/N] " answer && [ "$$answer" = y ] && rm -rf outputs || echo "kept"
