#!/bin/sh
# `npm run bench`: installs and builds what is missing, then measures beside PostgreSQL's own tools.
set -eu
cd "$(dirname "$0")/../.."
. test/prepare.sh

sh test/debian-tools.sh
npm run --silent build >/dev/null
node --conditions=@pgark/source test/bench/main.ts "$@"
