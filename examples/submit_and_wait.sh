#!/bin/sh
# Ask for images and wait for them, with curl and nothing else: submit_and_wait.sh REQUEST_ID USERNAME CHARACTER QUANTITY
# Prints the settled batch as JSON. Run again with the same REQUEST_ID, it asks for nothing new.
set -eu
cd "${COMFYLEDGER_STATE_DIR:-$HOME/.local/state/comfyledger}"
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
# Without --fail (--disable passes over ~/.curlrc), curl repeats what waiting can help: a broken connection, 408, 429 and 5xx, but no refused request.
status=$(curl --disable --silent --show-error --retry 10 --retry-connrefused --retry-all-errors \
  --output "$answer" --write-out '%{http_code}' \
  --unix-socket door.sock --header "Authorization: Bearer $(cat token)" \
  --header "Content-Type: application/json" --header "Idempotency-Key: $1" \
  --data "{\"username\": \"$2\", \"character\": \"$3\", \"quantity\": $4}" \
  "http://localhost/v1/batches?wait=600")
cat "$answer"
test "$status" -lt 300
