#!/bin/sh
# `npm run test:week`: a week of the daemon by an accelerated clock, in an hour unless told otherwise.
#   npm run test:week -- --minutes 10
#   npm run test:week -- --minutes 60 --seed N
set -eu
cd "$(dirname "$0")/../.."
. test/prepare.sh

PGARK_TEST_WEEK=60
PGARK_TEST_SEED=
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) PGARK_TEST_WEEK=$2 ;;
    --seed) PGARK_TEST_SEED=$2 ;;
    *)
      echo "unknown: $1; there are --minutes and --seed" >&2
      exit 2
      ;;
  esac
  shift 2
done
export PGARK_TEST_WEEK PGARK_TEST_SEED

vitest run --config test/week/vitest.config.ts
