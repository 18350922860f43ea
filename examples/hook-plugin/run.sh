#!/bin/sh
# sh run.sh [FOLDER]: everything that comes of it goes into a folder, by default a new one in /tmp. See README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
cp "$here/pgark.yaml" "$work"
ln -s "$here/plugin" "$work/plugin"
cd "$work"
mkdir repository spool

. "$here/../story.sh"
if [ -z "${NTFY_URL:-}" ]; then
  node "$here/main.ts" >ntfy.log 2>&1 &
  ntfy=$!
  stop_own() { kill "$ntfy" && wait "$ntfy" || true; }
  until NTFY_URL=$(grep -o 'http://[0-9.:]*' ntfy.log); do
    kill -0 "$ntfy" || { cat ntfy.log >&2; exit 1; }
    sleep 0.2
  done
fi
export NTFY_URL

stream
pgark backup
[ ! -e ntfy.log ] || until grep backup.finished ntfy.log; do sleep 0.2; done
echo "see $work"
