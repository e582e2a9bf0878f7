#!/bin/sh
# Plays the whole README by itself: json-server and the Autotask simulator on loopback, a first load, edits on both sides, a run
# without work, new records. Prints PASS or FAIL for each claim and ends with 1 if one failed. Everything it makes, except for the
# installed json-server, is in a temporary folder and gone at the end. It stops after four minutes in any case.
# Usage: ./try.sh     SEAMLESS=/path/to/seamless where the program is not on the PATH; CRM_PORT, AUTOTASK_PORT and ADMIN_PORT move it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
seamless=${SEAMLESS:-$(command -v seamless || echo "$here/../../target/release/seamless")}
case $seamless in */*) seamless=$(cd "$(dirname "$seamless")" && pwd)/$(basename "$seamless") ;; esac
[ -x "$seamless" ] || { echo "no program $seamless: cargo build --release -p seamless, or set SEAMLESS" >&2; exit 2; }
for tool in node npm curl; do
    command -v $tool > /dev/null || { echo "$tool is needed" >&2; exit 2; }
done

crm_port=${CRM_PORT:-3900} autotask_port=${AUTOTASK_PORT:-3901} admin_port=${ADMIN_PORT:-3902}
crm=http://127.0.0.1:$crm_port admin=http://127.0.0.1:$admin_port
export AUTOTASK_INTEGRATION_CODE=SANDBOX AUTOTASK_SECRET=sandbox-secret no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

dir=$(mktemp -d)
failed=0 started= running=
stop() {
    trap - EXIT INT TERM
    started="$started $running"
    for pid in $started; do kill "$pid" 2> /dev/null || true; done
    # Ports and files are free once they are gone.
    ( trap 'kill $!; exit 0' TERM; sleep 5 & wait; for pid in $started; do kill -KILL "$pid"; done ) > /dev/null 2>&1 &
    for pid in $started; do wait "$pid" 2> /dev/null || true; done
    kill $! 2> /dev/null || true
    rm -rf "$dir"
}
trap stop EXIT
exec 3>&1 # because a trap runs with the redirections of the command that it interrupts
trap 'echo "FAIL  stopped before the end" >&3; stop; exit 1' INT TERM
( trap 'kill $!; exit 0' TERM; sleep 240 & wait; kill -TERM $$ ) &
started="$started $!"

# claim TEXT COMMAND...: runs the command and tells whether it held.
claim() {
    text=$1
    shift
    if "$@" > "$dir/claim.log" 2>&1; then echo "PASS  $text"; else
        echo "FAIL  $text"
        head -n 20 "$dir/claim.log" | sed 's/^/      /'
        failed=1
    fi
}
# json EXPRESSION: JSON from stdin, as `d`.
json() { node -pe "const d = JSON.parse(require('fs').readFileSync(0)); $1"; }
get() { curl -sf --max-time 20 "$@"; }
post() { get -H 'Content-Type: application/json' "$@"; }
wait_for() {
    i=0
    until get -o /dev/null "$1"; do
        i=$((i + 1))
        [ $i -lt 1200 ] || { echo "FAIL  nothing answers at $1"; tail -n 5 "$dir"/*.log; exit 1; }
        sleep 0.1
    done
}
# bounded COMMAND...: in the background, because a shell notices a signal only between the commands in its foreground.
bounded() {
    "$@" &
    running=$!
    code=0
    wait $running || code=$?
    running=
    return $code
}
# run ARGUMENTS...: one run until nothing is left to do; 4 means done, with something set aside for a person.
run() {
    code=0
    bounded "$seamless" run --once --json --log warn "$@" > "$dir/run.json" 2> "$dir/run.log" || code=$?
    [ $code -eq 0 ] || [ $code -eq 4 ] || { echo "FAIL  seamless run ended with $code"; head -n 20 "$dir/run.log"; exit 1; }
}
autotask_writes() { get "$admin/calls" | json 'd.calls.filter(c => c.system === "autotask" && c.write).length'; }
crm_writes() { grep -acE '(POST|PUT|PATCH|DELETE) /' "$dir/crm.log" || true; }
company() { get "$admin/record?system=autotask&entity=account&id=$1"; }
everything() {
    get "$crm/db" > "$dir/crm.json"
    for entity in account contact; do
        get "$admin/records?system=autotask&entity=$entity&limit=5000" > "$dir/autotask-$entity.json"
    done
}
# in_step: every record on either side has its counterpart, pointing at each other, and what both can hold is the same.
in_step() {
    everything
    node - "$dir" <<'JS'
const read = name => JSON.parse(require("fs").readFileSync(`${process.argv[2]}/${name}.json`));
const crm = read("crm"), blank = v => v ?? "", wrong = [];
const fields = {
  account: { companyName: r => r.name, phone: r => r.phone, address1: r => r.address?.street, city: r => r.address?.city,
    postalCode: r => r.address?.zip, webAddress: r => r.website, companyNumber: r => r.number },
  contact: { firstName: r => r.firstName, lastName: r => r.lastName, emailAddress: r => r.email, phone: r => r.phone,
    city: r => r.address?.city, companyID: r => crm.accounts.find(a => a.id === r.accountId)?.autotaskId },
};
for (const entity of ["account", "contact"]) {
  const there = crm[entity + "s"], here = read("autotask-" + entity).records;
  console.log(`${entity}s: ${here.length} in Autotask, ${there.length} in json-server`);
  if (here.length !== there.length) wrong.push(`${entity}s: the counts differ`);
  for (const row of here) {
    const twin = there.filter(r => r.autotaskId === String(row.id));
    if (twin.length !== 1 || row.xref !== String(twin[0].id)) wrong.push(`${entity} ${row.id}: ${twin.length} counterparts`);
    else for (const [name, of] of Object.entries(fields[entity]))
      if (String(blank(row.fields[name])).trim() !== String(blank(of(twin[0]))).trim()) wrong.push(`${entity} ${row.id}: ${name} differs`);
  }
}
for (const line of wrong) console.log(line);
process.exit(wrong.length ? 1 : 0);
JS
}
equal() { [ "$1" = "$2" ] || { echo "expected $2, found $1"; return 1; }; }

for port in $crm_port $autotask_port $admin_port; do
    code=0
    curl -s --max-time 20 -o /dev/null "http://127.0.0.1:$port" || code=$?
    [ $code -eq 7 ] || { echo "port $port is in use; see the usage in $0" >&2; exit 2; }
done
sed "s|http://127.0.0.1:3900|$crm|" "$here/manifest.toml" > "$dir/manifest.toml"
sed "s|http://127.0.0.1:3901|http://127.0.0.1:$autotask_port|" "$here/tenant.toml" > "$dir/tenant.toml"

"$here/start.sh" "$crm_port" "$dir/db.json" > "$dir/crm.log" 2>&1 < /dev/null &
started="$started $!"
"$seamless" sandbox --records 40 --autotask-port "$autotask_port" --admin-port "$admin_port" > "$dir/sandbox.log" 2>&1 < /dev/null &
started="$started $!"
wait_for "$crm/db"
wait_for "$admin/health"
cd "$dir"

# One account is in both systems already: it has to be recognised.
known=29683000
company $known | json 'JSON.stringify({ name: d.fields.companyName.toUpperCase(), type: "lead", address: { zip: d.fields.postalCode } })' > known.json
post "$crm/accounts" -d @known.json > /dev/null

"$seamless" keys generate --out keys.json > /dev/null
claim "check finds nothing wrong" bounded "$seamless" check

run --accept
claim "first load: both sides hold the same records" in_step
grep -E '^(accounts|contacts):' claim.log | sed 's/^/      /'
claim "the account that was in both systems is linked, not doubled" equal "$(company $known | json 'd.xref')" 1

# A person edits the phone here, another one the city there, of the same record.
a=$(autotask_writes)
post -X PATCH "$crm/accounts/1" -d '{ "phone": "+1 555 0101" }' > /dev/null
post "$admin/edit" -d "{\"system\":\"autotask\",\"entity\":\"account\",\"id\":$known,\"fields\":{\"city\":\"Tromsø\"}}" > /dev/null
c=$(crm_writes)
run
claim "json-server has both edits" equal "$(get "$crm/accounts/1" | json 'd.phone + ", " + d.address.city')" "+1 555 0101, Tromsø"
claim "Autotask has both edits" equal "$(company $known | json 'd.fields.phone + ", " + d.fields.city')" "+1 555 0101, Tromsø"
claim "one write each was enough" equal "$(($(autotask_writes) - a)) $(($(crm_writes) - c))" "1 1"
claim "Autotask's was of that field alone" equal "$(get "$admin/calls" | json 'd.calls.filter(c => c.write).slice(-1)[0].fields.join()')" phone

a=$(autotask_writes) c=$(crm_writes)
cp db.json before.json
run
claim "a run without edits writes nothing" equal "$(($(autotask_writes) - a)) $(($(crm_writes) - c))" "0 0"
claim "json-server's file is the same to the byte" cmp before.json db.json

# New records, in json-server; the second account lacks what Autotask demands.
account=$(post "$crm/accounts" -d '{ "name": "Fjord & Sønner", "phone": "+47 22 33 44 55", "type": "customer",
    "address": { "street": "Storgata 1", "city": "Oslo", "zip": "0155", "country": "NO" } }' | json 'd.id')
contact=$(post "$crm/contacts" -d "{ \"firstName\": \"Zoë\", \"lastName\": \"Lie\", \"email\": \"zoe@example.com\", \"accountId\": $account }" | json 'd.id')
bare=$(post "$crm/accounts" -d '{ "name": "No Phone", "type": "lead" }' | json 'd.id')
run
everything
theirs=$(json "d.accounts.find(r => r.id === $account).autotaskId" < crm.json)
claim "the new account is in Autotask" equal "$(company "$theirs" | json 'd.fields.companyName + " " + d.xref')" "Fjord & Sønner $account"
claim "the new contact is there too, below it" equal \
    "$(json "const r = d.records.find(r => r.xref === '$contact'); r ? r.fields.lastName + ' ' + r.fields.companyID : 'none'" < autotask-contact.json)" "Lie $theirs"
claim "the account without a phone is set aside" equal "$("$seamless" status --parked --json | json 'd.records.map(r => r.record + " " + r.reason).join()')" \
    "crm:$bare parked_required"

post -X PATCH "$crm/accounts/$bare" -d '{ "phone": "+1 555 0102" }' > /dev/null
run
claim "given a phone it follows; both sides hold the same records" in_step
grep -E '^(accounts|contacts):' claim.log | sed 's/^/      /'

a=$(autotask_writes) c=$(crm_writes)
run
claim "a last run writes nothing" equal "$(($(autotask_writes) - a)) $(($(crm_writes) - c))" "0 0"
claim "the simulator saw no duplicate and no echo" equal "$(get "$admin/truth" | json 'd.duplicates + d.echo_writes')" 0

[ $failed -eq 0 ] && echo "all passed" || echo "something failed"
exit $failed
