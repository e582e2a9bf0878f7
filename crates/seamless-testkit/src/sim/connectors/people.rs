//! What people do in the two systems meanwhile.

use std::collections::BTreeSet;

use seamless_sandbox::Offline;
use serde_json::{Value as Json, json};

use crate::sim::rng::Rng;

/// System, entity and field that a person edits. Tickets and opportunities flow from the CRM.
const EDITED: [(&str, &str, &str); 14] = [
    ("autotask", "account", "city"),
    ("crm", "account", "city"),
    ("autotask", "account", "webAddress"),
    ("crm", "account", "website"),
    ("crm", "account", "street"),
    ("autotask", "account", "address1"),
    ("autotask", "contact", "firstName"),
    ("crm", "contact", "first_name"),
    ("autotask", "contact", "lastName"),
    ("crm", "contact", "last_name"),
    ("crm", "contact", "mobile"),
    ("crm", "ticket", "subject"),
    ("crm", "ticket", "description"),
    ("crm", "opportunity", "title"),
];

/// Records that a write is under way for, or whose first merge is not over, as system, entity and id: who edits them meanwhile may lose (R4, R7, R8).
/// What becomes of such edits is the other simulator's business, which knows what the engine could have known.
pub(super) type Busy = BTreeSet<(&'static str, String, String)>;

/// One deed.
pub(super) fn act(systems: &Offline, rng: &mut Rng, serial: u64, busy: &Busy, twins: bool) -> Option<String> {
    match rng.below(10) {
        0 => Some(create(systems, rng, serial, twins)),
        1 => empty(systems, rng, busy),
        _ => edit(systems, rng, serial, busy),
    }
}

/// Now and then the same new customer comes to be on both sides.
fn create(systems: &Offline, rng: &mut Rng, serial: u64, twins: bool) -> String {
    let name = format!("Firm {serial}");
    let firm = json!({
        "companyName": name, "postalCode": "10001", "phone": "1", "companyType": 1, "ownerResourceID": OWNER,
    });
    let account = json!({ "name": name, "zip": "10001", "type": "customer" });
    let places: &[(&str, &Json)] = match rng.below(if twins { 3 } else { 2 }) {
        0 => &[("autotask", &firm)],
        1 => &[("crm", &account)],
        _ => &[("autotask", &firm), ("crm", &account)],
    };
    for (system, fields) in places {
        post(
            systems,
            "/create",
            &json!({ "system": system, "entity": "account", "fields": fields, "label": "a person" }),
        );
    }
    format!("a person makes {name} in {} system(s)", places.len())
}

/// Whom new companies belong to.
const OWNER: i64 = 29_682_885;

fn edit(systems: &Offline, rng: &mut Rng, serial: u64, busy: &Busy) -> Option<String> {
    let (system, entity, field) = EDITED[rng.below(EDITED.len() as u64) as usize];
    // Never the same value twice: whether two people who write the same have agreed or one has gone back depends on when somebody looked, and the sandbox's
    // judge cannot know that. The other simulator tries it.
    let value = match field {
        "mobile" => format!("518-555-{serial:04}"),
        _ => format!("{system} {serial}"),
    };
    put(systems, rng, (system, entity), json!({ field: value }), busy)
}

/// A field is emptied.
fn empty(systems: &Offline, rng: &mut Rng, busy: &Busy) -> Option<String> {
    let (entity, field) = [
        ("account", "website"),
        ("contact", "mobile"),
        ("account", "street"),
    ][rng.below(3) as usize];
    put(systems, rng, ("crm", entity), json!({ field: null }), busy)
}

fn put(
    systems: &Offline,
    rng: &mut Rng,
    (system, entity): (&'static str, &str),
    fields: Json,
    busy: &Busy,
) -> Option<String> {
    let (_, page) = systems.admin(
        "GET",
        &format!("/records?system={system}&entity={entity}&limit=5000"),
        &Json::Null,
    );
    let other = if system == "crm" { "autotask" } else { "crm" };
    let text = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let is_busy = |system, json: &Json| busy.contains(&(system, entity.to_owned(), text(json)));
    let is_free = |record: &&Json| {
        record["xref"].is_string() && !is_busy(system, &record["id"]) && !is_busy(other, &record["xref"])
    };
    let linked: Vec<&Json> = page["records"].as_array()?.iter().filter(is_free).collect();
    if linked.is_empty() {
        return None;
    }
    let id = &linked[rng.below(linked.len() as u64) as usize]["id"];
    post(
        systems,
        "/edit",
        &json!({ "system": system, "entity": entity, "id": id, "fields": fields, "label": "a person" }),
    );
    Some(format!("a person edits {system} {entity} {id}: {fields}"))
}

fn post(systems: &Offline, route: &str, body: &Json) {
    let (status, answer) = systems.admin("POST", route, body);
    debug_assert_eq!(status, 200, "{route}: {answer}");
}
