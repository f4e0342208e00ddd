.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export UV_LINK_MODE ?= copy
export UV_SYSTEM_CERTS ?= true
export GX_ANALYTICS_ENABLED := false
export PYTHONPATH :=

.PHONY: help install demo test faults check browser services services-stop bench bench-large env lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: requirements.lock pyproject.toml requirements-uv.txt $(wildcard src/millrace/data/*.[ch])
	@command -v $(PYTHON) >/dev/null || { echo "expected Python 3.11 as '$(PYTHON)', found none; name it with: make PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@echo "installing about 250 packages into $(VENV) (1.6 GB); a minute or so"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: $(VENV)/.installed  ## install everything into .venv

demo: install  ## the main job on embedded defaults: 60 days of clicks, Airflow runs the last nights
	$(BIN)/millrace demo

test: install check browser  ## every test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

faults: install  ## kill, cut and fill at every point, 1,200 times; tells what was lost
	$(BIN)/python -m tests.faults

browser:  ## install Chromium for the tests that look at pages, where apt can
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo "no chromium, and no right to install it: the tests in a browser are left out"

services: install  ## start MinIO, Hadoop and a stand-in for EMR on loopback; the first time takes minutes
	$(BIN)/python -m services start

services-stop: install  ## end them
	$(BIN)/python -m services stop

matrix: install  ## run the conformance suite of engines and stores, and write its matrix into the README
	MILLRACE_MATRIX=1 $(BIN)/python -m pytest tests/engines -k tables_are_the_same

bench: install  ## Millrace beside its peers at 4 million rows, in under 15 minutes; writes benchmarks/results
	$(BIN)/python -m benchmarks.bench

bench-large: install  ## the same at 40 million rows, and how time and memory grow
	$(BIN)/python -m benchmarks.bench --large

env: .env  ## write .env, the secrets of docker compose; one that is there stays

.env:
	@mkdir -p pipelines data
	@umask 077 && while read -r line; do case "$$line" in \
		*=) echo "$$line$$(head -c 32 /dev/urandom | base64 | tr +/ -_)" ;; \
		*) echo "$$line" ;; esac; done < .env.example > .env.draft
	@echo "MILLRACE_UID=$$(id -u)" >> .env.draft && mv .env.draft .env

check: install  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock:  ## write requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 -o requirements.lock
	echo "uv==$$($(BIN)/uv --version | cut -d' ' -f2)" | $(BIN)/uv pip compile - --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --no-annotate -o requirements-uv.txt

clean:  ## remove the environment and all embedded state
	rm -rf $(VENV) .millrace
