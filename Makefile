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
PATHS := app kit bench delivery dev grafana k8s offline requirements tests toolkit charts

.PHONY: help up down doctor load dashboards images image test quick lint unit chart rules grafana judges e2e nightly faults bench bench-serve bench-tasks overload proof profile docs format lock clean tools dev supply sbom scan licences deploy diff rollback deploy-tests attack workflows sign verify pin version release-notes package outputs summary rehearsal new new-tests contract

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# WITHOUT="logs traces" leaves out VictoriaLogs and its collectors, and Jaeger.
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

quick: $(VENV) tools ## Before each commit: linters, types, and every test that takes less than a moment (a minute and a half)
	@$(RUN) -m tests.rules.programs
	@$(RUN) -m delivery tools actionlint
	@$(RUN) -m tests.quick

lint: $(VENV) ## Linters, formatter, types, what may import what
	$(VENV)/bin/ruff check $(PATHS)
	$(VENV)/bin/ruff format --check $(PATHS)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo --cache-dir=build/import-linter
	$(VENV)/bin/yamllint --strict .
	$(RUN) -m charts --check charts/fastapi-service
	$(RUN) charts/other_charts.py --check charts/fastapi-service docs/values-of-other-charts.md
	$(RUN) -m grafana --check
	@$(RUN) -m app config --reference | diff docs/configuration.md - || { echo "docs/configuration.md is out of date: make docs" >&2; exit 1; }
	@$(RUN) -m app metrics | diff docs/metrics.md - || { echo "docs/metrics.md is out of date: make docs" >&2; exit 1; }
	@$(RUN) -m app values | diff -q k8s/environments/domains.yaml - || { echo "k8s/environments/domains.yaml is out of date: make docs" >&2; exit 1; }

docs: $(VENV) ## Write what is generated: tables of settings, metrics, values and alerts, the chart's alerts, dashboards, the domains' values
	$(RUN) -m app config --reference > docs/configuration.md
	$(RUN) -m app metrics > docs/metrics.md
	$(RUN) -m charts charts/fastapi-service
	$(RUN) charts/other_charts.py charts/fastapi-service docs/values-of-other-charts.md
	$(RUN) -m grafana
	$(RUN) -m app values > k8s/environments/domains.yaml

unit: $(VENV) tools ## Unit and integration tests of the kit, the app and the tools
	$(PYTEST) -p tests.support.coverage tests/kit tests/app
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/tools tests/harness

chart: $(VENV) tools ## Tests of the chart, by rendering it
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/chart

supply: $(VENV) ## Tests of what judges an image (SBOM, weaknesses, licences), of `make dev` and of the editor's files
	$(PYTEST) tests/supply tests/dev

rules: $(VENV) tools ## Tests of the rules, alerts and runbooks, by promtool and Alertmanager
	@$(RUN) -m tests.rules.programs
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/rules

grafana: $(VENV) tools ## Tests of the dashboards and of others' metrics, against a real Prometheus
	@$(RUN) -m tests.rules.programs
	@$(RUN) -m tests.libraries.environment
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/grafana tests/libraries

judges: $(VENV) tools ## What the field's judges say of the chart, the images, the code and its history (build/report/judges.json)
	@$(RUN) -m tests.judges.tools
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/judges

# URL=https://links.localhost:8443 is the local cluster's ingress, http://links.localhost:PORT a port that is forwarded
# to a pod. CA=, KEY=, ISSUER= and AUDIENCE= where they are not the local cluster's.
attack: $(VENV) ## What a stranger may try at the service, and what of it gets through ([URL=] of one that runs here)
	@$(if $(value URL),$(RUN) -m tests.attack,$(PYTEST) tests/attack)

# UNTIL=up goes on to a served request, which compiles for half an hour: venv, doctor, image or up.
rehearsal: $(VENV) ## What a newcomer sees: a clean clone on a fresh Debian 12 in a container, with nothing cached ([UNTIL=up])
	@$(RUN) -m tests.rehearsal

# What is given here reaches the program by its environment, and no shell reads it: ENV, IMAGE, DRY_RUN, BAKE, WAIT.
deploy: $(VENV) ## Bring an image to an environment, watch it, take it back if it is not good (ENV= IMAGE=…@sha256:…)
	@$(RUN) -m delivery deploy

diff: $(VENV) ## Say what that would change, and what was changed by hand (ENV= IMAGE=…@sha256:…)
	@$(RUN) -m delivery diff

rollback: $(VENV) ## Go back to the last good revision, or to another one (ENV= [REVISION=])
	@$(RUN) -m delivery rollback

deploy-tests: $(VENV) tools ## Tests of the deploy, without a cluster
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/deploy

e2e: $(VENV) ## End to end on a cluster that is made and removed; E2E_KEEP=1 leaves it for the next run
	@$(RUN) -m delivery tools
	$(PYTEST) --numprocesses=2 -m "not nightly" tests/e2e

nightly: $(VENV) ## The same with what takes too long for every change: canaries, overload, recovery, others' images (1 to 2 h)
	@$(RUN) -m delivery tools
	$(PYTEST) --numprocesses=2 tests/e2e

# IMAGE=REPOSITORY@DIGEST VALUES=FILE [ASKED=/path] does to an image of yours, on this chart, what operations do.
faults: $(VENV) ## What goes wrong, each RUNS=3 times under load, and what it costs (build/report/faults.json; 1 h a run; SOAK_SECONDS=3600 soaks on)
	@$(RUN) -m delivery tools
	RUNS="$${RUNS:-3}" RATE="$${RATE:-150}" $(PYTEST) tests/e2e/faults$(if $(value IMAGE),/test_any_image.py)

workflows: $(VENV) ## What actionlint and zizmor say of the pipelines, and whether they and the locks are covered
	@$(RUN) -m delivery tools actionlint
	$(PYTEST) tests/workflows

# Without KEY by the identity of the job that runs it, as releases are; the key's password is in COSIGN_PASSWORD.
sign: $(VENV) ## Sign an image or a chart (IMAGE=repository@sha256:... [KEY=cosign.key] [SBOM=file])
	@$(RUN) -m delivery sign

verify: $(VENV) ## Refuse what is not signed as it must be (IMAGE= KEY=cosign.pub, or IMAGE= IDENTITY= ISSUER=)
	@$(RUN) -m delivery verify

pin: $(VENV) ## Write an image into what Argo CD and Flux read, to be committed (IMAGE=repository@sha256:...)
	@$(RUN) -m delivery pin

version: $(VENV) ## The one version of app, chart, image and changelog, if they agree (TAG=v1.2.3: and if it is that)
	@$(RUN) -m delivery version

release-notes: $(VENV) ## What the changelog says of a version (TAG=v1.2.3)
	@$(RUN) -m delivery release-notes

package: $(VENV) tools ## Package the chart in build/charts ([CHART_REGISTRY=oci://...] pushes it)
	@$(RUN) -m delivery package

outputs: $(VENV) ## What `make image` and `make package` have pushed, one name=value a line
	@$(RUN) -m delivery outputs

summary: $(VENV) ## What the reports in build/report say, as Markdown
	@$(RUN) -m delivery summary

dev: $(VENV) ## The service with reload, on a real PostgreSQL and Valkey of its own; no cluster, no Docker
	@$(RUN) -m dev

# ANSWERS="database=none tokens=no" answers the questions of copier.yml, each of which has a default.
new: $(VENV) ## Make a service of your own from what is committed here (NAME=bookings [DIR=../bookings] [ANSWERS=])
	@$(RUN) -m keel.new new "$${NAME:-}" $(if $(value DIR),"$$DIR") --template . --ref HEAD $(addprefix --answer ,$(ANSWERS))

# ARGUMENTS="--env NAME=VALUE --away DATABASE_URL=... --values FILE --junit FILE" says more: `python -m keel.contract --help`.
contract: $(VENV) ## Try an image against the chart's contract, with Docker alone (IMAGE= [ARGUMENTS=])
	@$(RUN) -m keel.contract "$${IMAGE:?name an image, as IMAGE=registry.example.com/app:1}" $(ARGUMENTS)

new-tests: $(VENV) tools ## Tests of `make new`: a service of its own, its checks, its first request, and later versions in it
	PATH="$(CURDIR)/build/bin:$$PATH" $(PYTEST) tests/new

image: $(VENV) ## Build the service's image, the same digest for the same commit, and push it ([REPOSITORY= TAG= PLATFORMS= NO_CACHE=1])
	@$(RUN) -m delivery image

sbom: $(VENV) ## List what an image is made of, as CycloneDX and SPDX (IMAGE=repository@sha256:..., or a file)
	@$(RUN) -m delivery sbom

scan: $(VENV) ## Fail on known weaknesses of an image that an upgrade would mend (IMAGE= [PARTIAL=1])
	@$(RUN) -m delivery scan

licences: $(VENV) ## Fail on a licence in an image that is not on the list (IMAGE=)
	@$(RUN) -m delivery licences

bench: $(VENV) build/bench-venv/.made ## Measure the service beside bare FastAPI and two stacks of libraries (6 minutes)
	@command -v wrk >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -q wrk; } || { \
	  echo "The load generator wrk is missing: sudo apt-get install wrk" >&2; exit 1; }
	@$(RUN) -m bench

bench-serve: $(VENV) build/bench-venv/.made ## Measure an application under keel.serve beside the same one under plain uvicorn (2 minutes)
	@$(RUN) -m bench.serve

bench-tasks: build/bench-venv/.made ## Measure the queue of tasks beside procrastinate, on PostgreSQL (1 minute)
	@PYTHONPATH=. build/bench-venv/bin/python -m bench.queues

overload: $(VENV) ## Raise the load on the running cluster past its limit, and say what is answered, refused and lost (15 minutes)
	@$(RUN) -m bench.overload

proof: $(VENV) ## Write the tables and the picture of docs/proof.md from the reports of the last runs
	@$(RUN) -m tests.proof

profile: build/bench-venv/.made ## Measure what each part of the service costs, in time and memory
	@PYTHONPATH=. build/bench-venv/bin/python -m bench.profile

# Without the development tools: some of them change what the service imports.
build/bench-venv/.made: requirements/bench.txt | $(VENV)
	@$(PYTHON) -m venv --clear $(@D)
	@$(PYTHON) -m requirements.install $< $(@D)
	@for site in build/bench-venv/lib/python3.*/site-packages; do echo ../../../../../kit > $$site/keel.pth; done
	@touch $@

tools: $(VENV)
	@$(RUN) -m k8s tools

format: $(VENV) ## Let ruff mend what it can
	$(VENV)/bin/ruff check --fix $(PATHS)
	$(VENV)/bin/ruff format $(PATHS)

lock: $(VENV) ## Resolve the dependencies anew, with hashes
	for name in app dev bench libraries; do \
	  case $$name in app | bench) own="--extra websockets" ;; *) own= ;; esac; \
	  [ $$name = app ] || own="$$own pyproject.toml --extra $$name"; \
	  $(VENV)/bin/uv pip compile --quiet kit/pyproject.toml $$own --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --custom-compile-command "make lock" --output-file requirements/$$name.txt; \
	done
	$(VENV)/bin/uv pip compile --quiet kit/pyproject.toml --extra dev --extra new --extra websockets --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --custom-compile-command "make lock" --output-file requirements/service.txt
	for name in judges shapes; do \
	  $(VENV)/bin/uv pip compile --quiet --group $$name --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --custom-compile-command "make lock" --output-file requirements/$$name.txt; \
	done

clean: ## Remove what was made in the checkout, but not the cluster (`make down` does) and not the cache
	rm -rf build/log build/report .pytest_cache .mypy_cache .ruff_cache

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
	@$(PYTHON) -m requirements.install $< $(VENV)
	@for site in $(VENV)/lib/python3.*/site-packages; do echo ../../../../kit > $$site/keel.pth; done # the kit, from here
	@touch $@
