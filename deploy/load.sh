#!/bin/sh
# What the service answers from: RRF files to a vocabulary, captions to a graph, the graph to a snapshot.
# Runs in the service's image; when the same input has been loaded before, it does nothing.
set -eu
cd /pairs
stamp=$({ echo "$CAPTIONS $INGEST_OPTIONS $SPLIT"; stat -L -c '%n %s %Y' /rrf/* $CAPTIONS; } | sha256sum)
if [ "$stamp" = "$(cat "$KG_DATA/loaded" 2>/dev/null)" ] && kg-service doctor; then
  exit
fi
rm -f "$KG_DATA/loaded"
kg-service vocabulary build /rrf
for file in $CAPTIONS; do
  kg-service ingest "$file" $INGEST_OPTIONS
done
kg-service snapshot publish ${SPLIT:+--split "$SPLIT"}
echo "$stamp" >"$KG_DATA/loaded"
