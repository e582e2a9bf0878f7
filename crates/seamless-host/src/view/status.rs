//! `status`.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use seamless_core::pipeline::{
    Cursor, Parked, Rows, StandingDrift, WriteBack, cursor_row, event_subscription, reconciled_at,
};
use seamless_core::{Result, RowKey, Side, SystemId, Table, Usage};
use serde::{Deserialize, Serialize};

use super::{count_up, is_waiting, plain_text, stamp_text};
use crate::books::Books;
use crate::build::{SyncPlan, natives};

/// Where everything stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The tenant.
    pub tenant: String,
    /// The installation.
    pub environment: String,
    /// A host is at work.
    pub running: bool,
    /// Something has been linked or written already.
    pub used: bool,
    /// By sync, parents first.
    pub syncs: Vec<SyncStatus>,
    /// Writes under way, or with an unknown outcome.
    pub open_intents: u64,
    /// Records to be looked at again.
    pub hints: u64,
    /// Messages by target system.
    pub queues: BTreeMap<String, QueueStatus>,
    /// Progress of reading.
    pub cursors: Vec<CursorStatus>,
    /// What happened since the running host started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Call budgets of the systems that have one, as a running host knows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub budgets: BTreeMap<String, Usage>,
    /// What applying everything that waits costs, for systems with a budget: `4,100 calls, 41 min, leaves 60 % for live changes`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backfill: BTreeMap<String, String>,
    /// What keeps workers of the running host from working.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub troubles: BTreeMap<String, String>,
}

/// One sync.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Its name.
    pub name: String,
    /// The entity.
    pub entity: String,
    /// How it flows (`autotask <-> crm`).
    pub flow: String,
    /// Pairs of records.
    pub linked: u64,
    /// Records set aside for a person, by reason.
    pub parked: BTreeMap<String, u64>,
    /// Records that wait for their parents.
    pub waiting: u64,
    /// Pairs with fields that wait alone.
    #[serde(default)]
    pub fields_held: u64,
    /// Records that are not as they were left and stay so, by what is wrong with them, as the last reconciliation found them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, u64>,
    /// Those of them that a person has to look at.
    #[serde(default)]
    pub drift_reported: u64,
    /// Records left out on purpose, by reason: outside the scope, or set aside for good.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
    /// Ids on their way into cross-reference fields.
    pub write_backs: u64,
    /// Those that cannot be written, by reason.
    pub write_backs_parked: BTreeMap<String, u64>,
    /// Values overwritten when records were first linked.
    pub first_merge_overwrites: u64,
}

/// Messages for one system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Waiting or under way.
    pub depth: u64,
    /// Set aside because they cannot be opened, by reason.
    pub dead_letters: BTreeMap<String, u64>,
}

/// Progress of reading one native entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CursorStatus {
    /// The system.
    pub system: String,
    /// Its entity.
    pub entity: String,
    /// Everything up to here has been read.
    pub cursor: Option<String>,
    /// Finished polls.
    pub polls: u64,
    /// A poll is under way.
    pub polling: bool,
    /// When a routine reconciliation last came to its end (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<String>,
}

/// Records whose reads are asked together, at best.
const BATCH: u64 = 200;
/// Dead letters looked at for `status`.
const DEAD_LETTERS_MAX: usize = 10_000;

impl Status {
    /// Whether a person has to do something.
    pub fn needs_attention(&self) -> bool {
        let in_sync = |sync: &SyncStatus| {
            !sync.parked.is_empty()
                || !sync.write_backs_parked.is_empty()
                || sync.fields_held > 0
                || sync.drift_reported > 0
        };
        self.syncs.iter().any(in_sync) || self.queues.values().any(|queue| !queue.dead_letters.is_empty())
    }

    /// Records set aside for a person.
    pub fn parked(&self) -> u64 {
        self.syncs.iter().flat_map(|sync| sync.parked.values()).sum()
    }

    /// Records that wait for their parents.
    pub fn waiting(&self) -> u64 {
        self.syncs.iter().map(|sync| sync.waiting).sum()
    }

    /// Pairs of records.
    pub fn linked(&self) -> u64 {
        self.syncs.iter().map(|sync| sync.linked).sum()
    }
}

impl Books {
    pub(crate) async fn status(&self) -> Result<Status> {
        let working = self.working();
        let mut status = Status {
            tenant: self.config.tenant.clone(),
            environment: self.config.environment.clone(),
            running: working.is_some(),
            used: self.row(&RowKey::new(Table::Meta, "used")).await?.is_some(),
            open_intents: self.store.count(Table::Intent, "").await?,
            hints: self.store.count(Table::Hint, "").await?,
            troubles: self
                .troubles
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            ..Status::default()
        };
        for plan in self.plans.iter() {
            status.syncs.push(self.sync_status(plan).await?);
        }
        for (system, entities) in natives(&self.plans) {
            status
                .queues
                .insert(system.to_string(), self.queue_status(system.as_str()).await?);
            for entity in entities {
                let key = cursor_row(&system, &entity);
                let row = self.row(&key).await?;
                let cursor: Cursor = row
                    .map(|row| Rows::plain(&key, &row))
                    .transpose()?
                    .unwrap_or_default();
                let reconciled = reconciled_at(&*self.store, &system, &entity).await?;
                status.cursors.push(CursorStatus {
                    system: system.to_string(),
                    entity,
                    cursor: cursor.cursor.map(|stamp| stamp_text(stamp.0)),
                    polls: cursor.polls,
                    polling: cursor.resume.is_some(),
                    reconciled: reconciled.map(|at| at.to_string()),
                });
            }
        }
        for subscriber in self.config.events.keys() {
            let subscription = event_subscription(subscriber);
            let queue = self.queue_status(&subscription).await?;
            status.queues.insert(subscription, queue);
        }
        if let Some(engine) = working {
            for (name, system) in &engine.systems {
                let Some(usage) = system.source.usage() else {
                    continue;
                };
                let calls = self.calls_left(name, &status).await?;
                if calls > 0 {
                    let forecast = usage.forecast(calls).to_string();
                    status.backfill.insert(name.to_string(), forecast);
                }
                status.budgets.insert(name.to_string(), usage);
            }
            status.counters = engine
                .counters
                .all()
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect();
        }
        Ok(status)
    }

    async fn sync_status(&self, plan: &SyncPlan) -> Result<SyncStatus> {
        let sync = &plan.id;
        let mut status = SyncStatus {
            name: sync.to_string(),
            entity: plan.model.name.to_string(),
            flow: plan.flow(),
            linked: self.store.count(Table::Pair, &format!("{sync}/")).await?,
            fields_held: self.store.count(Table::Held, &format!("{sync}/")).await?,
            ..SyncStatus::default()
        };
        let overwrites = self
            .row(&RowKey::new(Table::Meta, format!("first-merge/{sync}")))
            .await?;
        status.first_merge_overwrites = overwrites
            .and_then(|row| std::str::from_utf8(&row.value).ok()?.parse().ok())
            .unwrap_or(0);
        self.each(Table::Parked, &format!("{sync}/"), |key, row| {
            let parked: Parked = self.rows().sealed(&key, &row)?;
            match (is_waiting(parked.reason), parked.reason.is_left_out()) {
                (true, _) => status.waiting += 1,
                (_, true) => count_up(&mut status.left_out, parked.reason.code()),
                _ => count_up(&mut status.parked, parked.reason.code()),
            }
            Ok(true)
        })
        .await?;
        let (table, prefix) = StandingDrift::rows_of(sync.as_str());
        self.each(table, &prefix, |key, row| {
            let standing: StandingDrift = Rows::plain(&key, &row)?;
            for kind in &standing.kinds {
                let kind = serde_json::to_value(kind).unwrap_or_default();
                count_up(&mut status.drift, kind.as_str().unwrap_or("unknown").to_owned());
            }
            status.drift_reported += u64::from(standing.reported);
            Ok(true)
        })
        .await?;
        for side in Side::BOTH {
            let system = &plan.systems[side.index()];
            self.each(
                Table::WriteBack,
                &format!("{sync}/{}/", side.letter()),
                |key, row| {
                    let write_back: WriteBack = Rows::plain(&key, &row)?;
                    match write_back.parked {
                        Some(reason) => count_up(
                            &mut status.write_backs_parked,
                            format!("{system}: {}", plain_text(&reason)),
                        ),
                        None => status.write_backs += 1,
                    }
                    Ok(true)
                },
            )
            .await?;
        }
        Ok(status)
    }

    /// Calls to a system that everything that waits for it takes: a write for each, and two reads for a batch of them.
    async fn calls_left(&self, system: &SystemId, status: &Status) -> Result<u64> {
        let mut writes = status.queues.get(system.as_str()).map_or(0, |queue| queue.depth);
        writes += self.store.count(Table::Hint, &format!("{system}/")).await?;
        for plan in self.plans.iter() {
            if let Some(side) = plan.side_of(system.as_str()) {
                let prefix = format!("{}/{}/", plan.id, side.letter());
                writes += self.store.count(Table::WriteBack, &prefix).await?;
            }
        }
        Ok(writes + 2 * writes.div_ceil(BATCH))
    }

    async fn queue_status(&self, system: &str) -> Result<QueueStatus> {
        let mut queue = QueueStatus {
            depth: self.bus.depth(system).await?,
            ..QueueStatus::default()
        };
        let mut after = None;
        let mut seen = 0;
        loop {
            let page = self.bus.dead_letters(system, after.as_ref(), 100).await?;
            let Some(last) = page.last() else { return Ok(queue) };
            after = Some(last.id.clone());
            seen += page.len();
            for letter in page {
                count_up(&mut queue.dead_letters, letter.reason.code);
            }
            if seen >= DEAD_LETTERS_MAX {
                return Ok(queue);
            }
        }
    }
}
