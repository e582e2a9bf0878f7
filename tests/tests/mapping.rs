//! What an integrator does before the first run: check the mapping, keep golden cases of it, declare entities of their own.

use seamless_tests::{World, number, text};
use serde_json::{Value as Json, json};

fn findings<'a>(report: &'a Json, level: &str) -> Vec<&'a str> {
    let all = report["findings"].as_array().expect("a list");
    all.iter()
        .filter(|finding| finding["level"] == level)
        .map(|finding| text(finding.get("sentence")))
        .collect()
}

#[test]
fn check_counts_what_the_mapping_does_to_live_records() {
    let world = World::of(200, 20);
    let calls = world.last_call();
    let ended = world.seamless(&["check", "--json"]);
    let report = ended.json();
    assert_eq!(ended.code, 0, "{report:#}");
    assert_eq!(world.writes_since(calls).len(), 0);
    let coverage = report["coverage"].as_array().expect("a list");
    let of = |sync: &str, from: &str| {
        let found = coverage
            .iter()
            .find(|counted| counted["sync"] == sync && counted["from"] == from);
        found.unwrap_or_else(|| panic!("{sync} from {from} is not counted: {coverage:#?}"))
    };
    let accounts = world.records("crm", "account");
    let counted = of("account", "crm");
    assert_eq!(number(&counted["records"]), accounts.len() as u64);
    let field = |counted: &Json, name: &str| {
        let fields = counted["fields"].as_array().cloned().unwrap_or_default();
        let found = fields.into_iter().find(|field| field["field"] == name);
        found.unwrap_or_else(|| panic!("{name} is not counted: {counted:#}"))
    };
    let with_city = accounts
        .iter()
        .filter(|record| !text(record["fields"].get("city")).trim().is_empty())
        .count();
    assert_eq!(
        number(&field(counted, "address.city")["filled"]),
        with_city as u64
    );
    let too_long = accounts
        .iter()
        .filter(|record| text(record["fields"].get("name")).trim().chars().count() > 100)
        .count();
    assert!(too_long > 0, "the simulated data are messy");
    assert_eq!(number(&field(counted, "name")["refused"]), too_long as u64);
    assert_eq!(
        number(&of("ticket", "crm")["records"]),
        world.records("crm", "ticket").len() as u64
    );
    for sync in ["account", "contact"] {
        assert!(number(&of(sync, "autotask")["records"]) > 0);
    }
    assert!(
        findings(&report, "ok")
            .iter()
            .any(|said| said.contains("account, contact, ")),
        "the order of the syncs: {report:#}"
    );

    let ended = world.seamless(&["check", "--sample", "10", "--json"]);
    let few = &ended.json()["coverage"][0];
    assert_eq!(
        (number(&few["records"]), &few["more"]),
        (10, &json!(true)),
        "{few:#}"
    );
    let told = world.seamless(&["check"]).stdout;
    assert!(
        told.contains("field") && told.contains("refused") && told.contains("ready"),
        "{told}"
    );
}

#[test]
fn check_finds_options_that_have_no_counterpart_and_fields_nobody_gives() {
    let world = World::of(10, 21);
    world.configure(
        "[syncs.opportunity]\n",
        "[syncs.account.map.crm]\naccount_type = { options = { pairs = [[\"customer\", \"Customer\"]] } }\n\
         [syncs.account.map.autotask]\naccount_number = { required = true }\n\
         [syncs.account.fields]\naccount_number = { from = \"autotask\" }\n\n[syncs.opportunity]\n",
    );
    let ended = world.seamless(&["check", "--offline", "--json"]);
    let report = ended.json();
    assert!(
        findings(&report, "warning")
            .iter()
            .any(|said| said.contains("account_type: 'cancelation'") && said.contains("write_fallback")),
        "{report:#}"
    );
    assert!(
        findings(&report, "error")
            .iter()
            .any(|said| said.starts_with("account_number is required")),
        "{report:#}"
    );
    assert_eq!(ended.code, 3);
}

#[test]
fn golden_cases_hold_a_mapping_and_break_with_it() {
    let world = World::of(10, 22);
    std::fs::create_dir(world.path("tests")).expect("a folder can be made");
    let file = world.path("tests/new-account.json");
    let case = json!({
        "about": "a customer comes to Autotask",
        "sync": "account",
        "from": "crm",
        "record": { "name": " Contoso Ltd ", "city": "Ulm", "type": "customer", "phone": "0731 1" },
    });
    std::fs::write(&file, case.to_string()).expect("a file can be written");
    let ended = world.seamless(&["test"]);
    assert_eq!(ended.code, 1, "nothing is expected yet: {ended:?}");
    assert!(
        ended
            .stdout
            .contains("writes companyName: expected nothing, got \"Contoso Ltd\""),
        "{}",
        ended.stdout
    );
    assert_eq!(world.seamless(&["test", "--accept"]).code, 0);
    let kept: Json = serde_json::from_str(&std::fs::read_to_string(&file).expect("a file")).expect("JSON");
    assert_eq!(kept["writes"]["companyName"], "Contoso Ltd", "{kept:#}");
    assert_eq!(kept["canonical"]["address.city"], "Ulm", "{kept:#}");
    assert_eq!(world.seamless(&["test"]).code, 0);

    // An edit on the other side since, of another field: only ours is sent.
    let merged = json!({
        "sync": "account",
        "from": "crm",
        "before": { "name": "Contoso", "city": "Ulm" },
        "record": { "name": "Contoso", "city": "Bonn" },
        "there": { "companyName": "Contoso", "city": "Ulm", "phone": "42" },
        "there_before": { "companyName": "Contoso", "city": "Ulm" },
        "writes": { "city": "Bonn" },
    });
    std::fs::write(world.path("tests/merge.json"), merged.to_string()).expect("a file can be written");
    let ended = world.seamless(&["test", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["cases"].as_array().map(Vec::len), Some(2));

    // The mapping is broken on purpose.
    world.configure(
        "[syncs.opportunity]\n",
        "[syncs.account.map.autotask]\n\"address.city\" = \"address1\"\n\"address.line1\" = \"city\"\n\n[syncs.opportunity]\n",
    );
    let ended = world.seamless(&["test"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("2 of 2 failed"), "{}", ended.stdout);
}

#[test]
fn a_bad_case_is_told_with_its_place() {
    let world = World::of(10, 23);
    let cases = [
        (
            "{\"sync\": \"account\", \"from\": \"crm\", \"recrd\": {}}",
            "unknown field `recrd`",
        ),
        (
            "{\"sync\": \"acount\", \"from\": \"crm\", \"record\": {}}",
            "did you mean 'account'?",
        ),
        (
            "{\"sync\": \"account\", \"from\": \"cmr\", \"record\": {}}",
            "did you mean 'crm'?",
        ),
        (
            "{\"sync\": \"account\", \"from\": \"crm\", \"record\": {}, \"before\": {}}",
            "add `there`",
        ),
        (
            "{\"sync\": \"account\", \"from\": \"crm\", \"record\": {}, \"today\": \"1.2.26\"}",
            "2026-01-31",
        ),
        (
            "{\"sync\": \"account\", \"from\": \"crm\", \"record\": {}, \"links\": {\"name\": \"1\"}}",
            "is no reference",
        ),
    ];
    for (case, said) in cases {
        std::fs::write(world.path("case.json"), case).expect("a file can be written");
        let ended = world.seamless(&["test", "case.json"]);
        assert_eq!(ended.code, 2, "{case}: {ended:?}");
        assert!(
            ended.stderr.contains(said) && ended.stderr.contains("case.json"),
            "{case}: {ended:?}"
        );
    }
    let ended = world.seamless(&["test"]);
    assert_eq!(ended.code, 2, "no case at all is a mistake: {ended:?}");
}

#[test]
fn an_entity_of_the_tenants_own_is_kept_in_step() {
    let world = World::of(40, 24);
    let file = world.path("tenant.toml");
    let tenant = std::fs::read_to_string(&file).expect("the tenant can be read");
    let (head, tail) = tenant.split_once("# Contacts are recognised").expect("a comment");
    let (_, run) = tail.split_once("[run]").expect("a table");
    let own = r#"
[entities.person]
match = [{ fields = [{ field = "mail", normalise = "email" }] }]
identity = ["surname"]
[entities.person.fields]
surname = {}
mail = {}
first = {}
firm = { reference = "account", reference_required = true }

[syncs.person]
between = ["autotask", "crm"]
native = { autotask = "Contacts", crm = "contacts" }
xref = { autotask = "udf.CRM ID", crm = "autotask_id" }
[syncs.person.map.autotask]
surname = { native = "lastName", required = true }
mail = "emailAddress"
firm = { native = "companyID", native_kind = "int", required = true, updatable = false }
first = { native = "firstName", default = "-" }
[syncs.person.map.crm]
surname = "last_name"
mail = "email"
firm = "account_id"
first = "first_name"

[run]"#;
    std::fs::write(&file, format!("{head}{own}{run}")).expect("the tenant can be written");
    let ended = world.seamless(&["check", "--offline"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    world.good_run();
    let person = world.linked("crm", "contact")[0].clone();
    let counterpart = world.record("crm", "contact", &person["id"])["counterpart"].clone();
    world.edit("crm", "contact", &person["id"], json!({ "last_name": "Palmer" }));
    let calls = world.last_call();
    world.good_run();
    assert_eq!(
        world.record("autotask", "contact", &counterpart)["fields"]["lastName"],
        "Palmer"
    );
    assert_eq!(world.writes_since(calls).len(), 1);
}
