#!/bin/sh
# Installs PouchDB Server's parts into .server/ beside this script (once) and starts it on loopback, with its data in memory: gone when it ends.
# Usage: ./start.sh     Needs Node.js 18 or newer with npm, and curl. Ctrl-C stops it. User: ann, password: example-password. A session lasts
# SESSION_SECS seconds (600).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3912
mkdir -p "$server"
if [ ! -d "$server/node_modules/express-pouchdb" ]; then
    [ -f "$server/package.json" ] || echo '{ "private": true }' > "$server/package.json"
    npm install --prefix "$server" --no-audit --no-fund --loglevel error express-pouchdb@4.2.0 express@4 pouchdb-core@9 pouchdb-adapter-memory@9 \
        pouchdb-mapreduce@9 pouchdb-replication@9 pouchdb-find@9
fi
node "$here/serve.js" "$server" "$port" &
pid=$!
trap 'kill $pid 2> /dev/null; exit 0' INT TERM
url=http://127.0.0.1:$port
until curl -sf -o /dev/null "$url/"; do kill -0 $pid; sleep 0.2; done
put() { curl -sf -o /dev/null -X PUT -H 'Content-Type: application/json' "$@"; }
put "$url/_config/couch_httpd_auth/timeout" -d "\"${SESSION_SECS:-600}\""
put "$url/_config/admins/ann" -d '"example-password"'
for db in accounts contacts; do
    put -u ann:example-password "$url/$db"
    put -u ann:example-password "$url/$db/_security" -d '{ "admins": { "names": ["ann"], "roles": [] }, "members": { "names": ["ann"], "roles": [] } }'
done
wait $pid
