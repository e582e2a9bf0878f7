//! A remote system in memory with a connector of its own: what the suite is held against, and the shortest connector there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::poll_fn;
use seamless_core::{
    Capabilities, Clock, Effect, EntityInfo, Error, ErrorKind, ExternalKey, FieldInfo, Fields, ListRequest,
    Lookup, NativeRecord, Page, PageToken, Reader, RecordId, Result, Source, Stamp, Target, Value, Write,
    WriteAction, Written,
};

use super::{Bench, Credentials, Exact, Fault, Opened, Peer, Subject};
use crate::conformance::TestClock;

/// The only entity.
pub const ENTITY: &str = "customers";
/// The field with our cross-reference.
const REFERENCE: &str = "their_id";
const FIELDS: [&str; 5] = ["name", "city", REFERENCE, "amount", "note"];
/// Longest text.
const LENGTH_MAX: usize = 60;
const PASSWORD: &str = "open-sesame";
/// How long the system asks to stay away is up to the fault; a page never holds more than this.
const PAGE_MAX: usize = 100;

/// Makes systems in memory that can do this much.
pub struct MemoryBench(pub Capabilities);

#[async_trait]
impl Bench for MemoryBench {
    fn subject(&self) -> Subject {
        subject()
    }

    async fn fresh(&self) -> Box<dyn Peer> {
        Box::new(MemoryPeer(MemorySystem::new(self.0.clone())))
    }
}

/// What the cases work with here.
pub(super) fn subject() -> Subject {
    Subject {
        entity: ENTITY.to_owned(),
        required: Fields::new(),
        name: "name".to_owned(),
        other: "city".to_owned(),
        cross_reference: Some(REFERENCE.to_owned()),
        refused: Some(("note".to_owned(), Value::Text("n".repeat(LENGTH_MAX + 1)))),
        exact: vec![
            Exact::same("amount", 9_007_199_254_740_993_i64),
            Exact::same("amount", Value::from_json(&serde_json::json!(0.1))),
            Exact::same("note", "Zoë 🦀 \u{5e74}"),
            Exact::same("note", Value::Null),
        ],
        secrets: vec![PASSWORD.to_owned()],
    }
}

/// The remote system: rows, a clock of its own, and whatever goes wrong.
pub(super) struct MemorySystem {
    pub(super) capabilities: Capabilities,
    pub(super) clock: Arc<TestClock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, NativeRecord>,
    next_id: u64,
    /// Moves with every change: stamps and versions.
    ticks: i64,
    /// Rows that searches do not show.
    hidden_above: Option<u64>,
    fault: Option<Fault>,
    struck_calls: usize,
    write_calls: usize,
}

/// A write as it goes over the wire.
pub(super) struct WireWrite {
    pub(super) id: Option<u64>,
    pub(super) version: Option<String>,
    pub(super) fields: Fields,
}

/// What the system answers when it does not do what was asked.
pub(super) enum No {
    Stranger,
    Dead,
    Lost,
    Fault,
    Slower(Duration),
    Garbled,
    TooLarge,
    Refused(String),
    Taken,
    Changed,
    Missing,
}

/// Rows behind a position, and the address of the next page.
pub(super) type Rows = (Vec<NativeRecord>, Option<String>);

impl MemorySystem {
    pub(super) fn new(capabilities: Capabilities) -> Arc<MemorySystem> {
        let state = State {
            ticks: 1_000_000,
            ..State::default()
        };
        Arc::new(MemorySystem {
            capabilities,
            clock: TestClock::new(),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What some databases do once the newest row is deleted.
    #[cfg(test)]
    pub(super) fn give_ids_again(&self) {
        let mut state = self.state();
        state.next_id = state.rows.last_key_value().map_or(0, |(id, _)| *id);
    }

    /// `GET /customers?since=…&after=…`: ordered by stamp and id.
    pub(super) fn rows(&self, since: Option<i64>, after: Option<&str>, limit: usize) -> Result<Rows, No> {
        let mut state = self.reading()?;
        let met = [Fault::EndlessList, Fault::ForeignPage].map(Some);
        state.struck_calls += usize::from(met.contains(&state.fault));
        let state = state;
        let place = |row: &NativeRecord| format!("{:020}/{:020}", stamp(row), row.id.number().unwrap_or(0));
        let mut rows: Vec<&NativeRecord> = state.rows.values().collect();
        rows.retain(|row| since.is_none_or(|since| stamp(row) >= since));
        rows.sort_by_key(|row| place(row));
        if state.fault == Some(Fault::EndlessList) {
            let page = rows.into_iter().take(limit).cloned().collect();
            return Ok((page, Some("again".to_owned())));
        }
        rows.retain(|row| after.is_none_or(|after| place(row).as_str() > after));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| place(row));
        let next = match state.fault {
            Some(Fault::ForeignPage) => next.map(|next| format!("//elsewhere.example/{next}")),
            _ => next,
        };
        Ok((rows.into_iter().cloned().collect(), next))
    }

    /// `POST /customers/search`: an index, which may lag.
    pub(super) fn search(&self, matches: impl Fn(&NativeRecord) -> bool) -> Result<Vec<NativeRecord>, No> {
        let mut state = self.reading()?;
        let ignored = state.fault == Some(Fault::IgnoredFilter);
        state.struck_calls += usize::from(ignored);
        let shown = state
            .rows
            .iter()
            .filter(|(id, _)| state.hidden_above.is_none_or(|above| **id <= above));
        let found = shown.filter(|(_, row)| ignored || matches(row));
        Ok(found.map(|(_, row)| row.clone()).collect())
    }

    /// `GET /customers/{id}`.
    pub(super) fn row(&self, id: &RecordId) -> Result<Option<NativeRecord>, No> {
        let state = self.reading()?;
        Ok(id
            .as_str()
            .parse()
            .ok()
            .and_then(|id: u64| state.rows.get(&id).cloned()))
    }

    pub(super) fn ping(&self) -> Result<(), No> {
        self.reading().map(drop)
    }

    fn reading(&self) -> Result<MutexGuard<'_, State>, No> {
        let state = self.state();
        match state.fault {
            Some(Fault::Dead) => Err(No::Dead),
            Some(Fault::Garbled) => Err(No::Garbled),
            Some(Fault::Huge) => Err(No::TooLarge),
            Some(Fault::ThrottledReads(wait)) => Err(No::Slower(wait)),
            _ => Ok(state),
        }
    }

    /// `POST /customers`, `PATCH /customers/{id}`.
    pub(super) fn write(&self, write: &WireWrite) -> Result<RecordId, No> {
        let mut state = self.state();
        if state.fault == Some(Fault::Dead) {
            return Err(No::Dead);
        }
        state.write_calls += 1;
        match state.fault {
            Some(Fault::Unexplained) => return Err(No::Fault),
            Some(Fault::ThrottledWrites(wait)) => return Err(No::Slower(wait)),
            _ => {}
        }
        for (field, value) in &write.fields {
            let long = value
                .as_text()
                .is_some_and(|text| text.chars().count() > LENGTH_MAX);
            if long || !FIELDS.contains(&field.as_str()) {
                return Err(No::Refused(field.clone()));
            }
        }
        let taken = |row: &NativeRecord| {
            let key = write.fields.get(REFERENCE).filter(|key| !key.is_empty());
            key.is_some() && row.fields.get(REFERENCE) == key
        };
        let unique = self.capabilities.external_key == ExternalKey::Unique;
        if unique && write.id.is_none() && state.rows.values().any(taken) {
            return Err(No::Taken);
        }
        let id = match write.id {
            None => state.insert(write.fields.clone()),
            Some(id) => {
                let row = state.rows.get(&id).ok_or(No::Missing)?;
                if write.version.is_some() && write.version != row.version {
                    return Err(No::Changed);
                }
                state.change(id, &write.fields);
                RecordId(id.to_string())
            }
        };
        match state.fault {
            Some(Fault::LostAnswers) => Err(No::Lost),
            Some(Fault::GarbledWrites) => Err(No::Garbled),
            _ => Ok(id),
        }
    }
}

impl State {
    fn insert(&mut self, fields: Fields) -> RecordId {
        self.next_id += 1;
        let id = RecordId(self.next_id.to_string());
        let row = NativeRecord {
            id: id.clone(),
            stamp: Some(Stamp(self.ticks)),
            created: Some(Stamp(self.ticks)),
            version: Some(self.ticks.to_string()),
            fields,
        };
        self.rows.insert(self.next_id, row);
        id
    }

    fn change(&mut self, id: u64, fields: &Fields) {
        self.ticks += 1;
        let ticks = self.ticks;
        if let Some(row) = self.rows.get_mut(&id) {
            row.fields.extend(fields.clone());
            row.stamp = Some(Stamp(ticks));
            row.version = Some(ticks.to_string());
        }
    }
}

fn stamp(row: &NativeRecord) -> i64 {
    row.stamp.map_or(0, |stamp| stamp.0)
}

/// The system's people, and the test's hand on its faults.
pub(super) struct MemoryPeer(pub(super) Arc<MemorySystem>);

#[async_trait]
impl Peer for MemoryPeer {
    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    async fn open(&self, credentials: Credentials) -> Result<Opened> {
        let connector = Arc::new(MemoryConnector::new(self.0.clone(), credentials));
        Ok(Opened {
            source: connector.clone(),
            target: connector,
        })
    }

    async fn seed(&self, records: &[Fields]) -> Vec<RecordId> {
        let mut state = self.0.state();
        state.ticks += 1;
        records
            .iter()
            .map(|fields| state.insert(fields.clone()))
            .collect()
    }

    async fn edit(&self, id: &RecordId, fields: &Fields) {
        if let Ok(id) = id.as_str().parse() {
            self.0.state().change(id, fields);
        }
    }

    async fn delete(&self, id: &RecordId) -> bool {
        let id = id.as_str().parse().ok();
        id.is_some_and(|id: u64| self.0.state().rows.remove(&id).is_some())
    }

    async fn count(&self) -> usize {
        self.0.state().rows.len()
    }

    async fn write_calls(&self) -> Option<usize> {
        Some(self.0.state().write_calls)
    }

    async fn struck_calls(&self) -> Option<usize> {
        Some(self.0.state().struck_calls)
    }

    async fn strike(&self, fault: Fault) -> bool {
        let mut state = self.0.state();
        if fault == Fault::SearchLag {
            state.hidden_above = Some(state.next_id);
        }
        state.fault = Some(fault);
        true
    }

    async fn heal(&self) {
        let mut state = self.0.state();
        (state.fault, state.hidden_above) = (None, None);
    }
}

/// A connector for the system above.
pub(super) struct MemoryConnector {
    pub(super) system: Arc<MemorySystem>,
    credentials: Credentials,
}

impl MemoryConnector {
    pub(super) fn new(system: Arc<MemorySystem>, credentials: Credentials) -> MemoryConnector {
        MemoryConnector { system, credentials }
    }

    /// One call over the wire. The only place where the system's answers become our errors.
    pub(super) async fn call<T>(
        &self,
        answer: impl FnOnce(&MemorySystem) -> Result<T, No> + Send,
    ) -> Result<T> {
        // The way to the server and back: where a caller may drop the call.
        let mut arrived = false;
        poll_fn(|context| {
            if std::mem::replace(&mut arrived, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let answer = match self.credentials {
            Credentials::Right => answer(&self.system),
            Credentials::Wrong => Err(No::Stranger),
        };
        answer.map_err(|no| match no {
            No::Stranger => Error::new(ErrorKind::Auth, "the system does not accept the password"),
            No::Dead => Error::unavailable("the system does not answer").effect(Effect::NotApplied),
            No::Lost => Error::unavailable("the connection broke before an answer came"),
            No::Fault => Error::unavailable("the system reports a fault and gives no reason"),
            No::Slower(wait) => {
                Error::new(ErrorKind::RateLimited, "the system asks us to slow down").retry_later(Some(wait))
            }
            No::Garbled => Error::protocol("the answer breaks off"),
            No::TooLarge => Error::new(ErrorKind::Limit, "the answer is larger than 1 MiB"),
            No::Refused(field) => Error::invalid(format!("the system refused {field}")).field(field),
            No::Taken => Error::conflict("another record has this key"),
            No::Changed => Error::conflict("the record has been changed since it was read"),
            No::Missing => Error::new(ErrorKind::NotFound, "the record does not exist"),
        })
    }

    async fn write_one(&self, write: &Write) -> Result<Written> {
        let wire = match &write.action {
            WriteAction::Create { fields } => WireWrite {
                id: None,
                version: None,
                fields: fields.clone(),
            },
            WriteAction::Update { current, fields } => WireWrite {
                id: Some(number(&current.id)?),
                version: current
                    .version
                    .clone()
                    .filter(|_| self.system.capabilities.compare_and_set),
                fields: fields.clone(),
            },
            WriteAction::Delete { .. } => return Err(Error::invalid("records cannot be deleted here")),
        };
        let sent = self.call(|system| {
            if system.clock.monotonic() > write.send_by {
                return Ok(None);
            }
            system.write(&wire).map(Some)
        });
        match sent.await? {
            Some(id) => Ok(Written { id }),
            None => Err(Error::late()),
        }
    }
}

fn number(id: &RecordId) -> Result<u64> {
    let missing = || {
        Error::new(
            ErrorKind::NotFound,
            "ids are numbers here; the record does not exist",
        )
    };
    id.number().ok_or_else(missing)
}

#[async_trait]
impl Reader for MemoryConnector {
    fn capabilities(&self, _entity: &str) -> Capabilities {
        self.system.capabilities.clone()
    }

    async fn describe(&self, _entity: &str) -> Result<EntityInfo> {
        let field = |name: &str| FieldInfo {
            data_type: if name == "amount" { "number" } else { "text" }.to_owned(),
            length: Some(LENGTH_MAX),
            ..FieldInfo::text(name)
        };
        Ok(EntityInfo {
            fields: FIELDS.map(field).into(),
            can_create: true,
            can_update: true,
        })
    }

    async fn fetch(&self, _entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let mut records = Vec::new();
        for id in ids {
            records.extend(self.call(|system| system.row(id)).await?);
        }
        Ok(records)
    }

    async fn find(&self, _entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let mut answers = Vec::new();
        for asked in lookups.chunks(self.system.capabilities.find_batch_max) {
            let found = self.call(|system| system.search(|row| asked.iter().any(|one| one.fits(row))));
            let found = found.await?;
            // Whatever the server sent: each question gets what fits it.
            answers.extend(asked.iter().map(|one| {
                let fitting = found.iter().filter(|row| one.fits(row));
                fitting.cloned().collect::<Vec<_>>()
            }));
        }
        Ok(answers)
    }

    async fn ping(&self) -> Result<()> {
        self.call(MemorySystem::ping).await
    }
}

#[async_trait]
impl Source for MemoryConnector {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let after = request.after.as_ref().map(|token| token.0.as_str());
        let since = request.since.map(|since| since.0);
        let limit = request.limit.clamp(1, PAGE_MAX);
        let (records, next) = self.call(|system| system.rows(since, after, limit)).await?;
        if next.as_ref().is_some_and(|next| next.starts_with("//")) {
            return Err(Error::protocol(
                "the next page lies on another host; not followed",
            ));
        }
        if next.is_some() && next.as_deref() == after {
            return Err(Error::protocol("the same page comes again and again"));
        }
        Ok(Page {
            records,
            next: next.map(PageToken),
            server_time: None,
        })
    }
}

#[async_trait]
impl Target for MemoryConnector {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let mut outcomes = Vec::new();
        for write in writes {
            outcomes.push(self.write_one(write).await);
        }
        outcomes
    }
}
