#!/bin/sh
# Installs the client tools that some tests compare with (pg_receivewal, pg_basebackup, pg_verifybackup, pg_waldump,
# pgbench, psql, zstd, gzip, age, promtool) or use as a server (sshd), where this is Debian and root may install. Elsewhere tests that need one are skipped and say so.
set -eu
[ "$(id -u)" = 0 ] && [ -r /etc/debian_version ] && command -v apt-get >/dev/null || exit 0

missing=
[ -x /usr/lib/postgresql/15/bin/pg_receivewal ] || missing="$missing postgresql-client-15"
[ -x /usr/lib/postgresql/15/bin/pg_waldump ] || missing="$missing postgresql-15"
[ -x /usr/lib/postgresql/15/bin/pgbench ] || missing="$missing postgresql-15"
command -v zstd >/dev/null || missing="$missing zstd"
command -v age >/dev/null || missing="$missing age"
command -v openssl >/dev/null || missing="$missing openssl"
command -v ps >/dev/null || missing="$missing procps"
# Shells whose completion is tested, and what takes manual pages and units.
for shell in zsh fish; do command -v "$shell" >/dev/null || missing="$missing $shell"; done
command -v groff >/dev/null || missing="$missing groff-base"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v promtool >/dev/null || missing="$missing prometheus"
# A browser for the tests of the page.
command -v chromium >/dev/null || missing="$missing chromium"
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
[ -n "$missing" ] || exit 0

# The package would otherwise make and start a cluster of its own.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
# openssh-server would start a daemon of its own where there is no systemd; the tests start theirs.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
fi
apt-get update -qq || true
# shellcheck disable=SC2086 # the names are words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
  echo "could not install$missing: tests that need them are skipped" >&2
}
