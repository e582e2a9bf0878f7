//! What all workers of a host share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::mistakes::{Mistake, Mistakes};
use super::receipt::CommitReceipt;
use super::spec::{SyncSpec, Timings};
use super::state::{Hint, RecordKey, Rows, hint_row};
use crate::contract::{
    Bus, Clock, Expect, Op, Random, Row, RowKey, Scan, Side, Source, StateStore, Table, Target,
};
use crate::envelope::{Hasher, RowSeal, Sealer, hex};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Observed;
use crate::record::{RecordId, SyncId, SystemId};

/// A configured system, opened.
#[derive(Clone)]
pub struct System {
    /// Reads changes.
    pub source: Arc<dyn Source>,
    /// Writes.
    pub target: Arc<dyn Target>,
}

/// Everything the workers of one host share. Build it, then run [`super::Poller`], [`super::Applier`], [`super::Resolver`] and
/// [`super::WriteBacker`] on it, in any number and order: correctness comes from claims, not from who runs when.
pub struct Engine {
    /// The syncs by name.
    pub syncs: BTreeMap<SyncId, Arc<SyncSpec>>,
    /// The systems by name.
    pub systems: BTreeMap<SystemId, System>,
    /// State.
    pub store: Arc<dyn StateStore>,
    /// Bus.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// What counts as an event, and who is told.
    pub events: super::events::EventSpec,
    /// Seals messages.
    pub sealer: Sealer,
    /// Seals rows.
    pub rows: RowSeal,
    /// Keyed hashes.
    pub hasher: Hasher,
    /// Time limits.
    pub timings: Timings,
    /// Counts what happens, for `status`, progress bars and metrics.
    pub counters: super::counters::Counters,
    /// Planted mistakes (tests only).
    pub mistakes: Mistakes,
    /// Whether the store has ever been written for a record; see [`Engine::is_used`].
    pub used: AtomicBool,
}

fn used_row() -> RowKey {
    RowKey::new(Table::Meta, "used")
}

fn first_merge_row(sync: &SyncId) -> RowKey {
    RowKey::new(Table::Meta, format!("first-merge/{sync}"))
}

impl Engine {
    /// Walks over the rows of a table; the visitor ends it with `false`.
    pub(crate) async fn each_row(
        &self,
        table: Table,
        mut visit: impl FnMut(RowKey, Row) -> Result<bool> + Send,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let scan = Scan {
                table,
                prefix: String::new(),
                after: after.take(),
                limit: 500,
            };
            let rows = self.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, row) in rows {
                if !visit(RowKey::new(table, key), row)? {
                    return Ok(());
                }
            }
        }
    }

    /// The same engine, for a person who has seen the first-merge overwrites (R4). Counts for itself.
    pub(crate) fn accepting(&self) -> Engine {
        let accepted = |sync: &Arc<SyncSpec>| {
            Arc::new(SyncSpec {
                first_merge_accepted: true,
                ..SyncSpec::clone(sync)
            })
        };
        Engine {
            syncs: self
                .syncs
                .iter()
                .map(|(id, sync)| (id.clone(), accepted(sync)))
                .collect(),
            systems: self.systems.clone(),
            store: self.store.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            events: self.events.clone(),
            sealer: self.sealer.clone(),
            rows: self.rows.clone(),
            hasher: self.hasher.clone(),
            timings: self.timings,
            counters: Default::default(),
            mistakes: self.mistakes,
            used: AtomicBool::new(self.used.load(Ordering::Relaxed)),
        }
    }

    /// A sync by name.
    pub fn sync(&self, id: &SyncId) -> Result<&Arc<SyncSpec>> {
        self.syncs.get(id).ok_or_else(|| {
            Error::config(format!(
                "sync '{id}' is not in the configuration any more, but work for it is left"
            ))
        })
    }

    /// The system on a side of a sync.
    pub fn system(&self, sync: &SyncSpec, side: Side) -> Result<&System> {
        let name = &sync.side(side).system;
        self.systems
            .get(name)
            .ok_or_else(|| Error::config(format!("system '{name}' is not configured")))
    }

    /// The sync that keeps an entity in step between the same two systems, and whether its sides are swapped against ours.
    pub(crate) fn sync_of(
        &self,
        entity: &crate::record::EntityName,
        like: &SyncSpec,
    ) -> Option<(Arc<SyncSpec>, bool)> {
        let (a, b) = (&like.sides[0].system, &like.sides[1].system);
        self.syncs.values().find_map(|sync| {
            let same = &sync.sides[0].system == a && &sync.sides[1].system == b;
            let swapped = &sync.sides[0].system == b && &sync.sides[1].system == a;
            (sync.model.name == *entity && (same || swapped)).then(|| (sync.clone(), swapped))
        })
    }

    /// Keyed hash of a record's content: its fields, passengers left out, and what could not be read.
    pub(crate) fn content_hash(&self, sync: &SyncSpec, observed: &Observed) -> String {
        let mut content: crate::value::Fields = observed
            .fields
            .iter()
            .filter(|(name, _)| sync.model.fields.get(*name).is_some_and(|spec| !spec.passenger))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if self.mistakes.has(Mistake::WriteBackIsEdit) {
            let xref = observed.xref.clone().unwrap_or_default();
            content.insert("!xref".to_owned(), crate::value::Value::Text(xref));
        }
        for (name, reason) in &observed.broken {
            content.insert(format!("!{name}"), crate::value::Value::Text(reason.clone()));
        }
        for name in &observed.absent {
            content.insert(format!("!{name}"), crate::value::Value::Null);
        }
        self.hash(&content)
    }

    /// Keyed hash of fields, as text.
    pub(crate) fn hash(&self, fields: &crate::value::Fields) -> String {
        hex(&self.hasher.content(fields))
    }

    /// The claim on a record.
    pub(crate) fn record_claim(&self, sync: &SyncSpec, side: Side, id: &RecordId) -> String {
        self.hasher
            .record_claim(&sync.side(side).system, &sync.model.name, id)
    }

    /// Re-reads one side of a sync.
    pub(crate) async fn fetch(
        &self,
        sync: &SyncSpec,
        side: Side,
        ids: &[RecordId],
    ) -> Result<BTreeMap<RecordId, Seen>> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let spec = sync.side(side);
        let mut found = BTreeMap::new();
        for chunk in ids.chunks(500) {
            let records = self
                .system(sync, side)?
                .target
                .fetch(&spec.mapping.entity, chunk)
                .await?;
            for native in records {
                let observed = spec.observe(&native);
                found.insert(native.id.clone(), Seen { native, observed });
            }
        }
        Ok(found)
    }

    /// Whether this store has ever linked or written anything.
    pub async fn is_used(&self) -> Result<bool> {
        if self.used.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let used = self.store.get(&[used_row()]).await?.remove(0).is_some();
        self.used.store(used, Ordering::Relaxed);
        Ok(used)
    }

    /// The operation that marks the store as used, if it is not yet.
    pub(crate) async fn mark_used(&self) -> Result<Vec<Op>> {
        if self.is_used().await? {
            return Ok(Vec::new());
        }
        Ok(vec![Op::Put {
            key: used_row(),
            expect: Expect::Any,
            value: b"1".to_vec(),
        }])
    }

    pub(crate) async fn mark_used_if(&self, wanted: bool) -> Result<Vec<Op>> {
        if wanted {
            self.mark_used().await
        } else {
            Ok(Vec::new())
        }
    }

    /// First-merge overwrites made so far in a sync (R4).
    pub async fn first_merge_overwrites(&self, sync: &SyncId) -> Result<u64> {
        let row = self.store.get(&[first_merge_row(sync)]).await?.remove(0);
        Ok(row
            .and_then(|row| std::str::from_utf8(&row.value).ok()?.parse().ok())
            .unwrap_or(0))
    }

    pub(crate) async fn count_first_merge(&self, sync: &SyncId, more: u64) -> Result<Op> {
        let made = self.first_merge_overwrites(sync).await? + more;
        Ok(Op::Put {
            key: first_merge_row(sync),
            expect: Expect::Any,
            value: made.to_string().into_bytes(),
        })
    }

    /// The row with the highest id seen of a native entity.
    pub(crate) fn highest_row(system: &SystemId, entity: &str) -> RowKey {
        RowKey::new(Table::Meta, format!("highest/{system}/{entity}"))
    }

    pub(crate) async fn highest(&self, row: &RowKey) -> Result<Option<RecordId>> {
        let row = self.store.get(std::slice::from_ref(row)).await?.remove(0);
        Ok(row
            .and_then(|row| String::from_utf8(row.value).ok())
            .map(RecordId))
    }

    /// The operation that raises the highest id seen. It only ever has to be *too low*, never too high: a lost race is harmless.
    pub(crate) async fn raise_highest(
        &self,
        system: &SystemId,
        entity: &str,
        ids: impl Iterator<Item = &RecordId>,
    ) -> Result<Option<Op>> {
        let Some(seen) = ids.filter_map(|id| id.0.parse::<i64>().ok()).max() else {
            return Ok(None);
        };
        let key = Engine::highest_row(system, entity);
        let known = self.highest(&key).await?.and_then(|id| id.0.parse::<i64>().ok());
        let higher = known.is_none_or(|known| seen > known);
        Ok(higher.then(|| Op::Put {
            key,
            expect: Expect::Any,
            value: seen.to_string().into_bytes(),
        }))
    }

    /// The system that a record's changes go to.
    pub(crate) fn target_of(&self, record: &RecordKey) -> Result<&SystemId> {
        Ok(&self.sync(&record.sync)?.side(record.side.other()).system)
    }

    /// Has a record looked at as soon as somebody gets to it.
    pub(crate) fn hint(&self, record: &RecordKey) -> Result<Op> {
        let row = hint_row(self.target_of(record)?, self.clock.now(), record);
        let hint = Hint {
            record: record.clone(),
        };
        Rows::put_plain(row, Expect::Any, &hint)
    }

    /// Commits and returns the receipt that settling needs.
    pub(crate) async fn commit(&self, ops: Vec<Op>) -> Result<CommitReceipt> {
        super::receipt::commit_with_receipt(&*self.store, ops).await
    }

    pub(crate) fn typed(&self) -> Rows<'_> {
        Rows::new(&self.rows)
    }

    /// A random name of 32 hex digits.
    pub(crate) fn name(&self) -> String {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        hex(&bytes)
    }

    pub(crate) fn salt(&self) -> u32 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// At the start of a host that is alone on its store: claims of workers that died are free at once.
    pub async fn release_stale_claims(&self) -> Result<()> {
        loop {
            let rows = self
                .store
                .scan(&crate::contract::Scan {
                    table: Table::Claim,
                    prefix: String::new(),
                    after: None,
                    limit: usize::MAX,
                })
                .await?;
            let stale: Vec<Op> = rows
                .iter()
                .filter(|(key, row)| {
                    let key = RowKey::new(Table::Claim, key.clone());
                    !matches!(Rows::plain(&key, row), Ok(super::state::ClaimHolder::Intent(_)))
                })
                .map(|(key, row)| Op::Delete {
                    key: RowKey::new(Table::Claim, key.clone()),
                    expect: Expect::Version(row.version),
                })
                .collect();
            match self.commit(stale).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                done => return done.map(drop),
            }
        }
    }
}

/// A record as just read.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) native: crate::record::NativeRecord,
    pub(crate) observed: Observed,
}
