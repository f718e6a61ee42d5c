#!/bin/sh
# Trains against the service, or goes on with a run that was stopped; then scores it and writes the report.
set -eu
# A stop reaches nbclip too, which writes a checkpoint first; the shell must wait for it.
stopped=
trap 'stopped=yes' TERM INT
run=/runs/$RUN
service="--service http://kg-service:8080 --key-file /run/secrets/trainer_key"
# A healthy service takes captions; targets need a snapshot too, which somebody may be publishing.
ready="import urllib.request as web; web.urlopen('http://kg-service:8080/readyz?for=targets', timeout=12)"
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
  python -c "$ready" 2>/dev/null && break
  echo "the service has no targets yet" >&2
  sleep 10
done
pairs=
for file in $CAPTIONS; do
  pairs="$pairs --data /pairs/$file"
done
# The service away (75), or killed (137, 139): the run goes on. Wrong input would be as wrong again.
for attempt in 1 2 3 4; do
  status=0
  nbclip train --resume --run "$run" --preset "$PRESET" --set epochs="$EPOCHS" $pairs $service $TRAIN_OPTIONS || status=$?
  case $status in 75 | 137 | 139) ;; *) break ;; esac
  [ -z "$stopped" ] && [ "$attempt" -lt 4 ] || break
  echo "ended with status $status, going on in 10 s" >&2
  sleep 10
done
if [ "$status" -ne 0 ]; then
  [ "$status" -ne 2 ] || echo "in Compose --run is NBCLIP_RUN and epochs are NBCLIP_EPOCHS, in .env" >&2
  exit "$status"
fi
nbclip evaluate "$run" $service
nbclip report "$run" --out "$run/report.html"
