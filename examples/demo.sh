#!/usr/bin/env bash
# From RRF files and captions to a trained, evaluated NB-CLIP: the README's commands one after another, on the example data.
# Usage: examples/demo.sh [FOLDER]      default: runs/demo, which is made anew.
# With the pretrained towers in weights/ (`make weights`) it trains heads on them, without them small models from scratch.
# EPOCHS and PORT may be set; by default 10 epochs, and a port that is free.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/demo} epochs=${EPOCHS:-10}
port=${PORT:-$(python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')}
service=http://127.0.0.1:$port
pairs=(--data examples/radiology-open/metadata.csv --data examples/rocov2/metadata.csv)
export KG_DATA=$out/service KG_PORT=$port
models=small
if [ ! -e weights/all-minilm-l6-v2 ]; then
  models=tiny
  echo 'no pretrained towers in weights/ (make weights): small models train from scratch, which takes longer and retrieves worse' >&2
fi

# Stopped, it ends what it has begun: a training run would go on in a folder that the next demo deletes.
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
run() { "$@" & wait $!; }  # bash looks at signals while it waits, not while a command of its own runs

step() { printf '\n\033[1m[%3ds] %s\033[0m\n' "$SECONDS" "$*"; }

rm -rf "$out" && mkdir -p "$out"

step "compile the vocabulary from RRF files"
run kg-service vocabulary build examples/vocabulary

step "ingest captions: link them to CUIs and store the graph"
run kg-service ingest examples/radiology-open/metadata.csv
# ROCOv2 brings CUIs of its own; they are kept for evaluation, so the graph gets only what the linker finds.
run kg-service ingest examples/rocov2/metadata.csv --relink

step "publish a snapshot of the training split"
run kg-service snapshot publish --split train

step "start the service"
kg-service serve >"$out/service.log" 2>&1 &
served=$! ready=
for _ in $(seq 60); do
  sleep 0.5
  kill -0 $served 2>/dev/null || { echo "error: the service did not start: see $out/service.log" >&2; exit 1; }
  curl -sf "$service/readyz?for=targets" >/dev/null && ready=yes && break
done
[ -n "$ready" ] || { echo "error: the service is not ready after 60 tries: see $out/service.log" >&2; exit 1; }

step "train CLIP (InfoNCE), $epochs epochs"
run nbclip train --preset "$models"-clip "${pairs[@]}" --set epochs="$epochs" --run "$out/clip"

step "train NB-CLIP (SM, DK + EK), $epochs epochs, targets from $service"
run nbclip train --preset "$models"-nbclip "${pairs[@]}" --set epochs="$epochs" --service "$service" --run "$out/nbclip"

step "train its control: the same targets with random neighbours, $epochs epochs"
run nbclip train --preset "$models"-noise "${pairs[@]}" --set epochs="$epochs" --service "$service" --run "$out/noise"

step "evaluate on the retrieval split"
for arm in clip nbclip noise; do
  run nbclip evaluate "$out/$arm" --service "$service" --link
done

step "write the report"
run nbclip report "$out/clip" "$out/nbclip" "$out/noise" --out "$out/report.html"
