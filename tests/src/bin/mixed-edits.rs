//! `cargo run --release -p seamless-tests --bin mixed-edits`: 10,000 records of all four entities, edited on both sides while no host runs; then one
//! run has to bring everything in step. Ends with 1 when it does not.

use std::process::ExitCode;

use seamless_sandbox::Config;
use seamless_tests::{World, number};
use serde_json::{Value as Json, json};

/// System, entity, and the field that a person edits there. Tickets and opportunities flow from the CRM.
const EDITS: [(&str, &str, &str); 8] = [
    ("crm", "account", "city"),
    ("autotask", "account", "address1"),
    ("crm", "account", "website"),
    ("autotask", "account", "webAddress"),
    ("crm", "contact", "last_name"),
    ("autotask", "contact", "firstName"),
    ("crm", "ticket", "subject"),
    ("crm", "opportunity", "title"),
];

fn main() -> ExitCode {
    let world = World::new(Config {
        records: 8_000,
        crm_tickets: 1_200,
        crm_opportunities: 800,
        hourly_limit: 1_000_000,
        ..Config::default()
    });
    world.good_run();
    let mut edits = 0;
    for (system, entity, field) in EDITS {
        // Two fields of one record, and one field on both sides, come about by themselves: every other record is edited for each line.
        for (index, record) in world.linked(system, entity).iter().enumerate().step_by(2) {
            world.edit(
                system,
                entity,
                &record["id"],
                json!({ field: format!("{system} {index}") }),
            );
            edits += 1;
        }
    }
    let calls = world.last_call();
    let summary = world.good_run().json();
    let writes = number(&world.get("/stats")["writes"]);
    let truth = world.truth();
    let wrong: u64 = ["duplicates", "lost_edits", "echo_writes"]
        .iter()
        .map(|name| number(&truth[*name]))
        .sum();
    println!(
        "{edits} edits; duplicates {}, lost edits {} ({} in the open window), echoes {}; {} conflicts, {} pairs, {} calls in that run, {writes} writes in all",
        truth["duplicates"],
        truth["lost_edits"],
        truth["overtaken_edits"],
        truth["echo_writes"],
        summary["counters"].get("conflicts").unwrap_or(&Json::Null),
        summary["linked"],
        world.last_call() - calls,
    );
    let before = world.last_call();
    world.good_run();
    let idle = world.writes_since(before).len();
    println!("{idle} writes in a run that follows");
    if wrong > 0 || idle > 0 {
        println!("{:#}", truth["details"]);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
