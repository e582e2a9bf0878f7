//! A record of a simulated system: what it holds, what a search shows of it, and everything that was ever done to it.

use std::time::Duration;

use seamless_core::{Fields, NativeRecord, RecordId, Stamp, Timestamp, Value};

use super::executor::EPOCH;
use super::plan::Plan;

/// A record with its history.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) fields: Fields,
    pub(super) stamp: i64,
    pub(super) created: i64,
    pub(super) version: u64,
    /// Made by the engine.
    pub(super) by_engine: bool,
    /// What `find` shows, by when it shows it.
    pub(super) indexed: Vec<(Duration, Fields)>,
    /// Everything a field ever held: when, what, and whether a person put it there.
    pub(super) history: Vec<Change>,
}

/// One change of a field.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) at: Duration,
    pub(super) field: String,
    pub(super) value: Value,
    pub(super) person: bool,
    /// Overwritten in the open window: nobody can be blamed for its loss.
    pub(super) excused: bool,
}

impl Record {
    /// Any change moves the stamp that travels along.
    pub(super) fn touch(&mut self, entity: &str, system: usize, now: Duration) {
        if numbers(entity, system) {
            self.fields.insert("last_activity".to_owned(), moment(now));
        }
    }

    pub(super) fn set(
        &mut self,
        field: &str,
        value: Value,
        now: Duration,
        stamp: i64,
        person: bool,
        plan: &Plan,
    ) {
        // Saving a form without changing anything moves the stamp, but is no edit.
        if self.fields.get(field) != Some(&value) {
            self.fields.insert(field.to_owned(), value.clone());
            self.history.push(Change {
                at: now,
                field: field.to_owned(),
                value,
                person,
                excused: false,
            });
        }
        // Stamps of one record never go back, but may stay the same.
        self.stamp = self.stamp.max(stamp);
        self.version += 1;
        self.indexed.push((now + plan.search_lag, self.fields.clone()));
        if self.indexed.len() > 8 {
            self.indexed.remove(0);
        }
    }

    /// As read at `now`; the version tells when, so that a write can be held against the age of its read.
    pub(super) fn native(&self, id: u64, now: Duration) -> NativeRecord {
        NativeRecord {
            id: RecordId(id.to_string()),
            stamp: Some(Stamp(self.stamp)),
            created: Some(Stamp(self.created)),
            version: Some(format!("{}@{}", self.version, now.as_micros())),
            fields: self.fields.clone(),
        }
    }

    /// As the search index shows it now.
    pub(super) fn found(&self, now: Duration) -> Option<&Fields> {
        self.indexed
            .iter()
            .rev()
            .find(|(at, _)| *at <= now)
            .map(|(_, fields)| fields)
    }
}

/// How old a read may be when its write is sent (the engine's `stale_read_max` in these runs).
pub(super) const STALE_READ_MAX: Duration = Duration::from_millis(100);

pub(super) fn read_at(record: &NativeRecord) -> Duration {
    let at = record
        .version
        .as_deref()
        .and_then(|version| version.split_once('@')?.1.parse().ok());
    Duration::from_micros(at.unwrap_or_default())
}

pub(super) fn version_of(record: &NativeRecord) -> u64 {
    record
        .version
        .as_deref()
        .and_then(|version| version.split_once('@')?.0.parse().ok())
        .unwrap_or_default()
}

/// The first system numbers its tickets itself and says when they were last touched.
pub(super) fn numbers(entity: &str, system: usize) -> bool {
    (entity, system) == ("ticket", 0)
}

pub(super) fn moment(at: Duration) -> Value {
    Value::Time(Timestamp(EPOCH + at.as_micros() as i64))
}

/// The second system, in some runs.
pub(super) fn has_unique_key(plan: &Plan, system: usize) -> bool {
    system == 1 && plan.second_unique
}

/// What a system makes of a value that it is given. The first has its own way to write telephone numbers, which is declared; one of the two has,
/// in some runs, one for notes, which is not.
pub(super) fn as_kept(system: usize, field: &str, value: &Value, plan: &Plan) -> Value {
    match (system, field) {
        (0, "phone") => only_digits(value),
        (_, "note") if plan.rewrites == Some(system) => in_capitals(value),
        _ => value.clone(),
    }
}

pub(super) fn in_capitals(value: &Value) -> Value {
    value
        .as_text()
        .map_or_else(|| value.clone(), |text| Value::text(text.to_uppercase()))
}

fn only_digits(value: &Value) -> Value {
    Value::text(
        value
            .as_text()
            .unwrap_or_default()
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>(),
    )
}

pub(super) fn floor(at: Duration, plan: &Plan) -> i64 {
    let grain = plan.granularity.as_micros().max(1) as i64;
    (EPOCH + at.as_micros() as i64).div_euclid(grain) * grain
}
