# up: the default stack in the foreground · test: all checks and tests · check: the checks alone · docs: docs/reference anew
# test-long: a million inputs for the parsers, 10,000 idle connections, 50,000 random lives of a cache, all of testssl.sh,
#   a cache of 256 MB
# test-compose: the containers of docker-compose.yml
# bench: cost and latency beside peers
PYTHON ?= python3
BIN := .venv/bin
# the sources of an editable installation, which pip does not compile
COMPILE = $(BIN)/python -m compileall -q stack dns_server cdn_edge loadbalancer proxy appserver

.PHONY: up test check test-only test-long test-compose docs bench clean

up: .venv/run
	@$(BIN)/hopstack up

test: check test-only

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-only: .venv/dev
	$(BIN)/python -m pytest

test-long: .venv/dev .venv/sslyze
	$(BIN)/python -m tests.fuzz --inputs 1000000
	HOPSTACK_IDLE=long $(BIN)/python -m pytest tests/path/test_idle_connections.py
	CACHE_MODEL_EXAMPLES=50000 $(BIN)/python -m pytest --timeout 3600 tests/conformance/test_cache_model.py
	HOPSTACK_LONG=1 $(BIN)/python -m pytest tests/path/test_tls_profile.py tests/cdn_edge/test_memory.py tests/path/test_edge_memory.py

# apart from the others: it wants an older cryptography
.venv/sslyze: .venv/bin/python
	@$(PYTHON) -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check sslyze==6.3.1

test-compose: .venv/dev
	$(BIN)/python -m pytest tests/compose

docs: .venv/dev
	$(BIN)/python -m stack.cli.pages

bench: .venv/bench
	$(BIN)/python -m tests.bench $(BENCH)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hopstack needs Python 3.11 or newer; name it with: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "Python's venv is missing; on Debian: apt-get install python3-venv"; rm -rf .venv; exit 1; }

.venv/run: .venv/bin/python pyproject.toml requirements.lock
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	@$(COMPILE)
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml requirements.lock
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@$(COMPILE)
	@touch $@ .venv/run

.venv/bench: .venv/dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev,bench]'
	@touch $@

clean:
	rm -rf .venv .hopstack dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
