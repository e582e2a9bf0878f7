//! Tickets and opportunities: how messy they come, and how their sync is judged.

// A helper that fails should stop its test.
#![allow(clippy::unwrap_used)]

mod common;

use common::Bench;
use seamless_sandbox::Config;
use serde_json::{Value as Json, json};

async fn bench() -> Bench {
    Bench::new(Config {
        records: 200,
        crm_tickets: 100,
        crm_opportunities: 60,
        tickets: 50,
        opportunities: 30,
        ..Config::default()
    })
    .await
}

async fn all(b: &Bench, system: &str, entity: &str) -> Vec<Json> {
    let path = format!("/records?system={system}&entity={entity}&limit=1000");
    b.admin("GET", &path, Json::Null).await["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["fields"].clone())
        .collect()
}

#[tokio::test]
async fn the_seeds_hold_what_real_tickets_and_deals_hold() {
    let b = bench().await;
    let (tickets, deals) = (
        all(&b, "crm", "ticket").await,
        all(&b, "crm", "opportunity").await,
    );
    assert_eq!((tickets.len(), deals.len()), (100, 60));
    assert_eq!(all(&b, "autotask", "ticket").await.len(), 50);
    assert_eq!(all(&b, "autotask", "opportunity").await.len(), 30);
    let text = |row: &Json, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let any = |rows: &[Json], what: &str, test: &dyn Fn(&Json) -> bool| {
        assert!(rows.iter().any(test), "nothing is {what}");
    };
    let amount = |deal: &Json| deal["amount"].to_string();
    any(&tickets, "snoozed", &|t| t["status"] == "snoozed");
    any(&tickets, "from a chat", &|t| t["source"] == "chat");
    any(&tickets, "too long", &|t| {
        text(t, "subject").chars().count() > 255
    });
    any(&tickets, "without due date", &|t| t["due_at"].is_null());
    any(&tickets, "null", &|t| t["body"].is_null());
    any(&tickets, "empty", &|t| t["body"] == "");
    any(&tickets, "of a contact by address", &|t| {
        t["contact_id"].is_null() && text(t, "contact_email").contains('@')
    });
    any(&tickets, "of a contact", &|t| t["contact_id"].is_string());
    any(&deals, "parked", &|d| d["status"] == "parked");
    for mandatory in ["amount", "probability", "projected_close_date", "stage"] {
        any(&deals, "without it", &|d| d[mandatory].is_null());
        any(&deals, "with it", &|d| !d[mandatory].is_null());
    }
    any(&deals, "in cents", &|d| amount(d) == "1250.50");
    any(&deals, "large", &|d| amount(d) == "9999999999.99");
    any(&deals, "🚀", &|d| text(d, "title").contains('🚀'));
    any(&deals, "a day", &|d| text(d, "projected_close_date").len() == 10);
}

#[tokio::test]
async fn the_crm_names_its_users_and_refuses_foreign_options() {
    let b = bench().await;
    let users = b.crm("GET", "users", Json::Null).await.json();
    assert_eq!(users["data"][1]["email"], "tom.technician@msp.example");
    let refused = b
        .crm(
            "POST",
            "tickets",
            json!({ "subject": "x", "source": "carrier pigeon" }),
        )
        .await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["field"]),
        (422, &json!("source"))
    );
}

/// A ticket in the CRM and its copy in Autotask, each naming the other.
async fn pair(b: &Bench) -> (i64, Json) {
    let account = b.create_company("Acme", "A000001").await;
    let fields = json!({ "subject": "Printer", "status": "new", "priority": "high" });
    let body = json!({ "system": "crm", "entity": "ticket", "fields": fields });
    let crm = b.admin("POST", "/create", body).await["id"].clone();
    let copy = json!({
        "companyID": account, "title": "Printer", "status": 1, "priority": 1, "queueID": 29682833,
        "dueDateTime": "2030-01-01T00:00:00Z", "userDefinedFields": [{ "name": "CRM ID", "value": crm }],
    });
    let made = b.at("POST", "Tickets", copy).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let at = made.json()["itemId"].as_i64().unwrap();
    let path = format!("tickets/{}", crm.as_str().unwrap());
    let due = json!({ "autotask_id": at.to_string() });
    assert_eq!(b.crm("PATCH", &path, due).await.status, 200);
    (at, crm)
}

async fn judged(b: &Bench, one_way: &str) -> Json {
    b.admin("GET", &format!("/truth?one_way={one_way}"), Json::Null)
        .await
}

#[tokio::test]
async fn an_unmapped_status_is_fair_as_in_progress_and_as_nothing_else() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    b.edit("crm", "ticket", &crm, json!({ "status": "snoozed" }))
        .await;
    assert_eq!(
        judged(&b, "").await["lost_edits"],
        1,
        "nobody has carried it over"
    );
    let patched = b.at("PATCH", "Tickets", json!({ "id": at, "status": 8 })).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    assert_eq!(judged(&b, "").await["lost_edits"], 0);
    b.at("PATCH", "Tickets", json!({ "id": at, "status": 7 })).await;
    assert_eq!(judged(&b, "").await["lost_edits"], 1);
}

#[tokio::test]
async fn edits_against_a_one_way_sync_are_nobodys_loss() {
    let b = Bench::clean().await;
    let (at, crm) = pair(&b).await;
    b.edit("autotask", "ticket", &json!(at), json!({ "title": "Scanner" }))
        .await;
    assert_eq!(judged(&b, "").await["lost_edits"], 1);
    let truth = judged(&b, "ticket:crm").await;
    assert_eq!(
        (&truth["lost_edits"], &truth["one_way_edits"]),
        (&json!(0), &json!(1))
    );
    b.edit("crm", "ticket", &crm, json!({ "subject": "Plotter" }))
        .await;
    assert_eq!(
        judged(&b, "ticket:crm").await["lost_edits"],
        1,
        "the source's own edit is"
    );
}

#[tokio::test]
async fn two_tickets_of_one_source_are_a_duplicate() {
    let b = Bench::clean().await;
    let (_, crm) = pair(&b).await;
    let account = b.companies().await[1];
    let again = json!({
        "companyID": account, "title": "Printer", "status": 1, "priority": 1, "queueID": 29682833,
        "dueDateTime": "2030-01-01T00:00:00Z", "userDefinedFields": [{ "name": "CRM ID", "value": crm }],
    });
    assert_eq!(b.at("POST", "Tickets", again).await.status, 200);
    assert_eq!(judged(&b, "").await["duplicates"], 1);
}
