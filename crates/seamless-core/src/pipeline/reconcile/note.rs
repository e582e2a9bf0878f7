//! What is written down of drift: an entry in the ledger when it is found, and a row for as long as it stays. No values: those are for whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Conduct, Drift, DriftKind, DriftThen, Pass, Sweep};
use crate::contract::{Expect, Op, RowKey, Scan, Table};
use crate::error::Result;
use crate::pipeline::engine::Engine;
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::state::{RecordKey, Rows};
use crate::record::RecordId;
use crate::value::{Fields, Timestamp};

/// Drift that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingDrift {
    /// When it was found first.
    pub since: Timestamp,
    /// The pass that saw it last.
    pass: Timestamp,
    /// What is wrong.
    pub kinds: BTreeSet<DriftKind>,
    /// The fields concerned.
    pub fields: BTreeSet<String>,
    /// A person has to look at it.
    pub reported: bool,
    /// Keyed hash of what was found, so that the same is noted once.
    content: String,
}

/// Where drift of records stands, by their path.
const PREFIX: &str = "drift/";

impl StandingDrift {
    /// What the rows of a sync begin with, and their table.
    pub fn rows_of(sync: &str) -> (Table, String) {
        (Table::Meta, format!("{PREFIX}{sync}/"))
    }
}

fn drift_row(record: &RecordKey) -> RowKey {
    RowKey::new(Table::Meta, format!("{PREFIX}{}", record.path()))
}

impl Sweep {
    /// Writes down what was found, before anything is done about it.
    pub(super) async fn note(&self, found: &[Drift], pass: &Pass) -> Result<()> {
        let engine = &*self.poller.engine;
        let now = engine.clock.now();
        let mut by_record: BTreeMap<&RecordKey, Vec<&Drift>> = BTreeMap::new();
        // What the next poll brings anyway is no drift.
        for drift in found.iter().filter(|drift| drift.kind != DriftKind::Recent) {
            by_record.entry(&drift.record).or_default().push(drift);
        }
        if by_record.is_empty() {
            return Ok(());
        }
        let keys: Vec<RowKey> = by_record.keys().map(|record| drift_row(record)).collect();
        let mut ops = self.poller.lease_checks();
        for (((record, drifts), key), row) in by_record
            .into_iter()
            .zip(&keys)
            .zip(engine.store.get(&keys).await?)
        {
            let known: Option<StandingDrift> = row.map(|row| Rows::plain(key, &row)).transpose()?;
            let content = content_of(engine, &drifts);
            let is_known = known.as_ref().is_some_and(|known| known.content == content);
            if !is_known {
                for drift in &drifts {
                    ops.push(entry_op(engine, drift, now)?);
                }
            }
            let staying: Vec<&&Drift> = drifts.iter().filter(|drift| drift.then.stays()).collect();
            if !staying.is_empty() {
                let standing = StandingDrift {
                    since: known.filter(|_| is_known).map_or(now, |known| known.since),
                    pass: pass.begun,
                    kinds: staying.iter().map(|drift| drift.kind).collect(),
                    fields: staying
                        .iter()
                        .flat_map(|drift| drift.fields.keys().cloned())
                        .collect(),
                    reported: staying.iter().any(|drift| drift.then == DriftThen::Reported),
                    content,
                };
                if standing.reported && !is_known {
                    tracing::warn!(record = %record.path(), kinds = ?standing.kinds, fields = ?standing.fields, "a record is not as it was left; see `seamless reconcile`");
                }
                ops.push(Rows::put_plain(key.clone(), Expect::Any, &standing)?);
            }
        }
        engine.store.commit(ops).await.map(drop)
    }

    /// Linked records that are gone. Their counterparts stay as they are.
    pub(super) async fn note_gone(
        &self,
        gone: Vec<(RecordKey, RecordId)>,
        pass: &Pass,
    ) -> Result<Vec<Drift>> {
        let drift: Vec<Drift> = gone
            .into_iter()
            .map(|(record, other)| Drift {
                record,
                other: Some(other),
                kind: DriftKind::Gone,
                then: DriftThen::Kept,
                fields: BTreeMap::new(),
            })
            .collect();
        if self.conduct != Conduct::Look {
            self.note(&drift, pass).await?;
        }
        Ok(drift)
    }

    /// What this pass has not seen again is over.
    pub(super) async fn forget_what_is_over(&self, pass: &Pass) -> Result<()> {
        if self.conduct == Conduct::Look {
            return Ok(());
        }
        let engine = &*self.poller.engine;
        for (sync, side) in &self.poller.routes {
            let mut after = None;
            loop {
                let scan = Scan {
                    table: Table::Meta,
                    prefix: format!("{PREFIX}{}/{}/", sync.id, side.letter()),
                    after: after.take(),
                    limit: 500,
                };
                let rows = engine.store.scan(&scan).await?;
                let Some((last, _)) = rows.last() else { break };
                after = Some(last.clone());
                let mut ops = self.poller.lease_checks();
                for (key, row) in &rows {
                    let key = RowKey::new(Table::Meta, key.clone());
                    let standing: StandingDrift = Rows::plain(&key, row)?;
                    if standing.pass < pass.begun {
                        ops.push(Op::Delete {
                            key,
                            expect: Expect::Version(row.version),
                        });
                    }
                }
                engine.store.commit(ops).await?;
            }
        }
        Ok(())
    }
}

fn content_of(engine: &Engine, drifts: &[&Drift]) -> String {
    let mut content = Fields::new();
    for drift in drifts {
        let what = format!("{:?}/{:?}", drift.kind, drift.then);
        for (name, field) in &drift.fields {
            content.insert(format!("{what}/{name}"), field.found.clone());
        }
        content.insert(what, crate::value::Value::Null);
    }
    engine.hash(&content)
}

fn entry_op(engine: &Engine, drift: &Drift, now: Timestamp) -> Result<Op> {
    let mut entry = Entry::new(now, &drift.record, Reason::Drift, sentence(drift));
    entry.other = drift.other.clone();
    engine
        .typed()
        .put_sealed(entry.row(engine.salt()), Expect::Any, &entry)
}

fn sentence(drift: &Drift) -> String {
    let names: Vec<&str> = drift.fields.keys().map(String::as_str).collect();
    let fields = if names.is_empty() {
        "it".to_owned()
    } else {
        names.join(", ")
    };
    let what = match drift.kind {
        DriftKind::Missed | DriftKind::Recent => format!("{fields} changed, and its change stamp does not show it"),
        DriftKind::AgainstFlow => format!("{fields} changed here, where it only follows the other side"),
        DriftKind::ReferenceCleared => "its cross-reference field was cleared".to_owned(),
        DriftKind::ReferenceChanged => {
            "its cross-reference field names another record than the one it is linked to: clear the field to have it written again, \
             or take the two apart with `seamless review unlink`"
                .to_owned()
        }
        DriftKind::Gone => {
            "it no longer exists there, or is not visible any more; its counterpart stays as it is".to_owned()
        }
    };
    let then = match drift.then {
        DriftThen::Published => "; it is taken as an edit",
        DriftThen::Restored => "; the other side's value is written again",
        DriftThen::WrittenBack => "; it is written again",
        DriftThen::Kept | DriftThen::Busy => "",
        DriftThen::Reported if drift.kind == DriftKind::AgainstFlow => "; somebody has to say which is right",
        DriftThen::Reported => "",
    };
    format!("{what}{then}")
}
