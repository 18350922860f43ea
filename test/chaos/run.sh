#!/bin/sh
# `npm run test:chaos`: random kills of receivers, agent and servers, faults of the network and promotions, under load; a minute unless told otherwise.
#   npm run test:chaos -- --minutes 30
#   npm run test:chaos -- --seconds 90 --seed N
set -eu
cd "$(dirname "$0")/../.."
. test/prepare.sh

PGARK_TEST_CHAOS=60
PGARK_TEST_SEED=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) PGARK_TEST_CHAOS=$2 ;;
    --minutes) PGARK_TEST_CHAOS=$(($2 * 60)) ;;
    --seed) PGARK_TEST_SEED=$2 ;;
    *)
      echo "unknown: $1; there are --seconds, --minutes and --seed" >&2
      exit 2
      ;;
  esac
  shift 2
done
export PGARK_TEST_CHAOS PGARK_TEST_SEED

vitest run --config test/chaos/vitest.config.ts
