#!/bin/sh
# Installs Directus into .server/ beside this script (once), makes an empty database with accounts and contacts, and serves it on loopback.
# Usage: ./start.sh     Needs Node.js 20 or newer with npm, Python 3.9 or newer, and what npm needs to build the driver of SQLite where none comes
# ready-made (a C++ compiler, make). The first install takes some minutes. Ctrl-C stops it; the data are made anew each time.
# User: ann@example.com, password: example-password. SESSION_SECS is how long a token lives (900), CALLS_A_SECOND how many calls are answered (25);
# more of them are answered with 429.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3917
mkdir -p "$server"
if [ ! -x "$server/node_modules/.bin/directus" ]; then
    [ -f "$server/package.json" ] || echo '{ "private": true }' > "$server/package.json"
    npm install --prefix "$server" --no-audit --no-fund --loglevel error directus@11.3.5
fi
rm -f "$server/data.db"
cd "$server"
export HOST=127.0.0.1 DB_CLIENT=sqlite3 DB_FILENAME="$server/data.db" SECRET=0123456789abcdef0123456789abcdef TELEMETRY=false LOG_LEVEL=warn NODE_ENV=production
export ADMIN_EMAIL=ann@example.com ADMIN_PASSWORD=example-password ACCESS_TOKEN_TTL="${SESSION_SECS:-900}s"
node_modules/.bin/directus bootstrap > setup.log 2>&1
# Collections are made through its interface, on another port: whoever waits for this one finds them there.
PORT=3987 node node_modules/directus/cli.js start >> setup.log 2>&1 &
pid=$!
trap 'kill $pid 2> /dev/null; exit 1' INT TERM
python3 "$here/setup.py" http://127.0.0.1:3987 "$ADMIN_EMAIL" "$ADMIN_PASSWORD" || { kill $pid; tail -n 5 setup.log; exit 1; }
kill $pid
wait $pid || true
trap - INT TERM
export PORT=$port RATE_LIMITER_ENABLED=true RATE_LIMITER_STORE=memory RATE_LIMITER_POINTS="${CALLS_A_SECOND:-25}" RATE_LIMITER_DURATION=1
exec node node_modules/directus/cli.js start
