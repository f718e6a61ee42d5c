#!/bin/sh
# Trains against the service, or goes on with a run that was stopped; then scores it and writes the report.
set -eu
# A stop reaches nbclip too, which writes a checkpoint first; the shell must wait for it.
trap : TERM INT
run=/runs/$RUN
service="--service http://kg-service:8080 --key-file /run/secrets/trainer_key"
pairs=
for file in $CAPTIONS; do
  pairs="$pairs --data /pairs/$file"
done
nbclip train --resume --run "$run" --preset "$PRESET" --set epochs="$EPOCHS" $pairs $service $TRAIN_OPTIONS
nbclip evaluate "$run" $service
nbclip report "$run" --out "$run/report.html"
