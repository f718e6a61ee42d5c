#!/bin/sh
# Makes the secrets that docker-compose.yml needs: Neo4j's password, two keys of the service with the file that holds their
# digests, the token of a Ray cluster, and the password of Grafana's admin. What is there stays as it is, and no secret is printed.
#
# Usage: sh deploy/secrets.sh            into secrets/, noted in .env, where docker compose looks
#        sh deploy/secrets.sh FOLDER     into another folder, to be named by NBCLIP_SECRETS
set -eu
umask 077
if [ $# -eq 0 ]; then cd "$(dirname "$0")/.."; fi
folder=${1:-secrets}

fail() {
  echo "error: $1" >&2
  exit 1
}

random() {
  od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'
}

sha256() {
  for tool in sha256sum "shasum -a 256" "openssl dgst -sha256 -r"; do
    if command -v "${tool%% *}" >/dev/null; then
      $tool | cut -c 1-64
      return
    fi
  done
}

# Containers read these files as users of their own, so they are open to all in a folder that only its owner can enter.
store() {
  cat >"$folder/.new"
  [ -s "$folder/.new" ] || fail "nothing to write to $folder/$1"
  chmod 444 "$folder/.new"
  mv -f "$folder/.new" "$folder/$1"
  echo "made $folder/$1"
}

key_entry() {
  digest=$(tr -d '\n' <"$folder/$1_key" | sha256)
  [ ${#digest} -eq 64 ] || fail "no SHA-256: install sha256sum, shasum or openssl"
  printf '{"name": "%s", "scopes": ["%s"], "sha256": "%s"}' "$1" "$2" "$digest"
}

mkdir -p "$folder"
chmod 700 "$folder"
for name in neo4j_password trainer_key admin_key; do
  [ -e "$folder/$name" ] && continue
  [ ! -e "$folder/keys.json" ] || fail "$folder/$name is gone: put it back, or remove all of $folder to begin anew"
  { case $name in *_key) printf nbkg_ ;; esac; random; } | store "$name"
done
if [ ! -e "$folder/keys.json" ]; then
  trainer=$(key_entry trainer read)
  admin=$(key_entry admin admin)
  printf '{"keys": [\n %s,\n %s\n]}\n' "$trainer" "$admin" | store keys.json
fi
# Nothing outside the containers holds these, so they may come anew. Grafana takes a new one when its volume is new.
for name in ray_token grafana_password; do
  [ -e "$folder/$name" ] || random | store "$name"
done
if [ $# -eq 0 ] && ! grep -qs '^NBCLIP_SECRETS=' .env; then
  [ -z "$(tail -c 1 .env 2>/dev/null)" ] || echo >>.env
  echo "NBCLIP_SECRETS=./secrets" >>.env
fi
