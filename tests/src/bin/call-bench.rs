//! `cargo run --release -p seamless-tests --bin call-bench`: what the main job costs in calls to Autotask, counted by the sandbox.
//! Smaller, for a slow machine: `call-bench RECORDS CHANGES UPDATES`.

use std::collections::BTreeMap;

use seamless_sandbox::Config;
use seamless_tests::World;
use serde_json::json;

const RECORDS: usize = 19_000;
const CHANGES: usize = 10_000;
const UPDATES: usize = 1_000;
/// Records in a page.
const PAGE: usize = 500;
/// Wanted beside full pages, however much has changed: pages that are not full, and the second look.
const READS_BESIDE: u64 = 10;
/// `stale_read_max` of the connector.
const STALE_READ_MAX_MS: u64 = 2_000;
/// Calls wanted beside the writes themselves, for a thousand of them.
const CALLS_BESIDE: u64 = 150;

fn main() {
    let mut sizes = std::env::args()
        .skip(1)
        .map(|size| size.parse().expect("a number"));
    let mut size = |default| sizes.next().unwrap_or(default);
    let (records, changes, updates) = (size(RECORDS), size(CHANGES), size(UPDATES));
    let world = World::new(Config {
        records,
        mess: false,
        hourly_limit: 1_000_000,
        ..Config::default()
    });
    let first = counted(&world, || drop(world.good_run()));
    tell(&format!("first load of {records} records"), &first);
    // What has just been written is not read again: an hour is longer than any overlap.
    world.an_hour_later();

    // What every start asks for, whatever there is to do: the zone, descriptions, lists of people and countries, the count of calls.
    let idle = counted(&world, || drop(world.good_run()));
    tell("nothing changed", &idle);
    let beside = |calls: &BTreeMap<String, u64>| {
        let sum = |calls: &BTreeMap<String, u64>| calls.values().sum::<u64>();
        sum(calls).saturating_sub(sum(&idle))
    };

    let mut changed = 0;
    for (entity, field) in [("contact", "city"), ("account", "city")] {
        for record in world.linked("autotask", entity).iter().take(changes - changed) {
            world.edit("autotask", entity, &record["id"], json!({ field: "Edited" }));
            changed += 1;
        }
    }
    let read = counted(&world, || drop(world.good_run()));
    tell(&format!("{changed} records changed in Autotask"), &read);
    let reads = beside(&read);

    let mut edited = 0;
    for record in world.linked("crm", "contact").iter().take(updates) {
        world.edit("crm", "contact", &record["id"], json!({ "last_name": "Edited" }));
        edited += 1;
    }
    world.post("/clock", json!({ "advance_secs": 3600 }));
    let written = counted(&world, || drop(world.good_run()));
    tell(&format!("{edited} contacts changed in the CRM"), &written);
    let calls = beside(&written);

    let stats = world.get("/stats");
    println!("\nviolations: {}", stats["violations"]);
    let ages = &stats["autotask_updates"];
    println!(
        "oldest read at an update: {} ms, at most {STALE_READ_MAX_MS} wanted; updates of unread records: {}",
        ages["oldest_ms"], ages["unread"]
    );
    let reads_max = changed.div_ceil(PAGE) as u64 + READS_BESIDE;
    let calls_max = edited as u64 + CALLS_BESIDE * (edited as u64).div_ceil(1_000);
    println!("reading {changed} changes: {reads} calls more than an idle run, {reads_max} wanted");
    println!("writing {edited} changes: {calls} calls more than an idle run, {calls_max} wanted");
}

/// Calls to Autotask while something is done, by method and endpoint.
fn counted(world: &World, job: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = by_endpoint(world);
    job();
    let mut counts = BTreeMap::new();
    for (endpoint, total) in by_endpoint(world) {
        let count = total - before.get(&endpoint).copied().unwrap_or_default();
        if count > 0 {
            counts.insert(endpoint, count);
        }
    }
    counts
}

fn by_endpoint(world: &World) -> BTreeMap<String, u64> {
    let stats = world.get("/stats");
    let counts = stats["autotask"]["by_endpoint"].as_object().cloned();
    let counts = counts.unwrap_or_default().into_iter();
    counts
        .map(|(endpoint, count)| (endpoint, count.as_u64().unwrap_or_default()))
        .collect()
}

fn tell(what: &str, calls: &BTreeMap<String, u64>) {
    println!("\n{what}: {} calls to Autotask", calls.values().sum::<u64>());
    for (endpoint, count) in calls {
        println!("  {count:>7}  {endpoint}");
    }
}
