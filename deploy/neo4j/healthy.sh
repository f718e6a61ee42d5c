#!/bin/bash
# Whether Neo4j answers a query from its store.
set -euo pipefail
wget --config /tmp/wgetrc --quiet --timeout 8 --tries 1 --output-document - --header 'Content-Type: application/json' \
  --post-data '{"statements": [{"statement": "MATCH (n) RETURN n LIMIT 1"}]}' http://127.0.0.1:7474/db/neo4j/tx/commit |
  grep -q '"errors":\[\]'
