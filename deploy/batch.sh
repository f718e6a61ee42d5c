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

# The cluster away (75), or the node that this container is: it goes on once they are back. Wrong input would be as wrong again.
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
  status=75
  # Who asks a cluster for work must be on a node of it; this one takes none.
  if ray start --address ray-head:6379 --num-cpus 0 --object-store-memory 100000000 --include-log-monitor false >/dev/null; then
    status=0
    kg-service batch run "$work" --ray ray-head:6379 || status=$?
  fi
  [ "$status" -eq 75 ] && [ "$attempt" -lt 12 ] || break
  echo "going on in 10 s" >&2
  ray stop --force >/dev/null 2>&1 || true
  sleep 10
done
[ "$status" -eq 0 ] || exit "$status"
kg-service batch publish "$work" ${SPLIT:+--split "$SPLIT"}
