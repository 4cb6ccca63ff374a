# One set-up serves every target: a virtual environment with the locked dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests of one file share servers and stay in one process.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
UV := $(shell command -v uv 2>/dev/null)

.PHONY: docs screenshots run test lint check audit soak bench lock setup up clean

run: $(READY)  ## Retrain: candles of the default exchange, or the synthetic sample, to report
	@$(BIN)/btc retrain --source auto

test: $(READY)  ## Run every test
	$(PYTEST)

lint: $(READY)  ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint  ## Format, lint, types, fast tests
	$(PYTEST) -m "not server and not slow and not soak"

audit: $(READY)  ## Known holes in what is installed, and in this code
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive flows models tasks 2>/dev/null
	$(BIN)/python -m tests.audit

soak: $(READY)  ## The long tests: minutes each
	$(PYTEST) -m soak

bench: $(READY)  ## Measure speed and memory; DATA=path/to/BTC-USD.csv for real prices
	$(BIN)/python -m bench $(if $(DATA),--data $(DATA))

up: $(READY)  ## Servers, deployments and a worker, in the foreground; SOURCE=csv:PATH
	@$(BIN)/btc up $(if $(SOURCE),--source $(SOURCE))

screenshots: $(READY)  ## The pictures of README and docs, of the state in BTC_HOME; SOURCE=csv:PATH
	SOURCE="$(SOURCE)" $(BIN)/python docs/screenshots.py

docs: $(READY)  ## The documents as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

setup: $(READY)

# The lock is whole, so that nothing is left to resolve (--no-deps).
# Everything is compiled here: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every
# command would compile it anew, for seven seconds; pip compiles by itself.
# Stamped last, so that an interrupted set-up is done again; a finished one costs nothing.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "btc-daily needs Python 3.11, 3.12 or 3.13; this is %d.%d. Name one: make PYTHON=python3.12" % v[:2])'
	@echo "Setting up $(VENV) (once)"
ifneq ($(UV),)
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@$(BIN)/python -m compileall -q flows tasks models
	@touch $@

lock:  ## Pin every dependency anew, with hashes, for all platforms
	@test -x $(BIN)/uv || test -n "$(UV)" || $(BIN)/python -m pip install --quiet uv
	@$(if $(UV),$(UV),$(BIN)/uv) pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --extra dev --no-annotate --no-header \
		pyproject.toml --output-file requirements.lock
	@$(if $(UV),$(UV),$(BIN)/uv) pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --extra image --no-annotate --no-header --constraints requirements.lock \
		pyproject.toml --output-file deploy/requirements.lock

clean:  ## Remove the environment and the caches, not the state in .btc
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
