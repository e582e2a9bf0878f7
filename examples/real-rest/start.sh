#!/bin/sh
# Installs json-server into .server/ beside this script (once) and starts it on loopback with an empty database.
# Usage: ./start.sh [port]     Needs Node.js 14 or newer with npm. Stop it with Ctrl-C; the data stay in .server/db.json.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
port=${1:-3900}
version=0.17.4

mkdir -p "$here/.server"
cd "$here/.server"
if [ ! -x node_modules/.bin/json-server ]; then
    [ -f package.json ] || echo '{ "private": true }' > package.json
    npm install --no-audit --no-fund --silent "json-server@$version"
fi
[ -f db.json ] || echo '{ "accounts": [], "contacts": [] }' > db.json

exec node_modules/.bin/json-server --host 127.0.0.1 --port "$port" --quiet db.json
