//! Each fault does what its name says, and the data agree with it.

mod common;

use std::time::Duration;

use common::{Bench, company, contact, send};
use seamless_sandbox::{Config, Fault, Faults, On, System};
use serde_json::{Value as Json, json};

async fn named(b: &Bench, name: &str) -> usize {
    b.query(
        "Companies",
        json!([{ "op": "eq", "field": "companyName", "value": name }]),
    )
    .await
    .len()
}

#[tokio::test]
async fn a_lost_answer_has_been_applied() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        lost_answer: Fault::next(1),
        ..Faults::default()
    });
    assert_eq!(named(&b, "Acme").await, 0, "reads are not struck");
    b.try_at("POST", "Companies", company("Acme"))
        .await
        .expect_err("the connection is cut");
    assert_eq!(named(&b, "Acme").await, 1);
    assert_eq!(
        b.at("POST", "Companies", company("Bcme")).await.status,
        200,
        "only the next one was"
    );
    let log = b.admin("GET", "/calls?since=1", Json::Null).await["calls"].clone();
    assert_eq!(
        (&log[0]["fault"], &log[0]["effect"]),
        (&json!("lost_answer"), &json!("create"))
    );
}

#[tokio::test]
async fn an_ignored_filter_finds_everything() {
    let b = Bench::clean().await;
    assert_eq!(named(&b, "Nobody").await, 0);
    b.sandbox.set_faults(Faults {
        ignored_filter: Fault::next(1),
        ..Faults::default()
    });
    assert!(named(&b, "Nobody").await > 1);
    assert_eq!(named(&b, "Nobody").await, 0, "only the next one was");
}

#[tokio::test]
async fn a_ghost_write_comes_later() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        ghost_write: Fault::next(1).delay(150),
        ..Faults::default()
    });
    b.try_at("POST", "Companies", company("Ghost"))
        .await
        .expect_err("the connection is cut");
    assert_eq!(named(&b, "Ghost").await, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(named(&b, "Ghost").await, 1);
}

#[tokio::test]
async fn fresh_records_and_references_are_found_late() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        search_lag: Fault::chance(1.0).delay(200),
        ..Faults::default()
    });
    let id = b.create_company("Late", "A000001").await;
    let item = b.at("GET", &format!("Companies/{id}"), Json::Null).await.json();
    assert_eq!(item["item"]["companyName"], "Late", "by id it is there at once");
    assert_eq!(named(&b, "Late").await, 0);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(named(&b, "Late").await, 1);
    let body =
        json!({ "id": id, "phone": "99", "userDefinedFields": [{ "name": "CRM ID", "value": "A000002" }] });
    b.at("PATCH", "Companies", body).await;
    let by = |x: &str| json!([{ "op": "eq", "field": "CRM ID", "udf": true, "value": x }]);
    assert_eq!(b.query("Companies", by("A000002")).await.len(), 0);
    let old = b.query("Companies", by("A000001")).await;
    assert_eq!(old[0]["phone"], "99", "only the reference lags");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(b.query("Companies", by("A000002")).await.len(), 1);
}

#[tokio::test]
async fn a_late_edit_appears_with_its_earlier_stamp() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        late_stamps: Fault::next(2).delay(200),
        ..Faults::default()
    });
    let id = json!(b.companies().await[0]);
    let shown = b
        .edit("autotask", "account", &id, json!({ "city": "Latetown" }))
        .await;
    let stamp = shown["fields"]["lastTrackedModifiedDateTime"].clone();
    let filter = json!([{ "op": "gte", "field": "lastTrackedModifiedDateTime", "value": stamp }]);
    assert_eq!(b.query("Companies", filter.clone()).await.len(), 0);
    b.edit("crm", "account", &json!("A000001"), json!({ "city": "Latetown" }))
        .await;
    let ids = async || {
        let page = b.crm("GET", "accounts?limit=200", Json::Null).await.json();
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|a| a["id"] == "A000001")
    };
    assert!(!ids().await);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(b.query("Companies", filter).await.len(), 1);
    assert!(ids().await);
}

#[tokio::test]
async fn errors_may_or_may_not_have_been_applied() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        error_500: Fault::next(1),
        ..Faults::default()
    });
    let res = b.at("POST", "Companies", company("One")).await;
    assert!(res.status == 500 && res.json()["errorId"].is_number());
    assert_eq!(named(&b, "One").await, 0);
    let on = On::Writes;
    b.sandbox.set_faults(Faults {
        error_500_applied: Fault { on, ..Fault::next(1) },
        ..Faults::default()
    });
    let res = b.at("POST", "Companies", company("Two")).await;
    assert!(res.status == 500 && res.json()["errorId"].is_number());
    assert_eq!(named(&b, "Two").await, 1);
}

#[tokio::test]
async fn overload_is_said_in_each_systems_way() {
    let b = Bench::clean().await;
    let fault = |n| Fault {
        retry_after_secs: 7,
        ..Fault::next(n)
    };
    b.sandbox.set_faults(Faults {
        unavailable: fault(1),
        ..Faults::default()
    });
    let res = b.at("GET", "Companies/0", Json::Null).await;
    assert_eq!(
        (res.status, res.header("retry-after").as_deref()),
        (503, Some("7"))
    );
    assert!(res.body.starts_with("<!DOCTYPE html"));
    b.sandbox.set_faults(Faults {
        throttled: fault(1).of(System::Crm),
        ..Faults::default()
    });
    assert_eq!(b.at("GET", "Companies/0", Json::Null).await.status, 200);
    let res = b.crm("GET", "accounts/A000001", Json::Null).await;
    assert_eq!(
        (res.status, res.header("retry-after").as_deref()),
        (429, Some("7"))
    );
}

#[tokio::test]
async fn a_moved_tenant_is_found_by_asking_again() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        zone_moved: Fault::next(1),
        ..Faults::default()
    });
    assert_eq!(b.at("GET", "Companies/0", Json::Null).await.status, 401);
    assert_eq!(
        b.at("GET", "Companies/0", Json::Null).await.status,
        401,
        "the old base stays dead"
    );
    let ask = "zoneInformation?user=integration@example.test";
    let url = b.at("GET", ask, Json::Null).await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(url.ends_with("/zone2/ATServicesRest/"), "{url}");
    let res = send(&format!("{url}V1.0/Companies/0"), "GET", &common::AUTH, "")
        .await
        .unwrap();
    assert_eq!(res.status, 200);
}

#[tokio::test]
async fn bodies_break_in_three_ways() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        truncated_body: Fault::next(1),
        ..Faults::default()
    });
    let res = b.at("GET", "Companies/0", Json::Null).await;
    assert!(res.status == 200 && res.json().is_null() && !res.body.is_empty());
    b.sandbox.set_faults(Faults {
        cut_body: Fault::next(1),
        ..Faults::default()
    });
    b.try_at("GET", "Companies/0", Json::Null)
        .await
        .expect_err("fewer bytes than announced");
    b.sandbox.set_faults(Faults {
        huge_body: Fault {
            bytes: 3_000_000,
            ..Fault::next(1)
        },
        ..Faults::default()
    });
    assert!(b.at("GET", "Companies/0", Json::Null).await.body.len() > 3_000_000);
}

#[tokio::test]
async fn paging_can_be_endless_or_lead_astray() {
    let b = Bench::clean().await;
    b.sandbox.set_faults(Faults {
        endless_paging: Fault::chance(1.0),
        ..Faults::default()
    });
    let body = json!({ "filter": [{ "op": "exist", "field": "id" }] });
    let page = b.at("POST", "Companies/query", body.clone()).await.json();
    let next = page["pageDetails"]["nextPageUrl"].as_str().unwrap();
    let again = send(next, "POST", &common::AUTH, &body.to_string())
        .await
        .unwrap()
        .json();
    assert_eq!(page["items"], again["items"]);
    let page = b.crm("GET", "accounts?limit=5", Json::Null).await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let again = b
        .crm("GET", &format!("accounts?limit=5&cursor={cursor}"), Json::Null)
        .await
        .json();
    assert_eq!(page["data"], again["data"]);
    b.sandbox.set_faults(Faults {
        foreign_next_page: Fault::chance(1.0),
        ..Faults::default()
    });
    let body = json!({ "filter": [{ "op": "exist", "field": "id" }], "MaxRecords": 1 });
    let page = b.at("POST", "Companies/query", body.clone()).await.json();
    let next = page["pageDetails"]["nextPageUrl"].as_str().unwrap();
    assert!(!next.starts_with(&b.sandbox.autotask_url), "{next}");
    let violations = |what: &str| b.sandbox.stats()["violations"][what].clone();
    assert_eq!(violations("foreign_credentials"), 0);
    send(next, "POST", &common::AUTH, &body.to_string())
        .await
        .unwrap();
    assert_eq!(violations("foreign_credentials"), 1, "who follows is seen");
    assert_eq!(violations("dropped_conditions"), 0);
    let misspelt =
        json!({ "filter": [{ "op": "and", "items": [{ "op": "ne", "field": "id", "value": 0 }] }] });
    b.at("POST", "Companies/query", misspelt).await;
    assert_eq!(violations("dropped_conditions"), 1);
}

#[tokio::test]
async fn a_dead_server_refuses_and_comes_back() {
    let b = Bench::clean().await;
    b.admin("POST", "/faults", json!({ "autotask_dead": true })).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = b
        .try_at("GET", "Companies/0", Json::Null)
        .await
        .expect_err("refused");
    assert!(error.contains("refused"), "{error}");
    assert_eq!(b.crm("GET", "accounts/A000001", Json::Null).await.status, 200);
    b.admin("POST", "/faults", json!({})).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(b.at("GET", "Companies/0", Json::Null).await.status, 200);
}

#[tokio::test]
async fn a_seed_repeats_its_faults() {
    let run = async || {
        let b = Bench::new(Config {
            records: 8,
            ..Config::default()
        })
        .await;
        b.sandbox.set_faults(Faults {
            error_500: Fault::chance(0.3),
            ..Faults::default()
        });
        let mut statuses = Vec::new();
        for i in 0..30 {
            statuses.push(
                b.at("POST", "Companies/0/Contacts", contact("A", &i.to_string()))
                    .await
                    .status,
            );
        }
        statuses
    };
    let (first, second) = (run().await, run().await);
    assert_eq!(first, second);
    assert!(first.contains(&500) && first.contains(&200));
}
