#!/bin/sh
# Installs Roundup into .server/ beside this script (once), makes an empty tracker with accounts and contacts, and serves it on loopback.
# Usage: ./start.sh     Needs Python 3.9 or newer. Ctrl-C stops it; the data are made anew each time. User: admin, password: example-password.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3914
[ -x "$server/bin/roundup-admin" ] || { python3 -m venv "$server" && "$server/bin/pip" install -q "roundup==2.6.0"; }
tracker=$server/tracker
rm -rf "$tracker"
mkdir -p "$tracker"
"$server/bin/roundup-admin" -i "$tracker" install minimal sqlite > /dev/null
# Few rounds, because basic auth hashes the password for every single request.
sed -i.bak -E "s@^password_pbkdf2_default_rounds.*@password_pbkdf2_default_rounds = 1000@; s@^#? ?web *=.*@web = http://127.0.0.1:$port/tracker/@; s@^#? ?domain *=.*@domain = localhost@" "$tracker/config.ini"
cat "$here/classes.py" >> "$tracker/schema.py"
"$server/bin/roundup-admin" -i "$tracker" initialise example-password > /dev/null
exec "$server/bin/python" "$here/serve.py" "$tracker" "$port"
