//! The Autotask simulator against the fact sheet: one test for each family of facts.

mod common;

use common::{Bench, company, contact, send};
use serde_json::{Value as Json, json};

#[tokio::test]
async fn zone_discovery_needs_no_credentials_and_minds_the_user() {
    let b = Bench::clean().await;
    let at = &b.sandbox.autotask_url;
    let ask = async |path: &str| send(&format!("{at}{path}"), "GET", &[], "").await.unwrap();
    let res = ask("/atservicesrest/v1.0/zoneInformation?user=integration%40example.test").await;
    assert_eq!(res.status, 200);
    assert_eq!(res.json()["url"], format!("{at}/ATServicesRest/"));
    let res = ask("/atservicesrest/v1.0/zoneInformation?user=nobody").await;
    assert_eq!(
        (res.status, res.error().as_str()),
        (500, "Zone information could not be determined")
    );
    let res = ask("/atservicesrest/versionInformation").await;
    assert_eq!(res.json()["apiVersions"], json!(["V1.0", "V2.0"]));
    let res = ask("/atservicesrest/v2.0/zoneInformation?user=integration%40example.test").await;
    assert_eq!(res.status, 404);
}

#[tokio::test]
async fn a_wrong_secret_is_401_and_everything_else_is_500() {
    let b = Bench::clean().await;
    let rows = [
        ("SANDBOX", "integration@example.test", "sandbox-secret", 200),
        ("SANDBOX", "integration@example.test", "wrong", 401),
        ("SANDBOX", "nobody@example.test", "sandbox-secret", 500),
        ("WRONG", "integration@example.test", "sandbox-secret", 500),
    ];
    for (code, user, secret, status) in rows {
        let headers = [
            ("APIIntegrationcode", code),
            ("username", user),
            ("SECRET", secret),
        ];
        let res = send(&format!("{}Companies/0", b.base), "GET", &headers, "")
            .await
            .unwrap();
        assert_eq!(res.status, status, "{code} {user} {secret}");
    }
}

#[tokio::test]
async fn the_routes_are_the_real_ones() {
    let b = Bench::clean().await;
    let company = b.companies().await[0];
    let rows = [
        ("GET", "companies/0".to_owned(), 200, ""),
        ("GET", "Companies/99".to_owned(), 200, "{\"item\":null}"),
        ("PATCH", "Contacts".to_owned(), 404, "<!DOCTYPE html"),
        ("POST", "Contacts".to_owned(), 404, "<!DOCTYPE html"),
        ("PUT", "Contacts/30682000".to_owned(), 405, "\"Message\""),
        (
            "PATCH",
            format!("Companies/{company}/Contacts/30682000"),
            405,
            "\"Message\"",
        ),
        (
            "POST",
            format!("Companies/{company}/Contacts/query"),
            404,
            "<!DOCTYPE html",
        ),
        ("GET", format!("Companies/{company}/Contacts"), 200, "\"items\""),
        (
            "POST",
            format!("Companies/{company}/Opportunities"),
            404,
            "<!DOCTYPE html",
        ),
        ("DELETE", format!("Companies/{company}"), 405, "\"Message\""),
        ("GET", "Nothing/query".to_owned(), 404, "<!DOCTYPE html"),
        (
            "GET",
            "ThresholdInformation".to_owned(),
            200,
            "\"externalRequestThreshold\":10000",
        ),
    ];
    for (method, path, status, part) in rows {
        let res = b.at(method, &path, Json::Null).await;
        assert_eq!(res.status, status, "{method} {path}: {}", res.body);
        assert!(res.body.contains(part), "{method} {path}: {}", res.body);
        assert!(res.header("date").is_some_and(|d| d.ends_with("GMT")));
    }
    let long = format!("Companies/query?search={}", "x".repeat(2100));
    assert_eq!(b.at("GET", &long, Json::Null).await.status, 404);
}

#[tokio::test]
async fn creates_are_validated_with_the_real_texts() {
    let b = Bench::clean().await;
    let with = |name: &str, value: Json| {
        let mut body = company("Acme");
        body[name] = value;
        body
    };
    let refused = [
        (
            with("phone", json!("")),
            "Value does not exist for the required field phone. ; on record number [1].",
        ),
        (
            with("companyName", json!(null)),
            "Value does not exist for the required field companyName.",
        ),
        (
            with("companyName", json!("x".repeat(101))),
            "companyName must be less than or equal to 100 characters",
        ),
        (
            with("companyType", json!(5)),
            "Picklist value [5] does not exist for companyType.",
        ),
        (
            with("companyType", json!(77)),
            "Picklist value [77] does not exist for companyType.",
        ),
        (
            with("parentCompanyID", json!(1)),
            "Reference value on field: parentCompanyID of type: Company does not exist",
        ),
        (
            with("ownerResourceID", json!(29682800)),
            "Reference value on field: ownerResourceID of type: Resource",
        ),
        (
            with("ownerResourceID", json!(null)),
            "required field ownerResourceID",
        ),
        (with("isActive", json!("yes")), "System.Boolean"),
        (
            with("userDefinedFields", json!([{ "name": "crm id", "value": "x" }])),
            "Unable to find crm id",
        ),
    ];
    for (body, text) in refused {
        let res = b.at("POST", "Companies", body).await;
        assert!(
            res.status == 500 && res.error().contains(text),
            "{text}: {}",
            res.body
        );
        assert!(res.error().ends_with(" ; on record number [1]."), "{}", res.body);
    }
    let res = b
        .at(
            "POST",
            "Companies",
            with("userDefinedFields", json!({ "CRM ID": "x" })),
        )
        .await;
    assert!(res.status == 500 && res.json()["errorId"].is_number() && res.body.contains("unexpected error"));
    let mut body = with("workType", json!("ignored"));
    body["createDate"] = json!("1999-01-01");
    body["id"] = json!("0");
    let res = b.at("POST", "Companies", body).await;
    let id = res.json()["itemId"].clone();
    assert_eq!(
        res.status, 200,
        "unknown and read-only properties are ignored: {}",
        res.body
    );
    let item = b.at("GET", &format!("Companies/{id}"), Json::Null).await.json()["item"].clone();
    assert_eq!(
        (&item["isActive"], &item["userDefinedFields"]),
        (&json!(true), &json!([]))
    );
    assert!(item["createDate"].as_str().unwrap() > "2020");
}

#[tokio::test]
async fn contacts_live_under_their_company() {
    let b = Bench::clean().await;
    let ids = b.companies().await;
    let path = format!("Companies/{}/Contacts", ids[0]);
    let mut first = contact("Ada", "Lovelace");
    first["primaryContact"] = json!(true);
    let one = b.at("POST", &path, first.clone()).await.json()["itemId"].clone();
    let two = b.at("POST", &path, first).await.json()["itemId"].clone();
    let get =
        async |id: &Json| b.at("GET", &format!("Contacts/{id}"), Json::Null).await.json()["item"].clone();
    assert_eq!(
        get(&one).await["primaryContact"],
        false,
        "setting one clears the previous one"
    );
    assert_eq!(get(&two).await["primaryContact"], true);
    assert_eq!(get(&two).await["companyID"], ids[0]);
    let res = b.at("PATCH", &path, json!({ "id": one, "phone": "5" })).await;
    assert_eq!((res.status, res.json()["itemId"].clone()), (200, one.clone()));
    assert_eq!(get(&one).await["phone"], "5");
    let moved = b
        .at("PATCH", &path, json!({ "id": one, "companyID": ids[1] }))
        .await;
    assert!(
        moved.status == 500 && moved.error().contains("companyID"),
        "{}",
        moved.body
    );
    let elsewhere = b
        .at(
            "PATCH",
            &format!("Companies/{}/Contacts", ids[1]),
            json!({ "id": one, "phone": "6" }),
        )
        .await;
    assert_eq!(elsewhere.status, 500);
    let res = b
        .at("POST", &path, json!({ "firstName": "Ada", "lastName": "L" }))
        .await;
    assert!(res.error().contains("required field isActive"), "{}", res.body);
    let blocked = b.at("DELETE", &format!("{path}/{two}"), Json::Null).await;
    assert_eq!(blocked.status, 500);
    assert_eq!(
        b.at("DELETE", &format!("{path}/{one}"), Json::Null).await.json()["itemId"],
        one
    );
    let gone = b.at("DELETE", &format!("{path}/{one}"), Json::Null).await;
    assert!(gone.status == 500 && gone.error().contains("No matching records found"));
}

#[tokio::test]
async fn patch_changes_what_is_named_and_put_clears_the_rest() {
    let b = Bench::clean().await;
    let mut body = company("Acme");
    body["city"] = json!("Albany");
    let id = b.at("POST", "Companies", body).await.json()["itemId"].clone();
    let get = async || b.at("GET", &format!("Companies/{id}"), Json::Null).await.json()["item"].clone();
    let before = get().await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    b.at(
        "PATCH",
        "Companies",
        json!({ "id": id, "webAddress": "x.example" }),
    )
    .await;
    let after = get().await;
    assert_eq!(
        (&after["city"], &after["webAddress"]),
        (&json!("Albany"), &json!("x.example"))
    );
    assert_ne!(
        before["lastTrackedModifiedDateTime"],
        after["lastTrackedModifiedDateTime"]
    );
    let activity = after["lastActivityDate"].as_str().unwrap();
    assert!(
        !activity.contains('.') && !activity.ends_with('Z'),
        "whole seconds: {activity}"
    );
    let mut put = company("Acme");
    put["id"] = id.clone();
    assert_eq!(b.at("PUT", "Companies", put).await.status, 200);
    assert_eq!(get().await["city"], Json::Null);
    assert_eq!(
        b.admin("GET", "/stats", Json::Null).await["violations"]["put_used"],
        1
    );
    let res = b.at("PATCH", "Companies", json!({ "id": 1, "city": "x" })).await;
    assert!(res.status == 500 && res.error().contains("No matching records"));
}

#[tokio::test]
async fn an_inactive_option_is_tolerated_where_it_stands() {
    let b = Bench::clean().await;
    let id = json!(b.companies().await[0]);
    b.edit("autotask", "account", &id, json!({ "companyType": 5 }))
        .await;
    let res = b
        .at(
            "PATCH",
            "Companies",
            json!({ "id": id, "companyType": 5, "city": "Rome" }),
        )
        .await;
    assert_eq!(res.status, 200, "{}", res.body);
}
