use std::collections::HashMap;

use crate::config::Config;
use crate::world::World;
use crate::{Entity, System};

fn world_of(config: Config) -> World {
    World::new(config, crate::clock::Clock::new(1.0))
}

fn world(records: usize) -> World {
    world_of(Config {
        records,
        ..Config::default()
    })
}

/// Values of two fields, trimmed and in lower case.
fn keys(w: &World, system: System, entity: Entity, names: [&str; 2]) -> Vec<(String, String)> {
    let table = w.table(system, entity);
    let [a, b] = names.map(|n| table.schema.find(n).unwrap());
    let text = |v: &crate::value::Value| {
        v.as_int()
            .map_or(v.as_str().trim().to_lowercase(), |n| n.to_string())
    };
    table
        .iter()
        .filter(|r| r.id != 0)
        .map(|r| (text(r.get(a)), text(r.get(b))))
        .collect()
}

fn share_of_repeats(keys: Vec<(String, String)>) -> f64 {
    let total = keys.len() as f64;
    let mut seen: HashMap<(String, String), u32> = HashMap::new();
    for key in keys.into_iter().filter(|(a, b)| !a.is_empty() && !b.is_empty()) {
        *seen.entry(key).or_default() += 1;
    }
    f64::from(seen.values().filter(|n| **n > 1).sum::<u32>()) / total
}

#[test]
fn the_count_is_exact_and_a_quarter_are_accounts() {
    for records in [0, 1, 2, 7, 40, 1000, 2003] {
        let w = world(records);
        let n = |s, e| w.table(s, e).len();
        let accounts = n(System::Autotask, Entity::Account) - 1 + n(System::Crm, Entity::Account);
        let contacts = n(System::Autotask, Entity::Contact) + n(System::Crm, Entity::Contact);
        assert_eq!(accounts + contacts, records);
        assert!(
            records < 40 || accounts.abs_diff(records / 4) <= 1,
            "{accounts} of {records}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_names() {
    let names = |w: &World| keys(w, System::Crm, Entity::Account, ["name", "zip"]);
    assert_eq!(names(&world(300)), names(&world(300)));
    let other = world_of(Config {
        seed: 2,
        records: 300,
        ..Config::default()
    });
    assert_ne!(names(&world(300)), names(&other));
}

#[test]
fn twins_and_shared_mailboxes_are_as_frequent_as_promised() {
    let w = world(4000);
    let at = share_of_repeats(keys(
        &w,
        System::Autotask,
        Entity::Account,
        ["companyName", "postalCode"],
    ));
    let crm = share_of_repeats(keys(&w, System::Crm, Entity::Account, ["name", "zip"]));
    assert!(at >= 0.03 && crm >= 0.03, "twins: {at} {crm}");
    for (system, field) in [(System::Autotask, "emailAddress"), (System::Crm, "email")] {
        let shared = share_of_repeats(keys(&w, system, Entity::Contact, [field, field]));
        assert!(shared >= 0.05, "shared e-mails in {system:?}: {shared}");
    }
}

#[test]
fn about_a_tenth_can_be_matched_across() {
    let w = world(4000);
    let crm: std::collections::HashSet<_> = keys(&w, System::Crm, Entity::Account, ["name", "zip"])
        .into_iter()
        .collect();
    let at = keys(
        &w,
        System::Autotask,
        Entity::Account,
        ["companyName", "postalCode"],
    );
    let hits = at.iter().filter(|k| crm.contains(*k)).count() as f64 / at.len() as f64;
    assert!((0.1..0.35).contains(&hits), "{hits}");
}

#[test]
fn clean_data_have_no_twins() {
    let w = world_of(Config {
        records: 2000,
        mess: false,
        ..Config::default()
    });
    assert_eq!(
        share_of_repeats(keys(&w, System::Crm, Entity::Account, ["name", "zip"])),
        0.0
    );
    assert_eq!(
        share_of_repeats(keys(&w, System::Crm, Entity::Contact, ["email", "email"])),
        0.0
    );
}
