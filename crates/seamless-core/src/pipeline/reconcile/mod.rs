//! Reconciliation (R11, R12): a slow pass over *every* record of an entity, by id and content, for what change stamps do not show.
//!
//! It writes to no system. What it finds on a side from which a field flows is news, and goes the way of all news (R2, R3); an edit against the flow
//! is listed, and what becomes of it is the tenant's choice; a cross-reference that was cleared goes on the write-back list. Found, noted, and only
//! then acted upon: whoever reads the ledger sees the damage before its repair.

mod find;
mod note;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::intake::Poller;
use super::state::{Link, RecordKey, Rows, expect_of};
use crate::contract::{Expect, ListRequest, Op, PageToken, RowKey, Scan, Side, StateStore, Table};
use crate::error::{Error, Result};
use crate::record::{RecordId, SyncId, SystemId};
use crate::value::{Timestamp, Value};

pub use note::StandingDrift;

/// A record that is not as it was left.
#[derive(Clone)]
pub struct Drift {
    /// The record, on the side where it was found.
    pub record: RecordKey,
    /// Its counterpart.
    pub other: Option<RecordId>,
    /// What is wrong with it.
    pub kind: DriftKind,
    /// What becomes of it.
    pub then: DriftThen,
    /// The fields that differ.
    pub fields: BTreeMap<String, DriftField>,
}

/// A field that is not as it was left.
#[derive(Clone)]
pub struct DriftField {
    /// What the side held when the field was last settled; `None` if it never was.
    pub settled: Option<Value>,
    /// What it holds now.
    pub found: Value,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// It was changed or created, and its stamp does not show it: no poll would bring it.
    Missed,
    /// It was changed or created; the next poll brings it.
    Recent,
    /// Fields were changed against their flow.
    AgainstFlow,
    /// Its cross-reference field was cleared.
    ReferenceCleared,
    /// Its cross-reference field names another record than the one it is linked to.
    ReferenceChanged,
    /// It is linked, and does not exist any more, or is not visible.
    Gone,
}

/// What becomes of a drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftThen {
    /// It is published as a change, and merged like any other.
    Published,
    /// The source's value is written again.
    Restored,
    /// The cross-reference is written again.
    WrittenBack,
    /// It stays as it is.
    Kept,
    /// It stays as it is, and a person has to look at it.
    Reported,
    /// The record is being worked on; the next pass looks at it again.
    Busy,
}

impl DriftThen {
    /// Whether it stays after it has been acted upon.
    pub fn stays(self) -> bool {
        matches!(self, DriftThen::Kept | DriftThen::Reported | DriftThen::Busy)
    }
}

/// What a pass does about what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Nothing: it changes neither systems nor state.
    Look,
    /// Acts, and begins anew.
    Repair,
    /// Acts, notes when it came to its end, and goes on where it was left.
    Routine,
}

/// Reconciles one native entity of one system for all syncs that use it.
pub struct Sweep {
    poller: Poller,
    conduct: Conduct,
    pass: Option<Pass>,
    /// Linked records that this pass has met.
    met: BTreeSet<RecordId>,
}

/// What one step of a pass did.
pub enum SweepStep {
    /// Somebody else reconciles this entity.
    Elsewhere,
    /// A page was looked at.
    Page(SweepPage),
    /// The pass has ended with this page.
    End(SweepPage),
}

/// A page that was looked at.
#[derive(Default)]
pub struct SweepPage {
    /// Records read.
    pub read: usize,
    /// What is wrong with them.
    pub drift: Vec<Drift>,
}

/// Progress of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pass {
    begun: Timestamp,
    /// Where the list goes on.
    after: Option<PageToken>,
    /// The list has come to its end; now linked records are looked for that were not in it: route and row.
    links: Option<(usize, Option<String>)>,
    finished: Option<Timestamp>,
}

/// Records asked for in one page.
const PAGE: usize = 500;

impl Sweep {
    /// The passes that a tenant needs: one for each system and native entity, whichever way it flows; of one sync, or of all.
    pub fn all(engine: &Arc<Engine>, sync: Option<&SyncId>, conduct: Conduct) -> Vec<Sweep> {
        let wanted = |spec: &super::SyncSpec, _: Side| sync.is_none_or(|sync| spec.id == *sync);
        let pollers = Poller::over(engine, "reconcile", wanted).into_iter();
        pollers
            .map(|poller| Sweep {
                poller,
                conduct,
                pass: None,
                met: BTreeSet::new(),
            })
            .collect()
    }

    /// The system it reads.
    pub fn system(&self) -> &SystemId {
        self.poller.system()
    }

    /// The native entity it reads.
    pub fn entity(&self) -> &str {
        self.poller.entity()
    }

    /// How long until the next routine pass is due. A pass that was left is due at once; a store that has never seen one counts from now, because its
    /// first load has just read everything.
    pub async fn due_in(&self, interval: Duration) -> Result<Duration> {
        let engine = &self.poller.engine;
        let now = engine.clock.now();
        if !engine.is_used().await? {
            return Ok(interval);
        }
        let Some(pass) = self.stored().await?.0 else {
            let pass = Pass {
                finished: Some(now),
                ..Pass::default()
            };
            let op = Rows::put_plain(self.row(), Expect::Any, &pass)?;
            engine.store.commit(vec![op]).await?;
            return Ok(interval);
        };
        let wait = |finished: Timestamp| interval.saturating_sub(now.since(finished));
        Ok(pass.finished.map_or(Duration::ZERO, wait))
    }

    /// Looks at one page. Cancel safe at every await: what was not acted upon is found again.
    pub async fn step(&mut self) -> Result<SweepStep> {
        if self.conduct != Conduct::Look && !self.poller.hold_lease().await? {
            return Ok(SweepStep::Elsewhere);
        }
        let (pass, expect) = self.load().await?;
        let mut next = pass.clone();
        let mut page = SweepPage::default();
        match pass.links.clone() {
            None => {
                let records = self.list(&pass, &mut next).await?;
                page.read = records.len();
                page.drift = self.examine(records, &next, expect).await?;
            }
            Some((route, after)) => {
                let (records, gone) = self.look_for_missing(route, after, &mut next).await?;
                page.read = records.len();
                let mut drift = self.note_gone(gone, &pass).await?;
                drift.extend(self.examine(records, &next, expect).await?);
                page.drift = drift;
            }
        }
        let ended = next.finished.is_some();
        if ended {
            self.forget_what_is_over(&pass).await?;
            self.met.clear();
        }
        self.pass = Some(next);
        Ok(if ended {
            SweepStep::End(page)
        } else {
            SweepStep::Page(page)
        })
    }

    /// Gives the lease up.
    pub async fn release(&mut self) -> Result<()> {
        self.poller.release().await
    }

    fn row(&self) -> RowKey {
        pass_row(self.system(), self.entity())
    }

    async fn stored(&self) -> Result<(Option<Pass>, Expect)> {
        let key = self.row();
        let store = &self.poller.engine.store;
        let row = store.get(std::slice::from_ref(&key)).await?.remove(0);
        let pass = row.as_ref().map(|row| Rows::plain(&key, row)).transpose()?;
        Ok((pass, expect_of(row.as_ref())))
    }

    async fn load(&mut self) -> Result<(Pass, Expect)> {
        let (known, expect) = if self.conduct == Conduct::Routine {
            self.stored().await?
        } else {
            (self.pass.clone(), Expect::Any)
        };
        if let Some(pass) = known.filter(|pass| pass.finished.is_none()) {
            return Ok((pass, expect));
        }
        self.met.clear();
        let pass = Pass {
            begun: self.poller.engine.clock.now(),
            ..Pass::default()
        };
        Ok((pass, expect))
    }

    /// The operations that move a pass on, under the lease.
    fn progress(&self, next: &Pass, expect: Expect) -> Result<Vec<Op>> {
        let mut ops = self.poller.lease_checks();
        if self.conduct == Conduct::Routine {
            ops.push(Rows::put_plain(self.row(), expect, next)?);
        }
        Ok(ops)
    }

    async fn list(&self, pass: &Pass, next: &mut Pass) -> Result<Vec<crate::record::NativeRecord>> {
        let poller = &self.poller;
        let system = poller.engine.systems.get(&poller.system);
        let system = system.ok_or_else(|| Error::config("system is not configured"))?;
        let request = ListRequest {
            entity: poller.entity.clone(),
            since: None,
            after: pass.after.clone(),
            limit: PAGE,
        };
        let page = system.source.survey(&request).await?;
        if page.next.is_some() && page.next == pass.after {
            return Err(
                Error::protocol("the list never ends: the server hands out the same page again")
                    .with("system", &poller.system)
                    .with("entity", &poller.entity),
            );
        }
        if page.next.is_none() {
            next.links = Some((0, None));
        }
        next.after = page.next;
        Ok(page.records)
    }

    /// Linked records that the list did not bring: read by id, because a list may hide what still exists. Those that are there, and those that are gone.
    async fn look_for_missing(
        &self,
        route: usize,
        after: Option<String>,
        next: &mut Pass,
    ) -> Result<(Vec<crate::record::NativeRecord>, Vec<(RecordKey, RecordId)>)> {
        let engine = &self.poller.engine;
        let Some((sync, side)) = self.poller.routes.get(route) else {
            next.links = None;
            next.finished = Some(engine.clock.now());
            return Ok(Default::default());
        };
        let scan = Scan {
            table: Table::Link,
            prefix: format!("{}/{}/", sync.id, side.letter()),
            after,
            limit: PAGE,
        };
        let rows = engine.store.scan(&scan).await?;
        next.links = Some(match rows.last() {
            Some((last, _)) => (route, Some(last.clone())),
            None => (route + 1, None),
        });
        let mut missing = BTreeMap::new();
        for (key, row) in &rows {
            let link: Link = Rows::plain(&RowKey::new(Table::Link, key.clone()), row)?;
            if let Some(record) = engine
                .record_of(key)
                .filter(|record| !self.met.contains(&record.id))
            {
                missing.insert(record.id, link.other);
            }
        }
        let ids: Vec<RecordId> = missing.keys().cloned().collect();
        let found = engine.fetch(sync, *side, &ids).await?;
        missing.retain(|id, _| !found.contains_key(id));
        let mut gone = Vec::new();
        for (id, other) in missing {
            let record = RecordKey::new(&sync.id, *side, &id);
            // Taken apart meanwhile: nobody misses it.
            let linked = engine.pair_of(&record).await?;
            if linked.is_some_and(|(link, ..)| link.other == other) {
                gone.push((record, other));
            }
        }
        Ok((found.into_values().map(|seen| seen.native).collect(), gone))
    }
}

fn pass_row(system: &SystemId, entity: &str) -> RowKey {
    RowKey::new(Table::Meta, format!("reconcile/{system}/{entity}"))
}

/// When the last routine pass over a native entity came to its end.
pub async fn reconciled_at(
    store: &dyn StateStore,
    system: &SystemId,
    entity: &str,
) -> Result<Option<Timestamp>> {
    let key = pass_row(system, entity);
    let row = store.get(std::slice::from_ref(&key)).await?.remove(0);
    let pass: Option<Pass> = row.map(|row| Rows::plain(&key, &row)).transpose()?;
    Ok(pass.and_then(|pass| pass.finished.filter(|_| pass.begun > Timestamp::default())))
}
