#!/bin/sh
# `npm run publint`: what npm would publish is whole: its files, entries and types, for those who install it. Needs the build.
set -eu
cd "$(dirname "$0")/.."

for manifest in core/package.json sdk/package.json sdk/create-pgark-plugin/package.json plugins/package.json plugins/*/package.json; do
  folder=$(dirname "$manifest")
  publint "$folder" --strict
  # These two have nothing that could be imported, so no types.
  case $folder in plugins | sdk/create-pgark-plugin) continue ;; esac
  if ! report=$(attw --pack "$folder" --profile esm-only --no-color 2>&1); then
    echo "$folder: types do not resolve as they should:"
    echo "$report"
    exit 1
  fi
  echo "$folder: types resolve"
done
