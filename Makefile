# Everything that is run by hand or by CI. `make` alone lists it.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# Settings of `make up`: from the environment, or make up PORT=8081
export PORT ?= 8080
export MAIL_PORT ?= 1025
export SMS_PORT ?= 8090
export AIRFLOW_HOME ?= $(CURDIR)/.airflow

# Of tests, at the same time: they mostly wait. make test WORKERS=0 ARGS=--pdb has none.
WORKERS ?= 4

# The shell's own would lead our interpreter to other packages.
unexport PYTHONPATH
unexport PYTHONHOME

.PHONY: help up demo test chaos fuzz bench lint lock install clean

help:
	@echo 'make up       Start PostgreSQL, a mail catcher, an SMS gateway and Airflow here, send samples; Ctrl-C stops them'
	@echo '              PORT=$(PORT)  MAIL_PORT=$(MAIL_PORT)  SMS_PORT=$(SMS_PORT)  AIRFLOW_HOME=$(AIRFLOW_HOME)'
	@echo 'make demo     Run everything to its end on ports and in a home of its own; compare what arrived'
	@echo 'make test     Run all tests, a real Airflow among them; WORKERS=$(WORKERS) of them at once'
	@echo 'make chaos    Kill senders, PostgreSQL and mail servers at every step, count what it costs; ARGS=--help'
	@echo 'make fuzz     Try bad input at every door, tell what became of it; more: make fuzz ARGS="--inputs 50000 --seed 2"'
	@echo 'make bench    Measure, into benchmarks/results.json; a tenth of it: make bench ARGS=--quick'
	@echo 'make lint     Check style, format and types'
	@echo 'make lock     Choose the versions in constraints.txt again'
	@echo 'make install  Only make $(VENV) and install what is locked'
	@echo 'make clean    Remove $(VENV) and all caches; the data of make up stays'

# Each recipe that runs long is one simple command: make then hands signals straight to it.
up: $(INSTALLED)
	@$(RUN) -m dev.up

demo: $(INSTALLED)
	@$(RUN) -m dev.demo

test: $(INSTALLED)
	@$(RUN) -m pytest --numprocesses $(WORKERS) $(ARGS)

chaos: $(INSTALLED)
	@$(RUN) -m tests.chaos $(ARGS)

fuzz: $(INSTALLED)
	@$(RUN) -m tests.fuzz $(ARGS)

bench: $(INSTALLED)
	@$(RUN) -m benchmarks $(ARGS)

lint: $(INSTALLED)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m mypy -p dev -p benchmarks

# Neither paths of this machine nor addresses of an index get into the file: --no-header, --no-annotate,
# --no-emit-index-url, --no-emit-find-links.
lock: $(INSTALLED)
	@$(RUN) -m pip install --quiet --disable-pip-version-check uv
	@$(RUN) -m uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --output-file $(VENV)/lock.txt requirements-dev.txt
	@{ echo '# The full lock. Made by `make lock`; do not edit.'; cat $(VENV)/lock.txt; } > constraints.txt
	@echo "constraints.txt has $$(grep -c == constraints.txt) packages."

install: $(INSTALLED)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build plugins/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): $(RUN) requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(RUN) -m dev.install
	@touch $@

# A command of that name may exist and fail (pyenv has shims for versions that are not chosen), so each is tried.
$(RUN):
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python; do \
	    if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version) ($$python)"; \
	        $$python -m venv $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv." >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo 'No Python from 3.11 to 3.14 found. Install one, or name it: make $(or $(MAKECMDGOALS),up) PYTHON=/path/to/python3' >&2; \
	exit 1
