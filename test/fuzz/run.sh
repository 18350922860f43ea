#!/bin/sh
# `npm run fuzz`: random streams and random damage through every codec, as long as `--seconds` says.
#   npm run fuzz -- --codec zstd --seconds 60 --seed N
set -eu
cd "$(dirname "$0")/../.."
. test/prepare.sh

node --conditions=@pgark/source test/fuzz/main.ts "$@"
