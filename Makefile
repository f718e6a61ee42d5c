# Two commands are enough: `make demo` runs the whole path on real data, `make test` runs every test.
.PHONY: help setup demo test secrets test-compose check sbom format lock clean bench-stores bench-linking bench-vocabulary bench-targets bench-transe bench-serving bench-growth bench-training bench soak nightly
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

test: setup  ## every test, in two processes: TESTERS=4 for more
	$(RUN) pytest --numprocesses $(or $(TESTERS),2)

secrets:  ## what docker compose up needs first: a password and keys, into secrets/
	sh deploy/secrets.sh

test-compose: setup  ## builds and starts the whole product in Docker, asks it, restarts Neo4j under it, takes it down
	$(RUN) pytest tests/compose

check: setup  ## lint, format, types, import contracts, security
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) bandit --quiet --severity-level medium --configfile pyproject.toml --recursive shared/src kg_service/src trainer/src
	git grep -Ilz . | xargs -0 $(RUN) detect-secrets-hook --exclude-files 'uv\.lock|^tests/compatibility/[0-9.]+/|\.(svg|RRF)$$|metadata\.csv'

sbom: $(UV)  ## the bill of materials of what is installed, CycloneDX, into sbom.cdx.json
	$(UV) export --quiet --locked --all-packages --no-dev --format cyclonedx1.5 --output-file sbom.cdx.json

format: setup  ## format and mend what can be mended
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench-stores: setup  ## the embedded store and Neo4j beside each other
	$(RUN) python benchmarks/stores/run.py $(ARGS)

bench-linking: setup  ## our linker and its peers on public corpora, into docs/linking.md
	$(RUN) python benchmarks/linking/run.py $(ARGS)

bench-vocabulary: setup  ## compile a synthetic release of UMLS size: time, memory, size, growth
	$(RUN) python benchmarks/vocabulary/run.py $(ARGS)

bench-targets: setup  ## every representation on the half-split test, into docs/targets.md
	$(RUN) python benchmarks/targets/run.py $(ARGS)

bench-transe: setup  ## TransE beside pykeen's on a small graph: scores, loss, hits@10
	$(RUN) python benchmarks/targets/transe_peer.py $(ARGS)

bench-training: setup  ## a training step with soft targets, without, and of open_clip's own trainer
	$(RUN) --with braceexpand --with pandas --with webdataset python benchmarks/training/run.py $(ARGS)

bench-serving: setup  ## /targets: its arithmetic, its way over a socket, Cypher and GDS
	$(RUN) python benchmarks/serving/run.py $(ARGS)

bench: setup  ## the service's goals, met or not, beside scipy, torch, Cypher and GDS in one run, into docs/performance.md
	$(RUN) python benchmarks/serving/run.py --report $(ARGS)

bench-growth: setup  ## serving over 10,000, 100,000 and 1,000,000 images, into docs/performance.md
	$(RUN) python benchmarks/serving/growth.py --report $(ARGS)

soak: setup  ## ten minutes of load with an ingest beside it: no error, memory level; into docs/reliability/
	$(RUN) python benchmarks/reliability/soak.py $(ARGS)

nightly: setup  ## every row of docs/reliability.md with its full counts, two to three hours; ARGS="--rows R3,R9" for some
	$(RUN) python benchmarks/reliability/nightly.py $(ARGS)

lock: $(UV)  ## resolve uv.lock anew
	$(UV) lock --upgrade

clean:  ## remove what the demo and the tools wrote
	rm -rf runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(TOOLS)/bin/uv:
	python3 -m venv $(TOOLS) || { echo "error: uv is missing and python3 has no venv; install one: https://docs.astral.sh/uv" >&2; exit 2; }
	$(TOOLS)/bin/pip install --quiet uv
