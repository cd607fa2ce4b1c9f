# Two commands do everything: `make run` and `make test`. Needed beforehand: Python 3.11 or newer, and make.

PYTHON ?= python3
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEMO_READY := $(VENV)/.demo-ready
DEV_READY := $(VENV)/.dev-ready
FRONTEND_READY := $(VENV)/.frontend-ready
FRONTEND_DEV_READY := $(VENV)/.frontend-dev-ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Linters of the API document, which look for no updates and send no telemetry.
API_DOCUMENT := $(VENV)/openapi.json
API_LINT := PATH="$(CURDIR)/$(BIN):$$PATH" REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true node_modules/.bin
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm --loglevel=error

# Even where the environment says otherwise: a test run starts hundreds of processes, which would compile each module.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run demo test lint bench screenshots setup format clean

run: $(RUN_READY) $(FRONTEND_READY)
	@exec $(BIN)/countersign serve

demo: $(DEMO_READY) $(FRONTEND_READY)
	@exec $(BIN)/python -m examples.demo

test: setup
	@sh tests/browser/ensure_chromium.sh $(BIN)
	@sh tests/ensure_pgbouncer.sh
	$(NPM) test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.web.openapi > $(API_DOCUMENT)
	$(API_LINT)/redocly lint --max-problems=20 $(API_DOCUMENT)
	$(API_LINT)/spectral lint --fail-severity=warn $(API_DOCUMENT)

bench: setup
	@sh tests/browser/ensure_chromium.sh $(BIN)
	$(BIN)/python -m bench.orders
	$(BIN)/python -m bench.streams
	$(BIN)/python -m bench.page
	$(BIN)/python -m bench.growth

screenshots: setup
	@sh tests/browser/ensure_chromium.sh $(BIN)
	$(BIN)/python -m tests.browser.screenshots

setup: $(DEV_READY) $(FRONTEND_DEV_READY)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) node_modules app/static/vendor

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "Setting up (this takes about a minute, once) ..."
	$(PYTHON) -m venv $(VENV)

# What serving needs; quick, so that a first `make run` answers soon.
$(RUN_READY): requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What the demo needs on top of it: the package that real prices come with.
$(DEMO_READY): requirements-demo.lock $(RUN_READY)
	$(PIP) --require-hashes -r requirements-demo.lock
	@touch $@

# And what testing needs.
$(DEV_READY): requirements-dev.lock $(RUN_READY)
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# The front-end packages, by the Node.js that comes with pip. They are never committed.
$(FRONTEND_READY): package-lock.json hatch_build.py | $(RUN_READY)
	$(NPM) ci --omit=dev --ignore-scripts
	$(BIN)/python hatch_build.py .
	@touch $@

# And those that test them, which are many.
$(FRONTEND_DEV_READY): $(FRONTEND_READY)
	$(NPM) ci --ignore-scripts
	@touch $@
