# Two commands are enough: `make demo` runs the whole path on real data, `make test` runs every test.
.PHONY: help setup demo test secrets test-compose check format lock clean bench-stores bench-linking bench-linking-index
.DEFAULT_GOAL := help

TOOLS := .tools/uv
UV := $(or $(shell command -v uv),$(TOOLS)/bin/uv)
RUN := $(UV) run --no-sync
CUDA = torch torchvision triton $(shell sed -nE 's/^name = "((nvidia|cuda)-[^"]+)"/\1/p' uv.lock)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-19s %s\n", $$1, $$2}'

setup: $(UV)  ## install everything into .venv from uv.lock; TORCH=cpu leaves CUDA out
ifeq ($(TORCH),cpu)
	$(UV) sync --locked --quiet --inexact $(CUDA:%=--no-install-package %)
	$(UV) pip install --quiet --torch-backend cpu $(shell $(UV) export --locked --no-hashes --all-packages 2>/dev/null | grep -oE '^torch(vision)?==[0-9.]+')
else
	$(UV) sync --locked --quiet
endif

demo: setup  ## RRF files and captions to a trained, evaluated NB-CLIP, then an HTML report
	$(RUN) bash examples/demo.sh

test: setup  ## every test
	$(RUN) pytest

secrets:  ## what docker compose up needs first: a password and keys, into secrets/
	sh deploy/secrets.sh

test-compose: setup  ## builds and starts the whole product in Docker, asks it, restarts Neo4j under it, takes it down
	$(RUN) pytest tests/compose

check: setup  ## lint, format, types, import contracts
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

format: setup  ## format and mend what can be mended
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench-stores: setup  ## the embedded store and Neo4j beside each other
	$(RUN) python benchmarks/stores/run.py $(ARGS)

bench-linking: setup  ## our linker and its peers on public corpora, into docs/linking.md
	$(RUN) python benchmarks/linking/run.py $(ARGS)

bench-linking-index: setup  ## compile nine million synthetic names: time, memory, size
	$(RUN) python benchmarks/linking/index.py $(ARGS)

lock: $(UV)  ## resolve uv.lock anew
	$(UV) lock --upgrade

clean:  ## remove what the demo and the tools wrote
	rm -rf runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(TOOLS)/bin/uv:
	python3 -m venv $(TOOLS) || { echo "error: uv is missing and python3 has no venv; install one: https://docs.astral.sh/uv" >&2; exit 2; }
	$(TOOLS)/bin/pip install --quiet uv
