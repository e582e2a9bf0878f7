//! `explain`: everything known of one record. Shows record content: for a terminal, never for a log.

use std::collections::BTreeMap;

use seamless_core::pipeline::{
    Entry, Half, Link, Pair, Parked, RecordKey, Rows, Track, WriteBack, pair_row_of,
};
use seamless_core::{Error, ErrorKind, RecordId, Result, RowKey, Side, Table};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{ParkedRecord, plain_text, stamp_text};
use crate::books::Books;
use crate::build::SyncPlan;
use crate::config::hint;

/// Everything known of one record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The sync.
    pub sync: String,
    /// The record, as `system:id`.
    pub record: String,
    /// Its counterpart.
    pub linked_to: Option<String>,
    /// In short, for people.
    pub summary: String,
    /// What both sides held when they were last settled, by canonical field.
    pub fields: BTreeMap<String, FieldState>,
    /// Newest version seen of this record, and of its counterpart.
    pub seen: [Option<String>; 2],
    /// Where its last message is: `noted`, `confirmed` (under way) or `settled`.
    pub message: Option<String>,
    /// Set aside, or waiting.
    pub parked: Option<ParkedRecord>,
    /// The id that is on its way into its cross-reference field.
    pub write_back: Option<String>,
    /// Every decision about the record and its counterpart, oldest first.
    pub decisions: Vec<Decision>,
}

/// A field of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FieldState {
    /// What this record held; absent while it has to be settled again.
    pub here: Option<Json>,
    /// What its counterpart held.
    pub there: Option<Json>,
    /// Why the field waits alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// A decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// When (RFC 3339).
    pub at: String,
    /// The record the change came from.
    pub from: String,
    /// The record it went to.
    pub to: Option<String>,
    /// Why, as a stable code.
    pub reason: String,
    /// Details.
    pub note: String,
    /// Fields written.
    pub fields: Vec<DecisionField>,
}

/// A field that was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionField {
    /// Canonical field.
    pub field: String,
    /// Why.
    pub why: String,
    /// What the target held.
    pub before: Json,
    /// What it was given.
    pub after: Json,
    /// Declared loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
}

/// Newest decisions shown for each of the two records.
const DECISIONS_MAX: usize = 1_000;

impl Books {
    pub(crate) async fn explain(&self, entity: &str, record: &str) -> Result<Explanation> {
        let (plan, key) = self.find_record(entity, record)?;
        let link = self.plain::<Link>(&key.row(Table::Link)).await?;
        let pair = match &link {
            Some(link) => self
                .sealed::<Pair>(&pair_row_of(&key, &link.other))
                .await?
                .unwrap_or_default(),
            None => Pair::default(),
        };
        let parked = match self.sealed::<Parked>(&key.row(Table::Parked)).await? {
            Some(parked) => Some(self.parked_record(&key, parked).await?),
            None => None,
        };
        let other = link.map(|link| RecordKey::new(&key.sync, key.side.other(), &link.other));
        let mut decisions = self.entries(&key).await?;
        if let Some(other) = &other {
            decisions.extend(self.entries(other).await?);
        }
        decisions.sort_by_key(|entry| entry.at);
        let track = self.plain::<Track>(&key.row(Table::Track)).await?;
        let write_back = self.plain::<WriteBack>(&key.row(Table::WriteBack)).await?;
        let linked_to = other.as_ref().map(|other| self.shown(other));
        let summary = summary_of(
            linked_to.as_deref(),
            parked.as_ref(),
            track.is_some(),
            decisions.is_empty(),
        );
        let seen =
            [key.side, key.side.other()].map(|side| pair.seen[side.index()].map(|stamp| stamp_text(stamp.0)));
        Ok(Explanation {
            sync: plan.id.to_string(),
            record: self.shown(&key),
            summary,
            fields: fields_of(&pair, key.side),
            seen,
            message: track.and_then(|track| code(&track.state)),
            parked,
            write_back: write_back.map(|row| match row.parked {
                Some(reason) => format!("{} (cannot be written: {})", row.xref, plain_text(&reason)),
                None => row.xref.to_string(),
            }),
            decisions: decisions.into_iter().map(|entry| self.decision(entry)).collect(),
            linked_to,
        })
    }

    pub(crate) fn find_record(&self, entity: &str, record: &str) -> Result<(&SyncPlan, RecordKey)> {
        let wrong = |message: String| Error::new(ErrorKind::NotFound, message);
        let (system, id) = record
            .split_once(':')
            .filter(|(system, id)| !system.is_empty() && !id.is_empty())
            .ok_or_else(|| {
                wrong(format!(
                    "'{}' is no record; write it as system:id, like autotask:17",
                    plain_text(record)
                ))
            })?;
        let of_entity: Vec<&SyncPlan> = self
            .plans
            .iter()
            .filter(|plan| plan.id.as_str() == entity || plan.model.name.as_str() == entity)
            .collect();
        if of_entity.is_empty() {
            let known: Vec<&str> = self.plans.iter().map(|plan| plan.id.as_str()).collect();
            return Err(wrong(format!(
                "there is no sync or entity '{}'{}",
                plain_text(entity),
                hint(entity, &known)
            )));
        }
        let found = of_entity
            .iter()
            .find_map(|plan| Some((*plan, plan.side_of(system)?)));
        let (plan, side) = found.ok_or_else(|| {
            let known: Vec<&str> = of_entity
                .iter()
                .flat_map(|plan| plan.systems.iter().map(|system| system.as_str()))
                .collect();
            wrong(format!(
                "the sync of {entity} has no system '{}'{}",
                plain_text(system),
                hint(system, &known)
            ))
        })?;
        Ok((plan, RecordKey::new(&plan.id, side, &RecordId::from(id))))
    }

    async fn plain<T: serde::de::DeserializeOwned>(&self, key: &RowKey) -> Result<Option<T>> {
        self.row(key).await?.map(|row| Rows::plain(key, &row)).transpose()
    }

    async fn sealed<T: serde::de::DeserializeOwned>(&self, key: &RowKey) -> Result<Option<T>> {
        self.row(key)
            .await?
            .map(|row| self.rows().sealed(key, &row))
            .transpose()
    }

    async fn entries(&self, record: &RecordKey) -> Result<Vec<Entry>> {
        let mut entries = std::collections::VecDeque::new();
        self.each(Table::Ledger, &Entry::prefix(record), |key, row| {
            if entries.len() == DECISIONS_MAX {
                entries.pop_front();
            }
            entries.push_back(self.rows().sealed::<Entry>(&key, &row)?);
            Ok(true)
        })
        .await?;
        Ok(entries.into())
    }

    fn decision(&self, entry: Entry) -> Decision {
        let to = entry.other.as_ref().map(|other| {
            self.shown(&RecordKey::new(
                &entry.record.sync,
                entry.record.side.other(),
                other,
            ))
        });
        let fields = entry.fields.into_iter().map(|(field, change)| DecisionField {
            field,
            why: code(&change.why).unwrap_or_default(),
            before: change.before.to_json(),
            after: change.after.to_json(),
            loss: change.loss.and_then(|loss| code(&loss)),
        });
        Decision {
            at: entry.at.to_string(),
            from: self.shown(&entry.record),
            to,
            reason: entry.reason.code(),
            note: plain_text(&entry.note),
            fields: fields.collect(),
        }
    }
}

fn fields_of(pair: &Pair, side: Side) -> BTreeMap<String, FieldState> {
    let value = |half: &Half| match half {
        Half::Known(value) => Some(value.to_json()),
        Half::Unseen(write) => Some(write.sent.to_json()),
        Half::Cleared => None,
    };
    let names = pair.base.keys().chain(pair.blocked.keys());
    let state = |name: &String| {
        let halves = pair.base.get(name);
        FieldState {
            here: halves.and_then(|halves| value(&halves[side.index()])),
            there: halves.and_then(|halves| value(&halves[side.other().index()])),
            waits: pair.blocked.get(name).map(|reason| plain_text(reason)),
        }
    };
    names.map(|name| (name.clone(), state(name))).collect()
}

fn summary_of(
    linked: Option<&str>,
    parked: Option<&ParkedRecord>,
    published: bool,
    undecided: bool,
) -> String {
    match (linked, parked) {
        (_, Some(parked)) if parked.waits_for.is_some() => format!("waiting: {}", parked.sentence),
        (_, Some(parked)) => format!("set aside: {}", parked.sentence),
        (Some(other), None) => format!("kept in step with {other}"),
        (None, None) if published => "read, its message is under way".to_owned(),
        (None, None) if undecided => {
            "never seen; is the id right, and has a run finished since it was made?".to_owned()
        }
        (None, None) => "not linked".to_owned(),
    }
}

/// A unit variant's name as in JSON.
fn code(value: &impl Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}
