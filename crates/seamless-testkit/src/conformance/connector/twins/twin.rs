//! The connector in memory, wrong on purpose in one way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use seamless_core::{
    Capabilities, Effect, EntityInfo, Error, ErrorKind, ExternalKey, ListRequest, Lookup, NativeRecord, Page,
    PageToken, Reader, RecordId, Result, Retry, Source, Stamp, Target, Value, Write, WriteAction, Written,
};

use super::Flaw;
use crate::conformance::connector::MARK;
use crate::conformance::connector::memory::MemoryConnector;

pub(super) struct Twin {
    inner: MemoryConnector,
    flaw: Flaw,
    tokens: Mutex<BTreeMap<String, PageToken>>,
    cache: Mutex<BTreeMap<RecordId, NativeRecord>>,
    busy: AtomicBool,
}

impl Twin {
    pub(super) fn new(inner: MemoryConnector, flaw: Flaw) -> Twin {
        Twin {
            inner,
            flaw,
            tokens: Mutex::default(),
            cache: Mutex::default(),
            busy: AtomicBool::new(false),
        }
    }

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
            Flaw::MindsCapitals => {
                let mut found = self.inner.find(entity, lookups).await?;
                for (records, asked) in found.iter_mut().zip(lookups) {
                    if let Lookup::Field { field, value } = asked {
                        records.retain(|row| row.fields.get(field) == Some(value));
                    }
                }
                Ok(found)
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
            (Flaw::GarbledIsNotApplied, ErrorKind::Protocol) => error.effect = Effect::NotApplied,
            (Flaw::RefusalWithoutField, _) => error.field = None,
            (Flaw::ThrottledWriteIsUnknown, ErrorKind::RateLimited) => error.effect = Effect::Unknown,
            (Flaw::ErrorsTellValues, _) => return Err(error.with("record", format!("{MARK} Works"))),
            _ => {}
        }
        Err(error)
    }
}
