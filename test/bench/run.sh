#!/bin/sh
# `npm run bench`: installs and builds what is missing, then measures beside the tools that Debian has for the same work.
set -eu
cd "$(dirname "$0")/../.."
# Results stay here, also when the rest goes on in a copy. The name is not PGARK_..., where pgark refuses what it does not know.
BENCH_HOME=$PWD
export BENCH_HOME
. test/prepare.sh

sh test/debian-tools.sh
sh test/bench/debian-peers.sh
npm run --silent build >/dev/null
node --conditions=@pgark/source test/bench/main.ts "$@"
