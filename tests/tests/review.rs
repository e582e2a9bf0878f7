//! What only a person can decide: shown side by side, decided at the command line.

use seamless_sandbox::Config;
use seamless_tests::{World, text};
use serde_json::{Value as Json, json};

fn reviews(world: &World) -> Vec<Json> {
    let ended = world.seamless(&["review", "--records", "1000", "--json"]);
    assert!(matches!(ended.code, 0 | 4), "{ended:?}");
    ended.json().as_array().cloned().expect("a list")
}

fn decide(world: &World, words: &[&str]) {
    let ended = world.seamless(words);
    assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
}

/// A CRM account whose name and postal code two Autotask accounts share.
fn ambiguous(world: &World) -> (String, Vec<String>) {
    let fields = json!({ "companyName": "Twin Peaks Ltd", "postalCode": "98065", "phone": "1" });
    let twins: Vec<String> = (0..2)
        .map(|_| format!("autotask:{}", world.create("autotask", "account", fields.clone())))
        .collect();
    let account = world.create(
        "crm",
        "account",
        json!({ "name": "Twin Peaks Ltd", "zip": "98065", "phone": "2" }),
    );
    (format!("crm:{}", text(Some(&account))), twins)
}

#[test]
fn a_person_links_what_looks_alike() {
    let world = World::of(20, 10);
    let (account, twins) = ambiguous(&world);
    world.good_run();
    let found = reviews(&world);
    let review = found.iter().find(|review| review["record"] == account.as_str());
    let review = review.unwrap_or_else(|| panic!("no question about {account}: {found:#?}"));
    let looks: Vec<&str> = review["looks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|look| text(look.get("record")))
        .collect();
    assert!(
        twins.iter().all(|twin| looks.contains(&twin.as_str())),
        "{looks:?}"
    );
    assert!(
        text(review.get("sentence")).contains("tell them apart"),
        "{review:#}"
    );

    decide(&world, &["review", "link", "account", &account, &twins[1]]);
    world.good_run();
    let (_, id) = account.split_once(':').expect("system:id");
    let linked = world.record("crm", "account", &json!(id));
    let counterpart = linked["counterpart"].to_string();
    assert_eq!(format!("autotask:{counterpart}"), twins[1], "{linked:#}");
    assert!(
        reviews(&world)
            .iter()
            .all(|review| review["record"] != account.as_str())
    );
}

#[test]
fn whoever_waits_for_an_imported_pair_goes_on() {
    let world = World::of(20, 12);
    let (account, twins) = ambiguous(&world);
    let (_, id) = account.split_once(':').expect("system:id");
    let contact = world.create(
        "crm",
        "contact",
        json!({ "account_id": id, "first_name": "Dale", "last_name": "Cooper", "email": "dale@peaks.example" }),
    );
    world.good_run();
    let linked = || world.record("crm", "contact", &contact)["counterpart"].clone();
    assert!(linked().is_null(), "its account waits for a person: {}", linked());

    let ended = world.seamless(&["links", "export"]);
    let head = ended.stdout.lines().next().expect("a head").to_owned();
    let twin = twins[1].trim_start_matches("autotask:");
    world.private("pairs.csv", &format!("{head}\naccount,{twin},{id}\n"));
    let file = world.path("pairs.csv");
    decide(&world, &["links", "import", &file.display().to_string()]);
    world.good_run();
    assert!(!linked().is_null(), "nobody told the contact");
}

#[test]
fn a_person_has_a_record_made_or_left_alone_and_parts_a_pair() {
    let world = World::of(20, 11);
    let (account, twins) = ambiguous(&world);
    world.good_run();
    let before = world.records("autotask", "account").len();
    decide(&world, &["review", "create", "account", &account]);
    for twin in &twins {
        decide(&world, &["review", "ignore", "account", twin]);
    }
    world.good_run();
    assert_eq!(
        world.records("autotask", "account").len(),
        before + 1,
        "one record is made"
    );
    assert!(
        reviews(&world).iter().all(|review| {
            let record = text(review.get("record"));
            record != account && !twins.iter().any(|twin| twin == record)
        }),
        "all three are decided"
    );

    decide(&world, &["review", "unlink", "account", &account]);
    let (_, id) = account.split_once(':').expect("system:id");
    world.edit("crm", "account", &json!(id), json!({ "city": "Troy" }));
    let calls = world.last_call();
    world.good_run();
    let touched = world.writes_since(calls);
    assert!(
        touched
            .iter()
            .all(|call| !call["fields"].to_string().contains("city")),
        "a pair that was parted is not kept in step: {touched:#?}"
    );
}

#[test]
fn a_conflict_is_not_hidden_behind_fields_that_wait_for_something_else() {
    let world = World::new(Config {
        records: 30,
        mess: false,
        hourly_limit: 1_000_000,
        ..Config::default()
    });
    world.configure(
        "[syncs.opportunity]\n",
        "[syncs.account.policy]\nwebsite = \"ask\"\n\n[syncs.opportunity]\n",
    );
    world.good_run();
    // Rows are kept in the order of Autotask's ids: the first pair waits for a shorter postal code, the last one for a person.
    let pairs = world.linked("autotask", "account");
    let (first, last) = (&pairs[0], &pairs[pairs.len() - 1]);
    let other = |pair: &Json| world.record("autotask", "account", &pair["id"])["counterpart"].clone();
    world.edit(
        "crm",
        "account",
        &other(first),
        json!({ "zip": "123456789012345" }),
    );
    world.edit(
        "crm",
        "account",
        &other(last),
        json!({ "website": "https://crm.example" }),
    );
    world.edit(
        "autotask",
        "account",
        &last["id"],
        json!({ "webAddress": "https://autotask.example" }),
    );
    world.good_run();
    let ended = world.seamless(&["review", "--records", "1", "--json"]);
    let found = ended.json();
    assert_eq!(found[0]["reason"], "conflict", "{found:#}");
    assert_eq!(found[0]["asked"], json!(["website"]), "{found:#}");
    assert_eq!(found[0]["record"], format!("autotask:{}", last["id"]));
}

#[test]
fn a_wrong_word_is_refused_with_a_sentence() {
    let world = World::of(10, 12);
    world.good_run();
    for words in [
        ["review", "link", "account", "crm:nobody", "autotask:1"],
        ["review", "link", "acount", "crm:1", "autotask:1"],
        ["review", "link", "account", "crm:1", "crm:2"],
    ] {
        let ended = world.seamless(&words);
        assert!(matches!(ended.code, 1..=3), "{words:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{words:?}: {ended:?}");
    }
}
