//! One record on its way through a step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Expect, LockToken, MessageId, RowKey, Side, Table};
use crate::error::Result;
use crate::mapping::Observed;
use crate::pipeline::CommitReceipt;
use crate::pipeline::claims::Held;
use crate::pipeline::engine::{Engine, Seen};
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::matching;
use crate::pipeline::merge::{Merge, Why};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{Decision, Link, Pair, Parked, RecordKey, Rows, Track, expect_of, pair_row_of};
use crate::record::{NativeRecord, RecordId};

/// A record being applied, with the messages and hints that asked for it.
pub(crate) struct Item {
    pub(crate) sync: Arc<SyncSpec>,
    pub(crate) key: RecordKey,
    pub(crate) deliveries: Vec<(LockToken, MessageId)>,
    pub(crate) hints: Vec<(RowKey, u64)>,
    /// The newest snapshot among the messages.
    pub(crate) snapshot: Option<Observed>,
    /// The snapshot cannot be trusted whatever its stamp (a hint, several messages, another mapping version).
    pub(crate) reread: bool,
    pub(crate) held: Held,
    pub(crate) link: Option<Link>,
    /// What a person has decided about it, as long as it has no counterpart.
    pub(crate) decision: Option<Decision>,
    pub(crate) pair: Pair,
    pub(crate) pair_expect: Expect,
    pub(crate) source: Option<Observed>,
    /// Hash of the source as it was read, where references were filled in since.
    pub(crate) raw_content: Option<String>,
    /// As its system writes it, where it was read in this step.
    pub(crate) source_native: Option<NativeRecord>,
    pub(crate) target: Option<Seen>,
    /// When the target was read, or was looked for and not found, on the monotonic clock.
    pub(crate) read_at: Duration,
    /// Set when this step links the record for the first time.
    pub(crate) new_link: Option<(Reason, String)>,
    pub(crate) merge: Merge,
    /// Parents that optional references wait for.
    pub(crate) pending: BTreeMap<String, RecordKey>,
    /// Records that are left out and have to be taken in, because this one refers to them.
    pub(crate) pulls: Vec<RecordKey>,
    pub(crate) end: Option<End>,
    /// Something was written for it.
    pub(crate) written: bool,
    /// Why it was set aside in this step.
    pub(crate) aside: Option<String>,
}

/// How a record leaves the step.
pub(crate) enum End {
    /// With these changes, in one commit with everything else.
    Commit {
        /// Set aside, for a person or for a parent.
        parked: Option<Parked>,
        /// For the ledger.
        entries: Vec<Entry>,
    },
    /// Another item of this step holds one of its match keys: it follows in the same step.
    Clash,
    /// Later.
    Defer(Duration),
    /// The gate held it back: nothing is changed.
    Hold(String),
    /// Its commit is done.
    Done(CommitReceipt),
}

impl Item {
    pub(crate) fn new(sync: Arc<SyncSpec>, key: RecordKey) -> Item {
        Item {
            sync,
            key,
            deliveries: Vec::new(),
            hints: Vec::new(),
            snapshot: None,
            reread: false,
            held: Held::default(),
            link: None,
            decision: None,
            pair: Pair::default(),
            pair_expect: Expect::Absent,
            source: None,
            raw_content: None,
            source_native: None,
            target: None,
            read_at: Duration::ZERO,
            new_link: None,
            merge: Merge::default(),
            pending: BTreeMap::new(),
            pulls: Vec::new(),
            end: None,
            written: false,
            aside: None,
        }
    }

    /// Hash of the source's content as intake sees it.
    pub(crate) fn content(&self, engine: &Engine, source: &Observed) -> String {
        self.raw_content
            .clone()
            .unwrap_or_else(|| engine.content_hash(&self.sync, source))
    }

    /// Whether its halves are those of an older mapping.
    pub(crate) fn under_older_mapping(&self) -> bool {
        !self.pair.base.is_empty()
            && Side::BOTH
                .iter()
                .any(|side| self.pair.mapping[side.index()] != self.sync.side(*side).mapping_version())
    }

    pub(crate) fn open(&self) -> bool {
        self.end.is_none()
    }

    pub(crate) fn side(&self) -> Side {
        self.key.side
    }

    pub(crate) fn other(&self) -> Side {
        self.key.side.other()
    }

    /// The counterpart's id, once known.
    pub(crate) fn target_id(&self) -> Option<&RecordId> {
        self.link.as_ref().map(|link| &link.other)
    }

    pub(crate) fn target_key(&self) -> Option<RecordKey> {
        self.target_id()
            .map(|id| RecordKey::new(&self.sync.id, self.other(), id))
    }

    /// The claims on the record ids.
    pub(crate) fn record_claims(&self, engine: &Engine) -> BTreeSet<String> {
        let claim = |side, id: &RecordId| engine.record_claim(&self.sync, side, id);
        let mut keys = BTreeSet::from([claim(self.side(), &self.key.id)]);
        if let Some(id) = self.target_id()
            && !engine.mistakes.has(Mistake::ClaimOnlySourceId)
        {
            keys.insert(claim(self.other(), id));
        }
        keys
    }

    /// The claims on the match keys, both of what the source holds now.
    pub(crate) fn match_claims(&self, engine: &Engine) -> BTreeSet<String> {
        if engine.mistakes.has(Mistake::NoMatchKeyClaim) || engine.mistakes.has(Mistake::ClaimOnlySourceId) {
            return BTreeSet::new();
        }
        let Some(source) = &self.source else {
            return BTreeSet::new();
        };
        // Those of the syncs beside this one, too: they may bring the same record to the same system.
        engine
            .rules_around(&self.sync)
            .iter()
            .filter_map(|(signature, rule)| {
                let key = matching::key_of(rule, source)?;
                Some(
                    engine
                        .hasher
                        .match_claim(&self.sync.model.name, signature, &key.join("\u{1f}")),
                )
            })
            .collect()
    }

    /// Ends the record with a commit.
    pub(crate) fn commit(&mut self, entries: Vec<Entry>) {
        self.end = Some(End::Commit {
            parked: None,
            entries,
        });
    }

    /// Leaves a field out of what is to be written; it waits alone. With nothing else to write, that is all.
    pub(crate) fn hold(&mut self, engine: &Engine, field: &str, why: String) {
        let merge = &mut self.merge;
        let Some(write) = merge.writes.remove(field) else {
            return;
        };
        let settled = merge.base.get(field).cloned();
        match self.pair.base.get(field) {
            Some(halves) => merge.base.insert(field.to_owned(), halves.clone()),
            None => merge.base.remove(field),
        };
        merge.conflicts.retain(|conflict| conflict.field != field);
        if engine.mistakes.has(Mistake::RefusedFieldSettled) {
            merge
                .base
                .extend(settled.map(|halves| (field.to_owned(), halves)));
        } else if write.why != Why::Passenger {
            merge.blocked.insert(field.to_owned(), why);
        }
        let nothing_else = merge.writes.values().all(|write| write.why == Why::Passenger);
        if self.end.is_none() && self.target.is_some() && nothing_else {
            merge.writes.clear();
            self.commit(Vec::new());
        }
    }

    /// Sets the record aside.
    pub(crate) fn park(
        &mut self,
        engine: &Engine,
        reason: Reason,
        sentence: String,
        candidates: Vec<RecordKey>,
    ) {
        let Some(source) = &self.source else { return };
        let now = engine.clock.now();
        let parked = Parked {
            reason,
            sentence: sentence.clone(),
            content: self.content(engine, source),
            since: now,
            waits_for: None,
            candidates,
        };
        engine.counters.parked.add(1);
        self.aside = Some(sentence.clone());
        let entry = Entry::new(now, &self.key, reason, sentence);
        self.end = Some(End::Commit {
            parked: Some(parked),
            entries: vec![entry],
        });
    }

    /// Sets the record aside until its parent has a counterpart.
    pub(crate) fn wait_for(&mut self, engine: &Engine, parent: RecordKey, sentence: String) {
        let Some(source) = &self.source else { return };
        let now = engine.clock.now();
        let parked = Parked {
            reason: Reason::WaitsForParent,
            sentence: sentence.clone(),
            content: self.content(engine, source),
            since: now,
            waits_for: Some(parent),
            candidates: Vec::new(),
        };
        engine.counters.waiting.add(1);
        self.aside = Some(sentence.clone());
        let entry = Entry::new(now, &self.key, Reason::WaitsForParent, sentence);
        self.end = Some(End::Commit {
            parked: Some(parked),
            entries: vec![entry],
        });
    }
}

/// Reads links (before claiming, to know the counterpart's id).
pub(crate) async fn load_links(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let keys: Vec<RowKey> = items.iter().map(|item| item.key.row(Table::Link)).collect();
    let rows = engine.store.get(&keys).await?;
    for ((item, key), row) in items.iter_mut().zip(&keys).zip(rows) {
        item.link = row.as_ref().map(|row| Rows::plain(key, row)).transpose()?;
    }
    Ok(())
}

/// Reads links and pairs again, under the claims. An item whose link changed meanwhile is deferred.
pub(crate) async fn load_state(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let before: Vec<Option<Link>> = items.iter().map(|item| item.link.clone()).collect();
    load_links(engine, items).await?;
    let mut pairs = Vec::new();
    for (index, (item, before)) in items.iter_mut().zip(before).enumerate() {
        if !item.open() {
            continue;
        }
        if item.link != before {
            item.end = Some(End::Defer(Duration::ZERO));
        } else if let Some(link) = &item.link {
            pairs.push((index, pair_row_of(&item.key, &link.other)));
        }
    }
    let unlinked: Vec<usize> = (0..items.len())
        .filter(|at| items[*at].open() && items[*at].link.is_none())
        .collect();
    let keys: Vec<RowKey> = unlinked
        .iter()
        .map(|at| items[*at].key.row(Table::Decision))
        .collect();
    for ((at, key), row) in unlinked
        .into_iter()
        .zip(&keys)
        .zip(engine.store.get(&keys).await?)
    {
        items[at].decision = row.map(|row| Rows::plain(key, &row)).transpose()?;
    }
    distrust_unknown_messages(engine, items).await?;
    let keys: Vec<RowKey> = pairs.iter().map(|(_, key)| key.clone()).collect();
    let rows = engine.store.get(&keys).await?;
    for ((index, key), row) in pairs.iter().zip(rows) {
        items[*index].pair_expect = expect_of(row.as_ref());
        if let Some(row) = &row {
            items[*index].pair = engine.typed().sealed(key, row)?;
        }
    }
    Ok(())
}

/// A message that the books do not know as the last one about its record is older than they are, or from before a backup: its snapshot may have been
/// overtaken by content that intake has dropped since.
async fn distrust_unknown_messages(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let trusted = |item: &Item| item.open() && !item.reread && item.snapshot.is_some();
    let open: Vec<usize> = (0..items.len()).filter(|at| trusted(&items[*at])).collect();
    let keys: Vec<RowKey> = open.iter().map(|at| items[*at].key.row(Table::Track)).collect();
    for ((at, key), row) in open.into_iter().zip(&keys).zip(engine.store.get(&keys).await?) {
        let track: Option<Track> = row.map(|row| Rows::plain(key, &row)).transpose()?;
        let item = &mut items[at];
        item.reread = !item
            .deliveries
            .iter()
            .any(|(_, id)| track.as_ref().is_some_and(|track| track.message == *id));
    }
    Ok(())
}

/// Gives every open item its source record: the snapshot where it is strictly newer than everything a commit has seen of it,
/// else a fresh read (R5).
pub(crate) async fn load_sources(engine: &Engine, items: &mut [Item]) -> Result<()> {
    let mut stale: BTreeMap<(crate::record::SyncId, Side), Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| item.open()) {
        let seen = item.pair.seen[item.key.side.index()];
        let snapshot = item.snapshot.take();
        let stamp = snapshot.as_ref().and_then(|snapshot| snapshot.stamp);
        let newer = !item.reread && !item.under_older_mapping() && stamp.is_some() && stamp > seen;
        if engine.mistakes.has(Mistake::EqualStampDropped) && !item.reread && stamp.is_some() && stamp <= seen
        {
            item.commit(Vec::new());
            continue;
        }
        if (newer || engine.mistakes.has(Mistake::StaleSnapshotUsed)) && snapshot.is_some() {
            item.source = snapshot;
        } else {
            stale
                .entry((item.sync.id.clone(), item.side()))
                .or_default()
                .push(index);
        }
    }
    for ((sync, side), indexes) in stale {
        let ids: Vec<RecordId> = indexes.iter().map(|index| items[*index].key.id.clone()).collect();
        let mut found = engine.fetch(&engine.sync(&sync)?.clone(), side, &ids).await?;
        for index in indexes {
            let item = &mut items[index];
            match found.remove(&item.key.id) {
                Some(seen) => {
                    item.source_native = item.under_older_mapping().then_some(seen.native);
                    item.source = Some(seen.observed);
                }
                None => {
                    let note = "the record no longer exists there, or is not visible any more; its counterpart stays as it is";
                    let entry = Entry::new(engine.clock.now(), &item.key, Reason::SourceGone, note);
                    item.commit(vec![entry]);
                }
            }
        }
    }
    Ok(())
}
