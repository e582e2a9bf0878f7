//! Three systems on one topic: two CRMs share an Autotask, each with a cross-reference field of its own, and each at its own pace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use seamless_sandbox::{Config, Sandbox};
use seamless_tests::{World, number, text};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

/// A second CRM: the one of another sandbox, whose Autotask nobody uses.
struct Shop {
    sandbox: Sandbox,
    runtime: Runtime,
}

impl Shop {
    fn start() -> Shop {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let config = Config {
            records: 24,
            seed: 77,
            mess: false,
            crm_token: "shop-token".to_owned(),
            ..Config::default()
        };
        let sandbox = runtime
            .block_on(Sandbox::start(config))
            .expect("loopback ports are there");
        Shop { sandbox, runtime }
    }

    fn admin(&self, method: &str, path: &str, body: Json) -> Json {
        let _within = self.runtime.enter();
        let (status, answer) = self.sandbox.admin(method, path, &body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    fn records(&self, entity: &str) -> Vec<Json> {
        let page = self.admin(
            "GET",
            &format!("/records?system=crm&entity={entity}&limit=5000"),
            Json::Null,
        );
        page["records"].as_array().cloned().unwrap_or_default()
    }

    fn edit(&self, entity: &str, id: &Json, fields: Json) {
        let edit =
            json!({ "system": "crm", "entity": entity, "id": id, "fields": fields, "label": "a person" });
        self.admin("POST", "/edit", edit);
    }

    fn create(&self, entity: &str, fields: Json) -> Json {
        let made = json!({ "system": "crm", "entity": entity, "fields": fields, "label": "a person" });
        self.admin("POST", "/create", made)["id"].clone()
    }

    /// Whether its listener refuses connections.
    fn dead(&self, dead: bool) {
        self.admin("POST", "/faults", json!({ "crm_dead": dead }));
    }

    fn last_call(&self) -> u64 {
        let calls = self.admin("GET", "/calls?since=18446744073709551615&limit=1", Json::Null);
        number(&calls["last_seq"])
    }

    fn writes_since(&self, call: u64) -> usize {
        let calls = self.admin("GET", &format!("/calls?since={call}"), Json::Null);
        let calls = calls["calls"].as_array().cloned().unwrap_or_default();
        calls.iter().filter(|call| call["write"] == true).count()
    }
}

const OWNERS: &str = "[owners.account]\n\"*\" = [\"crm\", \"shop\", \"autotask\"]\n";

/// A tenant in which the shop has joined the other two.
fn three(owners: &str) -> (World, Shop) {
    let world = World::new(Config {
        records: 40,
        seed: 70,
        mess: false,
        hourly_limit: 1_000_000,
        more_udfs: vec!["Shop ID".to_owned()],
        ..Config::default()
    });
    let shop = Shop::start();
    world.private("secrets/shop-token", "shop-token");
    let more = format!(
        "[systems.shop]\nkind = \"rest\"\nmanifest = \"sandbox-crm.toml\"\nendpoint = \"{}\"\nallow_private_network = true\n\
         token = {{ file = \"secrets/shop-token\" }}\nsettle_after_secs = 1\nsearch_lag_secs = 1\n\n\
         [syncs.shop-account]\nentity = \"account\"\nbetween = [\"autotask\", \"shop\"]\nxref = {{ autotask = \"udf.Shop ID\" }}\n\
         match = [{{ name = \"name and postal code\", fields = [\"name\", \"address.postal_code\"] }}]\n\n\
         [syncs.shop-contact]\nentity = \"contact\"\nbetween = [\"autotask\", \"shop\"]\nxref = {{ autotask = \"udf.Shop ID\" }}\n\n\
         {owners}\n[syncs.account]\n",
        shop.sandbox.crm_url
    );
    world.configure("[syncs.account]\n", &more);
    (world, shop)
}

/// What both kinds of system hold of an account, in one spelling.
fn common(record: &Json, is_crm: bool) -> (String, String, String) {
    let field = |autotask: &str, crm: &str| {
        let name = if is_crm { crm } else { autotask };
        text(record["fields"].get(name)).to_owned()
    };
    let digits = |phone: String| phone.chars().filter(char::is_ascii_digit).collect();
    (
        field("companyName", "name"),
        field("city", "city"),
        digits(field("phone", "phone")),
    )
}

fn xref<'a>(record: &'a Json, field: &str) -> Option<&'a str> {
    record["fields"][field].as_str().filter(|id| !id.is_empty())
}

/// Every account is in all three systems once, alike, and each system has its own field in Autotask.
fn assert_alike(world: &World, shop: &Shop, when: &str) {
    let shop_accounts: BTreeMap<String, Json> = shop
        .records("account")
        .into_iter()
        .map(|record| (text(record.get("id")).to_owned(), record))
        .collect();
    let crm_accounts: BTreeMap<String, Json> = world
        .records("crm", "account")
        .into_iter()
        .map(|record| (text(record.get("id")).to_owned(), record))
        .collect();
    let aside = world.set_aside();
    let mut seen = BTreeSet::new();
    for account in world.records("autotask", "account") {
        let id = account["id"].to_string();
        if aside.contains(&format!("autotask:{id}")) {
            continue;
        }
        let (Some(in_crm), Some(in_shop)) = (xref(&account, "CRM ID"), xref(&account, "Shop ID")) else {
            panic!("{when}: account {id} is not in all systems: {account:#}; aside: {aside:?}");
        };
        let here = common(&account, false);
        assert!(seen.insert(here.0.clone()), "{when}: {} is there twice", here.0);
        assert_eq!(
            common(&crm_accounts[in_crm], true),
            here,
            "{when}: {id} in the CRM"
        );
        assert_eq!(
            common(&shop_accounts[in_shop], true),
            here,
            "{when}: {id} in the shop"
        );
    }
    assert_eq!(seen.len(), crm_accounts.len(), "{when}: accounts of the CRM");
    assert_eq!(seen.len(), shop_accounts.len(), "{when}: accounts of the shop");
}

fn assert_quiet(world: &World, shop: &Shop, when: &str) {
    let (here, there) = (world.last_call(), shop.last_call());
    world.good_run();
    let writes = world.writes_since(here);
    assert!(writes.is_empty(), "echoes {when}: {writes:#?}");
    assert_eq!(shop.writes_since(there), 0, "echoes in the shop {when}");
}

#[test]
fn two_crms_share_one_autotask_and_one_of_them_may_be_away() {
    let (world, shop) = three(OWNERS);
    world.good_run();
    assert_alike(&world, &shop, "after the first load");
    assert_quiet(&world, &shop, "after the first load");

    // The shop is away: what happens between the other two goes on, also when the host starts anew.
    let accounts = shop.records("account");
    let (one, two, three) = (
        accounts[0]["id"].clone(),
        accounts[1]["id"].clone(),
        accounts[2]["id"].clone(),
    );
    let of_shop = |id: &Json| {
        let all = world.records("autotask", "account");
        let found = all
            .into_iter()
            .find(|account| account["fields"]["Shop ID"] == *id);
        found.expect("it is in Autotask")
    };
    let in_crm = |id: &Json| Json::from(xref(&of_shop(id), "CRM ID").expect("it is in the CRM"));
    shop.dead(true);
    world.edit("crm", "account", &in_crm(&one), json!({ "city": "Troy" }));
    let made = world.create(
        "crm",
        "account",
        json!({ "name": "Away Ltd", "zip": "12180", "phone": "518-555-0142" }),
    );
    let ended = world.run_once();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.said().contains("shop"), "it says who was away: {ended:?}");
    assert_eq!(of_shop(&one)["fields"]["city"], "Troy", "the other two go on");
    assert!(!world.record("crm", "account", &made)["counterpart"].is_null());

    // Both CRMs edit the same field while they do not see each other; the list says who wins.
    world.edit("crm", "account", &in_crm(&two), json!({ "city": "Utica" }));
    shop.edit("account", &two, json!({ "city": "Rome" }));
    shop.edit("account", &three, json!({ "phone": "518-555-0177" }));
    world.edit(
        "autotask",
        "account",
        &of_shop(&one)["id"],
        json!({ "companyName": "Renamed Inc" }),
    );
    let fresh = shop.create(
        "account",
        json!({ "name": "Brought Back", "zip": "13440", "phone": "315-555-0100" }),
    );
    let ended = world.run_once();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(of_shop(&two)["fields"]["city"], "Utica");

    shop.dead(false);
    world.good_run();
    assert_alike(&world, &shop, "after the shop is back");
    assert_eq!(
        of_shop(&two)["fields"]["city"],
        "Utica",
        "the CRM stands first on the list"
    );
    assert!(
        xref(&of_shop(&fresh), "CRM ID").is_some(),
        "from one CRM to the other"
    );
    assert_quiet(&world, &shop, "after the shop is back");
}

#[test]
fn a_running_host_serves_the_others_while_one_is_away() {
    let (world, shop) = three(OWNERS);
    world.good_run();
    shop.dead(true);
    let host = world.start(&["run"]);
    let account = world.linked("crm", "account")[0].clone();
    let id = world.record("crm", "account", &account["id"])["counterpart"].clone();
    world.edit("crm", "account", &account["id"], json!({ "city": "Ithaca" }));
    wait_for("the edit to reach Autotask", || {
        world.record("autotask", "account", &id)["fields"]["city"] == "Ithaca"
    });
    shop.dead(false);
    let there = || {
        let autotask = world.record("autotask", "account", &id);
        let in_shop = autotask["fields"]["Shop ID"].clone();
        let found = shop
            .records("account")
            .into_iter()
            .find(|record| record["id"] == in_shop);
        found.is_some_and(|record| record["fields"]["city"] == "Ithaca")
    };
    wait_for("the edit to reach the shop", there);
    drop(host);
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{what} did not happen");
}

#[test]
fn check_refuses_what_would_go_round_or_has_two_owners() {
    let (world, _shop) = three("");
    let checked = |from: &str, to: &str| {
        let file = world.path("tenant.toml");
        let before = fs::read_to_string(&file).expect("the tenant can be read");
        world.configure(from, to);
        let ended = world.seamless(&["check", "--offline"]);
        fs::write(&file, before).expect("the tenant can be written");
        ended
    };
    let fine = world.seamless(&["check", "--offline"]);
    assert_eq!(fine.code, 0, "Autotask owns what is not said otherwise: {fine:?}");
    let sync = "[syncs.shop-account]\n";
    for (from, to, says) in [
        (
            "xref = { autotask = \"udf.Shop ID\" }\nmatch",
            "match",
            "a field of its own",
        ),
        (
            sync,
            "[syncs.round]\nentity = \"account\"\nbetween = [\"crm\", \"shop\"]\n\n[syncs.shop-account]\n",
            "two ways",
        ),
        (
            sync,
            "[owners.account]\nphone = [\"crm\", \"autotask\"]\n\n[syncs.shop-account]\n",
            "leaves out shop",
        ),
        (
            sync,
            "[owners.account]\nphnoe = [\"crm\"]\n\n[syncs.shop-account]\n",
            "did you mean 'phone'",
        ),
    ] {
        let ended = checked(from, to);
        assert_eq!(ended.code, 2, "{says}: {ended:?}");
        assert!(ended.said().contains(says), "{says}: {ended:?}");
    }
    world.configure(sync, "[syncs.shop-account]\nowner = \"shop\"\n");
    world.configure("[syncs.account]\n", "[syncs.account]\nowner = \"crm\"\n");
    let ended = world.seamless(&["check", "--offline"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.said().contains("both own") && ended.said().contains("[owners.account]"),
        "{ended:?}"
    );
    world.configure(sync, &format!("{OWNERS}\n{sync}"));
    let ended = world.seamless(&["check", "--offline"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}
