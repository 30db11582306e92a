# make demo   the whole chain on made data: make, train, segment, compare, look  (VIEW=0 stops before the viewer)
# make test   everything that CI checks: format, lint, types, import contracts, tests
# Both make their own virtual environment first. PYTHON names the interpreter, 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VIEW ?= 1
DEMO ?= demo
MINUTES ?= 6

.PHONY: demo test check tests browser bench clean

demo: $(VENV)/.installed
	$(BIN)/medseg demo $(DEMO) --minutes $(MINUTES) $(if $(filter 0,$(VIEW)),--no-view,--view)

test: check tests

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/.installed-dev browser
	$(BIN)/pytest

# Chromium for the tests of the viewer; without it, or without the right to install it, they are skipped and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	  || echo "chromium is not installed: the browser tests will be skipped"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "medseg needs Python 3.11 or newer; $$($(PYTHON) --version) found. Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[viewer]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[viewer,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
