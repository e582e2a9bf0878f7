//! Intake (R1, R2): reads changes, drops what is not new ([`known`]), publishes the rest, and moves the cursor last.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use known::Known;

use super::apply::empty_state;
use super::claims::{Claimant, Held};
use super::engine::Engine;
use super::events::{Watch, watches};
use super::mistakes::Mistake;
use super::spec::SyncSpec;
use super::state::{Cursor, RecordKey, Resume, Rows, Track, TrackState, cursor_row, expect_of};
use crate::contract::{Change, Expect, ListRequest, Message, MessageId, Op, Outgoing, RowKey, Side, Table};
use crate::envelope::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Observed;
use crate::record::{NativeRecord, Stamp, SystemId};

/// The syncs that want an entity, and on which side of them it is.
pub(super) type Routes = Vec<(Arc<SyncSpec>, Side)>;

/// Reads one native entity of one system for all syncs that want it.
pub struct Poller {
    pub(super) engine: Arc<Engine>,
    pub(super) system: SystemId,
    pub(super) entity: String,
    pub(super) routes: Routes,
    /// Who wants to hear of what happens to its records.
    watches: Vec<Watch>,
    pub(super) claimant: Claimant,
    /// What the lease is called: polls and reconciliation have one each.
    lease_name: String,
    lease: Option<Held>,
    /// The next polls only look what has come since the last one.
    glances: bool,
}

/// What one step of a poll did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollStep {
    /// Another host polls this entity.
    Elsewhere,
    /// A page was handled; there are more.
    Page {
        /// Records read.
        read: usize,
        /// Records published.
        published: usize,
    },
    /// The poll has ended with this page.
    End {
        /// Records read.
        read: usize,
        /// Records published.
        published: usize,
    },
}

/// Readers that bring what has changed; who wants to hear of events hears of it from them.
const POLL: &str = "poll";

/// Records asked for in one page.
const PAGE: usize = 500;

impl Poller {
    /// The pollers that a host needs: one for each system and native entity from which some sync flows.
    pub fn all(engine: &Arc<Engine>) -> Vec<Poller> {
        Poller::over(engine, POLL, |sync, side| sync.sends_from(side))
    }

    /// Readers of the entities on the sides that are wanted, under leases of this kind.
    pub(super) fn over(
        engine: &Arc<Engine>,
        kind: &str,
        wanted: impl Fn(&SyncSpec, Side) -> bool,
    ) -> Vec<Poller> {
        let mut routes: BTreeMap<(SystemId, String), Routes> = BTreeMap::new();
        for sync in engine.syncs.values() {
            for side in Side::BOTH.into_iter().filter(|side| wanted(sync, *side)) {
                let spec = sync.side(side);
                let key = (spec.system.clone(), spec.mapping.entity.clone());
                routes.entry(key).or_default().push((sync.clone(), side));
            }
        }
        let mut watches = if kind == POLL {
            watches(engine)
        } else {
            BTreeMap::new()
        };
        for key in watches.keys() {
            routes.entry(key.clone()).or_default();
        }
        let make = |((system, entity), routes)| Poller {
            watches: watches
                .remove(&(SystemId::clone(&system), String::clone(&entity)))
                .unwrap_or_default(),
            engine: engine.clone(),
            lease_name: format!("{kind}/{system}/{entity}"),
            system,
            entity,
            routes,
            claimant: Claimant::new(engine),
            lease: None,
            glances: false,
        };
        routes.into_iter().map(make).collect()
    }

    /// The system it reads.
    pub fn system(&self) -> &SystemId {
        &self.system
    }

    /// The native entity it reads.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// From now on, polls only look what has come since the last one: without the overlap behind the cursor, and without moving it, so that the next
    /// poll reads whatever lands late. For who has just polled, and asks whether that was all.
    pub fn glance(&mut self, glances: bool) {
        self.glances = glances;
    }

    /// Reads and publishes one page. Cancel safe at every await: what was not confirmed is read again.
    pub async fn step(&mut self) -> Result<PollStep> {
        let engine = self.engine.clone();
        if !self.hold_lease().await? {
            return Ok(PollStep::Elsewhere);
        }
        // The store's version at this moment: the lease has just been renewed.
        let lease = self.lease.as_ref();
        let mark = lease.and_then(|lease| lease.versions.values().max().copied());
        let mark = mark.unwrap_or(u64::MAX);
        let row_key = cursor_row(&self.system, &self.entity);
        let row = engine.store.get(std::slice::from_ref(&row_key)).await?.remove(0);
        let cursor: Cursor = row
            .as_ref()
            .map(|row| Rows::plain(&row_key, row))
            .transpose()?
            .unwrap_or_default();
        // Somebody else's glance that was cut short is no poll.
        let resume = cursor
            .resume
            .clone()
            .filter(|resume| self.glances || !resume.glance);
        let mut resume = resume.unwrap_or_else(|| self.begin(&cursor));
        if engine.mistakes.has(Mistake::ResumeWithoutPollStart) {
            resume.start = None;
        }
        let system = engine
            .systems
            .get(&self.system)
            .ok_or_else(|| Error::config("system is not configured"))?;
        let request = ListRequest {
            entity: self.entity.clone(),
            since: resume.since,
            after: resume.after.clone(),
            limit: PAGE,
        };
        let page = system.source.list(&request).await?;
        if page.next.is_some() && page.next == resume.after {
            return Err(
                Error::protocol("the list never ends: the server hands out the same page again")
                    .with("system", &self.system)
                    .with("entity", &self.entity),
            );
        }
        if resume.start.is_none() {
            resume.start = page.server_time.map(Stamp::from).or(cursor.newest_seen);
        }
        resume.newest = page
            .records
            .iter()
            .filter_map(|record| record.stamp)
            .max()
            .max(resume.newest);
        let next = next_cursor(&engine, cursor, resume, &page.next);
        engine.counters.read.add(page.records.len() as u64);
        let mut progress = vec![Rows::put_plain(row_key, expect_of(row.as_ref()), &next)?];
        progress.extend(self.lease_checks());
        progress.extend(
            engine
                .raise_highest(&self.system, &self.entity, page.records.iter().map(|r| &r.id))
                .await?,
        );
        if engine.mistakes.has(Mistake::CursorBeforePublish) {
            engine.store.commit(std::mem::take(&mut progress)).await?;
        }
        for watch in &self.watches {
            let seen = watch.see(&engine, &page.records, mark).await?;
            if engine.mistakes.has(Mistake::SeenBeforeTold) {
                let is_look = |op: &Op| matches!(op, Op::Put { key, .. } if key.table == Table::Watched);
                let (looks, events): (Vec<Op>, Vec<Op>) = seen.into_iter().partition(is_look);
                engine.store.commit(looks).await?;
                progress.extend(events);
            } else {
                progress.extend(seen);
            }
        }
        let published = self.publish_page(&page.records, progress).await?;
        let read = page.records.len();
        Ok(if page.next.is_some() {
            PollStep::Page { read, published }
        } else {
            PollStep::End { read, published }
        })
    }

    /// Gives the lease up, so that another host need not wait for it to end.
    pub async fn release(&mut self) -> Result<()> {
        if let Some(lease) = self.lease.take() {
            match self.engine.store.commit(lease.releases(&self.engine)).await {
                Err(error) if error.kind != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) async fn hold_lease(&mut self) -> Result<bool> {
        if self.engine.mistakes.has(Mistake::PollerUnfenced) {
            return Ok(true);
        }
        if let Some(lease) = self.lease.take() {
            self.lease = self.claimant.renew(&self.engine, &lease).await?;
        }
        if self.lease.is_none() {
            let key = BTreeSet::from([self.lease_name.clone()]);
            self.lease = self.claimant.take(&self.engine, &[key]).await?.remove(0);
        }
        Ok(self.lease.is_some())
    }

    pub(super) fn lease_checks(&self) -> Vec<Op> {
        self.lease
            .as_ref()
            .map(|lease| lease.checks(&self.engine))
            .unwrap_or_default()
    }

    fn begin(&self, cursor: &Cursor) -> Resume {
        let watched = self.watches.first().map(|watch| (&watch.sync, watch.side));
        let routed = self.routes.first().map(|(sync, side)| (sync, *side));
        let Some((sync, side)) = routed.or(watched) else {
            return Resume::default();
        };
        let capabilities = &sync.side(side).capabilities;
        let reached = cursor.cursor.filter(|_| capabilities.incremental);
        if self.glances && reached.is_some() {
            return Resume {
                since: reached.max(cursor.newest_seen),
                glance: true,
                ..Resume::default()
            };
        }
        let since = reached.map(|stamp| {
            let overlap = if self.engine.mistakes.has(Mistake::NoOverlap) {
                std::time::Duration::ZERO
            } else {
                capabilities.cursor_overlap
            };
            super::cursor::start_of(stamp, overlap, capabilities.cursor_granularity)
        });
        Resume {
            since,
            ..Resume::default()
        }
    }

    async fn publish_page(&self, records: &[NativeRecord], progress: Vec<Op>) -> Result<usize> {
        let mut fresh: Vec<Fresh> = Vec::new();
        let mut progress = progress;
        for (sync, side) in &self.routes {
            fresh.extend(self.select(sync, *side, records, &mut progress).await?);
        }
        self.publish(fresh, progress).await
    }

    /// Notes, publishes, confirms; `progress` (the cursor) goes with the confirmation.
    pub(super) async fn publish(&self, fresh: Vec<Fresh>, progress: Vec<Op>) -> Result<usize> {
        let engine = &self.engine;
        engine.counters.published.add(fresh.len() as u64);
        if fresh.is_empty() {
            engine.store.commit(progress).await?;
            return Ok(0);
        }
        let mut notes = self.lease_checks();
        for record in &fresh {
            notes.push(Rows::put_plain(
                record.key.row(Table::Track),
                record.track_expect,
                &record.track,
            )?);
        }
        engine.store.commit(notes).await?;
        let mut batch = Vec::new();
        for record in &fresh {
            batch.push(self.seal(record)?);
            if batch.len() == engine.bus.limits().publish_batch_max {
                engine.bus.publish(std::mem::take(&mut batch)).await?;
            }
        }
        if !batch.is_empty() {
            engine.bus.publish(batch).await?;
        }
        self.confirm(&fresh, progress).await?;
        Ok(fresh.len())
    }

    fn seal(&self, record: &Fresh) -> Result<Outgoing> {
        let sync = &record.sync;
        let side = record.key.side;
        let route = sync.side(side.other()).system.to_string();
        let change = Change {
            sync: sync.id.clone(),
            side,
            observed: record.observed.clone(),
            mapping_version: sync.side(side).mapping_version(),
        };
        let id = record.track.message.clone();
        let lane = self.engine.hasher.lane(change.key());
        let address = Address {
            route: &route,
            message_id: &id.0,
            lane: &lane,
        };
        let body = self.engine.sealer.seal(&change, &address)?;
        Ok(Outgoing {
            id,
            subscription: route,
            lane,
            body,
        })
    }

    /// Marks as published what the applier has not settled meanwhile.
    async fn confirm(&self, fresh: &[Fresh], progress: Vec<Op>) -> Result<()> {
        let keys: Vec<RowKey> = fresh.iter().map(|record| record.key.row(Table::Track)).collect();
        loop {
            let rows = self.engine.store.get(&keys).await?;
            let mut ops = progress.clone();
            for ((key, row), record) in keys.iter().zip(&rows).zip(fresh) {
                let Some(row) = row else { continue };
                let track: Track = Rows::plain(key, row)?;
                if track.message == record.track.message && track.state == TrackState::Noted {
                    let confirmed = Track {
                        state: TrackState::Confirmed,
                        ..track
                    };
                    ops.push(Rows::put_plain(
                        key.clone(),
                        Expect::Version(row.version),
                        &confirmed,
                    )?);
                }
            }
            match self.engine.store.commit(ops).await {
                Err(error) if error.kind == ErrorKind::Conflict && is_conflict_of_track(&error) => {}
                done => return done.map(drop),
            }
        }
    }

    /// A fresh store that meets cross-references has lost its state: nothing is published, nothing is written.
    async fn refuse_empty_state(&self, sync: &SyncSpec, side: Side, records: &[Observed]) -> Result<()> {
        match records.iter().find(|record| record.xref.is_some()) {
            Some(record) if !self.engine.is_used().await? => {
                Err(empty_state(&RecordKey::new(&sync.id, side, &record.id)))
            }
            _ => Ok(()),
        }
    }

    /// The records of a page that are news to a sync (R2).
    async fn select(
        &self,
        sync: &Arc<SyncSpec>,
        side: Side,
        records: &[NativeRecord],
        progress: &mut Vec<Op>,
    ) -> Result<Vec<Fresh>> {
        let engine = &self.engine;
        let observed: Vec<Observed> = records
            .iter()
            .map(|record| sync.side(side).observe(record))
            .collect();
        let keys: Vec<RecordKey> = observed
            .iter()
            .map(|observed| RecordKey::new(&sync.id, side, &observed.id))
            .collect();
        self.refuse_empty_state(sync, side, &observed).await?;
        let known = Known::load(engine, sync, &keys).await?;
        let mut fresh = Vec::new();
        let mut taken = BTreeSet::new();
        for ((observed, key), known) in observed.into_iter().zip(keys).zip(known) {
            let content = engine.content_hash(sync, &observed);
            if !taken.insert(key.clone()) {
                continue;
            }
            progress.extend(known.restore_xref(engine, sync, &key, &observed)?);
            if known.says_nothing_new(engine, sync, side, &observed, &content) {
                engine.counters.unchanged.add(1);
                continue;
            }
            fresh.push(Fresh::new(engine, sync, key, observed, content, &known));
        }
        Ok(fresh)
    }
}

fn is_conflict_of_track(error: &Error) -> bool {
    error.context("table") == Some("Track")
}

/// Where the cursor goes: within a poll the resume point moves; at its end the cursor moves to the poll's start, never past it.
fn next_cursor(
    engine: &Engine,
    cursor: Cursor,
    resume: Resume,
    next: &Option<crate::contract::PageToken>,
) -> Cursor {
    if let Some(token) = next {
        return Cursor {
            resume: Some(Resume {
                after: Some(token.clone()),
                ..resume
            }),
            ..cursor
        };
    }
    if resume.glance {
        return Cursor {
            resume: None,
            polls: cursor.polls + 1,
            ..cursor
        };
    }
    let reached = if engine.mistakes.has(Mistake::CursorNewestSeen) {
        resume.newest
    } else {
        resume.start
    };
    Cursor {
        cursor: reached.max(cursor.cursor),
        newest_seen: resume.newest.max(cursor.newest_seen),
        resume: None,
        polls: cursor.polls + 1,
    }
}

/// A record to publish.
pub(super) struct Fresh {
    sync: Arc<SyncSpec>,
    key: RecordKey,
    observed: Observed,
    track: Track,
    track_expect: Expect,
}

impl Fresh {
    pub(super) fn new(
        engine: &Engine,
        sync: &Arc<SyncSpec>,
        key: RecordKey,
        observed: Observed,
        content: String,
        known: &Known,
    ) -> Fresh {
        let track = Track {
            content,
            message: MessageId(engine.name()),
            state: TrackState::Noted,
        };
        Fresh {
            sync: sync.clone(),
            key,
            observed,
            track,
            track_expect: known.track_expect,
        }
    }
}
