# make demo   the whole path on a small simulated sky, with pictures
# make test   the test suite
# make setup  only what both need: a virtual environment in .venv
# make lint   ruff and mypy
#
# A Python 3.12 or 3.13 is looked for in PATH, in pyenv and in the usual
# places; PYTHON=/path/to/python chooses one.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
DEMO ?= demo
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(PYTHON) python3.13 python3.12 python3 python \
  $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.13*/bin/python) \
  $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.12*/bin/python) \
  $(wildcard /usr/bin/python3.1[23] /usr/local/bin/python3.1[23] /opt/*/bin/python3.1[23])
EXTRAS := $(if $(wildcard /proc/driver/nvidia/version),gpu,cpu),test

.PHONY: demo test setup lint clean
.DEFAULT_GOAL := test

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@python=; for p in $(CANDIDATES); do \
	  if "$$p" -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.12 or 3.13 (with venv) was found. Install one, for example by" >&2; \
	  echo "'apt install python3.13 python3.13-venv' or 'pyenv install 3.13', or name one:" >&2; \
	  echo "make PYTHON=/path/to/python3.13" >&2; exit 1; fi; \
	echo "Installing into $(VENV) with $$($$python --version) (some minutes: torch is large)"; \
	[ -x $(BIN)/python ] && $(BIN)/python -c '$(SUITABLE)' 2>/dev/null || \
	  { rm -rf $(VENV); "$$python" -m venv $(VENV); }
	@{ $(PIP) --upgrade pip && $(PIP) --editable '.[$(EXTRAS)]'; } >$(VENV)/install.log 2>&1 || \
	  { tail -n 30 $(VENV)/install.log >&2; echo "Installation failed; all of it is in $(VENV)/install.log" >&2; exit 1; }
	@touch $@

demo: setup
	@rm -rf $(DEMO)
	@$(BIN)/morphology demo $(DEMO)

test: setup
	@$(BIN)/python -m pytest

lint: setup
	@$(BIN)/ruff check python tests config
	@$(BIN)/ruff format --check python tests config
	@$(BIN)/mypy python

clean:
	rm -rf $(VENV) $(DEMO) build dist
