//! The sandbox's own judgement: a hand-made sync that makes one mistake at a time.

// A helper that fails should stop its test.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Bench, company, contact};
use serde_json::{Value as Json, json};

/// A pair made the way a sync makes it: an account in the CRM, its copy in Autotask, the write-back.
async fn pair(b: &Bench) -> (i64, Json) {
    let body = json!({ "system": "crm", "entity": "account", "fields": {
        "name": "Acme", "zip": "12207", "phone": "1", "type": "customer", "city": "Albany" } });
    let crm = b.admin("POST", "/create", body).await["id"].clone();
    let mut copy = company("Acme");
    copy["postalCode"] = json!("12207");
    copy["city"] = json!("Albany");
    copy["userDefinedFields"] = json!([{ "name": "CRM ID", "value": crm }]);
    let at = b.at("POST", "Companies", copy).await.json()["itemId"]
        .as_i64()
        .unwrap();
    let res = patch_crm(b, &crm, json!({ "autotask_id": at.to_string() })).await;
    assert_eq!(res, 200);
    (at, crm)
}

async fn patch_crm(b: &Bench, id: &Json, body: Json) -> u16 {
    b.crm("PATCH", &format!("accounts/{}", id.as_str().unwrap()), body)
        .await
        .status
}

async fn patch_at(b: &Bench, id: i64, mut body: Json) {
    body["id"] = json!(id);
    let res = b.at("PATCH", "Companies", body).await;
    assert_eq!(res.status, 200, "{}", res.body);
}

/// duplicates, lost edits, echoes, differences
async fn score(b: &Bench) -> [u64; 4] {
    let truth = b.truth().await;
    ["duplicates", "lost_edits", "echo_writes", "differences"].map(|k| truth[k].as_u64().unwrap())
}

#[tokio::test]
async fn a_good_pair_is_in_order() {
    let b = Bench::clean().await;
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
    pair(&b).await;
    let truth = b.truth().await;
    assert_eq!(
        (&truth["pairs"], &truth["echo_writes"]),
        (&json!(1), &json!(0)),
        "a write-back is no echo"
    );
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn an_edit_must_reach_the_other_side_and_stay_on_its_own() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    b.edit("crm", "account", &crm, json!({ "city": "Troy" })).await;
    assert_eq!(score(&b).await, [0, 1, 0, 1], "not carried over yet");
    patch_at(&b, at, json!({ "city": "Troy" })).await;
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
    // The other direction wins next: the first edit was carried over before.
    b.edit("autotask", "account", &json!(at), json!({ "city": "Utica" }))
        .await;
    patch_crm(&b, &crm, json!({ "city": "Utica" })).await;
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
    // Put back by the sync, on the side where the person made it.
    b.edit("autotask", "account", &json!(at), json!({ "city": "Rome" }))
        .await;
    patch_at(&b, at, json!({ "city": "Utica" })).await;
    assert_eq!(score(&b).await, [0, 1, 1, 0]);
    let lost = b.truth().await["details"]["lost_edits"][0].clone();
    assert_eq!(
        (&lost["field"], &lost["new"], &lost["label"]),
        (&json!("city"), &json!("Rome"), &json!("test"))
    );
}

#[tokio::test]
async fn an_edit_and_its_revert_count_as_an_edit() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    b.edit("crm", "account", &crm, json!({ "phone": "2" })).await;
    patch_at(&b, at, json!({ "phone": "2" })).await;
    b.edit("crm", "account", &crm, json!({ "phone": "1" })).await;
    assert_eq!(score(&b).await[1], 1);
    patch_at(&b, at, json!({ "phone": "1" })).await;
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_contest_is_won_by_the_owner() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    b.edit("autotask", "account", &json!(at), json!({ "city": "Ours" }))
        .await;
    b.edit("crm", "account", &crm, json!({ "city": "Theirs" })).await;
    patch_crm(&b, &crm, json!({ "city": "Ours" })).await;
    assert_eq!(
        score(&b).await,
        [0, 0, 0, 0],
        "not an echo either: there was a counter-edit"
    );
    let other = b.admin("GET", "/truth?owner=crm", Json::Null).await;
    assert_eq!(other["lost_edits"], 1);
    // Later than the settlement, the other side's edit is not contested any more.
    b.edit("crm", "account", &crm, json!({ "city": "Later" })).await;
    assert_eq!(score(&b).await[1], 1);
    patch_at(&b, at, json!({ "city": "Later" })).await;
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
}

/// Autotask has no compare-and-set: what is typed between a read and the write that follows it cannot be spared, and is counted apart. What had been
/// shown is lost.
#[tokio::test]
async fn an_edit_that_nobody_had_been_shown_is_overtaken_and_not_lost() {
    for was_shown in [false, true] {
        let b = Bench::clean().await;
        let (at, crm) = pair(&b).await;
        let path = format!("Companies/{at}");
        let show = || b.at("GET", &path, Json::Null);
        show().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        b.edit("crm", "account", &crm, json!({ "city": "Theirs" })).await;
        b.edit("autotask", "account", &json!(at), json!({ "city": "Ours" }))
            .await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if was_shown {
            show().await;
        }
        patch_at(&b, at, json!({ "city": "Theirs" })).await;
        let truth = b.truth().await;
        let counted = ["lost_edits", "overtaken_edits"].map(|name| truth[name].as_u64());
        assert_eq!(counted, [Some(u64::from(was_shown)), Some(u64::from(!was_shown))]);
    }
}

#[tokio::test]
async fn declared_losses_are_no_losses() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    let long = "y".repeat(40);
    b.edit(
        "crm",
        "account",
        &crm,
        json!({ "city": long, "zip": " 12208 ", "type": "vendor" }),
    )
    .await;
    patch_at(
        &b,
        at,
        json!({ "city": "y".repeat(30), "postalCode": "12208", "companyType": 7 }),
    )
    .await;
    assert_eq!(score(&b).await, [0, 0, 0, 0]);
    b.edit(
        "crm",
        "account",
        &crm,
        json!({ "phone": "", "name": "z".repeat(150) }),
    )
    .await;
    b.edit("autotask", "account", &json!(at), json!({ "companyType": 5 }))
        .await;
    let truth = b.truth().await;
    assert_eq!(
        (&truth["unsyncable"], &truth["lost_edits"], &truth["differences"]),
        (&json!(3), &json!(0), &json!(0))
    );
    // Truncated on the way there and back again is an echo with a loss.
    patch_crm(&b, &crm, json!({ "city": "y".repeat(30) })).await;
    assert_eq!(score(&b).await, [0, 1, 1, 0]);
}

#[tokio::test]
async fn a_write_without_news_is_an_echo() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    patch_at(&b, at, json!({ "city": "Albany", "phone": "1" })).await;
    assert_eq!(score(&b).await[2], 1);
    patch_crm(&b, &crm, json!({ "city": "Albany" })).await;
    assert_eq!(score(&b).await[2], 2);
    patch_crm(&b, &crm, json!({ "city": "Albany", "street": "Main St" })).await;
    assert_eq!(score(&b).await[2], 2, "one of the values was new");
    assert_eq!(b.sandbox.stats()["violations"]["unchanged_patches"], 2);
}

#[tokio::test]
async fn twins_made_by_the_sync_are_counted_and_those_of_people_are_not() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    let twin = json!({ "system": "autotask", "entity": "account",
        "fields": { "companyName": "ACME ", "postalCode": "12207" } });
    b.admin("POST", "/create", twin).await;
    assert_eq!(score(&b).await[0], 0, "a person's twin");
    let res = b
        .crm("POST", "accounts", json!({ "name": "acme", "zip": "12207" }))
        .await;
    assert_eq!((res.status, score(&b).await[0]), (201, 1));
    let path = format!("Companies/{at}/Contacts");
    let mut ada = contact("Ada", "Lovelace");
    ada["emailAddress"] = json!("ada@acme.example");
    b.at("POST", &path, ada.clone()).await;
    let mut colleague = ada.clone();
    colleague["firstName"] = json!("Charles");
    b.at("POST", &path, colleague).await;
    assert_eq!(score(&b).await[0], 1, "a shared mailbox is no twin");
    ada["emailAddress"] = json!("ADA@acme.example");
    b.at("POST", &path, ada).await;
    assert_eq!(score(&b).await[0], 2);
    // Two records which name the same one on the other side.
    b.create_company("Other", crm.as_str().unwrap()).await;
    let truth = b.truth().await;
    assert_eq!(
        (&truth["duplicates"], &truth["pairs"]),
        (&json!(3), &json!(1)),
        "{truth}"
    );
}

#[tokio::test]
async fn edits_before_the_link_belong_to_the_first_merge() {
    let b = Bench::clean().await;
    let at = json!(b.companies().await[3]);
    b.edit("crm", "account", &json!("A000005"), json!({ "city": "Before" }))
        .await;
    assert_eq!(b.truth().await["unpaired_edits"], 1);
    patch_at(
        &b,
        at.as_i64().unwrap(),
        json!({ "userDefinedFields": [{ "name": "CRM ID", "value": "A000005" }] }),
    )
    .await;
    let truth = b.truth().await;
    assert_eq!(
        (&truth["lost_edits"], &truth["first_merge_edits"], &truth["pairs"]),
        (&json!(0), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_copied_reference_makes_no_pair() {
    let b = Bench::clean().await;
    let (_, crm) = pair(&b).await;
    let copy = json!({ "system": "autotask", "entity": "account",
        "fields": { "companyName": "Copy", "CRM ID": crm } });
    let made = b.admin("POST", "/create", copy).await;
    assert_eq!(made["xref"], crm);
    assert!(made.get("counterpart").is_none());
    assert_eq!(
        (b.truth().await["pairs"].clone(), score(&b).await[0]),
        (json!(1), 0)
    );
}

#[tokio::test]
async fn the_admin_interface_shows_what_is_stored() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    let path = format!("/record?system=autotask&entity=account&id={at}");
    let shown = b.admin("GET", &path, Json::Null).await;
    assert_eq!(
        (&shown["xref"], &shown["counterpart"], &shown["fields"]["city"]),
        (&crm, &crm, &json!("Albany"))
    );
    let page = b
        .admin("GET", "/records?system=crm&entity=contact&limit=2", Json::Null)
        .await;
    let next = page["next_after"].as_str().unwrap();
    let rest = b
        .admin(
            "GET",
            &format!("/records?system=crm&entity=contact&after={next}"),
            Json::Null,
        )
        .await;
    let all = b.admin("GET", "/count", Json::Null).await["crm"]["contact"]
        .as_u64()
        .unwrap();
    assert_eq!(rest["records"].as_array().unwrap().len() as u64, all - 2);
    let config = b.admin("GET", "/config", Json::Null).await;
    assert_eq!(
        (&config["crm"]["token"], &config["autotask"]["udf"]),
        (&json!("sandbox-token"), &json!("CRM ID"))
    );
    let log = b.admin("GET", "/calls?since=0", Json::Null).await;
    assert_eq!(log["calls"].as_array().unwrap().len(), 2);
    assert_eq!(log["calls"][1]["fields"], json!(["autotask_id"]));
    assert!(!log.to_string().contains("sandbox-"), "no credentials in the log");
    let (status, health) = b.sandbox.admin("GET", "/health", &Json::Null);
    assert_eq!((status, health), (200, json!({ "status": "ok" })));
    b.sandbox.stop().await;
}
