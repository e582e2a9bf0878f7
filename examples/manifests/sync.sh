#!/bin/sh
# Keeps one system of the gallery in step with a simulated Autotask, both ways, and prints PASS or FAIL for each claim: a first load, a run without work,
# an edit on either side, a new record on either side. Ends with 1 if a claim failed. Everything but the installed server is in a temporary
# folder and gone at the end. It stops after five minutes in any case.
# Usage: ./sync.sh kinto|couchdb|datasette|roundup|pocketbase|redmine|directus     Needs curl and Python 3, and what the system's start.sh needs.
# SEAMLESS=/path/to/seamless where the program is not on the PATH; AUTOTASK_PORT and ADMIN_PORT move the simulator.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=${1:-}
# What the fields are called there.
name_field=name phone_field=phone city_field=city type_field=type
case $name in
    kinto) port=3911 city_field=address.city REST_USERNAME=ann REST_PASSWORD=example-password ;;
    couchdb) port=3912 city_field=address.city REST_USERNAME=ann REST_PASSWORD=example-password SESSION_SECS=${SESSION_SECS:-3} ;; # sessions end while the sync runs
    datasette) port=3913 ;;
    roundup) port=3914 REST_USERNAME=admin REST_PASSWORD=example-password ;;
    # A token lives ten seconds, so that several end while the sync runs; more than 20 calls a second are answered with 429.
    pocketbase) port=3915 REST_USERNAME=ann@example.com REST_PASSWORD=example-password SESSION_SECS=${SESSION_SECS:-10} ;;
    redmine) port=3916 REST_API_KEY=exampleapikey name_field=subject phone_field=custom_fields.6 city_field=custom_fields.2 type_field=custom_fields.8 ;;
    # The same, with 12 calls a second.
    directus) port=3917 REST_USERNAME=ann@example.com REST_PASSWORD=example-password SESSION_SECS=${SESSION_SECS:-10} CALLS_A_SECOND=${CALLS_A_SECOND:-12} ;;
    *) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
esac
seamless=${SEAMLESS:-$(command -v seamless || echo "$here/../../target/release/seamless")}
[ -x "$seamless" ] || { echo "no program $seamless: cargo build --release -p seamless, or set SEAMLESS" >&2; exit 2; }
autotask_port=${AUTOTASK_PORT:-3901} admin_port=${ADMIN_PORT:-3902}
admin=http://127.0.0.1:$admin_port
export AUTOTASK_INTEGRATION_CODE=SANDBOX AUTOTASK_SECRET=sandbox-secret no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
export REST_USERNAME REST_PASSWORD REST_API_KEY SESSION_SECS CALLS_A_SECOND 2> /dev/null || true

dir=$(mktemp -d)
started= failed=0
stop() {
    trap - EXIT INT TERM
    for pid in $started; do kill "$pid" 2> /dev/null || true; done
    for pid in $started; do wait "$pid" 2> /dev/null || true; done
    rm -rf "$dir"
}
trap stop EXIT
exec 3>&1 # a claim that is stopped has its output elsewhere
trap 'echo "FAIL  stopped before the end" >&3; stop; exit 1' INT TERM
( trap 'kill $!; exit 0' TERM; sleep 300 & wait; kill -TERM $$ ) &
started="$started $!"

for used in $port $autotask_port $admin_port; do
    code=0
    curl -s --max-time 5 -o /dev/null "http://127.0.0.1:$used" || code=$?
    [ $code -eq 7 ] || { echo "port $used is in use" >&2; exit 2; }
done
claim() {
    text=$1
    shift
    if "$@" > "$dir/claim.log" 2>&1; then echo "PASS  $text"; else
        echo "FAIL  $text"
        head -n 20 "$dir/claim.log" | sed 's/^/      /'
        failed=1
    fi
}
equal() { [ "$1" = "$2" ] || { echo "expected $2, found $1"; return 1; }; }
# json EXPRESSION: JSON from stdin, as `d`.
json() { python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"; }
wait_for() {
    i=0
    until curl -s -o /dev/null --max-time 5 "$1"; do
        i=$((i + 1))
        [ $i -lt 600 ] || { echo "FAIL  nothing answers at $1"; tail -n 5 "$dir"/*.log; exit 1; }
        sleep 0.2
    done
}
try() { "$seamless" rest try "$dir/manifest.toml" "$@" --json; }
# run: until nothing is left to do; 4 means done, with something set aside for a person.
run() {
    code=0
    "$seamless" run --once --log warn "$@" > "$dir/run.log" 2>&1 || code=$?
    [ $code -eq 0 ] || [ $code -eq 4 ] || { echo "FAIL  seamless run ended with $code"; head -n 20 "$dir/run.log"; exit 1; }
}
links() { "$seamless" links export | grep "^$1," || true; }
autotask_writes() { curl -sf "$admin/calls" | json 'sum(1 for c in d["calls"] if c["system"] == "autotask" and c["write"])'; }
autotask() { curl -sf "$admin/record?system=autotask&entity=account&id=$1"; }

"$here/$name/start.sh" > "$dir/server.log" 2>&1 < /dev/null &
started="$started $!"
"$seamless" sandbox --records 30 --tickets 0 --opportunities 0 --no-mess --autotask-port "$autotask_port" --admin-port "$admin_port" > "$dir/sandbox.log" 2>&1 < /dev/null &
started="$started $!"
wait_for "http://127.0.0.1:$port"
wait_for "$admin/health"
sleep 1 # start.sh may still be making its collections
[ "$name" != datasette ] || { REST_TOKEN=$("$here/datasette/start.sh" --token); export REST_TOKEN; }

cp "$here/$name/manifest.toml" "$dir/manifest.toml"
cd "$dir"
cat > tenant.toml <<TENANT
tenant = "gallery"
data_dir = "data"

[keys]
provider = "file"
path = "keys.json"

[systems.autotask]
kind = "autotask"
endpoint = "http://127.0.0.1:$autotask_port"
allow_private_network = true
username = "integration@example.test"
integration_code = { env = "AUTOTASK_INTEGRATION_CODE" }
secret = { env = "AUTOTASK_SECRET" }
default_owner_resource_id = 29682885
settle_after_secs = 1
search_lag_secs = 1

[systems.crm]
kind = "rest"
manifest = "manifest.toml"
allow_private_network = true
$([ -z "${REST_TOKEN:-}" ] || echo 'token = { env = "REST_TOKEN" }')
$([ -z "${REST_API_KEY:-}" ] || echo 'api_key = { env = "REST_API_KEY" }')
$([ -z "${REST_USERNAME:-}" ] || echo "username = \"$REST_USERNAME\"
password = { env = \"REST_PASSWORD\" }")

[syncs.account]
between = ["autotask", "crm"]
match = [{ name = "name and postal code", fields = ["name", "address.postal_code"] }]

[syncs.contact]
between = ["autotask", "crm"]
TENANT
"$seamless" keys generate --out keys.json > /dev/null
# What is broken comes first, if anything is.
conforms() {
    code=0
    "$seamless" check --conformance crm "$@" > conformance.log 2>&1 || code=$?
    grep -E '^ *(broken|left over|error)' conformance.log || true
    return $code
}
claim "check finds nothing wrong" conforms

run --accept
accounts=$(curl -sf "$admin/records?system=autotask&entity=account&limit=5000" | json 'len(d["records"])')
contacts=$(curl -sf "$admin/records?system=autotask&entity=contact&limit=5000" | json 'len(d["records"])')
claim "first load: $accounts accounts and $contacts contacts are in both systems" equal "$(links account | wc -l) $(links contact | wc -l)" "$accounts $contacts"
a=$(autotask_writes)
run
claim "a run without edits writes nothing" equal "$(($(autotask_writes) - a))" 0

pair=$(links account | head -n 1)
here_id=$(echo "$pair" | cut -d, -f2 | sed 's/.*://') there_id=$(echo "$pair" | cut -d, -f3 | sed 's/.*://')
try accounts update "$there_id" $phone_field='"+1 555 0101"' > "$dir/update.json"
curl -sf -o /dev/null -H 'Content-Type: application/json' "$admin/edit" -d "{\"system\":\"autotask\",\"entity\":\"account\",\"id\":$here_id,\"fields\":{\"city\":\"Tromsø\"}}"
run
claim "the edit there is here" equal "$(autotask "$here_id" | json 'd["fields"]["phone"] + " " + d["fields"]["city"]')" "+1 555 0101 Tromsø"
field() { json "__import__('functools').reduce(lambda at, key: at[key], '$1'.split('.'), d['records'][0]['fields'])"; }
claim "the edit here is there" equal "$(try accounts get "$there_id" > record.json; field $phone_field < record.json) $(field $city_field < record.json)" "+1 555 0101 Tromsø"

new=$(try accounts create $name_field='"Fjord & Sønner"' $phone_field='"+47 22 33 44 55"' $type_field='"customer"' | json 'd["records"][0]["id"]')
run
claim "a new account there is here" equal "$(links account | grep -c ":$new\$\|,$new\$")" 1
a=$(autotask_writes)
run
claim "a last run writes nothing" equal "$(($(autotask_writes) - a))" 0
claim "the system keeps what its manifest says, writes among it" conforms --write
claim "the simulator saw no duplicate and no echo" equal "$(curl -sf "$admin/truth" | json 'd["duplicates"] + d["echo_writes"]')" 0

[ $failed -eq 0 ] && echo "all passed" || echo "something failed"
exit $failed
