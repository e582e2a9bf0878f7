//! What the cases stand on: one entity of one open system, a sample of its records, and patience.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::mapping::{Observed, SideMapping};
use seamless_core::pipeline::System;
use seamless_core::{
    Capabilities, Clock, ErrorKind, ListRequest, Lookup, NativeRecord, RecordId, Result, Retry, Side, Source,
    Stamp, Target, Timestamp, Value, lookup,
};

use crate::build::SyncPlan;

/// Records looked at.
const SAMPLE: usize = 200;
/// Records asked for in one page, unless a case wants few.
pub(super) const PAGE: usize = 100;
/// Pages read for one question.
pub(super) const PAGES_MAX: usize = 60;
/// A throttled call is made again this often, after a wait of at most this length.
const TRIES_MAX: u32 = 6;
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) struct Ground<'a> {
    plan: &'a SyncPlan,
    side: Side,
    instances: [System; 2],
    pub(super) clock: Arc<dyn Clock>,
    pub(super) capabilities: Capabilities,
    /// The first records of the list, each once.
    pub(super) sample: Vec<NativeRecord>,
    /// The system's own time, or ours where it does not tell.
    pub(super) now: Timestamp,
}

impl<'a> Ground<'a> {
    pub(super) fn new(
        plan: &'a SyncPlan,
        side: Side,
        instances: [System; 2],
        clock: Arc<dyn Clock>,
    ) -> Ground<'a> {
        let capabilities = instances[0]
            .source
            .capabilities(&plan.mappings[side.index()].entity);
        Ground {
            plan,
            side,
            instances,
            now: clock.now(),
            clock,
            capabilities,
            sample: Vec::new(),
        }
    }

    /// Reads the sample.
    pub(super) async fn look(&mut self) -> Result<()> {
        let mut after = None;
        let mut seen = BTreeSet::new();
        for _ in 0..PAGES_MAX {
            let request = ListRequest {
                after,
                ..self.request(None, PAGE)
            };
            let page = self
                .patiently(async || self.source().list(&request).await)
                .await?;
            self.now = page.server_time.unwrap_or_else(|| self.clock.now());
            let new = page
                .records
                .into_iter()
                .filter(|record| seen.insert(record.id.clone()));
            self.sample.extend(new);
            after = page.next;
            if after.is_none() || self.sample.len() >= SAMPLE {
                break;
            }
        }
        self.sample.truncate(SAMPLE);
        Ok(())
    }

    pub(super) fn system(&self) -> &str {
        self.plan.systems[self.side.index()].as_str()
    }

    pub(super) fn entity(&self) -> &str {
        &self.mapping().entity
    }

    pub(super) fn mapping(&self) -> &SideMapping {
        &self.plan.mappings[self.side.index()]
    }

    pub(super) fn source(&self) -> &dyn Source {
        self.instances[0].source.as_ref()
    }

    pub(super) fn other_source(&self) -> &dyn Source {
        self.instances[1].source.as_ref()
    }

    pub(super) fn target(&self) -> &dyn Target {
        self.instances[0].target.as_ref()
    }

    /// Whether the sync writes here at all.
    pub(super) fn is_written(&self) -> bool {
        self.plan.direction.flows_from(self.side.other())
    }

    /// Native paths that the engine searches by: the cross-reference, and what each match rule asks for.
    pub(super) fn searched(&self) -> BTreeSet<&str> {
        let rules = self.plan.model.match_rules.iter();
        let asked = rules.filter_map(|rule| self.mapping().fields.get(&rule.fields.first()?.field));
        asked
            .map(|field| field.native.as_str())
            .chain(self.mapping().xref.as_deref())
            .collect()
    }

    pub(super) fn request(&self, since: Option<Stamp>, limit: usize) -> ListRequest {
        ListRequest {
            entity: self.entity().to_owned(),
            since,
            after: None,
            limit,
        }
    }

    /// Lists since a stamp, as far as the bound on pages goes.
    pub(super) async fn since(&self, since: Stamp) -> Result<Vec<NativeRecord>> {
        let mut records = Vec::new();
        let mut request = self.request(Some(since), PAGE);
        for _ in 0..PAGES_MAX {
            let page = self
                .patiently(async || self.source().list(&request).await)
                .await?;
            records.extend(page.records);
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        Ok(records)
    }

    pub(super) async fn fetch(&self, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        self.patiently(async || self.source().fetch(self.entity(), ids).await)
            .await
    }

    pub(super) async fn find(&self, field: &str, values: &[Value]) -> Result<Vec<Vec<NativeRecord>>> {
        let ask = |value: &Value| Lookup::Field {
            field: field.to_owned(),
            value: value.clone(),
        };
        let lookups: Vec<Lookup> = values.iter().map(ask).collect();
        self.patiently(async || self.source().find(self.entity(), &lookups).await)
            .await
    }

    /// Canonical fields in which two readings of a record differ. Passengers (stamps) go their own way.
    pub(super) fn differing(&self, one: &NativeRecord, other: &NativeRecord) -> Vec<String> {
        let [one, other] = [one, other].map(|record| self.mapping().observe(record));
        let is_passenger = |name: &str| {
            self.plan
                .model
                .fields
                .get(name)
                .is_some_and(|spec| spec.passenger)
        };
        let differs = |name: &&String| !is_passenger(name) && shown(&one, name) != shown(&other, name);
        self.mapping().fields.keys().filter(differs).cloned().collect()
    }

    /// Makes a call again while the system asks for patience: it was turned away before anything happened.
    pub(super) async fn patiently<T>(&self, call: impl AsyncFn() -> Result<T>) -> Result<T> {
        let mut tries = 1;
        loop {
            match call().await {
                Err(error) if error.kind == ErrorKind::RateLimited && tries < TRIES_MAX => {
                    let asked = match error.retry {
                        Retry::Later { after } => after,
                        Retry::Never => None,
                    };
                    let wait = asked.unwrap_or(Duration::from_millis(500) * 2_u32.pow(tries));
                    self.clock.sleep(wait.min(WAIT_MAX)).await;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

fn shown<'o>(observed: &'o Observed, name: &str) -> (Option<&'o Value>, bool) {
    let value = observed.fields.get(name).filter(|value| !value.is_empty());
    (value, observed.broken.contains_key(name))
}

/// A native field as text; nothing where it is blank.
pub(super) fn plain(record: &NativeRecord, path: &str) -> Option<String> {
    let text = lookup(&record.fields, path)?.to_plain()?;
    (!text.is_empty()).then_some(text)
}

/// `1 record`, `3 records`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {many}")
    }
}
