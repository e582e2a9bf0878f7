#!/bin/sh
# Runs two Autotask clients that nobody here wrote against the simulator. Installs them outside of the repository; needs npm and Python >= 3.12.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
away=$(mktemp -d)
port=${PORT:-41777}
cargo build --manifest-path "$top/Cargo.toml" -p seamless
npm install --no-audit --no-fund --prefix "$away" @apigrate/autotask-restapi@2.0.1
"${PYTHON:-python3}" -m venv "$away/venv"
"$away/venv/bin/pip" -q install autotask-client==0.3.1
cp "$here/apigrate.js" "$away/"
"$top/target/debug/seamless" sandbox --records 3000 --autotask-port "$port" >"$away/sandbox.log" &
sandbox=$!
trap 'kill $sandbox; rm -r "$away"' EXIT
sleep 2
node "$away/apigrate.js" "http://127.0.0.1:$port"
"$away/venv/bin/python" "$here/client.py" "http://127.0.0.1:$port"
