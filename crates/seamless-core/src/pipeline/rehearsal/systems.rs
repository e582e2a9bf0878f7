//! A system whose reads are real and whose writes happen in memory only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::contract::{
    Clock, EntityInfo, ListRequest, Lookup, Page, Reader, Source, Target, Usage, Write, WriteAction, Written,
};
use crate::error::Result;
use crate::pipeline::engine::System;
use crate::record::{NativeRecord, RecordId};
use crate::value::{Fields, Value, lookup};

/// What a rehearsal asked of a system, or will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Pages listed.
    pub lists: u64,
    /// Searches, each as many look-ups as the system takes at once.
    pub finds: u64,
    /// Reads of records by id, up to 500 at once.
    pub fetches: u64,
    /// Creates and updates.
    pub writes: u64,
    /// How long the reads took, in milliseconds.
    pub read_millis: u64,
}

/// Reads a real system, and remembers what would have been written to it.
pub(super) struct Rehearsed {
    inner: System,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Calls,
    /// Records as they would be, by native entity and id.
    records: BTreeMap<(String, RecordId), NativeRecord>,
    born: i64,
    log: Vec<Logged>,
}

/// An update that would have been made.
pub(super) struct Logged {
    pub(super) entity: String,
    pub(super) id: RecordId,
    pub(super) fields: Fields,
}

impl Rehearsed {
    pub(super) fn new(inner: System, clock: Arc<dyn Clock>) -> Arc<Rehearsed> {
        Arc::new(Rehearsed {
            inner,
            clock,
            state: Mutex::default(),
        })
    }

    pub(super) fn calls(&self) -> Calls {
        self.state().calls
    }

    /// The updates logged since the last call.
    pub(super) fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut self.state().log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, started: Duration, add: impl FnOnce(&mut Calls)) {
        let took = self.clock.monotonic().saturating_sub(started);
        let calls = &mut self.state().calls;
        calls.read_millis += u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        add(calls);
    }
}

/// Records that would be created have ids below zero, so that systems with numeric ids can hold references to them.
pub(super) fn is_born_here(id: &RecordId) -> bool {
    id.0.strip_prefix('-')
        .is_some_and(|digits| digits.parse::<u64>().is_ok())
}

#[async_trait]
impl Reader for Rehearsed {
    fn capabilities(&self, entity: &str) -> Capabilities {
        self.inner.target.capabilities(entity)
    }

    async fn describe(&self, entity: &str) -> Result<EntityInfo> {
        self.inner.target.describe(entity).await
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.target.usage()
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let started = self.clock.monotonic();
        let real: Vec<RecordId> = ids.iter().filter(|id| !is_born_here(id)).cloned().collect();
        let mut records = match real.as_slice() {
            [] => Vec::new(),
            real => self.inner.target.fetch(entity, real).await?,
        };
        self.count(started, |calls| calls.fetches += 1);
        let state = self.state();
        for record in &mut records {
            if let Some(changed) = state.records.get(&(entity.to_owned(), record.id.clone())) {
                record.clone_from(changed);
            }
        }
        let born = ids.iter().filter(|id| is_born_here(id));
        records.extend(born.filter_map(|id| state.records.get(&(entity.to_owned(), id.clone())).cloned()));
        Ok(records)
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let started = self.clock.monotonic();
        let mut found = self.inner.target.find(entity, lookups).await?;
        let at_once = self.capabilities(entity).find_batch_max.max(1);
        self.count(started, |calls| {
            calls.finds += lookups.len().div_ceil(at_once) as u64;
        });
        let state = self.state();
        for (lookup, records) in lookups.iter().zip(&mut found) {
            for record in records.iter_mut() {
                if let Some(changed) = state.records.get(&(entity.to_owned(), record.id.clone())) {
                    record.clone_from(changed);
                }
            }
            for ((named, id), record) in &state.records {
                let known = || records.iter().any(|known| known.id == *id);
                if named == entity && answers(record, lookup) && !known() {
                    records.push(record.clone());
                }
            }
        }
        Ok(found)
    }

    async fn ping(&self) -> Result<()> {
        self.inner.target.ping().await
    }
}

/// As a server would find it: text alike but for case.
fn answers(record: &NativeRecord, wanted: &Lookup) -> bool {
    let Lookup::Field { field, value } = wanted else {
        return false;
    };
    let plain = |value: &Value| value.to_plain().map(|text| text.trim().to_lowercase());
    let wanted = plain(value);
    wanted.is_some() && lookup(&record.fields, field).and_then(plain) == wanted
}

#[async_trait]
impl Source for Rehearsed {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let started = self.clock.monotonic();
        let page = self.inner.source.list(request).await?;
        self.count(started, |calls| calls.lists += 1);
        Ok(page)
    }
}

#[async_trait]
impl Target for Rehearsed {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let mut state = self.state();
        state.calls.writes += writes.len() as u64;
        writes.iter().map(|write| Ok(state.keep(write))).collect()
    }
}

impl State {
    fn keep(&mut self, write: &Write) -> Written {
        let (id, record) = match &write.action {
            WriteAction::Create { fields } => {
                self.born -= 1;
                let id = RecordId(self.born.to_string());
                let record = NativeRecord {
                    id: id.clone(),
                    stamp: None,
                    created: None,
                    version: None,
                    fields: fields.clone(),
                };
                (id, Some(record))
            }
            WriteAction::Update { current, fields } => {
                let mut record = NativeRecord::clone(current);
                // Under their whole paths: a path is looked up as a key first.
                record.fields.extend(fields.clone());
                self.log.push(Logged {
                    entity: write.entity.clone(),
                    id: record.id.clone(),
                    fields: fields.clone(),
                });
                (record.id.clone(), Some(record))
            }
            WriteAction::Delete { id } => (id.clone(), None),
        };
        let key = (write.entity.clone(), id.clone());
        match record {
            Some(record) => drop(self.records.insert(key, record)),
            None => drop(self.records.remove(&key)),
        }
        Written { id }
    }
}
