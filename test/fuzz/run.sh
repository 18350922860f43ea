#!/bin/sh
# `npm run fuzz`: random streams and random damage through every codec, as long as `--seconds` says.
#   npm run fuzz -- --codec zstd --seconds 60 --seed N
# `npm run fuzz -- --api 20000`: so many requests to the API and the page of a daemon; PGARK_TEST_SEED=N sends those again.
set -eu
cd "$(dirname "$0")/../.."
. test/prepare.sh

if [ "${1:-}" = --api ]; then
  PGARK_TEST_REQUESTS=${2:-20000}
  export PGARK_TEST_REQUESTS
  vitest run --config test/vitest.config.ts --project unit core/test/daemon/http/fuzz.test.ts
else
  node --conditions=@pgark/source test/fuzz/main.ts "$@"
fi
