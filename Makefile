# `make help` says what there is. PYTHON=python3.12 chooses the interpreter of a fresh .venv.

.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
WORKERS ?= $(if $(ARGS),0,2)
SEEDS ?= 2000
FIRST ?= 1000000
IMAGES ?= 2000
SEED ?= 1
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: help testnet test check scenarios work sim soak mutants twins faults city monitoring alerts-test dashboards-test compose-test k8s-test powerloss format lock clean prerequisites

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

testnet: prerequisites .venv/.runtime  ## start a ledger on real data; ARGS="--duration 30 --json"
	@$(BIN)/p2pledger testnet up $(ARGS)

test: prerequisites .venv/.development  ## all tests, two at a time; ARGS="tests/unit -k codec"; WORKERS=3
	$(BIN)/pytest -n $(WORKERS) --max-worker-restart 0 $(ARGS)

check: prerequisites .venv/.development  ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_architecture.py

scenarios: prerequisites .venv/.development  ## write the stories' outputs anew
	$(BIN)/pytest tests/scenarios --rewrite

work: prerequisites .venv/.development  ## count the calls per transaction anew, after a change that was meant
	$(BIN)/pytest tests/benchmarks --rewrite

sim: prerequisites .venv/.development  ## whole ledgers under a simulated network: SEEDS=2000
	$(BIN)/p2pledger simulate --seeds $(SEEDS)
	$(BIN)/p2pledger simulate --seeds 50 --first 100000 --real-signatures

soak: prerequisites .venv/.development  ## simulate without end, from a seed of your own: FIRST=1000000
	$(BIN)/p2pledger simulate --soak --first $(FIRST)

mutants: prerequisites .venv/.development  ## break each rule in turn: the simulator has to notice
	$(BIN)/python -m tests.mutants.campaign $(ARGS)

twins: prerequisites .venv/.development  ## one authority runs twice, all ways to part the five; ARGS="--views 3"
	$(BIN)/python -m tests.twins $(or $(ARGS),--views 4 --twinned 1)
	$(if $(ARGS),,$(BIN)/python -m tests.twins --views 6,8)

faults: prerequisites .venv/.development  ## real processes under each fault, with load
	$(BIN)/pytest -m campaign -s tests/faults $(ARGS)

city: prerequisites .venv/.development  ## a day of eight organisations, and what each can see of it
	$(BIN)/pytest -m campaign -s tests/city $(ARGS)

monitoring: prerequisites .venv/.runtime  ## write deploy/monitoring anew: dashboards and rules
	$(BIN)/p2pledger monitoring render deploy/monitoring

dashboards-test: prerequisites .venv/.development  ## dashboards against Grafana's schema and a real Prometheus
	$(BIN)/pytest -m campaign -s tests/dashboards $(ARGS)

alerts-test: prerequisites .venv/.development  ## the rules' cases; alerts fire for real, each by its fault, in a real Prometheus
	$(BIN)/pytest -m campaign -s tests/monitoring tests/alerts $(ARGS)

compose-test: prerequisites .venv/.development  ## image and compose testnet on a container engine, and its faults
	$(BIN)/pytest -m campaign -s -ra tests/compose $(ARGS)

k8s-test: prerequisites .venv/.k8s  ## manifests against schemas, rules and checkov; what their pods run, as root
	$(BIN)/pytest -m campaign -s -ra tests/k8s $(ARGS)

powerloss: prerequisites .venv/.development  ## cut the power on real files; IMAGES=2000 SEED=1
	POWERLOSS_IMAGES=$(IMAGES) POWERLOSS_SEED=$(SEED) $(BIN)/pytest tests/powerloss -s

format: .venv/.development  ## bring the source into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/.development  ## constraints.txt anew; PYTHONS="python3.11 python3.12 python3.13"
	$(BIN)/python scripts/lock.py $(PYTHONS)

clean:  ## remove what was installed and built here
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -exec rm -rf {} +

prerequisites:
	@sh scripts/prerequisites >/dev/null

# A stamp is written when its step has succeeded: an interrupted installation starts over. Our modules are compiled
# as pip compiles all others: a node starts a fifth faster, also where Python is told to write no bytecode.
COMPILE := $(BIN)/python -m compileall -q p2pledger

.venv/.created:
	$$(sh scripts/prerequisites) -m venv --clear .venv
	@touch $@

.venv/.runtime: .venv/.created pyproject.toml constraints.txt
	@echo 'Installing p2pledger into .venv ...'
	$(INSTALL) -e .
	@$(COMPILE)
	@touch $@

.venv/.development: .venv/.created pyproject.toml constraints.txt
	@echo 'Installing p2pledger and what its tests need into .venv ...'
	$(INSTALL) -e '.[dev]'
	@$(COMPILE)
	@touch $@ .venv/.runtime

.venv/.k8s: .venv/.development scripts/k8s_tools.py tests/k8s/requirements.txt tests/k8s/package-lock.json
	@echo 'Installing kubectl and what checks manifests into .venv/k8s ...'
	$(BIN)/python scripts/k8s_tools.py .venv/k8s
	@touch $@
