# Two commands: `make up` brings a service up on a local cluster, `make test` proves it. Both do all the set-up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Packages of somewhere else must not be taken for installed here.
unexport PYTHONPATH

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Tests print what they do as they do it.
PYTEST := $(RUN) -m pytest
PATHS := app bench grafana k8s tests charts

.PHONY: help up down doctor load dashboards images image test lint unit chart rules grafana judges e2e bench profile docs format lock clean tools

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# WITHOUT="logs traces" leaves out Loki and its collectors, and Jaeger.
up: $(VENV) ## From a bare machine to a served request over TLS; run it again after a change
	@$(RUN) -m k8s up

down: $(VENV) ## Remove everything that `make up` made, and nothing else
	@$(RUN) -m k8s down

doctor: $(VENV) ## Say what this machine lacks, and the command that mends it
	@$(RUN) -m k8s doctor

load: $(VENV) ## Send a realistic load to the running cluster, so that there is something to see (RATE=50 SECONDS=120)
	@$(RUN) -m k8s load $(if $(RATE),--rate=$(RATE)) $(if $(SECONDS),--seconds=$(SECONDS))

dashboards: $(VENV) ## Say where to look at what the running service does, and open it on a desktop
	@$(RUN) -m k8s dashboards

images: $(VENV) ## Only build what is missing of the cluster's images and tools
	@$(RUN) -m k8s images

test: $(VENV) ## Lint, types, unit and chart tests, then end to end on a cluster of their own
	@$(RUN) -m tests.run

lint: $(VENV) ## Linters, formatter, types
	$(VENV)/bin/ruff check $(PATHS)
	$(VENV)/bin/ruff format --check $(PATHS)
	$(VENV)/bin/mypy
	$(VENV)/bin/yamllint --strict .
	$(RUN) charts/docs.py --check charts/fastapi-service
	$(RUN) -m grafana --check
	@$(RUN) -m app config --reference | diff docs/configuration.md - || { echo "docs/configuration.md is out of date: make docs" >&2; exit 1; }

docs: $(VENV) ## Write what is generated from the code: the table of settings, the dashboards
	$(RUN) -m app config --reference > docs/configuration.md
	$(RUN) -m grafana

unit: $(VENV) ## Unit and integration tests of app and tools
	$(PYTEST) tests/unit --cov --cov-report=term:skip-covered --cov-fail-under=95

chart: $(VENV) tools ## Tests of the chart, by rendering it
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/chart

rules: $(VENV) tools ## Tests of the rules, alerts and runbooks, by promtool and Alertmanager
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/rules

grafana: $(VENV) tools ## Tests of the dashboards: every query of theirs, against a real Prometheus
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/grafana

judges: $(VENV) tools ## What the field's judges say of the chart and the images (build/report/judges.json)
	@$(RUN) -m tests.judges.tools
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/judges

e2e: $(VENV) ## End to end on a cluster that is made and removed; E2E_KEEP=1 leaves it for the next run
	$(PYTEST) tests/e2e

bench: $(VENV) build/bench-venv/.made ## Measure the service beside bare FastAPI and two stacks of libraries (6 minutes)
	@command -v wrk >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -q wrk; } || { \
	  echo "The load generator wrk is missing: sudo apt-get install wrk" >&2; exit 1; }
	@$(RUN) -m bench

profile: build/bench-venv/.made ## Measure what each part of the service costs, in time and memory
	@PYTHONPATH=. build/bench-venv/bin/python -m bench.profile

# Without the development tools: some of them change what the service imports.
build/bench-venv/.made: requirements/bench.txt
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

tools: $(VENV)
	@$(RUN) -m k8s tools

format: $(VENV) ## Let ruff mend what it can
	$(VENV)/bin/ruff check --fix $(PATHS)
	$(VENV)/bin/ruff format $(PATHS)

lock: $(VENV) ## Resolve the dependencies anew, with hashes
	for name in app dev bench; do \
	  extra=$$([ $$name = app ] || echo "--extra $$name"); \
	  $(VENV)/bin/uv pip compile --quiet pyproject.toml $$extra --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --custom-compile-command "make lock" --output-file requirements/$$name.txt; \
	done
	$(VENV)/bin/uv pip compile --quiet --group judges --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --custom-compile-command "make lock" --output-file requirements/judges.txt

clean: ## Remove what was made in the checkout, but not the cluster (`make down` does) and not the cache
	rm -rf build/log build/report .pytest_cache .mypy_cache .ruff_cache .coverage

# Made anew when the lock changes. A half-made one is not taken for a whole one: the last step makes the mark.
$(VENV): $(VENV)/.made
$(VENV)/.made: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1): set PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; \
	  else echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; fi; }
	@echo "Installing the locked dependencies in $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@touch $@
