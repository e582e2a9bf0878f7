//! `kill -9` at random moments, while people edit.

use std::collections::BTreeSet;
use std::time::Duration;

use seamless_sandbox::{Config, Fault, Faults, System};
use serde_json::{Value as Json, json};

use crate::{Rng, World};

/// Kills in one world, and how long its host lives between two of them.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seed of the records, the moments and the edits.
    pub seed: u64,
    /// How often the host is killed.
    pub kills: u32,
    /// Records at the beginning.
    pub records: usize,
    /// Longest life of a host, in milliseconds.
    pub life_ms_max: u64,
}

/// Loads, kills, edits, kills … and at last runs in peace. Returns what the sandbox says then.
///
/// # Panics
/// If the two systems are not in step afterwards; the message names the seed.
pub fn round(plan: Plan) -> Json {
    // Lost answers beside kills: an intent whose outcome nobody knows is what a kill must not turn into a twin.
    let lost_answer = Fault::chance(0.01).of(System::Autotask);
    let world = World::new(Config {
        seed: plan.seed,
        records: plan.records,
        crm_tickets: plan.records / 8,
        crm_opportunities: plan.records / 16,
        hourly_limit: 1_000_000,
        faults: Faults {
            lost_answer,
            ..Faults::default()
        },
        ..Config::default()
    });
    let mut rng = Rng::new(plan.seed);
    let mut known = Known::new();
    for _ in 0..plan.kills {
        let host = world.start(&["run", "--accept"]);
        // Most lives are short: the first load is where a kill hurts most.
        let life = rng.below(plan.life_ms_max).min(rng.below(plan.life_ms_max)) + 20;
        let edits_at = rng.below(life);
        std::thread::sleep(Duration::from_millis(edits_at));
        people_edit(&world, &mut rng, &mut known);
        std::thread::sleep(Duration::from_millis(life - edits_at));
        host.kill();
        if rng.below(4) == 0 {
            people_edit(&world, &mut rng, &mut known);
        }
    }
    world.faults(json!({}));
    world.good_run();
    world.assert_in_step(&format!("after {} kills, seed {}", plan.kills, plan.seed));
    let calls = world.last_call();
    world.good_run();
    let echoes = world.writes_since(calls);
    assert!(
        echoes.is_empty(),
        "seed {}: a run with nothing to do wrote: {echoes:?}",
        plan.seed
    );
    world.truth()
}

/// Records that were linked when people looked last, as system, entity and id.
type Known = BTreeSet<(String, String, String)>;

/// A few edits of fields that both systems can hold, on either side, and now and then the same new customer on both. Nobody edits what has just been
/// linked: until its first merge is over, the owner's value may be put over it (docs/protocol.md, Left out, R4).
fn people_edit(world: &World, rng: &mut Rng, known: &mut Known) {
    for _ in 0..rng.below(3) + 1 {
        let serial = rng.below(1_000_000);
        let (system, entity, field) = *rng.pick(&[
            ("autotask", "account", "city"),
            ("autotask", "account", "webAddress"),
            ("crm", "account", "city"),
            ("crm", "account", "street"),
            ("autotask", "contact", "firstName"),
            ("crm", "contact", "first_name"),
            ("crm", "contact", "mobile"),
        ]);
        let mut linked = world.linked(system, entity);
        linked.retain(|record| {
            let named = (system.to_owned(), entity.to_owned(), record["id"].to_string());
            !known.insert(named)
        });
        if linked.is_empty() {
            continue;
        }
        let id = rng.pick(&linked)["id"].clone();
        let mut fields = serde_json::Map::new();
        fields.insert(field.to_owned(), json!(format!("v{serial}")));
        world.edit(system, entity, &id, Json::Object(fields));
    }
    if rng.below(3) == 0 {
        let serial = rng.below(1_000_000_000);
        let name = format!("Twin {serial}");
        let firm = json!({
            "companyName": name, "postalCode": "10001", "phone": "1", "companyType": 1,
            "ownerResourceID": world.get("/config")["autotask"]["default_owner_id"],
        });
        world.create("autotask", "account", firm);
        world.create(
            "crm",
            "account",
            json!({ "name": name, "zip": "10001", "type": "customer" }),
        );
    }
}
