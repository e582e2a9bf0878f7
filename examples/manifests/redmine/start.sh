#!/bin/sh
# Makes an empty database for Debian's Redmine and serves it on loopback.
# Usage: ./start.sh     Needs Debian's packages redmine, redmine-sqlite and puma, as they come; nothing of their configuration is used or changed, but the
# place of the database. Ctrl-C stops it; the data are made anew each time. API key: exampleapikey.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=$here/.server
port=3916
[ -d /usr/share/redmine ] && [ -x /usr/bin/puma ] || { echo "missing: apt-get install --no-install-recommends redmine redmine-sqlite puma" >&2; exit 2; }
rm -rf "$server"
mkdir -p "$server"
export RAILS_ENV=production RACK_ENV=production X_DEBIAN_SITEID=default DATABASE_URL="sqlite3:$server/redmine.db" RAILS_LOG_TO_STDOUT=1
cd /usr/share/redmine
bundle exec rake -s db:migrate > "$server/setup.log" 2>&1
bundle exec ruby bin/rails runner "$here/setup.rb" >> "$server/setup.log" 2>&1
exec puma -t 4:4 -b "tcp://127.0.0.1:$port" config.ru
