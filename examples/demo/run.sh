#!/bin/sh
# `npm run demo`: installs and builds what is missing, then runs the main job on a PostgreSQL of its own.
set -eu
cd "$(dirname "$0")/../.."
. test/prepare.sh

echo "building..."
npm run --silent build >/dev/null
node --conditions=@pgark/source examples/demo/main.ts "$@"
