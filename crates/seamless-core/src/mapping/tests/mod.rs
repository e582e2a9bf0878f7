//! The mapping as a whole: reading, writing, checking; and, over many seeds, that the prediction is what is read back.

mod check;
mod property;

use std::collections::BTreeMap;

use super::*;
use crate::record::NativeRecord;
use crate::value::Timestamp;

fn mapping(fields: impl IntoIterator<Item = (&'static str, FieldMapping)>) -> SideMapping {
    SideMapping {
        entity: "Companies".into(),
        xref: Some("udf.CRM ID".into()),
        fields: fields
            .into_iter()
            .map(|(name, field)| (name.to_owned(), field))
            .collect(),
    }
}

fn company() -> SideMapping {
    let types = OptionMap::of([("customer", 1), ("lead", 2)]);
    mapping([
        ("name", FieldMapping::text("companyName").max(10).required()),
        ("phone", FieldMapping::text("phone").required()),
        (
            "city",
            FieldMapping {
                truncate: true,
                ..FieldMapping::text("address.city").max(4)
            },
        ),
        (
            "account_type",
            FieldMapping::choice("companyType", types)
                .required()
                .default_value("customer"),
        ),
        (
            "parent",
            FieldMapping::reference("parentCompanyID", FieldKind::Int),
        ),
        (
            "active",
            FieldMapping::new("isActive", FieldKind::Bool).stored_as(FieldKind::Int),
        ),
        ("closed", FieldMapping::new("closedDate", FieldKind::Date)),
        (
            "queue",
            FieldMapping::new("queueID", FieldKind::Choice).stored_as(FieldKind::Int),
        ),
        (
            "account",
            FieldMapping::reference("companyID", FieldKind::Int).create_only(),
        ),
        (
            "created_at",
            FieldMapping::new("createDate", FieldKind::Time).read_only(),
        ),
    ])
}

fn record(json: &str) -> NativeRecord {
    let Value::Map(fields) = Value::from_json(&serde_json::from_str(json).unwrap()) else {
        panic!("not an object")
    };
    NativeRecord {
        id: "7".into(),
        stamp: None,
        created: None,
        version: None,
        fields,
    }
}

fn issue(result: Result<Projection, FieldIssue>) -> String {
    match result {
        Err(FieldIssue(sentence)) => sentence,
        Ok(_) => panic!("expected an issue"),
    }
}

#[test]
fn observes_every_mapped_field_and_names_the_broken_ones() {
    let observed = company().observe(&record(
        r#"{"companyName":"  Löwe & Co ","phone":"","address":{"city":"Ulm"},"companyType":"2","parentCompanyID":0,
            "isActive":1,"closedDate":"2026-01-31T23:30:00-05:00","createDate":"2016-03-30T13:10:35.563",
            "udf":{"CRM ID":" A000012 "}}"#,
    ));
    assert!(observed.broken.is_empty());
    assert_eq!(observed.xref.as_deref(), Some("A000012"));
    let seen: BTreeMap<&str, serde_json::Value> = observed
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_json()))
        .collect();
    let expected = [
        ("account", serde_json::Value::Null),
        ("account_type", "lead".into()),
        ("active", true.into()),
        ("city", "Ulm".into()),
        ("closed", "2026-01-31".into()),
        ("created_at", "2016-03-30T13:10:35.563Z".into()),
        ("name", "Löwe & Co".into()),
        ("parent", "0".into()),
        ("phone", serde_json::Value::Null),
        ("queue", serde_json::Value::Null),
    ];
    assert_eq!(seen, BTreeMap::from(expected));

    let observed = company().observe(&record(
        r#"{"companyType":17,"isActive":5,"phone":["secret"],"udf":{"CRM ID":" "}}"#,
    ));
    assert_eq!(observed.xref, None);
    assert_eq!(
        observed.broken["account_type"],
        "companyType in Companies holds option '17', which has no counterpart; add it to the field's options or set a read_fallback"
    );
    assert_eq!(
        observed.broken["active"],
        "isActive in Companies holds a whole number that is not a truth value"
    );
    assert_eq!(
        observed.broken["phone"], "phone in Companies holds a list that is not a text",
        "no content"
    );
    assert_eq!(
        observed.broken.len() + observed.fields.len(),
        10,
        "a field is either read or broken"
    );
}

#[test]
fn transforms_apply_both_ways() {
    let phone = FieldMapping::text("p").transform(Transform::PhoneDigits);
    let mapping = mapping([("phone", phone.required())]);
    let observed = mapping.observe(&record(r#"{"p":" +49 (30) 1"}"#));
    assert!(observed.fields["phone"] == "+49301".into());
    let Ok(projection) = mapping.project("phone", &"030/1".into()) else {
        panic!("refused")
    };
    assert!(projection.native == "0301".into() && projection.lossy == Some(Loss::Transformed));
    assert!(
        issue(mapping.project("phone", &"n/a".into())).starts_with("phone is required"),
        "nothing is left of it"
    );
}

#[test]
fn projects_with_declared_loss() {
    let company = company();
    let text = |text: &str| Value::from(text);
    let cases = [
        (
            "name",
            text("1234567 ü0"),
            text("1234567 ü0"),
            text("1234567 ü0"),
            None,
        ),
        (
            "city",
            text("Köln am"),
            text("Köln"),
            text("Köln"),
            Some(Loss::Truncated),
        ),
        (
            "city",
            text("Bad Ems"),
            text("Bad"),
            text("Bad"),
            Some(Loss::Truncated),
        ),
        ("city", Value::Null, Value::Null, Value::Null, None),
        ("account_type", text("lead"), Value::Int(2), text("lead"), None),
        ("parent", text("0"), Value::Int(0), text("0"), None),
        ("parent", Value::Null, Value::Null, Value::Null, None),
        (
            "active",
            Value::Bool(false),
            Value::Int(0),
            Value::Bool(false),
            None,
        ),
    ];
    for (field, value, native, predicted, lossy) in cases {
        let Ok(projection) = company.project(field, &value) else {
            panic!("{field} was refused")
        };
        assert!(
            projection.native == native,
            "{field}: native {:?}",
            projection.native.to_json()
        );
        assert!(
            projection.predicted == predicted,
            "{field}: predicted {:?}",
            projection.predicted.to_json()
        );
        assert_eq!(projection.lossy, lossy, "{field}");
    }
}

#[test]
fn refusals_tell_an_operator_what_to_do() {
    let company = company();
    let cases = [
        (
            "phone",
            Value::Null,
            "phone is required in Companies and the other side has none; fill it in there or set a default",
        ),
        (
            "account_type",
            Value::Null,
            "account_type is required in Companies and the other side has none; it cannot be emptied",
        ),
        (
            "name",
            "12345678901".into(),
            "name has 11 characters, but companyName in Companies takes 10; shorten it",
        ),
        (
            "account_type",
            "reseller".into(),
            "account_type cannot be written to companyType in Companies: option 'reseller' has no",
        ),
        (
            "created_at",
            Value::Time(Timestamp(0)),
            "created_at cannot be written in Companies: createDate is read-only",
        ),
        (
            "queue",
            "Level I".into(),
            "queue cannot be written to queueID in Companies: option 'Level I' has no counterpart",
        ),
        (
            "parent",
            "A12".into(),
            "parent cannot be written as a whole number, which parentCompanyID in Companies needs",
        ),
        (
            "active",
            "perhaps".into(),
            "active is a text where a truth value is expected",
        ),
        ("fax", "1".into(), "fax is not mapped in Companies"),
    ];
    for (field, value, beginning) in cases {
        let sentence = issue(company.project(field, &value));
        assert!(sentence.starts_with(beginning), "{sentence}");
        assert!(
            !sentence.contains("12345678901") && !sentence.contains("perhaps"),
            "content in: {sentence}"
        );
    }
}

#[test]
fn creates_take_the_default_and_updates_respect_what_is_fixed() {
    let company = company();
    let created = company
        .project_create("account_type", &" ".into())
        .unwrap_or_else(|issue| panic!("{}", issue.0));
    assert!(created.native == Value::Int(1) && created.lossy == Some(Loss::Fallback));
    assert!(
        company
            .project_create("account_type", &"lead".into())
            .is_ok_and(|p| p.native == Value::Int(2))
    );
    assert!(issue(company.project_create("phone", &Value::Null)).contains("phone is required"));
    assert!(company.project_create("account", &"5".into()).is_ok());
    assert!(
        issue(company.project_update("account", &"5".into()))
            .starts_with("account cannot be changed in Companies")
    );
    assert!(company.project_update("name", &"x".into()).is_ok());
}

#[test]
fn version_changes_with_the_mapping_only() {
    assert_eq!(company().version(), company().version());
    let json = serde_json::to_string(&company()).unwrap();
    assert_eq!(
        serde_json::from_str::<SideMapping>(&json).unwrap().version(),
        company().version(),
        "survives a round trip"
    );
    let mut changed = company();
    changed.fields.get_mut("name").unwrap().truncate = true;
    assert_ne!(changed.version(), company().version());
    assert_eq!(
        mapping([]).version(),
        9_026_759_750_370_759_003,
        "stored halves carry it: it may not drift between releases"
    );
}

#[test]
fn a_default_is_taken_from_what_the_source_has() {
    let day = |text: &str| crate::value::Date::parse(text).unwrap();
    let date = |text: &str| Value::Date(day(text));
    let due = FieldMapping::new("dueDate", FieldKind::Date)
        .default_from(&["wanted", "started", TODAY])
        .not_after("ends");
    let mapping = mapping([("due", due), ("name", FieldMapping::text("name"))]);
    let computed = |field: &str, source: &[(&str, Value)]| {
        let source = source
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let value = mapping.computed_default(field, &source.collect(), day("2026-06-01"));
        value.and_then(|value| value.to_plain())
    };
    let (may, june, july) = (date("2026-05-01"), date("2026-06-01"), date("2026-07-01"));
    for (source, expected) in [
        (vec![], "2026-06-01"),
        (vec![("started", may.clone())], "2026-05-01"),
        (
            vec![("wanted", july.clone()), ("started", may.clone())],
            "2026-07-01",
        ),
        (
            vec![("wanted", Value::Null), ("started", may.clone())],
            "2026-05-01",
        ),
        (
            vec![("wanted", "soon".into()), ("started", may.clone())],
            "2026-05-01",
        ),
        (vec![("wanted", "2026-05-01".into())], "2026-05-01"),
        (vec![("ends", may)], "2026-05-01"),
        (vec![("ends", june)], "2026-06-01"),
        (vec![("ends", july)], "2026-06-01"),
        (vec![("ends", Value::Null)], "2026-06-01"),
        (vec![("ends", "soon".into())], "2026-06-01"),
    ] {
        assert_eq!(computed("due", &source).as_deref(), Some(expected), "{source:?}");
    }
    assert_eq!(
        computed("name", &[("name", "x".into())]),
        None,
        "nothing is named for it"
    );
    assert_eq!(computed("nowhere", &[]), None);
}
