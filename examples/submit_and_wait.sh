#!/bin/sh
# Ask for images and wait for them, with curl and nothing else: submit_and_wait.sh REQUEST_ID USERNAME CHARACTER QUANTITY
# Prints the settled batch as JSON. Run again with the same REQUEST_ID, it asks for nothing new.
set -eu
cd "${COMFYLEDGER_STATE_DIR:-$HOME/.local/state/comfyledger}"
exec curl --silent --show-error --fail-with-body --retry 10 --retry-connrefused --retry-all-errors \
  --unix-socket door.sock --header "Authorization: Bearer $(cat token)" \
  --header "Content-Type: application/json" --header "Idempotency-Key: $1" \
  --data "{\"username\": \"$2\", \"character\": \"$3\", \"quantity\": $4}" \
  "http://localhost/v1/batches?wait=600"
