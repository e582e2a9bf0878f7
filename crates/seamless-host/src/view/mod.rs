//! What people ask of the books: where everything stands, and why a record is as it is.

mod dead;
mod explain;
mod plan;
mod review;
mod status;

use std::collections::BTreeMap;

use seamless_core::pipeline::{Link, Pair, Parked, Reason, RecordKey, Rows, pair_row_of};
use seamless_core::{RecordId, Result, Side, SyncId, Table, Timestamp};
use serde::{Deserialize, Serialize};

pub use dead::DeadLetterView;
pub use explain::{Decision, DecisionField, Explanation, FieldState};
pub use plan::{PlanCost, PlanCounts, PlanField, PlanLine, PlanView};
pub use review::{FieldOf, Look, ReviewView};
pub use status::{CursorStatus, QueueStatus, Status, SyncStatus};

use crate::books::Books;
use crate::build::SyncPlan;

/// A record set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParkedRecord {
    /// The sync.
    pub sync: String,
    /// The record, as `system:id`.
    pub record: String,
    /// Why, as a stable code.
    pub reason: String,
    /// Why, and what to do.
    pub sentence: String,
    /// Since when (RFC 3339); empty for fields that wait alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// The parent it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Records a person has to choose from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

impl Books {
    /// The sync and record of a row key like `account/a/17`.
    pub(crate) fn record_of(&self, path: &str) -> Option<(&SyncPlan, RecordKey)> {
        let mut parts = path.splitn(3, '/');
        let (sync, side, id) = (parts.next()?, parts.next()?, parts.next()?);
        let plan = self.plans.iter().find(|plan| plan.id.as_str() == sync)?;
        let side = Side::BOTH
            .into_iter()
            .find(|known| known.letter().to_string() == side)?;
        Some((plan, RecordKey::new(&plan.id, side, &RecordId::from(id))))
    }

    /// A record as people write it: `autotask:17`.
    pub(crate) fn shown(&self, record: &RecordKey) -> String {
        self.plan(&record.sync).map_or_else(
            || record.path(),
            |plan| format!("{}:{}", plan.systems[record.side.index()], record.id),
        )
    }

    pub(crate) fn plan(&self, sync: &SyncId) -> Option<&SyncPlan> {
        self.plans.iter().find(|plan| plan.id == *sync)
    }

    pub(crate) async fn parked(&self, max: usize) -> Result<Vec<ParkedRecord>> {
        let mut found = Vec::new();
        self.each(Table::Parked, "", |key, row| {
            if found.len() < max
                && let Some((_, record)) = self.record_of(&key.key)
            {
                found.push((record, self.rows().sealed::<Parked>(&key, &row)?));
            }
            Ok(found.len() < max)
        })
        .await?;
        let mut records = Vec::new();
        for (record, parked) in found {
            records.push(self.parked_record(&record, parked).await?);
        }
        let room = max.saturating_sub(records.len());
        records.extend(self.held(room).await?);
        Ok(records)
    }

    /// Linked records with fields that wait alone.
    async fn held(&self, max: usize) -> Result<Vec<ParkedRecord>> {
        let mut found = Vec::new();
        self.each(Table::Held, "", |key, _| {
            if found.len() < max {
                found.extend(self.record_of(&key.key).map(|(_, record)| record));
            }
            Ok(found.len() < max)
        })
        .await?;
        let mut records = Vec::new();
        for record in found {
            let link_row = record.row(Table::Link);
            let Some(row) = self.row(&link_row).await? else {
                continue;
            };
            let link: Link = Rows::plain(&link_row, &row)?;
            let pair_row = pair_row_of(&record, &link.other);
            let Some(row) = self.row(&pair_row).await? else {
                continue;
            };
            let pair: Pair = self.rows().sealed(&pair_row, &row)?;
            let other = RecordKey::new(&record.sync, record.side.other(), &link.other);
            let waits = pair
                .blocked
                .iter()
                .map(|(field, why)| format!("{field} waits alone: {}", plain_text(why)));
            records.push(ParkedRecord {
                sync: record.sync.to_string(),
                record: self.shown(&record),
                reason: Reason::FieldBlocked.code(),
                sentence: waits.collect::<Vec<_>>().join("; "),
                since: String::new(),
                waits_for: None,
                candidates: vec![self.shown(&other)],
            });
        }
        Ok(records)
    }

    /// A parked row for people. A record that waits tells why its parent is not there.
    pub(crate) async fn parked_record(&self, record: &RecordKey, parked: Parked) -> Result<ParkedRecord> {
        let mut sentence = plain_text(&parked.sentence);
        if let Some(parent) = &parked.waits_for {
            let key = parent.row(Table::Parked);
            if let Some(row) = self.row(&key).await? {
                let parent_parked: Parked = self.rows().sealed(&key, &row)?;
                let why = plain_text(&parent_parked.sentence);
                sentence = format!("waits for {}, which is set aside: {why}", self.shown(parent));
            }
        }
        Ok(ParkedRecord {
            sync: record.sync.to_string(),
            record: self.shown(record),
            reason: parked.reason.code(),
            sentence,
            since: parked.since.to_string(),
            waits_for: parked.waits_for.as_ref().map(|parent| self.shown(parent)),
            candidates: parked
                .candidates
                .iter()
                .map(|candidate| self.shown(candidate))
                .collect(),
        })
    }
}

/// Whether a record waits by itself rather than for a person.
pub(crate) fn is_waiting(reason: Reason) -> bool {
    reason == Reason::WaitsForParent
}

/// Text from remote systems, without what could steer a terminal.
pub(crate) fn plain_text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A clock's reading in microseconds; a counter as it is.
fn stamp_text(stamp: i64) -> String {
    const YEAR_2000_IN_MICROS: i64 = 946_684_800_000_000;
    if stamp > YEAR_2000_IN_MICROS {
        Timestamp(stamp).to_string()
    } else {
        stamp.to_string()
    }
}

/// Adds one to a count by name.
fn count_up(counts: &mut BTreeMap<String, u64>, name: String) {
    *counts.entry(name).or_default() += 1;
}
