#!/bin/bash
# Whether Neo4j answers a query from its store; what it prints is in `docker inspect` and `docker compose logs`.
set -uo pipefail
unhealthy() {
  echo "$1"
  echo "$1" >/proc/1/fd/2 || :
  exit 1
}
answer=$(wget --config /tmp/wgetrc --quiet --timeout 8 --tries 1 --output-document - --header 'Content-Type: application/json' \
  --post-data '{"statements": [{"statement": "MATCH (n) RETURN n LIMIT 1"}]}' http://127.0.0.1:7474/db/neo4j/tx/commit)
case $? in
  0) ;;
  6) unhealthy "Neo4j refuses secrets/neo4j_password: the volume neo4j-data was made with another. Put that back, or remove the volume" ;;
  *) echo "no answer yet" && exit 1 ;;
esac
[[ $answer == *'"errors":[]'* ]] || unhealthy "Neo4j can't answer a query: ${answer:0:500}"
