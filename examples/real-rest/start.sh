#!/bin/sh
# Installs json-server into .server/ beside this script (once) and starts it on loopback. It prints every request it answers.
# Usage: ./start.sh [port] [database.json]     Needs Node.js 14 or newer with npm. Ctrl-C stops it; the data stay in the database,
# which is .server/db.json if none is named, and begins empty.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
port=${1:-3900}
db=${2:-$here/.server/db.json}
version=0.17.4

mkdir -p "$here/.server"
if [ ! -x "$here/.server/node_modules/.bin/json-server" ]; then
    [ -f "$here/.server/package.json" ] || echo '{ "private": true }' > "$here/.server/package.json"
    npm install --prefix "$here/.server" --no-audit --no-fund --loglevel error "json-server@$version"
fi
[ -f "$db" ] || echo '{ "accounts": [], "contacts": [] }' > "$db"

exec "$here/.server/node_modules/.bin/json-server" --host 127.0.0.1 --port "$port" "$db"
