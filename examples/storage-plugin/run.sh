#!/bin/sh
# sh run.sh [FOLDER]: everything that comes of it goes into a folder, by default a new one in /tmp. See README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
cp "$here/pgark.yaml" "$work"
ln -s "$here/plugin" "$work/plugin"
cd "$work"
mkdir spool

. "$here/../story.sh"
DEPOT_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export DEPOT_TOKEN
node "$here/main.ts" "$work/depot" "${DEPOT_PORT:-0}" >depot.log 2>&1 &
depot=$!
stop_own() { kill "$depot" && wait "$depot" || true; }
until DEPOT_URL=$(grep -o 'http://[0-9.:]*' depot.log); do
  kill -0 "$depot" || { cat depot.log >&2; exit 1; }
  sleep 0.2
done
export DEPOT_URL

pgark check
story
echo "see $work"
