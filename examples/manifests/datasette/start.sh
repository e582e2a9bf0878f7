#!/bin/sh
# Installs Datasette into .server/ beside this script (once), makes an empty database and serves it on loopback.
# Usage: ./start.sh [--token]     Needs Python 3.10 or newer. Ctrl-C stops it; the data are made anew each time. --token prints an API token and ends.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3913
[ -x "$server/bin/datasette" ] || { python3 -m venv "$server" && "$server/bin/pip" install -q "datasette==1.0a41"; }
if [ "${1:-}" = --token ]; then
    exec "$server/bin/datasette" create-token root --secret example-signing-secret
fi
rm -f "$server/crm.db"
"$server/bin/python" -c "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())" "$server/crm.db" "$here/tables.sql"
exec "$server/bin/datasette" "$server/crm.db" --port "$port" --secret example-signing-secret --root
