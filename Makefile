# make demo    draw a pose on a free photograph, as a first look
# make test    all tests
# make lint    ruff, formatting, mypy
# make clean   remove the environment and everything made here
#
# Each uses its own environment in .venv, made on first use. Another Python: make test PYTHON=python3.13

PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What a shell may have set must not decide what is imported here.
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS VIRTUAL_ENV __PYVENV_LAUNCHER__
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV

SHELL := /bin/sh
PY := .venv/bin/python
INSTALL := $(PY) -m pip install --quiet --constraint constraints.txt --editable
SETUP := pyproject.toml constraints.txt

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/.ready-demo
	$(PY) examples/demo.py

test: .venv/.ready-dev
	$(PY) -m pytest -q

lint: .venv/.ready-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: .venv/.ready-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo "no '$(PYTHON)' here: install Python 3.11 or newer, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "'$(PYTHON)' is too old ($$("$(PYTHON)" --version 2>&1)): sadinet needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	@touch $@

.venv/.ready-run: .venv/.made $(SETUP)
	$(INSTALL) .
	@touch $@

.venv/.ready-demo: .venv/.made $(SETUP)
	$(INSTALL) ".[demo]"
	@touch $@

.venv/.ready-dev: .venv/.made $(SETUP)
	$(INSTALL) ".[dev]"
	@touch $@
