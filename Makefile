# One command each: set up, run, test, lint, measure. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif
BIN := .venv/bin
STAMP := .venv/.ready
WAN_BIN := .venv-wan/bin
WAN_STAMP := .venv-wan/.ready
TORCH ?= torch==2.13.0
BENCH ?= api morph
# Most tests that take long wait for somebody; a file stays with one process, since its tests share servers.
PARALLEL ?= --numprocesses auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-wan sdk-envs lint format bench lock clean

help: ## list these commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

# PyTorch comes first and by name: what the others would bring along is whatever build is newest, with gigabytes.
$(WAN_STAMP): requirements/wan.lock pyproject.toml
	$(PYTHON) -m venv .venv-wan
	$(WAN_BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(WAN_BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/wan.lock
	$(WAN_BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(WAN_STAMP)

setup: $(STAMP) ## create .venv with everything in it

demo: $(STAMP) ## a real video through the API from the bundled pair
	@$(BIN)/python examples/demo.py

serve: $(STAMP) ## run the service on 127.0.0.1:8000
	@$(BIN)/kf2v serve

test: $(STAMP) ## all tests
	@$(BIN)/python -m pytest $(PARALLEL)

test-wan: $(STAMP) $(WAN_STAMP) ## types and tests of the wan engine, with PyTorch in an environment of its own
	$(BIN)/basedpyright --project requirements/wan.pyright.json --pythonpath $(WAN_BIN)/python
	@$(WAN_BIN)/python -m pytest tests/wan tests/gpu

sdk-envs: $(STAMP) ## the official SDKs that tests/sdk drives, one environment per version
	@$(BIN)/python tests/sdk/environments.py

lint: $(STAMP) ## style, import contracts, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

format: $(STAMP) ## let ruff lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) $(if $(filter wan,$(BENCH)),$(WAN_STAMP)) ## measure, each with its own baseline; BENCH=api, morph or wan (needs a GPU) for one
	@for bench in $(BENCH); do $$([ $$bench = wan ] && echo $(WAN_BIN) || echo $(BIN))/python -m bench.$$bench || exit 1; done

LOCKED := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: ## renew requirements/*.lock (needs uv)
	$(LOCKED) pyproject.toml -o requirements/runtime.lock
	$(LOCKED) pyproject.toml requirements/dev.in -o requirements/dev.lock
	$(LOCKED) --extra wan --override <(echo 'torch==2.13.0 ; sys_platform == "never"') --no-emit-package torch pyproject.toml requirements/wan.in -o requirements/wan.lock
	for version in 2.0.2 1.25.8 1.23.8; do echo "dashscope==$$version" | $(LOCKED) - -o requirements/sdk-$$version.lock || exit 1; done

clean: ## forget everything that was built
	rm -rf .venv .venv-wan .venvs .demo build dist .pytest_cache .ruff_cache .hypothesis
