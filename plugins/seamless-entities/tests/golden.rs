//! Golden pairs: what a native record reads as and what a canonical one is written as. The cases are data in `fixtures/<entity>/<case>.json`;
//! each says which rows of the product's field guide it proves, and a row without proof fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use seamless_core::mapping::{Loss, Projection, SideMapping};
use seamless_core::{EntityName, Fields, NativeRecord, Value};
use seamless_entities::{AutotaskDefaults, autotask_mapping, default_mapping, model, models};
use serde::Deserialize;

type Json = BTreeMap<String, serde_json::Value>;

/// A case. In a read, `native` is given and `canonical` and `broken` are expected; in a write, `canonical` is given and the rest expected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Rows of the guide that it proves.
    guide: Vec<String>,
    direction: Direction,
    #[serde(default)]
    side: Side,
    /// A create projects every writable field, an update those of `canonical`.
    #[serde(default)]
    action: Action,
    #[serde(default)]
    defaults: Overrides,
    native: Json,
    /// Fields that are not empty.
    canonical: Json,
    #[serde(default)]
    xref: Option<String>,
    #[serde(default)]
    broken: BTreeMap<String, String>,
    #[serde(default)]
    issues: BTreeMap<String, String>,
    #[serde(default)]
    losses: BTreeMap<String, Loss>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Read,
    Write,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Side {
    #[default]
    Autotask,
    Rest,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    Create,
    Update,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Overrides {
    xref: Option<String>,
    account_type: Option<String>,
    ticket_queue: Option<i64>,
    #[serde(default)]
    resources: Vec<(String, i64)>,
    opportunity_description: Option<String>,
    opportunity_status_fallback: Option<bool>,
}

/// The rows of the guide by entity, and the directions in which each has to be proven.
#[rustfmt::skip]
const GUIDE: &[(&str, Rows)] = &[
    ("account", &[
        ("Account ID", READ), ("other system's id", READ), ("AccountName", BOTH), ("Address 1, Address 2", BOTH),
        ("City, State, PostalCode", BOTH), ("Country", BOTH), ("Phone", BOTH), ("WebAddress", BOTH), ("AccountType", BOTH),
        ("ParentAccountID", BOTH), ("AccountNumber", BOTH), ("CreateDate", READ), ("LastActivityDate", BOTH), ("Active", BOTH),
        ("REST needs", WRITE),
    ]),
    ("contact", &[
        ("Autotask ID / other id", READ), ("Account ID", BOTH), ("FirstName, LastName", BOTH), ("AddressLine, AddressLine1", BOTH),
        ("City, State, ZipCode, Country", BOTH), ("Email address", BOTH), ("Phone, MobilePhone", BOTH), ("PrimaryContact", BOTH),
        ("CreateDate, LastModifiedDate", READ), ("REST needs", BOTH),
    ]),
    ("ticket", &[
        ("ID / other id, Ticket Number", BOTH), ("Title, Description", BOTH), ("Account ID, Contact ID", BOTH), ("Due Date", BOTH),
        ("Ticket Category", BOTH), ("Ticket Type", BOTH), ("Priority", BOTH), ("Status", BOTH), ("Source", BOTH),
        ("AssignedResourceID", BOTH), ("CreatorResourceID", BOTH), ("Last Activity Date", BOTH), ("REST needs", WRITE),
    ]),
    ("opportunity", &[
        ("Autotask ID / other id", READ), ("AccountID, ContactID", BOTH), ("OwnerResourceID", BOTH), ("Salesstage", BOTH),
        ("Title", BOTH), ("Description", BOTH), ("Status", BOTH), ("ProjectedCloseDate, ClosedDate", BOTH),
        ("Probability, Amount", BOTH), ("Cost", BOTH), ("UseQuoteTotals", BOTH), ("CreateDate", READ), ("REST needs", WRITE),
    ]),
];
type Rows = &'static [(&'static str, &'static [Direction])];
const READ: &[Direction] = &[Direction::Read];
const WRITE: &[Direction] = &[Direction::Write];
const BOTH: &[Direction] = &[Direction::Read, Direction::Write];

#[test]
fn golden_pairs() {
    let mut proven: BTreeSet<(String, String, Direction)> = BTreeSet::new();
    for (entity, path) in fixtures() {
        let name = format!("{entity}/{}", path.file_name().unwrap_or_default().display());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&name, &entity.as_str().into(), &case);
        proven.extend(
            case.guide
                .into_iter()
                .map(|row| (entity.clone(), row, case.direction)),
        );
    }
    for (entity, rows) in GUIDE {
        for (row, directions) in *rows {
            for direction in *directions {
                let row = ((*entity).to_owned(), (*row).to_owned(), *direction);
                assert!(proven.contains(&row), "no fixture proves {row:?}");
            }
        }
    }
    for (entity, row, _) in &proven {
        let known = GUIDE
            .iter()
            .any(|(name, rows)| name == entity && rows.iter().any(|(known, _)| known == row));
        assert!(known, "the guide has no row '{row}' for {entity}");
    }
}

#[test]
fn every_default_mapping_is_valid_and_covers_its_model() {
    for model in models() {
        for kind in ["autotask", "rest"] {
            let Some(mapping) = default_mapping(kind, &model.name) else {
                panic!("no {kind} mapping of {}", model.name)
            };
            assert_eq!(mapping.validate(), Ok(()), "{kind} {}", model.name);
            for field in mapping.fields.keys() {
                assert!(
                    model.fields.contains_key(field),
                    "{kind} {} maps {field}, which the model lacks",
                    model.name
                );
            }
            // Autotask names contacts by id.
            let not_there = ["contact_email"];
            for field in model
                .fields
                .keys()
                .filter(|field| kind == "rest" || !not_there.contains(&field.as_str()))
            {
                assert!(
                    mapping.fields.contains_key(field),
                    "{kind} {} lacks {field}",
                    model.name
                );
            }
        }
        let identity = model.identity.iter().chain(
            model
                .match_rules
                .iter()
                .flat_map(|rule| rule.fields.iter().map(|f| &f.field)),
        );
        for field in identity {
            assert!(
                model.fields.contains_key(field),
                "{} matches by {field}, which it lacks",
                model.name
            );
        }
        for target in model.fields.values().filter_map(|field| field.reference.as_ref()) {
            assert!(
                seamless_entities::model(&target.entity).is_some(),
                "{} refers to {}",
                model.name,
                target.entity
            );
        }
    }
    assert!(model(&"invoice".into()).is_none() && default_mapping("autotask", &"invoice".into()).is_none());
    assert!(default_mapping("other", &"account".into()).is_none());
}

#[test]
fn passengers_are_never_written_to_autotask() {
    for model in models() {
        let Some(mapping) = default_mapping("autotask", &model.name) else {
            panic!("no mapping")
        };
        for (name, _) in model.fields.iter().filter(|(_, field)| field.passenger) {
            assert!(!mapping.fields[name].writable, "{} {name}", model.name);
        }
    }
}

fn check(name: &str, entity: &EntityName, case: &Case) {
    let Some(mapping) = mapping(entity, case) else {
        panic!("{name}: no mapping")
    };
    assert_eq!(mapping.validate(), Ok(()), "{name}");
    match case.direction {
        Direction::Read => check_read(name, &mapping, case),
        Direction::Write => check_write(name, &mapping, case),
    }
}

fn check_read(name: &str, mapping: &SideMapping, case: &Case) {
    let observed = mapping.observe(&record(values(&case.native)));
    assert_eq!(observed.broken, case.broken, "{name}: broken");
    assert_eq!(observed.xref, case.xref, "{name}: cross-reference");
    assert_eq!(
        plain(&observed.fields),
        plain(&values(&case.canonical)),
        "{name}: canonical"
    );
}

fn check_write(name: &str, mapping: &SideMapping, case: &Case) {
    let canonical = values(&case.canonical);
    if let Some(unmapped) = canonical
        .keys()
        .find(|field| !mapping.fields.contains_key(*field))
    {
        panic!("{name}: {unmapped} is not mapped");
    }
    let (mut written, mut issues, mut losses) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (field, settings) in &mapping.fields {
        let value = canonical.get(field);
        let result = match case.action {
            Action::Create if settings.writable => {
                mapping.project_create(field, value.unwrap_or(&Value::Null))
            }
            Action::Update if value.is_some() => mapping.project_update(field, value.unwrap_or(&Value::Null)),
            _ => continue,
        };
        match result {
            Ok(projection) => {
                losses.extend(projection.lossy.map(|loss| (field.clone(), loss)));
                written.insert(field.clone(), projection);
            }
            Err(issue) => {
                issues.insert(field.clone(), issue.0);
            }
        }
    }
    assert_eq!(issues, case.issues, "{name}: issues");
    assert_eq!(losses, case.losses, "{name}: losses");
    let path = |field: &String| mapping.fields[field].native.clone();
    let native: Fields = written
        .iter()
        .map(|(field, write)| (path(field), write.native.clone()))
        .collect();
    assert_eq!(plain(&native), plain(&values(&case.native)), "{name}: native");
    reads_back_as_predicted(name, mapping, &written, native);
}

fn reads_back_as_predicted(
    name: &str,
    mapping: &SideMapping,
    written: &BTreeMap<String, Projection>,
    native: Fields,
) {
    let wire: Fields = native
        .iter()
        .map(|(path, value)| (path.clone(), Value::from_json(&value.to_json())))
        .collect();
    let observed = mapping.observe(&record(wire));
    for (field, write) in written {
        let (seen, predicted) = (
            observed.fields.get(field).map(Value::to_json),
            write.predicted.to_json(),
        );
        assert_eq!(seen, Some(predicted), "{name}: {field} reads back differently");
    }
}

fn mapping(entity: &EntityName, case: &Case) -> Option<SideMapping> {
    let vanilla = AutotaskDefaults::default();
    let own = &case.defaults;
    match case.side {
        Side::Rest => default_mapping("rest", entity),
        Side::Autotask => autotask_mapping(
            entity,
            &AutotaskDefaults {
                xref: own.xref.clone().unwrap_or(vanilla.xref),
                account_type: own.account_type.clone().unwrap_or(vanilla.account_type),
                ticket_queue: own.ticket_queue,
                resources: own.resources.clone(),
                opportunity_description: own
                    .opportunity_description
                    .clone()
                    .unwrap_or(vanilla.opportunity_description),
                opportunity_status_fallback: own
                    .opportunity_status_fallback
                    .unwrap_or(vanilla.opportunity_status_fallback),
                ..vanilla
            },
        ),
    }
}

fn record(fields: Fields) -> NativeRecord {
    NativeRecord {
        id: "1".into(),
        stamp: None,
        created: None,
        version: None,
        fields,
    }
}

fn values(json: &Json) -> Fields {
    json.iter()
        .map(|(name, value)| (name.clone(), Value::from_json(value)))
        .collect()
}

/// Comparable and printable: plain JSON, fields that are empty left out.
fn plain(fields: &Fields) -> Json {
    let filled = fields.iter().filter(|(_, value)| !value.is_empty());
    filled
        .map(|(name, value)| (name.clone(), value.to_json()))
        .collect()
}

fn fixtures() -> Vec<(String, PathBuf)> {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
    let folders = list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    let mut cases: Vec<_> = folders
        .iter()
        .flat_map(|folder| list(folder).into_iter().map(|case| (name(folder), case)))
        .collect();
    cases.sort();
    cases
}
