#!/bin/sh
# Run once by the image of PostgreSQL, when it makes its cluster: a role that may replicate and nothing else, and its way in.
set -eu
psql -v ON_ERROR_STOP=1 -q --username "${POSTGRES_USER:-postgres}" --dbname postgres -v password="$(cat /run/secrets/pgark_password)" <<'SQL'
CREATE ROLE pgark LOGIN REPLICATION PASSWORD :'password';
SQL
echo 'host replication pgark all scram-sha-256' >>"$PGDATA/pg_hba.conf"
