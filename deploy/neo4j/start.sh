#!/bin/bash
# Starts Neo4j by the image's own entrypoint, which takes the password from the environment; compose gives it as a file.
set -euo pipefail
password=$(</run/secrets/neo4j_password)
# For healthy.sh: wget takes a password from a file or from argv, where every process sees it.
(umask 077 && printf 'http_user=neo4j\nhttp_password=%s\nauth_no_challenge=on\n' "$password" >/tmp/wgetrc)
NEO4J_AUTH=neo4j/$password exec /startup/docker-entrypoint.sh neo4j
