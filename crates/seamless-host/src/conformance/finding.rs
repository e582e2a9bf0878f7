//! Searches.

use std::collections::BTreeSet;

use seamless_core::{ExternalKey, Lookup, NativeRecord, RecordId, Result, Value, lookup};

use super::ground::{Ground, counted, plain};
use super::{Seen, Stop, Tried, ensure, told};

/// Values searched in one question.
const VALUES_MAX: usize = 10;
/// A value that no record has.
pub(super) const NOWHERE: &str = "seamless-no-such-value-7f3a";
/// What search languages give a meaning to.
const SIGNS: [&str; 11] = [
    "' or 'a'='a",
    "\" or 1=1",
    "%",
    "*",
    "\\",
    ",",
    "&x=1",
    "#",
    ";",
    "(Å) Ltd",
    "{a}",
];

pub(super) async fn cases(ground: &Ground<'_>) -> Result<Vec<Tried>> {
    let mut cases = Vec::new();
    for field in ground.searched() {
        cases.push(told(
            format!("search by {field}"),
            each_in_its_place(ground, field).await,
        )?);
        cases.push(told(
            format!("signs in a search by {field}"),
            signs(ground, field).await,
        )?);
    }
    cases.push(told("ids above another", above(ground).await)?);
    cases.push(told("the cross-reference is unique", unique(ground))?);
    Ok(cases)
}

/// Several values at once, and one that nobody has: each finds its own records and no others.
async fn each_in_its_place(ground: &Ground<'_>, field: &str) -> Seen {
    let values = match values(ground, field) {
        Ok(values) => values,
        Err(stop) => {
            // Whether the filter is looked at shows all the same; a system may refuse a text where it keeps a number.
            let found = ground.find(field, &[NOWHERE.into()]).await.unwrap_or_default();
            ensure!(
                found.iter().all(Vec::is_empty),
                "a value that no record has finds records: the filter is ignored"
            );
            return Err(stop);
        }
    };
    // Backwards, the stranger in front: the order of answers is the order of questions.
    let mut asked: Vec<Value> = values.iter().rev().cloned().collect();
    asked.insert(0, stranger(&values));
    let found = ground.find(field, &asked).await?;
    ensure!(
        found.len() == asked.len(),
        "{} questions have {} answers",
        asked.len(),
        found.len()
    );
    ensure!(
        found[0].is_empty(),
        "a value that no record has finds {}",
        counted(found[0].len(), "record", "records")
    );
    for (value, found) in asked.iter().zip(&found).skip(1) {
        let wanted = value.to_plain();
        let same = |record: &&NativeRecord| plain(record, field) == wanted;
        let due: Vec<&NativeRecord> = ground.sample.iter().filter(same).collect();
        let lost: Vec<RecordId> = due
            .iter()
            .filter(|record| !found.iter().any(|found| found.id == record.id))
            .map(|record| record.id.clone())
            .collect();
        // Edited or removed meanwhile; and nobody promises more than the first fifty.
        let lost = ground.fetch(&lost).await?;
        ensure!(
            found.len() >= 50 || !lost.iter().any(|record| same(&record)),
            "a record that has the value is not found by it; is '{field}' called otherwise in searches (find.names), or does the system search parts of it only?"
        );
    }
    Ok(format!(
        "{} in {} find their records and no others{}",
        counted(values.len(), "value", "values"),
        counted(
            asked.len().div_ceil(ground.capabilities.find_batch_max.max(1)),
            "call",
            "calls"
        ),
        case(ground, field, &values).await?
    ))
}

/// Whether the system minds upper and lower case; match rules are compared without.
async fn case(ground: &Ground<'_>, field: &str, values: &[Value]) -> Result<&'static str, Stop> {
    let turned = values.iter().filter_map(Value::as_text).find_map(|text| {
        let turned = text.to_lowercase();
        (turned != text).then_some(turned)
    });
    let Some(turned) = turned else { return Ok("") };
    let found = ground.find(field, &[Value::Text(turned)]).await?;
    Ok(if found.iter().any(|found| !found.is_empty()) {
        "; upper and lower case are alike"
    } else {
        "; upper and lower case differ, so records written otherwise are not recognised"
    })
}

async fn signs(ground: &Ground<'_>, field: &str) -> Seen {
    let values = values(ground, field)?;
    if values.iter().any(|value| value.as_text().is_none()) {
        return Err(Stop::NotShown("it holds no text".to_owned()));
    }
    for sign in SIGNS {
        let asked = format!("{NOWHERE}{sign}");
        let found = ground.find(field, &[Value::Text(asked)]).await;
        let found = found.map_err(|error| match Stop::from(error) {
            Stop::Broken(sentence) => Stop::Broken(format!(
                "a value with {sign} cannot be searched ({sentence}); see find.escape"
            )),
            // A fault of the server's, as likely as not: it does not get over the sign.
            Stop::Failed(error) => Stop::Broken(format!(
                "a value with {sign} makes the search fail ({}); see find.escape",
                error.message()
            )),
            stop => stop,
        })?;
        ensure!(
            found.iter().all(Vec::is_empty),
            "a value with {sign} that nobody has finds records; see find.escape"
        );
    }
    Ok(format!(
        "{} values with signs that search languages know find nothing",
        SIGNS.len()
    ))
}

async fn above(ground: &Ground<'_>) -> Seen {
    if !ground.capabilities.ascending_ids {
        return Err(Stop::NotShown("ids are not said to rise".to_owned()));
    }
    let number = |record: &NativeRecord| record.id.as_str().parse::<i64>().ok();
    let mut ids: Vec<i64> = ground.sample.iter().filter_map(number).collect();
    ensure!(
        ids.len() == ground.sample.len(),
        "ids are said to rise, but not all are whole numbers"
    );
    ids.sort_unstable();
    // Few enough that one answer holds them.
    let Some(floor) = ids.iter().rev().nth(20.min(ids.len().saturating_sub(1))).copied() else {
        return Err(Stop::NotShown("there are no records".to_owned()));
    };
    let lookups = [Lookup::AboveId(RecordId(floor.to_string()))];
    let found = ground
        .patiently(async || ground.source().find(ground.entity(), &lookups).await)
        .await?;
    let found: BTreeSet<i64> = found.iter().flatten().filter_map(number).collect();
    ensure!(
        found.iter().all(|id| *id > floor),
        "asked for ids above {floor}, it returns lower ones"
    );
    let missing: Vec<RecordId> = ids
        .iter()
        .filter(|id| **id > floor && !found.contains(id))
        .map(|id| RecordId(id.to_string()))
        .collect();
    ensure!(
        found.len() >= 1_000 || ground.fetch(&missing).await?.is_empty(),
        "records with ids above {floor} do not come when asked for"
    );
    Ok(format!(
        "above {floor} come {}",
        counted(found.len(), "record", "records")
    ))
}

fn unique(ground: &Ground<'_>) -> Seen {
    let field = match (&ground.mapping().xref, ground.capabilities.external_key) {
        (Some(field), ExternalKey::Unique) => field,
        (Some(_), ExternalKey::Searchable) => {
            return Err(Stop::NotShown("it is declared as searchable only".to_owned()));
        }
        _ => return Err(Stop::NotShown("there is none that can be relied on".to_owned())),
    };
    let held: Vec<String> = ground
        .sample
        .iter()
        .filter_map(|record| plain(record, field))
        .collect();
    let distinct: BTreeSet<&String> = held.iter().collect();
    ensure!(
        distinct.len() == held.len(),
        "two records have the same {field}, which is declared as unique"
    );
    match held.len() {
        0 => Err(Stop::NotShown("no record has one yet".to_owned())),
        some => Ok(format!("{} have one each", counted(some, "record", "records"))),
    }
}

/// Some values of the field, each once.
fn values(ground: &Ground<'_>, field: &str) -> Result<Vec<Value>, Stop> {
    let mut seen = BTreeSet::new();
    let held = ground.sample.iter().filter_map(|record| {
        let value = lookup(&record.fields, field)?;
        seen.insert(plain(record, field)?.to_lowercase()).then_some(value)
    });
    let values: Vec<Value> = held.take(VALUES_MAX).cloned().collect();
    if values.is_empty() {
        return Err(Stop::NotShown(format!(
            "no record that was looked at has a '{field}'"
        )));
    }
    Ok(values)
}

/// A value of the same type that nobody has.
fn stranger(values: &[Value]) -> Value {
    let highest = values.iter().filter_map(Value::as_int).max();
    highest.map_or_else(
        || NOWHERE.into(),
        |highest| Value::Int(highest.saturating_add(1_000_003)),
    )
}
