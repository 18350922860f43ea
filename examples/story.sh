# Sourced by the run.sh of an example, in a folder that holds its pgark.yaml: streams, takes a backup, drops a table by mistake, and gets
# it back in a second server beside the first.
#
#   PGHOST, PGPORT, PGUSER   the server, and a role that may replicate and make a table
#   RESTORED_PORT            a port for the second server
#   SLOT                     receive.slot of the config; default pgark
#
# It leaves the archive and the restored cluster in the folder, and the server as it was.

: "${PGHOST:=/var/run/postgresql}" "${PGPORT:=5432}" "${PGUSER:=postgres}" "${RESTORED_PORT:=5433}" "${SLOT:=pgark}"
export PGHOST PGPORT PGUSER PGDATABASE=postgres

receiver=
restored=
# An example that started something else says here how it ends.
stop_own() { :; }
stop_all() {
  [ -z "$restored" ] || pg_ctl -D "$restored" -m immediate stop >/dev/null || true
  [ -z "$receiver" ] || { kill "$receiver" && wait "$receiver"; } || true
  psql -qAtc "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$SLOT'" >/dev/null || true
  stop_own
}
trap stop_all EXIT

# Streams, in the background.
stream() {
  PATH="$(psql -Atc "SELECT setting FROM pg_config WHERE name = 'BINDIR'"):$PATH" # pg_ctl of this very server

  pgark receive >receive.log 2>&1 &
  receiver=$!
  until grep -q streaming receive.log; do
    kill -0 "$receiver" || { cat receive.log >&2; return 1; }
    sleep 0.2
  done
}

story() {
  stream
  pgark backup --label example
  psql -qc "CREATE TABLE precious AS SELECT n, md5(n::text) AS value FROM generate_series(1, 1000) n"
  before=$(psql -Atc "SELECT md5(string_agg(value, '' ORDER BY n)) FROM precious")
  moment=$(psql -Atc "SELECT clock_timestamp()")
  sleep 0.1
  psql -qc "DROP TABLE precious"
  echo "dropped a table by mistake, after $moment"

  pgark restore --target-time "$moment" restored
  restored=$PWD/restored
  pg_ctl -D "$restored" -o "-p $RESTORED_PORT" -l restored.log -w start >/dev/null
  until [ "$(psql -p "$RESTORED_PORT" -Atc "SELECT pg_is_in_recovery()")" = f ]; do sleep 0.2; done
  after=$(psql -p "$RESTORED_PORT" -Atc "SELECT md5(string_agg(value, '' ORDER BY n)) FROM precious")
  [ "$before" = "$after" ] || { echo "the table came back as another one: $after, it was $before" >&2; return 1; }
  echo "the table is back, row for row, in the server at port $RESTORED_PORT"
}
