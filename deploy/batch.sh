#!/bin/sh
# Captions to a snapshot on a Ray cluster: plan, link, publish. Runs in the service's image with Ray; whatever ended it, it goes
# on where it was when it is run again.
set -eu
work=$KG_DATA/batches/$BATCH
stamp=$(stat -L -c '%n %s %Y' /rrf/* | sha256sum)
if [ "$stamp" != "$(cat "$KG_DATA/compiled" 2>/dev/null)" ]; then
  kg-service vocabulary build /rrf
  echo "$stamp" >"$KG_DATA/compiled"
fi
cd /pairs
kg-service batch plan $CAPTIONS "$work" $BATCH_OPTIONS
# Who asks a cluster for work must be on a node of it; this one takes none.
ray start --address ray-head:6379 --num-cpus 0 --object-store-memory 100000000 --include-log-monitor false >/dev/null
kg-service batch run "$work" --ray ray-head:6379
kg-service batch publish "$work" ${SPLIT:+--split "$SPLIT"}
