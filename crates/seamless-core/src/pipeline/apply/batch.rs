//! Receiving, joining, ending.

use std::collections::BTreeSet;
use std::time::Duration;

use super::item::{End, Item, load_links, load_sources, load_state};
use super::{Applier, ApplyStep, STEP_GOAL, absent, find, finish, named, plan, write};
use crate::contract::{Change, DeadLetterReason, Delivery, RowKey, Scan, Settlement, Table};
use crate::envelope::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::claims::Held;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::state::{Hint, RecordKey, Rows, due_of};

impl Applier {
    pub(super) async fn run(&self, size: usize, wait: Duration) -> Result<ApplyStep> {
        let mut items = self.collect_hints(size).await?;
        let room = size.saturating_sub(items.len()).max(1);
        let wait = if items.is_empty() { wait } else { Duration::ZERO };
        let deliveries = self.consumer.receive(room, wait).await?;
        let mut taken = items.len() + deliveries.len();
        let (mut dead, mut unreadable) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            if delivery.delivery_count > 4 && self.engine.mistakes.has(Mistake::DropAfterFour) {
                let receipt = self.engine.commit(Vec::new()).await?;
                self.consumer
                    .settle(vec![Settlement::Complete(delivery.lock, receipt)])
                    .await?;
                continue;
            }
            match self.open(&delivery) {
                Ok(change) => self.join(&mut items, delivery, change)?,
                Err(error) if error.kind == ErrorKind::Config => return Err(error),
                Err(error) => {
                    unreadable.push(delivery.id);
                    dead.push(Settlement::DeadLetter(delivery.lock, reason_of(&error)));
                }
            }
        }
        if !dead.is_empty() {
            self.engine.look_at_records_of(&unreadable).await?;
            tracing::error!(
                count = dead.len(),
                "messages cannot be opened and were set aside; see `seamless status`"
            );
            self.consumer.settle(dead).await?;
        }
        if items.is_empty() {
            return Ok(ApplyStep { taken, deferred: 0 });
        }
        if self.engine.mistakes.has(Mistake::SettleBeforeCommit) {
            self.settle_early(&mut items).await?;
        }
        let mut deferred = 0;
        let mut failure = None;
        for (source, mut items) in absent::by_source(items) {
            if self.is_absent(&source) {
                deferred += self.end(&mut items, true).await?;
                continue;
            }
            let worked = self.work(&mut items).await;
            deferred += self.end(&mut items, worked.is_err()).await?;
            failure = failure.or(self.note_source(&source, worked));
        }
        taken = taken.max(deferred);
        failure.map_or(Ok(ApplyStep { taken, deferred }), Err)
    }

    /// The phases. An error leaves the items it concerns open; [`Applier::end`] puts them back.
    pub(super) async fn work(&self, items: &mut [Item]) -> Result<()> {
        let engine = &*self.engine;
        load_links(engine, items).await?;
        self.claim(items, Item::record_claims).await?;
        load_state(engine, items).await?;
        load_sources(engine, items).await?;
        let started = engine.clock.monotonic();
        let done = |items: &[Item]| {
            items
                .iter()
                .filter(|item| matches!(item.end, Some(End::Done(_))))
                .count()
        };
        loop {
            let before = done(items);
            self.claim(items, Item::match_claims).await?;
            if !self.engine.mistakes.has(Mistake::NamedReferenceIgnored) {
                named::resolve(self, items).await?;
            }
            find::link_new(self, items).await?;
            plan::plan(self, items).await?;
            self.pass_gate(items);
            let written = write::write(self, items).await;
            finish::finish(engine, items).await?;
            written?;
            // Records with one match key (a shared mailbox) go one after the other, without a detour over the bus. Who is put off keeps its claims
            // until the end of the step: where nobody got done, the next round would clash again, and meanwhile others wait for those claims.
            let late = engine.clock.monotonic().saturating_sub(started) > STEP_GOAL || done(items) == before;
            let mut again = false;
            for item in items.iter_mut() {
                if !matches!(item.end, Some(End::Clash)) {
                    continue;
                }
                // Without a source it clashed over its very record, and without a claim nothing may be read.
                if late || item.source.is_none() {
                    item.end = Some(End::Defer(Duration::ZERO));
                    continue;
                }
                if item.new_link.take().is_some() {
                    // What it found is in other hands now: it has to look again.
                    item.link = None;
                }
                item.end = None;
                again = true;
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// Takes further claims for every open item; who does not get them comes later.
    pub(super) async fn claim(
        &self,
        items: &mut [Item],
        keys: impl Fn(&Item, &crate::pipeline::Engine) -> BTreeSet<String>,
    ) -> Result<()> {
        let engine = &*self.engine;
        let open: Vec<usize> = (0..items.len()).filter(|index| items[*index].open()).collect();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut sets = Vec::with_capacity(open.len());
        for index in &open {
            let item = &items[*index];
            let mut set: BTreeSet<String> = keys(item, engine);
            set.retain(|key| !item.held.versions.contains_key(key));
            // The claimant takes its own name's claims for free, so what another item of this batch holds has to be told apart here.
            let taken = items.iter().any(|other| {
                !std::ptr::eq(other, item) && set.iter().any(|key| other.held.versions.contains_key(key))
            });
            let clash = taken || set.iter().any(|key| seen.contains(key));
            if !clash {
                seen.extend(set.iter().cloned());
            }
            sets.push((!clash).then_some(set));
        }
        let wanted: Vec<BTreeSet<String>> = sets.iter().flatten().cloned().collect();
        let mut granted = self.claimant.take(engine, &wanted).await?.into_iter();
        for (index, set) in open.into_iter().zip(sets) {
            if set.is_none() {
                items[index].end = Some(End::Clash);
                continue;
            }
            let held: Option<Held> = if set.is_some() {
                granted.next().flatten()
            } else {
                None
            };
            match held {
                Some(held) => items[index].held.join(held),
                None => items[index].end = Some(End::Defer(engine.timings.defer_min)),
            }
        }
        Ok(())
    }

    fn open(&self, delivery: &Delivery) -> Result<Change> {
        let engine = &*self.engine;
        let address = Address {
            route: self.system.as_str(),
            message_id: &delivery.id.0,
            lane: &delivery.lane,
        };
        let change: Change = engine.sealer.open(&delivery.body, &address)?;
        let sync = engine.sync(&change.sync)?;
        if sync.side(change.side.other()).system != self.system {
            return Err(
                Error::new(ErrorKind::Crypto, "the message was made for another system")
                    .with("code", "foreign_route"),
            );
        }
        Ok(change)
    }

    /// Adds a message to the item of its record.
    fn join(&self, items: &mut Vec<Item>, delivery: Delivery, change: Change) -> Result<()> {
        let sync = self.engine.sync(&change.sync)?.clone();
        let key = RecordKey::new(&change.sync, change.side, &change.observed.id);
        let current = sync.side(change.side).mapping_version();
        let at = match items.iter().position(|item| item.key == key) {
            Some(at) => {
                items[at].reread = true;
                at
            }
            None => {
                items.push(Item::new(sync, key));
                items.len() - 1
            }
        };
        let item = &mut items[at];
        item.reread |= change.mapping_version != current;
        item.deliveries.push((delivery.lock, delivery.id));
        item.snapshot = Some(change.observed);
        Ok(())
    }

    /// Hints that are due, joined by record.
    async fn collect_hints(&self, size: usize) -> Result<Vec<Item>> {
        let engine = &*self.engine;
        let prefix = format!("{}/", self.system);
        let scan = Scan {
            table: Table::Hint,
            prefix: prefix.clone(),
            after: None,
            limit: HINTS_SEEN_MAX.max(size),
        };
        let rows = engine.store.scan(&scan).await?;
        let now = engine.clock.now();
        let mut items: Vec<Item> = Vec::new();
        for (key, row) in rows {
            if due_of(&key, &prefix).is_some_and(|due| due > now) {
                break;
            }
            let row_key = RowKey::new(Table::Hint, key);
            let hint: Hint = Rows::plain(&row_key, &row)?;
            if self.is_deferred(&hint.record) {
                continue;
            }
            if items.len() == size {
                break;
            }
            let at = match items.iter().position(|item| item.key == hint.record) {
                Some(at) => at,
                None => {
                    let sync = engine.sync(&hint.record.sync)?.clone();
                    items.push(Item::new(sync, hint.record));
                    items.len() - 1
                }
            };
            items[at].reread = true;
            items[at].hints.push((row_key, row.version));
        }
        Ok(items)
    }

    /// Settles messages, puts hints and claims back. Returns how many records were deferred.
    pub(super) async fn end(&self, items: &mut [Item], failed: bool) -> Result<usize> {
        let engine = &*self.engine;
        let mut settlements = Vec::new();
        let mut ops = Vec::new();
        let mut deferred = 0;
        for item in items.iter_mut() {
            let wait = match item.end.take() {
                Some(End::Done(receipt)) => {
                    self.forget_deferrals(&item.key);
                    let done = item.deliveries.drain(..);
                    settlements.extend(done.map(|(lock, _)| Settlement::Complete(lock, receipt)));
                    continue;
                }
                Some(End::Hold(_)) => {
                    ops.extend(item.held.releases(engine));
                    continue;
                }
                Some(End::Defer(wait)) => wait,
                Some(End::Commit { .. } | End::Clash) | None => engine.timings.defer_min,
            };
            deferred += 1;
            let wait = self.back_off(&item.key, wait, failed);
            for (lock, _) in item.deliveries.drain(..) {
                settlements.push(Settlement::Defer(lock, wait));
            }
            ops.extend(item.held.releases(engine));
            // Its hints stay as they are: whoever holds the claim may be about to finish them.
            item.hints.clear();
        }
        engine.counters.deferred.add(deferred as u64);
        if !ops.is_empty() {
            let released = engine.store.commit(ops.clone()).await;
            match released {
                // Somebody else took over one of them. The others are still ours, and somebody may be waiting for them.
                Err(error) if error.kind == ErrorKind::Conflict => {
                    for op in ops {
                        match engine.store.commit(vec![op]).await {
                            Err(error) if error.kind == ErrorKind::Conflict => {}
                            done => drop(done?),
                        }
                    }
                }
                done => drop(done?),
            }
        }
        if !settlements.is_empty() {
            self.consumer.settle(settlements).await?;
        }
        Ok(deferred)
    }

    fn back_off(&self, key: &RecordKey, wait: Duration, failed: bool) -> Duration {
        let now = self.engine.clock.monotonic();
        let mut deferrals = self
            .deferrals
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if deferrals.len() > 50_000 {
            deferrals.clear();
        }
        let (count, until) = deferrals.entry(key.clone()).or_default();
        *count += 1;
        let timings = &self.engine.timings;
        // A claim that somebody else holds is free again in a moment; only trouble is given time.
        let max = if failed {
            timings.defer_max
        } else {
            timings.defer_min * 8
        };
        let wait = wait.max(
            timings
                .defer_min
                .saturating_mul(1 << (*count - 1).min(16))
                .min(max),
        );
        *until = now + wait;
        wait
    }

    fn is_deferred(&self, key: &RecordKey) -> bool {
        let now = self.engine.clock.monotonic();
        let deferrals = self
            .deferrals
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        deferrals.get(key).is_some_and(|(_, until)| *until > now)
    }

    fn forget_deferrals(&self, key: &RecordKey) {
        self.deferrals
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(key);
    }

    /// The planted mistake: settles before anything is committed.
    async fn settle_early(&self, items: &mut [Item]) -> Result<()> {
        let receipt = self.engine.commit(Vec::new()).await?;
        let mut settlements = Vec::new();
        for item in items.iter_mut() {
            for (lock, _) in &item.deliveries {
                settlements.push(Settlement::Complete(lock.clone(), receipt));
            }
        }
        self.consumer.settle(settlements).await
    }
}

/// Hints looked at in one step, the deferred ones among them.
const HINTS_SEEN_MAX: usize = 2_000;

fn reason_of(error: &Error) -> DeadLetterReason {
    DeadLetterReason {
        code: error.context("code").unwrap_or("unreadable").to_owned(),
        description: error.to_string(),
    }
}
