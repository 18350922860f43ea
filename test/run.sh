#!/bin/sh
# `npm test`: installs what is missing, then runs every test. Arguments go to vitest, for example
#   npm test -- --project unit
#   npm test -- test/integration/golden.test.ts
set -eu
cd "$(dirname "$0")/.."
. test/prepare.sh

sh test/debian-tools.sh
vitest run --config test/vitest.config.ts "$@"
