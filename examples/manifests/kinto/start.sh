#!/bin/sh
# Installs Kinto into .server/ beside this script (once) and starts it on loopback, with its data in memory: gone when it ends.
# Usage: ./start.sh     Needs Python 3.9 or newer and curl. Ctrl-C stops it. Any user name and password is a user: try.sh takes ann.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3911
[ -x "$server/bin/kinto" ] || { python3 -m venv "$server" && "$server/bin/pip" install -q "kinto==26.5.0"; }
"$server/bin/kinto" start --ini "$here/kinto.ini" --port "$port" &
pid=$!
trap 'kill $pid 2> /dev/null; exit 0' INT TERM
url=http://127.0.0.1:$port/v1
until curl -sf -o /dev/null "$url/"; do kill -0 $pid; sleep 0.2; done
for path in buckets/crm buckets/crm/collections/accounts buckets/crm/collections/contacts; do
    curl -sf -o /dev/null -u ann:example-password -X PUT "$url/$path"
done
wait $pid
