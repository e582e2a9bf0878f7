//! Searches against a scripted server: what is asked, and that no answer is believed unchecked.

mod server;

use seamless_core::{ErrorKind, Lookup, NativeRecord, Value};
use serde_json::{Value as Json, json};
use server::{Call, Reply, Server, errors, ok, rows};

fn field(field: &str, value: impl Into<Value>) -> Lookup {
    Lookup::Field {
        field: field.to_owned(),
        value: value.into(),
    }
}

fn crm(ids: &[&str]) -> Vec<Lookup> {
    ids.iter().map(|id| field("udf.CRM ID", *id)).collect()
}

fn marked(id: i64, crm_id: &str) -> Json {
    json!({"id": id, "userDefinedFields": [{"name": "CRM ID", "value": crm_id}]})
}

fn shown(found: &[Vec<NativeRecord>]) -> Vec<Vec<&str>> {
    found
        .iter()
        .map(|records| records.iter().map(|record| record.id.as_str()).collect())
        .collect()
}

/// Metadata for the fields that the tests use.
fn fields() -> Reply {
    ok(json!({"fields": [
        {"name": "companyName", "dataType": "string"}, {"name": "companyType", "dataType": "integer"},
        {"name": "parentCompanyID", "dataType": "integer"}, {"name": "companyNumber", "dataType": "string"},
    ]}))
}

/// Answers a query as the real service would, from a fixed set of rows; `in` on a user-defined field as told.
fn answer(call: &Call, all: &[Json], udf_in: fn(&[Json]) -> Reply) -> Reply {
    if call.path.ends_with("/fields") {
        return fields();
    }
    let mut matching: Vec<Json> = all.to_vec();
    for condition in call.conditions() {
        let name = condition["field"].as_str().unwrap_or_default();
        let value = &condition["value"];
        let of = |row: &Json| match condition["udf"] == true {
            true => row["userDefinedFields"]
                .as_array()
                .and_then(|list| Some(list.first()?["value"].clone())),
            false => Some(row[name].clone()),
        };
        let equal = |row: &Json, value: &Json| match (of(row), value) {
            (Some(Json::String(own)), Json::String(asked)) => own.eq_ignore_ascii_case(asked),
            (Some(own), asked) => own == *asked,
            (None, _) => false,
        };
        match condition["op"].as_str().unwrap_or_default() {
            "gt" => matching.retain(|row| row["id"].as_i64() > value.as_i64()),
            "eq" => matching.retain(|row| equal(row, value)),
            "exist" => matching.retain(|row| of(row).is_some_and(|value| !value.is_null())),
            "in" => {
                let values = value.as_array().cloned().unwrap_or_default();
                matching.retain(|row| values.iter().any(|value| equal(row, value)));
                if condition["udf"] == true {
                    return udf_in(&matching);
                }
            }
            _ => {}
        }
    }
    matching.truncate(call.body["MaxRecords"].as_u64().unwrap_or(500) as usize);
    rows(&matching)
}

fn queries(server: &Server) -> Vec<Call> {
    server
        .calls()
        .into_iter()
        .filter(|call| call.path == "Companies/query")
        .collect()
}

#[tokio::test]
async fn many_values_of_a_field_are_asked_together_and_matched_in_any_case() {
    let all = [
        json!({"id": 1, "companyName": "ACME"}),
        json!({"id": 2, "companyName": "Acme"}),
        json!({"id": 3, "companyName": "Other"}),
    ];
    let server = Server::start(move |call| answer(call, &all, rows)).await;
    let lookups = [
        field("companyName", "acme"),
        field("companyName", "none"),
        field("companyName", "OTHER"),
        field("companyName", "Acme"),
    ];
    let found = server
        .source(json!({}))
        .await
        .find("Companies", &lookups)
        .await
        .unwrap();
    assert_eq!(shown(&found), [vec!["1", "2"], vec![], vec!["3"], vec!["1", "2"]]);
    assert_eq!(queries(&server).len(), 1);
    assert_eq!(queries(&server)[0].conditions()[0]["op"], "in");
}

#[tokio::test]
async fn values_travel_in_the_type_of_their_field() {
    let cases: Vec<(Lookup, Option<Json>)> = vec![
        (field("parentCompanyID", "12"), Some(json!(12))),
        (field("companyType", 3), Some(json!(3))),
        (field("companyType", "Customer"), None),
        (field("companyNumber", 12), Some(json!("12"))),
        (field("id", "7"), Some(json!(7))),
        (field("id", "x7"), None),
        (field("udf.CRM ID", 5), Some(json!("5"))),
        (field("country", "de"), Some(json!(40))),
        (field("country", "Atlantis"), None),
        (field("companyName", ""), None),
    ];
    for (lookup, sent) in cases {
        let server = Server::start(|call| match call.path.as_str() {
            "Countries/query" => rows(&[json!({"id": 40, "countryCode": "DE"})]),
            _ => answer(call, &[], rows),
        })
        .await;
        let found = server
            .source(json!({}))
            .await
            .find("Companies", std::slice::from_ref(&lookup))
            .await
            .unwrap();
        assert_eq!(shown(&found), [Vec::<&str>::new()]);
        let asked = queries(&server)
            .first()
            .map(|call| call.conditions()[0]["value"].clone());
        assert_eq!(asked, sent, "{lookup:?}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_filter_is_not_believed() {
    let few: Vec<Json> = (1..10)
        .map(|id| json!({"id": id, "companyName": format!("C{id}")}))
        .collect();
    let many: Vec<Json> = (1..60)
        .map(|id| json!({"id": id, "companyName": format!("C{id}")}))
        .collect();
    let respond = |all: Vec<Json>| {
        move |call: &Call| match call.path.ends_with("/fields") {
            true => fields(),
            false => rows(
                &all[..all
                    .len()
                    .min(call.body["MaxRecords"].as_u64().unwrap_or(0) as usize)],
            ),
        }
    };
    let server = Server::start(respond(few)).await;
    let found = server
        .source(json!({}))
        .await
        .find(
            "Companies",
            &[field("companyName", "c3"), field("companyName", "x")],
        )
        .await;
    assert_eq!(
        shown(&found.unwrap()),
        [vec!["3"], vec![]],
        "all rows were seen, so that the rest can be dropped"
    );
    let server = Server::start(respond(many)).await;
    let error = server
        .source(json!({}))
        .await
        .find("Companies", &[field("companyName", "none")])
        .await
        .unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::Protocol,
        "a full page of strangers: {error:?}"
    );
    assert!(error.message().contains("ignore the filter"), "{error}");
}

#[tokio::test]
async fn a_value_with_too_many_records_does_not_hide_the_others() {
    let mut all: Vec<Json> = (1..=120)
        .map(|id| json!({"id": id, "companyName": "Smith"}))
        .collect();
    all.push(json!({"id": 121, "companyName": "Jones"}));
    let server = Server::start(move |call| answer(call, &all, rows)).await;
    let lookups = [field("companyName", "smith"), field("companyName", "jones")];
    let found = server
        .source(json!({"page_size": 20}))
        .await
        .find("Companies", &lookups)
        .await
        .unwrap();
    assert_eq!(found[0].len(), 50);
    assert_eq!(shown(&found)[1], ["121"]);
    assert_eq!(queries(&server).len(), 4, "three pages of Smith, then only Jones");
}

#[tokio::test]
async fn in_on_a_user_defined_field_is_used_only_when_proved() {
    let all = || vec![marked(1, "A"), marked(2, "B"), marked(3, "C"), json!({"id": 4})];
    let works: fn(&[Json]) -> Reply = rows;
    let no_rows: fn(&[Json]) -> Reply = |_| rows(&[]);
    let refused: fn(&[Json]) -> Reply = |_| errors("in is not supported for user defined fields");
    let first_only: fn(&[Json]) -> Reply = |found| rows(&found[..found.len().min(1)]);
    let everything: fn(&[Json]) -> Reply =
        |_| rows(&[marked(1, "A"), marked(2, "B"), marked(3, "C"), json!({"id": 4})]);
    // Calls: two to prove it, then one for all values, or one for each.
    let cases = [
        ("works", works, "probe", 2 + 1, 1),
        ("finds nothing", no_rows, "probe", 2 + 4, 4),
        ("is refused", refused, "probe", 2 + 4, 4),
        ("looks at one value", first_only, "probe", 2 + 4, 4),
        ("is ignored", everything, "probe", 2 + 4, 4),
        ("is configured", works, "yes", 1, 1),
        ("is switched off", works, "no", 4, 4),
    ];
    for (name, udf_in, setting, first, second) in cases {
        let server = Server::start(move |call| answer(call, &all(), udf_in)).await;
        let source = server.source(json!({"udf_in": setting})).await;
        let mut calls = Vec::new();
        for _ in 0..2 {
            let before = queries(&server).len();
            let found = source
                .find("Companies", &crm(&["a", "x", "C", "y"]))
                .await
                .unwrap();
            assert_eq!(shown(&found), [vec!["1"], vec![], vec!["3"], vec![]], "{name}");
            calls.push(queries(&server).len() - before);
        }
        assert_eq!(calls, [first, second], "{name}");
        let asked = queries(&server);
        let about_udf = asked
            .iter()
            .flat_map(Call::conditions)
            .filter(|condition| condition["field"] == "CRM ID");
        assert!(
            about_udf.clone().count() > 0 && about_udf.into_iter().all(|condition| condition["udf"] == true)
        );
    }
}

#[tokio::test]
async fn without_two_known_values_nothing_is_proved_and_each_is_asked() {
    let server = Server::start(|call| answer(call, &[marked(1, "A")], |_| rows(&[]))).await;
    let found = server
        .source(json!({}))
        .await
        .find("Companies", &crm(&["A", "B"]))
        .await
        .unwrap();
    assert_eq!(shown(&found), [vec!["1"], vec![]]);
    let operators: Vec<Json> = queries(&server)
        .iter()
        .map(|call| call.conditions()[0]["op"].clone())
        .collect();
    assert_eq!(operators, ["exist", "eq", "eq"]);
}

#[tokio::test]
async fn a_missing_user_defined_field_is_an_error_and_not_an_empty_answer() {
    let server = Server::start(|_| errors("Unable to find CRM ID in the Company Entity.")).await;
    for lookups in [crm(&["A"]), crm(&["A", "B"])] {
        let error = server
            .source(json!({}))
            .await
            .find("Companies", &lookups)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some("CRM ID")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn records_above_an_id_are_read_to_the_end_but_not_without_end() {
    let all: Vec<Json> = (1..=1_200).map(|id| json!({"id": id})).collect();
    let server = Server::start(move |call| answer(call, &all, rows)).await;
    let source = server.source(json!({})).await;
    let above = |id: &str| [Lookup::AboveId(id.into())];
    let found = source.find("Companies", &above("400")).await.unwrap();
    assert_eq!((found[0].len(), found[0][0].id.as_str()), (800, "401"));
    assert_eq!(
        source.find("Companies", &above("100")).await.unwrap_err().kind,
        ErrorKind::Limit
    );
}
