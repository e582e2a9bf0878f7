//! Queries, paging, user-defined fields and metadata of the Autotask simulator.

mod common;

use common::{AUTH, Bench, send};
use seamless_sandbox::{Config, UdfIn};
use serde_json::{Value as Json, json};

#[tokio::test]
async fn pages_come_by_id_and_keep_the_method_of_the_first() {
    let b = Bench::new(Config {
        records: 800,
        ..Config::default()
    })
    .await;
    let first = json!({ "filter": [{ "op": "exist", "field": "id" }], "MaxRecords": 100 });
    let mut ids = Vec::new();
    let mut url = format!("{}Contacts/query", b.base);
    loop {
        let res = send(&url, "POST", &AUTH, &first.to_string()).await.unwrap();
        let page = res.json();
        assert_eq!(page["pageDetails"]["requestCount"], 100);
        ids.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["id"].as_i64().unwrap()),
        );
        let Some(next) = page["pageDetails"]["nextPageUrl"].as_str() else {
            break;
        };
        let wrong = send(next, "GET", &AUTH, "").await.unwrap();
        let message = "The requested resource does not support http method 'GET'.";
        assert_eq!((wrong.status, wrong.json()), (405, json!({ "Message": message })));
        url = next.to_owned();
    }
    assert!(ids.len() > 200 && ids.is_sorted(), "{}", ids.len());
    let count = b.at("POST", "Contacts/query/count", first).await;
    assert_eq!(count.json()["queryCount"], ids.len());
    // By GET the text travels in the address, and so it does in the next one.
    let search = "Contacts/query?search=%7B%22filter%22%3A%5B%7B%22op%22%3A%22exist%22%2C%22field%22%3A%22id%22%7D%5D%2C%22MaxRecords%22%3A50%7D";
    let page = b.at("GET", search, Json::Null).await.json();
    let next = page["pageDetails"]["nextPageUrl"].as_str().unwrap();
    let second = send(next, "GET", &AUTH, "").await.unwrap().json();
    assert_eq!(second["items"][0]["id"].as_i64(), Some(ids[50]));
}

#[tokio::test]
async fn an_exactly_full_last_page_names_an_empty_one() {
    let b = Bench::clean().await;
    let n = b.companies().await.len();
    let body = json!({ "filter": [{ "op": "gt", "field": "id", "value": 0 }], "MaxRecords": n });
    let page = b.at("POST", "Companies/query", body.clone()).await.json();
    let next = page["pageDetails"]["nextPageUrl"].as_str().unwrap();
    let last = send(next, "POST", &AUTH, &body.to_string()).await.unwrap().json();
    assert_eq!(
        (last["items"].clone(), last["pageDetails"]["nextPageUrl"].clone()),
        (json!([]), Json::Null)
    );
}

#[tokio::test]
async fn filters_behave_as_observed() {
    let b = Bench::clean().await;
    let all = b
        .query("Companies", json!([{ "op": "gte", "field": "id", "value": 0 }]))
        .await;
    let name = all[1]["companyName"].as_str().unwrap().to_uppercase();
    let id = all[1]["id"].clone();
    let count = |rows: usize| rows;
    let rows = [
        (json!([{ "op": "eq", "field": "companyname", "value": name }]), 1),
        (json!([{ "op": "EQ", "field": "ID", "value": id }]), 1),
        (json!([{ "op": "eq", "field": "id", "value": id.to_string() }]), 0),
        (json!([{ "op": "ne", "field": "id", "value": id }]), all.len()),
        (
            json!([{ "op": "noteq", "field": "id", "value": id }]),
            all.len() - 1,
        ),
        (json!([{ "op": "in", "field": "id", "value": [id, 0] }]), 2),
        (
            json!([{ "op": "notIn", "field": "id", "value": [id, 0] }]),
            all.len() - 2,
        ),
        (
            json!([{ "op": "or", "items": [
            { "op": "eq", "field": "id", "value": id }, { "op": "eq", "field": "id", "value": 0 }] }]),
            2,
        ),
        (
            json!([{ "op": "eq", "field": "id", "value": id }, { "op": "eq", "field": "id", "value": 0 }]),
            0,
        ),
        (
            json!([{ "op": "beginsWith", "field": "companyName", "value": name[..4].to_owned() },
                { "op": "endsWith", "field": "companyName", "value": name[4..].to_owned() },
                { "op": "contains", "field": "companyName", "value": name[2..6].to_owned() }]),
            1,
        ),
        (
            json!([{ "op": "gt", "field": "lastTrackedModifiedDateTime", "value": "2100-01-01T00:00:00Z" }]),
            0,
        ),
        (json!([{ "op": "exist", "field": "CRM ID", "udf": true }]), 0),
        (
            json!([{ "op": "notExist", "field": "CRM ID", "udf": true }]),
            all.len(),
        ),
    ];
    for (filter, expected) in rows {
        let got = b.query("Companies", filter.clone()).await.len();
        assert_eq!(got, count(expected), "{filter}");
    }
    let refused = [
        (json!([]), "at least one filter"),
        (
            json!([{ "op": "eq", "field": "colour", "value": 1 }]),
            "Unable to find colour in the Company Entity.",
        ),
        (
            json!([{ "op": "eq", "field": "CRM ID", "value": "x" }]),
            "Unable to find CRM ID in the Company Entity.",
        ),
        (
            json!([{ "op": "eq", "field": "companyType", "value": "Customer" }]),
            "Conversion failed",
        ),
        (
            json!([{ "op": "eq", "field": "isActive", "value": 1 }]),
            "must be true or false",
        ),
        (
            json!([{ "op": "eq", "field": "phone", "value": null }]),
            "null value",
        ),
        (
            json!([{ "op": "eq", "field": "assetValue", "value": 1 }]),
            "cannot be queried",
        ),
        (
            json!([{ "op": "in", "field": "CRM ID", "udf": true, "value": ["x"] }]),
            "not supported",
        ),
        (
            json!([{ "op": "in", "field": "id", "value": (0..501).collect::<Vec<_>>() }]),
            "500 or fewer",
        ),
        (
            json!([{ "op": "eq", "field": "CRM ID", "udf": true, "value": "x" },
                { "op": "eq", "field": "Customer Ranking", "udf": true, "value": "x" }]),
            "Only one user defined",
        ),
    ];
    for (filter, text) in refused {
        let res = b.at("POST", "Companies/query", json!({ "filter": filter })).await;
        assert!(
            res.status == 500 && res.error().contains(text),
            "{text}: {}",
            res.body
        );
    }
    let body = json!({ "filter": [{ "op": "exist", "field": "id" }], "IncludeFields": ["id", "nope"] });
    assert_eq!(b.at("POST", "Companies/query", body).await.status, 500);
    let body = json!({ "filter": [{ "op": "exist", "field": "id" }], "IncludeFields": ["id", "phone"] });
    let row = b.at("POST", "Companies/query", body).await.json()["items"][1].clone();
    let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "phone", "userDefinedFields"]);
}

#[tokio::test]
async fn in_on_a_udf_is_a_matter_of_configuration() {
    for (udf_in, status, rows) in [
        (UdfIn::Unsupported, 500, 0),
        (UdfIn::Works, 200, 1),
        (UdfIn::NoRows, 200, 0),
    ] {
        let b = Bench::new(Config {
            records: 8,
            udf_in,
            ..Config::default()
        })
        .await;
        b.create_company("Acme", "A000001").await;
        let filter = json!([{ "op": "in", "field": "CRM ID", "udf": true, "value": ["A000001", "A000002"] }]);
        let res = b.at("POST", "Companies/query", json!({ "filter": filter })).await;
        assert_eq!(res.status, status);
        assert_eq!(
            res.json()["items"].as_array().map_or(0, Vec::len),
            rows,
            "{udf_in:?}"
        );
    }
}

#[tokio::test]
async fn user_defined_fields_are_a_list_of_texts() {
    let b = Bench::clean().await;
    let bare = b
        .query("Companies", json!([{ "op": "eq", "field": "id", "value": 0 }]))
        .await;
    assert!(
        bare[0].get("userDefinedFields").is_none(),
        "absent where no row has a value"
    );
    let id = b.create_company("Acme", "A000007").await;
    let filter = json!([{ "op": "eq", "field": "CRM ID", "udf": true, "value": "a000007" }]);
    let found = b.query("Companies", filter).await;
    assert_eq!(found[0]["id"], id);
    let expected =
        json!([{ "name": "Customer Ranking", "value": null }, { "name": "CRM ID", "value": "A000007" }]);
    assert_eq!(found[0]["userDefinedFields"], expected);
    let res = b
        .at(
            "PATCH",
            "Companies",
            json!({ "id": id, "userDefinedFields": [{ "name": "CRM ID", "value": null }] }),
        )
        .await;
    assert_eq!(res.status, 200);
    let item = b.at("GET", &format!("Companies/{id}"), Json::Null).await.json();
    assert_eq!(item["item"]["userDefinedFields"], json!([]));
}

#[tokio::test]
async fn a_tenant_may_lack_the_field() {
    let b = Bench::new(Config {
        records: 8,
        udf: None,
        ..Config::default()
    })
    .await;
    let filter = json!([{ "op": "eq", "field": "CRM ID", "udf": true, "value": "x" }]);
    let res = b.at("POST", "Companies/query", json!({ "filter": filter })).await;
    assert_eq!(
        (res.status, res.error().as_str()),
        (500, "Unable to find CRM ID in the Company Entity.")
    );
    let fields = b
        .at("GET", "Companies/entityInformation/userDefinedFields", Json::Null)
        .await
        .json();
    assert_eq!(fields["fields"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn metadata_have_the_real_shapes() {
    let b = Bench::clean().await;
    let info = b
        .at("GET", "Companies/entityInformation", Json::Null)
        .await
        .json()["info"]
        .clone();
    assert_eq!(
        (&info["name"], &info["canDelete"]),
        (&json!("Company"), &json!(false))
    );
    let fields = b
        .at("GET", "companies/entityinformation/fields", Json::Null)
        .await
        .json()["fields"]
        .clone();
    let by = |name: &str| {
        fields
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&by("companyName")["length"], &by("companyName")["dataType"]),
        (&json!(100), &json!("string"))
    );
    let picks = by("companyType")["picklistValues"].clone();
    let inactive: Vec<&Json> = picks
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["isActive"] == false)
        .collect();
    assert_eq!(inactive[0]["value"], "5", "a string, and retired");
    assert_eq!(by("phone")["picklistValues"], Json::Null);
    assert_eq!(by("parentCompanyID")["referenceEntityType"], "Company");
    let countries = b
        .query(
            "Countries",
            json!([{ "op": "eq", "field": "countryCode", "value": "at" }]),
        )
        .await;
    assert_eq!(countries[0]["displayName"], "Austria");
    let owners = b
        .query(
            "Resources",
            json!([{ "op": "eq", "field": "isActive", "value": true }]),
        )
        .await;
    assert_eq!(owners.len(), 3);
}
