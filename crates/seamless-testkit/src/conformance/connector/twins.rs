//! The suite on the connector in memory, and on twins of it that are wrong on purpose: a case that nothing can fail proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{
    Capabilities, Clock, Effect, EntityInfo, Error, ErrorKind, ExternalKey, Fields, ListRequest, Lookup,
    NativeRecord, Page, PageToken, Reader, RecordId, Result, Retry, Source, Stamp, Target, Value, Write,
    WriteAction, Written,
};

use super::memory::{MemoryBench, MemoryConnector, MemoryPeer, MemorySystem, subject};
use super::{Bench, CASES, Credentials, Fault, MARK, Opened, Peer, Stop, Subject, run, run_case};

/// Everything that a system can promise.
fn strong() -> Capabilities {
    Capabilities {
        incremental: true,
        external_key: ExternalKey::Unique,
        compare_and_set: true,
        ascending_ids: true,
        find_batch_max: 4,
        write_concurrency: 4,
        ..Capabilities::default()
    }
}

#[tokio::test]
async fn memory_passes_with_every_promise_and_with_none() {
    let report = run(&MemoryBench(strong())).await;
    assert_eq!(report.verdict(CASES.len()), Ok(()));
    let report = run(&MemoryBench(Capabilities::default())).await;
    // What only incremental lists, keys, versions and rising ids can show.
    assert_eq!(report.verdict(CASES.len() - 7), Ok(()), "{:?}", report.skipped);
}

#[tokio::test]
async fn a_case_that_was_skipped_is_missed() {
    let report = run(&MemoryBench(Capabilities::default())).await;
    let lines = report.verdict(CASES.len()).unwrap_err();
    assert!(
        lines.iter().any(|line| line.contains("no compare-and-set")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn every_case_has_a_twin_that_fails_it() {
    let mut proven = BTreeSet::new();
    for (flaw, case) in FLAWS {
        let report = run(&TwinBench(*flaw)).await;
        let caught = report
            .failures
            .iter()
            .any(|line| line.split(':').next() == Some(*case));
        assert!(caught, "{flaw:?} passed {case}; it failed {:?}", report.failures);
        proven.insert(*case);
    }
    for (case, _) in CASES {
        assert!(proven.contains(case), "nothing here fails {case}");
    }
}

/// The suite waits for a stamp that never moves, on a clock that stands still.
#[tokio::test]
async fn a_case_that_does_not_end_has_failed() {
    let (_, case) = CASES
        .iter()
        .find(|(name, _)| *name == "lists_what_was_changed_since")
        .expect("a case");
    let stop = run_case(
        &TwinBench(Flaw::EditsMoveNothing),
        *case,
        Duration::from_millis(200),
    )
    .await;
    assert!(matches!(stop, Err(Stop::Failed(said)) if said.contains("did not end within 200ms")));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Of the peer: not among [`FLAWS`], because the case that it stops takes its minute.
    EditsMoveNothing,
    DropsEndOfPage,
    StrictSince,
    CreatedOnly,
    TokenIsStamp,
    TokenInMemory,
    OffsetPaging,
    BelievesEndlessList,
    TakesForeignPageForEnd,
    TakesGarbledForEmpty,
    TakesHugeForEmpty,
    CutsFindBatch,
    AnswersByRecordOrder,
    FindsByPrefix,
    FindsBlankByEmpty,
    BelievesFilter,
    AboveIdDescends,
    CachesFetch,
    MissingIsError,
    FetchesBySearch,
    DropsReference,
    ClaimsUniqueKey,
    WritesWholeRecord,
    IgnoresVersion,
    IgnoresSendBy,
    ReversesOutcomes,
    RoundsNumbers,
    LeavesOutEmpty,
    LostIsNotApplied,
    RepeatsLostWrites,
    FaultIsNotApplied,
    RefusalWithoutField,
    ThrottledWithoutTime,
    ThrottledWriteIsUnknown,
    AuthIsUnavailable,
    DeadIsEmpty,
    ErrorsTellValues,
    ErrorsTellSecrets,
    ClaimsCompareAndSet,
    DescribesOtherFields,
    EmptyIsError,
    BusyAfterDrop,
}

/// Each flaw, and the case that has to notice it.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::DropsEndOfPage, "lists_every_record"),
    (Flaw::StrictSince, "lists_since_a_stamp_inclusively"),
    (Flaw::CreatedOnly, "lists_what_was_changed_since"),
    (Flaw::TokenIsStamp, "equal_stamps_survive_the_edges_of_pages"),
    (Flaw::TokenInMemory, "goes_on_from_any_token_in_a_new_instance"),
    (Flaw::OffsetPaging, "rows_that_move_are_not_skipped"),
    (Flaw::BelievesEndlessList, "an_endless_list_is_an_error"),
    (Flaw::TakesForeignPageForEnd, "a_foreign_page_is_not_followed"),
    (Flaw::TakesGarbledForEmpty, "a_garbled_answer_is_an_error"),
    (Flaw::TakesHugeForEmpty, "a_huge_answer_is_an_error"),
    (Flaw::CutsFindBatch, "finds_each_value_in_its_place"),
    (Flaw::AnswersByRecordOrder, "finds_each_value_in_its_place"),
    (Flaw::FindsByPrefix, "finds_nothing_where_nothing_is"),
    (Flaw::FindsBlankByEmpty, "an_empty_value_finds_nothing"),
    (Flaw::BelievesFilter, "an_ignored_filter_is_not_believed"),
    (Flaw::AboveIdDescends, "finds_above_an_id"),
    (Flaw::CachesFetch, "fetches_what_is_there_now"),
    (Flaw::MissingIsError, "leaves_out_ids_that_are_not_there"),
    (Flaw::FetchesBySearch, "fetches_what_a_search_does_not_find_yet"),
    (Flaw::DropsReference, "a_create_is_found_by_its_cross_reference"),
    (
        Flaw::ClaimsUniqueKey,
        "a_second_record_with_a_unique_key_is_refused",
    ),
    (Flaw::WritesWholeRecord, "an_update_changes_only_what_was_sent"),
    (Flaw::IgnoresVersion, "a_stale_version_is_refused"),
    (Flaw::IgnoresSendBy, "a_late_write_is_not_sent"),
    (Flaw::ReversesOutcomes, "outcomes_come_in_order"),
    (Flaw::RoundsNumbers, "values_survive_exactly"),
    (Flaw::LeavesOutEmpty, "an_emptied_field_is_not_a_missing_one"),
    (Flaw::LostIsNotApplied, "a_lost_answer_is_unknown"),
    (Flaw::RepeatsLostWrites, "a_lost_write_is_not_repeated"),
    (Flaw::FaultIsNotApplied, "an_unexplained_fault_is_unknown"),
    (Flaw::RefusalWithoutField, "a_refusal_names_its_field"),
    (
        Flaw::ThrottledWithoutTime,
        "throttled_reads_say_when_to_come_back",
    ),
    (Flaw::ThrottledWriteIsUnknown, "throttled_writes_have_no_effect"),
    (Flaw::AuthIsUnavailable, "wrong_credentials_are_called_so"),
    (Flaw::DeadIsEmpty, "a_dead_system_is_unavailable"),
    (Flaw::ErrorsTellValues, "errors_tell_no_content"),
    (Flaw::ErrorsTellSecrets, "errors_tell_no_content"),
    (Flaw::ClaimsCompareAndSet, "claims_hold"),
    (Flaw::DescribesOtherFields, "describes_what_it_uses"),
    (Flaw::EmptyIsError, "asked_for_nothing_it_answers_nothing"),
    (Flaw::BusyAfterDrop, "dropped_calls_do_no_harm"),
];

struct TwinBench(Flaw);

#[async_trait]
impl Bench for TwinBench {
    fn subject(&self) -> Subject {
        subject()
    }

    async fn fresh(&self) -> Box<dyn Peer> {
        let mut capabilities = strong();
        if self.0 == Flaw::ClaimsUniqueKey {
            capabilities.external_key = ExternalKey::Searchable;
        }
        Box::new(TwinPeer {
            inner: MemoryPeer(MemorySystem::new(capabilities)),
            flaw: self.0,
        })
    }
}

/// The same system; only the connector is another.
struct TwinPeer {
    inner: MemoryPeer,
    flaw: Flaw,
}

#[async_trait]
impl Peer for TwinPeer {
    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    async fn open(&self, credentials: Credentials) -> Result<Opened> {
        let twin = Arc::new(Twin {
            inner: MemoryConnector::new(self.inner.0.clone(), credentials),
            flaw: self.flaw,
            tokens: Mutex::default(),
            cache: Mutex::default(),
            busy: AtomicBool::new(false),
        });
        Ok(Opened {
            source: twin.clone(),
            target: twin,
        })
    }

    async fn seed(&self, records: &[Fields]) -> Vec<RecordId> {
        self.inner.seed(records).await
    }

    async fn edit(&self, id: &RecordId, fields: &Fields) {
        if self.flaw != Flaw::EditsMoveNothing {
            self.inner.edit(id, fields).await;
        }
    }

    async fn delete(&self, id: &RecordId) -> bool {
        self.inner.delete(id).await
    }

    async fn count(&self) -> usize {
        self.inner.count().await
    }

    async fn write_calls(&self) -> Option<usize> {
        self.inner.write_calls().await
    }

    async fn strike(&self, fault: Fault) -> bool {
        self.inner.strike(fault).await
    }

    async fn heal(&self) {
        self.inner.heal().await;
    }
}

struct Twin {
    inner: MemoryConnector,
    flaw: Flaw,
    tokens: Mutex<BTreeMap<String, PageToken>>,
    cache: Mutex<BTreeMap<RecordId, NativeRecord>>,
    busy: AtomicBool,
}

impl Twin {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Errors as this twin tells them.
    fn told(&self, mut error: Error) -> Error {
        match (self.flaw, error.kind) {
            (Flaw::ThrottledWithoutTime, ErrorKind::RateLimited) => {
                error.retry = Retry::Later { after: None }
            }
            (Flaw::AuthIsUnavailable, ErrorKind::Auth) => return Error::unavailable("no luck"),
            (Flaw::ErrorsTellSecrets, ErrorKind::Auth) => return error.with("password", "open-sesame"),
            _ => {}
        }
        error
    }

    async fn page(&self, request: &ListRequest) -> Result<Page> {
        let mut request = request.clone();
        match self.flaw {
            Flaw::OffsetPaging => {
                let offset: usize = request
                    .after
                    .take()
                    .and_then(|token| token.0.parse().ok())
                    .unwrap_or(0);
                let limit = std::mem::replace(&mut request.limit, 100);
                let mut page = self.inner.list(&request).await?;
                page.next =
                    (page.records.len() > offset + limit).then(|| PageToken((offset + limit).to_string()));
                page.records = page.records.into_iter().skip(offset).take(limit).collect();
                Ok(page)
            }
            Flaw::TokenIsStamp => {
                if let Some(stamp) = request.after.take().and_then(|token| token.0.parse::<i64>().ok()) {
                    request.since = Some(Stamp(stamp + 1));
                }
                let mut page = self.inner.list(&request).await?;
                let last = page.records.last().and_then(|row| row.stamp);
                page.next = page.next.and(last).map(|stamp| PageToken(stamp.0.to_string()));
                Ok(page)
            }
            Flaw::TokenInMemory => {
                if let Some(name) = request.after.take() {
                    let known = self.tokens.lock().unwrap().get(&name.0).cloned();
                    let Some(known) = known else {
                        return Ok(no_page());
                    };
                    request.after = Some(known);
                }
                let mut page = self.inner.list(&request).await?;
                if let Some(next) = page.next.take() {
                    let mut tokens = self.tokens.lock().unwrap();
                    let name = format!("page {}", tokens.len());
                    tokens.insert(name.clone(), next);
                    page.next = Some(PageToken(name));
                }
                Ok(page)
            }
            Flaw::BelievesEndlessList => {
                let round = request.after.as_ref().map_or(0, |token| token.0.len());
                let plain = request.after.as_ref().is_none_or(|token| token.0.contains('/'));
                if !plain {
                    request.after = None;
                }
                let mut page = self.inner.list(&request).await?;
                if page.next.as_ref().is_some_and(|next| next.0 == "again") {
                    page.next = Some(PageToken("x".repeat(round + 1)));
                }
                Ok(page)
            }
            _ => self.inner.list(&request).await,
        }
    }
}

fn no_page() -> Page {
    Page {
        records: Vec::new(),
        next: None,
        server_time: None,
    }
}

#[async_trait]
impl Reader for Twin {
    fn capabilities(&self, entity: &str) -> Capabilities {
        let mut capabilities = self.inner.capabilities(entity);
        if self.is(Flaw::ClaimsUniqueKey) {
            capabilities.external_key = ExternalKey::Unique;
        }
        capabilities
    }

    async fn describe(&self, entity: &str) -> Result<EntityInfo> {
        let mut info = self.inner.describe(entity).await?;
        if self.is(Flaw::DescribesOtherFields) {
            info.fields.retain(|field| field.name != "city");
        }
        Ok(info)
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        if self.is(Flaw::EmptyIsError) && ids.is_empty() {
            return Err(Error::invalid("nothing to fetch"));
        }
        if self.is(Flaw::FetchesBySearch) {
            let ids: BTreeSet<RecordId> = ids.iter().cloned().collect();
            return self
                .inner
                .call(|system| system.search(|row| ids.contains(&row.id)))
                .await;
        }
        if self.is(Flaw::BusyAfterDrop) {
            if self.busy.swap(true, Ordering::Relaxed) {
                return Err(Error::unavailable("another call is under way"));
            }
            let records = self.inner.fetch(entity, ids).await;
            self.busy.store(false, Ordering::Relaxed);
            return records;
        }
        if self.is(Flaw::CachesFetch) {
            let mut records = self.inner.fetch(entity, ids).await?;
            let mut cache = self.cache.lock().unwrap();
            for record in &mut records {
                *record = cache
                    .entry(record.id.clone())
                    .or_insert_with(|| record.clone())
                    .clone();
            }
            return Ok(records);
        }
        let mut records = self
            .inner
            .fetch(entity, ids)
            .await
            .map_err(|error| self.told(error))?;
        if self.is(Flaw::MissingIsError) && records.len() < ids.len() {
            return Err(Error::new(ErrorKind::NotFound, "a record does not exist"));
        }
        for record in &mut records {
            if self.is(Flaw::ClaimsCompareAndSet) {
                record.version = None;
            }
            if self.is(Flaw::LeavesOutEmpty) {
                record.fields.retain(|_, value| !value.is_empty());
            }
            if self.is(Flaw::RoundsNumbers)
                && let Some(Value::Int(number)) = record.fields.get("amount").cloned()
            {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    reason = "the flaw"
                )]
                record
                    .fields
                    .insert("amount".to_owned(), Value::Int(number as f64 as i64));
            }
        }
        Ok(records)
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let everything = || self.inner.call(|system| system.search(|_| true));
        let text = |value: Option<&Value>| value.and_then(Value::to_plain).unwrap_or_default();
        match self.flaw {
            Flaw::CutsFindBatch => {
                let mut found = self.inner.find(entity, &lookups[..lookups.len().min(4)]).await?;
                found.resize(lookups.len(), Vec::new());
                Ok(found)
            }
            Flaw::AnswersByRecordOrder => {
                let mut found = self.inner.find(entity, lookups).await?;
                found.sort_by_key(|records| records.first().map(|record| record.id.clone()));
                Ok(found)
            }
            Flaw::FindsByPrefix | Flaw::FindsBlankByEmpty => {
                let rows = everything().await?;
                let fits = |row: &NativeRecord, asked: &Lookup| match asked {
                    Lookup::Field { field, value } if self.is(Flaw::FindsByPrefix) => {
                        text(row.fields.get(field)).starts_with(&text(Some(value)))
                    }
                    Lookup::Field { field, value } => text(row.fields.get(field)) == text(Some(value)),
                    Lookup::AboveId(_) => false,
                };
                let fitting = |asked: &Lookup| rows.iter().filter(|row| fits(row, asked)).cloned().collect();
                Ok(lookups.iter().map(fitting).collect())
            }
            Flaw::BelievesFilter => {
                let mut answers = Vec::new();
                for asked in lookups {
                    let Lookup::Field { field, value } = asked else {
                        return self.inner.find(entity, lookups).await;
                    };
                    let found = self
                        .inner
                        .call(|system| system.search(|row| row.fields.get(field) == Some(value)));
                    answers.push(found.await?);
                }
                Ok(answers)
            }
            Flaw::AboveIdDescends => {
                let mut found = self.inner.find(entity, lookups).await?;
                found.iter_mut().for_each(|records| records.reverse());
                Ok(found)
            }
            _ => self.inner.find(entity, lookups).await,
        }
    }

    async fn ping(&self) -> Result<()> {
        match self.inner.ping().await {
            Err(error) if self.is(Flaw::DeadIsEmpty) && error.kind == ErrorKind::Unavailable => Ok(()),
            answer => answer.map_err(|error| self.told(error)),
        }
    }
}

#[async_trait]
impl Source for Twin {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let mut page = match self.page(request).await {
            Err(error) => {
                let silent = match self.flaw {
                    Flaw::TakesForeignPageForEnd | Flaw::TakesGarbledForEmpty => {
                        error.kind == ErrorKind::Protocol
                    }
                    Flaw::TakesHugeForEmpty => error.kind == ErrorKind::Limit,
                    Flaw::DeadIsEmpty => error.kind == ErrorKind::Unavailable,
                    _ => false,
                };
                return if silent {
                    Ok(no_page())
                } else {
                    Err(self.told(error))
                };
            }
            Ok(page) => page,
        };
        match (self.flaw, request.since) {
            (Flaw::DropsEndOfPage, _) if page.next.is_some() => drop(page.records.pop()),
            (Flaw::StrictSince, Some(since)) => page.records.retain(|row| row.stamp > Some(since)),
            (Flaw::CreatedOnly, Some(since)) => page.records.retain(|row| row.created >= Some(since)),
            _ => {}
        }
        Ok(page)
    }
}

#[async_trait]
impl Target for Twin {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let mut outcomes = Vec::new();
        for write in writes {
            outcomes.push(self.write_one(write.clone()).await);
        }
        if self.is(Flaw::ReversesOutcomes) {
            outcomes.reverse();
        }
        outcomes
    }
}

impl Twin {
    async fn write_one(&self, mut write: Write) -> Result<Written> {
        match &mut write.action {
            WriteAction::Create { fields } if self.is(Flaw::DropsReference) => {
                drop(fields.remove("their_id"))
            }
            WriteAction::Update { current, fields } if self.is(Flaw::WritesWholeRecord) => {
                let changed = std::mem::replace(fields, current.fields.clone());
                fields.extend(changed);
            }
            WriteAction::Update { current, .. } if self.is(Flaw::IgnoresVersion) => current.version = None,
            _ => {}
        }
        if self.is(Flaw::IgnoresSendBy) {
            write.send_by = std::time::Duration::MAX;
        }
        let mut outcome = self.inner.write(std::slice::from_ref(&write)).await.remove(0);
        let lost = |error: &Error| error.effect == Effect::Unknown;
        if self.is(Flaw::RepeatsLostWrites) && outcome.as_ref().is_err_and(lost) {
            outcome = self.inner.write(std::slice::from_ref(&write)).await.remove(0);
        }
        let mut error = match outcome {
            Ok(written) => return Ok(written),
            Err(error) => self.told(error),
        };
        match (self.flaw, error.kind) {
            (Flaw::LostIsNotApplied | Flaw::FaultIsNotApplied, ErrorKind::Unavailable) => {
                error.effect = Effect::NotApplied;
            }
            (Flaw::RefusalWithoutField, _) => error.field = None,
            (Flaw::ThrottledWriteIsUnknown, ErrorKind::RateLimited) => error.effect = Effect::Unknown,
            (Flaw::ErrorsTellValues, _) => return Err(error.with("record", format!("{MARK} Works"))),
            _ => {}
        }
        Err(error)
    }
}
