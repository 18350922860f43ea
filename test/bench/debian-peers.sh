#!/bin/sh
# Installs the peers that no test needs, where this is Debian and root may install. What is missing elsewhere is not measured, and the result
# says so.
set -eu
[ "$(id -u)" = 0 ] && [ -r /etc/debian_version ] && command -v apt-get >/dev/null || exit 0

missing=
for name in pgbackrest lz4 age; do
  command -v "$name" >/dev/null || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

apt-get update -qq || true
# shellcheck disable=SC2086 # the names are words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
  echo "could not install$missing: what needs them is not measured" >&2
}
