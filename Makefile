# Everything runs in .venv/, which the first target that needs it makes. Needed beforehand: Python 3.11 to 3.14, make
# and a C++ compiler; .ci/check-tools says what is missing and how to get it.

PORT ?= 8501
# Who may reach the app: this machine alone, or all that can reach it (0.0.0.0).
HOST ?= localhost
# The Python that .venv/ is made with; empty: the newest that fits of python3.14 ... python3.11, python3.
PYTHON ?=
# What the benchmark is asked for, such as BENCH="--only corpus --whole"; empty: every part.
BENCH ?=

BIN := .venv/bin
# Written only after an install has ended well: an interrupted one starts again, a finished one is not repeated.
RUNTIME := .venv/.installed-runtime
DEV := .venv/.installed-dev
# The stamps say nothing of a .venv/ whose Python was removed or upgraded away since: then both are made again.
GONE := $(if $(shell $(BIN)/python -V 2>/dev/null),,gone)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help app test test-all bench lint format clean gone

# Two processes of one thread each: more threads than cores make every test slower.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# $(call step,NAME,COMMAND): run COMMAND under the heading NAME; where it fails, say which it was.
step = @echo "== $(1)"; $(2) || { echo "make $@ stopped at: $(1)" >&2; exit 1; }

define lint_steps
$(call step,ruff check,$(BIN)/python -m ruff check .)
$(call step,ruff format --check,$(BIN)/python -m ruff format --check .)
$(call step,mypy,$(BIN)/python -m mypy)
$(call step,lint-imports,$(BIN)/lint-imports)
endef

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  Settings: PORT=$(PORT)  HOST=$(HOST)  PYTHON=$(if $(PYTHON),$(PYTHON),(found by itself))"

app: $(RUNTIME) ## start Cocite Atlas at http://localhost:8501 (another port: PORT=8600)
	$(BIN)/python -m streamlit run app.py --server.port $(PORT) --server.address $(HOST)

test: $(DEV) ## check style, types and imports, then run every test
	$(lint_steps)
	$(call step,pytest,$(PYTEST))

test-all: $(DEV) ## the same with the full-size tests, which take many minutes
	$(lint_steps)
	$(call step,pytest,$(PYTEST) -m "" --timeout 1800)

lint: $(DEV) ## check style, types and imports only
	$(lint_steps)

format: $(DEV) ## rewrite the sources in the project's style
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# By path: a package that we depend on leaves a top-level `tests` in site-packages, which `-m tests.benchmarks` could find.
bench: $(DEV) ## measure speed, memory and recall on this machine
	PYTHONPATH=. $(BIN)/python tests/benchmarks $(BENCH)

clean: ## remove .venv/ and caches (atlases that you built stay)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find app.py components corpus tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.txt pyproject.toml $(GONE)
	@PYTHON='$(PYTHON)' .ci/install requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --editable .  # the command cocite
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@.ci/install requirements-dev.txt
	@touch $@
