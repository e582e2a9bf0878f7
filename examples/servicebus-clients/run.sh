#!/bin/sh
# Runs Microsoft's own clients against the emulator. Needs cargo, python3 with venv, node with npm, and about three minutes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-"$here/.work"}
port=${PORT:-5673}
http_port=${HTTP_PORT:-5301}
mkdir -p "$work"

if [ ! -x "$work/venv/bin/wsdump" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet "azure-servicebus==7.15.*" "websocket-client==1.*"
fi
if [ ! -d "$work/node_modules/ws" ]; then
    npm install --silent --prefix "$work" "@azure/service-bus@7.9" "ws@8"
fi

cargo build --manifest-path "$here/../../Cargo.toml" --package seamless-emulator --example serve
target=${CARGO_TARGET_DIR:-"$here/../../target"}
# A namespace of its own for each transport: what it remembers of one must not meet the other.
start() {
    rm -f "$work/connection-string"
    "$target/debug/examples/serve" "$port" "$http_port" >"$work/connection-string" &
    emulator=$!
    until grep -q Endpoint "$work/connection-string"; do sleep 0.1; done
}
trap 'kill "$emulator"' EXIT

start
CONNECTION_STRING=$(cat "$work/connection-string")
HTTP_CONNECTION_STRING=$(sed "s/localhost:$port/localhost:$http_port/" "$work/connection-string")
export CONNECTION_STRING HTTP_CONNECTION_STRING

echo "azure-servicebus (Python), management"
"$work/venv/bin/python" "$here/management.py"

echo "azure-servicebus (Python)"
"$work/venv/bin/python" "$here/client.py"
echo "@azure/service-bus (JavaScript)"
NODE_PATH="$work/node_modules" node "$here/client.js"

kill "$emulator"
wait "$emulator" || true
start
CONNECTION_STRING=$HTTP_CONNECTION_STRING
TRANSPORT=websocket
export TRANSPORT
echo "azure-servicebus (Python), over a WebSocket"
"$work/venv/bin/python" "$here/client.py"
echo "@azure/service-bus (JavaScript), over a WebSocket"
NODE_PATH="$work/node_modules" node "$here/client.js"
