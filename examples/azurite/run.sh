#!/bin/sh
# Runs the client for large bodies against Azurite, Microsoft's own emulator of Azure Blob Storage. Needs cargo, node with npm, and a minute.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-"$here/.work"}
port=${PORT:-10010}
mkdir -p "$work"

if [ ! -x "$work/node_modules/.bin/azurite-blob" ]; then
    npm install --silent --prefix "$work" "azurite@3"
fi
cargo build --manifest-path "$here/../../Cargo.toml" --package seamless-servicebus --example blobs
target=${CARGO_TARGET_DIR:-"$here/../../target"}

"$work/node_modules/.bin/azurite-blob" --silent --disableTelemetry --inMemoryPersistence --skipApiVersionCheck --blobPort "$port" &
azurite=$!
trap 'kill "$azurite"' EXIT
BLOB_CONTAINER=$(PORT="$port" node "$here/container.js")
export BLOB_CONTAINER
"$target/debug/examples/blobs"
