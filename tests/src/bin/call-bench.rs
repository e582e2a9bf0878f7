//! `cargo run --release -p seamless-tests --bin call-bench`: what the main job costs in calls to Autotask, counted by the sandbox.

use std::collections::BTreeMap;

use seamless_sandbox::Config;
use seamless_tests::{World, number};
use serde_json::json;

const RECORDS: usize = 16_000;
const CHANGES: usize = 10_000;
const UPDATES: usize = 1_000;

fn main() {
    let world = World::new(Config {
        records: RECORDS,
        mess: false,
        hourly_limit: 1_000_000,
        ..Config::default()
    });
    let first = counted(&world, || drop(world.good_run()));
    tell(&format!("first load of {RECORDS} records"), &first);

    let mut changed = 0;
    for (entity, field) in [("contact", "city"), ("account", "city")] {
        for record in world.linked("autotask", entity).iter().take(CHANGES - changed) {
            world.edit("autotask", entity, &record["id"], json!({ field: "Edited" }));
            changed += 1;
        }
    }
    let read = counted(&world, || drop(world.good_run()));
    tell(&format!("{changed} records changed in Autotask"), &read);

    let mut updates = 0;
    for record in world.linked("crm", "contact").iter().take(UPDATES) {
        world.edit("crm", "contact", &record["id"], json!({ "last_name": "Edited" }));
        updates += 1;
    }
    let written = counted(&world, || drop(world.good_run()));
    tell(&format!("{updates} contacts changed in the CRM"), &written);

    let idle = counted(&world, || drop(world.good_run()));
    tell("nothing changed", &idle);
    println!("\nviolations: {}", world.get("/stats")["violations"]);
}

fn by_endpoint(world: &World) -> BTreeMap<String, u64> {
    let stats = world.get("/stats");
    let endpoints = stats["autotask"]["by_endpoint"].as_object().cloned();
    let endpoints = endpoints.unwrap_or_default();
    endpoints
        .iter()
        .map(|(name, count)| (name.clone(), number(count)))
        .collect()
}

fn counted(world: &World, job: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = by_endpoint(world);
    job();
    let mut after = by_endpoint(world);
    for (name, count) in before {
        after.entry(name).and_modify(|now| *now -= count);
    }
    after.retain(|_, count| *count > 0);
    after
}

fn tell(what: &str, calls: &BTreeMap<String, u64>) {
    println!("\n{what}: {} calls to Autotask", calls.values().sum::<u64>());
    for (endpoint, count) in calls {
        println!("  {count:>7}  {endpoint}");
    }
}
