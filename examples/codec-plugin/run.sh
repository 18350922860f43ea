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
story

# The objects are called after the codec, and anything that knows the format reads them.
find repository -name '*.zz' | head -n 3
echo "see $work"
