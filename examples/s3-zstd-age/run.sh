#!/bin/sh
# sh run.sh [FOLDER]: everything that comes of it goes into a folder, by default a new one in /tmp. See README.md.
set -eu
: "${S3_ENDPOINT:?the URL of the S3 service}" "${S3_ACCESS_KEY_ID:?}" "${S3_SECRET_ACCESS_KEY:?}"
export S3_ENDPOINT S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY
export S3_BUCKET="${S3_BUCKET:-archive}" S3_PROVIDER="${S3_PROVIDER:-other}"

here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
cp "$here/pgark.yaml" "$work"
cd "$work"
mkdir spool

# The recipient may be known to all; the key opens the archive. A second recipient, of a key in a safe, belongs beside it.
(umask 077 && age-keygen -o age.key 2>/dev/null)
age-keygen -y age.key >recipients.txt

. "$here/../story.sh"
story

pgark keys
# A host that has the recipients only, such as the server's, writes and cannot read.
mv age.key age.key.elsewhere
if pgark keys >keys.log 2>&1; then
  echo "the archive opens without its key" >&2
  exit 1
fi
echo "without the key nothing opens; see $work"
