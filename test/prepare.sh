# Sourced by `npm test` and `npm run demo`, in the project's folder: installs what is missing, and goes to a readable copy
# when root runs this in a folder of its own.

# npm writes the inner file at the end of an install: older than the lock file, the install is not of this commit.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "installing..."
  npm ci --no-audit --no-fund --loglevel=error
fi

readable_by_others() {
  folder=$1
  while [ "$folder" != / ]; do
    [ -n "$(find "$folder" -maxdepth 0 -perm -005)" ] || return 1
    folder=$(dirname "$folder")
  done
}

# PostgreSQL refuses to run as root, so root lends it another user; and that user runs the restore_command, which is
# the program in this folder. Under /root it could not.
if [ "$(id -u)" = 0 ] && ! readable_by_others "$PWD"; then
  copy=$(mktemp -d "${TMPDIR:-/tmp}/pgark-copy-XXXXXX")
  trap 'rm -rf "$copy"' EXIT
  echo "the user of PostgreSQL cannot read $PWD: going on in a copy, $copy"
  cp -R . "$copy/pgark"
  chmod -R a+rX "$copy"
  cd "$copy/pgark"
fi

PATH="$PWD/node_modules/.bin:$PATH"
export PATH
