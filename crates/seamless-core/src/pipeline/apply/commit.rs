//! The one commit in which a record's outcome becomes state: link, base, seen versions, ledger, intent, claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::{Expect, MessageId, Op, RowKey, Scan, Table};
use crate::error::{ErrorKind, Result};
use crate::mapping::Observed;
use crate::pipeline::events::OwnWrite;
use crate::pipeline::ledger::Entry;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{
    Link, Pair, Parked, RecordKey, Rows, Track, TrackState, WriteBack, expect_of, pair_row_of,
    waiting_anchor, waiting_row,
};
use crate::pipeline::{CommitReceipt, Engine};
use crate::record::RecordId;

/// A record's outcome, ready to be turned into operations.
pub(super) struct Outcome {
    pub(super) sync: Arc<SyncSpec>,
    pub(super) key: RecordKey,
    pub(super) messages: Vec<MessageId>,
    pub(super) release: Vec<Op>,
    pub(super) pair: Option<(RecordId, Pair, Expect)>,
    pub(super) linked: bool,
    /// Set aside as a record without a counterpart.
    pub(super) unlinked: bool,
    pub(super) wrote_target: bool,
    pub(super) parked: Option<Parked>,
    pub(super) pending: BTreeMap<String, RecordKey>,
    pub(super) hint_target: Option<RecordKey>,
    pub(super) pulls: Vec<RecordKey>,
    pub(super) write_backs: Vec<(RecordKey, RecordId)>,
    pub(super) first_merge: u64,
    pub(super) entries: Vec<Entry>,
    /// What was written into a watched record.
    pub(super) own_write: Option<OwnWrite>,
    /// The record was created, and looked like this.
    pub(super) born: Option<Observed>,
}

/// Commits all outcomes together; where that conflicts, one by one. `None`: the claim was lost, or the parent it waits for, or the record itself,
/// has just been linked.
pub(super) async fn commit_all(
    engine: &Engine,
    outcomes: Vec<Outcome>,
) -> Result<Vec<Option<CommitReceipt>>> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let context = Context::load(engine, &outcomes).await?;
    let mut all = engine
        .mark_used_if(outcomes.iter().any(|outcome| outcome.linked))
        .await?;
    let mut whole = true;
    for outcome in &outcomes {
        match outcome.ops(engine, &context)? {
            Some(ops) => all.extend(ops),
            None => whole = false,
        }
    }
    all.extend(context.first_merge_ops(engine, &outcomes).await?);
    if whole {
        match engine.commit(all).await {
            Ok(receipt) => return Ok(vec![Some(receipt); outcomes.len()]),
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    let mut receipts = Vec::with_capacity(outcomes.len());
    for outcome in &outcomes {
        receipts.push(commit_one(engine, outcome).await?);
    }
    Ok(receipts)
}

/// Intake may touch the track, and a child may start to wait, while we commit: read again and try again. A lost claim stays lost.
const TRIES: u32 = 6;

async fn commit_one(engine: &Engine, outcome: &Outcome) -> Result<Option<CommitReceipt>> {
    for _ in 0..TRIES {
        let context = Context::load(engine, std::slice::from_ref(outcome)).await?;
        let Some(mut ops) = outcome.ops(engine, &context)? else {
            return Ok(None);
        };
        ops.extend(engine.mark_used_if(outcome.linked).await?);
        ops.extend(
            context
                .first_merge_ops(engine, std::slice::from_ref(outcome))
                .await?,
        );
        match engine.commit(ops).await {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Rows that an outcome's operations depend on, read together.
struct Context {
    rows: BTreeMap<RowKey, Option<crate::contract::Row>>,
    wakes: BTreeMap<RecordKey, Vec<Op>>,
}

impl Context {
    async fn load(engine: &Engine, outcomes: &[Outcome]) -> Result<Context> {
        let mut keys = Vec::new();
        let mut linked = Vec::new();
        for outcome in outcomes {
            keys.push(outcome.key.row(Table::Track));
            keys.extend(outcome.parents().map(|parent| parent.row(Table::Link)));
            keys.extend(outcome.own_write.iter().map(|write| write.row.clone()));
            keys.extend(outcome.unlinked.then(|| outcome.key.row(Table::Link)));
            let Some((target, _, _)) = &outcome.pair else {
                continue;
            };
            let target = RecordKey::new(&outcome.sync.id, outcome.key.side.other(), target);
            keys.extend(outcome.overtakes().then(|| target.row(Table::Parked)));
            if outcome.linked {
                linked.extend([outcome.key.clone(), target]);
            }
        }
        let found = engine.store.get(&keys).await?;
        let rows = keys.into_iter().zip(found).collect();
        let wakes = wake_ops(engine, &linked).await?;
        Ok(Context { rows, wakes })
    }

    fn row(&self, key: &RowKey) -> Option<&crate::contract::Row> {
        self.rows.get(key).and_then(Option::as_ref)
    }

    async fn first_merge_ops(&self, engine: &Engine, outcomes: &[Outcome]) -> Result<Vec<Op>> {
        let mut sums: BTreeMap<&crate::record::SyncId, u64> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.first_merge > 0) {
            *sums.entry(&outcome.sync.id).or_default() += outcome.first_merge;
        }
        let mut ops = Vec::new();
        for (sync, sum) in sums {
            ops.push(engine.count_first_merge(sync, sum).await?);
        }
        Ok(ops)
    }
}

/// What linking these records wakes: every child that waits for one of them gets a hint, in the linker's own commit (R10).
pub(crate) async fn wake_ops(engine: &Engine, linked: &[RecordKey]) -> Result<BTreeMap<RecordKey, Vec<Op>>> {
    let anchors: Vec<RowKey> = linked.iter().map(waiting_anchor).collect();
    let rows = engine.store.get(&anchors).await?;
    let mut wakes = BTreeMap::new();
    for ((record, anchor), row) in linked.iter().zip(anchors).zip(rows) {
        let mut ops = Vec::new();
        if engine.mistakes.has(Mistake::ParentWakeLost) {
            wakes.insert(record.clone(), ops);
            continue;
        }
        if row.is_some() {
            let mut after = anchor.key.clone();
            loop {
                let scan = Scan {
                    table: Table::Waiting,
                    prefix: anchor.key.clone(),
                    after: Some(after),
                    limit: 1_000,
                };
                let children = engine.store.scan(&scan).await?;
                let Some((last, _)) = children.last() else { break };
                after = last.clone();
                for (key, child_row) in children {
                    let key = RowKey::new(Table::Waiting, key);
                    let child: RecordKey = Rows::plain(&key, &child_row)?;
                    ops.push(Op::Delete {
                        key,
                        expect: Expect::Version(child_row.version),
                    });
                    ops.push(engine.hint(&child)?);
                }
            }
            ops.push(Op::Delete {
                key: anchor,
                expect: expect_of(row.as_ref()),
            });
        } else {
            ops.push(Op::Check {
                key: anchor,
                expect: Expect::Absent,
            });
        }
        wakes.insert(record.clone(), ops);
    }
    Ok(wakes)
}

impl Outcome {
    /// Parents that must still be without counterpart.
    fn parents(&self) -> impl Iterator<Item = &RecordKey> {
        self.parked
            .iter()
            .filter_map(|parked| parked.waits_for.as_ref())
            .chain(self.pending.values())
    }

    /// What the target was set aside with is over.
    fn overtakes(&self) -> bool {
        self.linked || self.wrote_target
    }

    /// The operations; `None` when the parent it wants to wait for, or the record itself, has just been linked.
    fn ops(&self, engine: &Engine, context: &Context) -> Result<Option<Vec<Op>>> {
        let mut ops = self.release.clone();
        let track_key = self.key.row(Table::Track);
        if let Some(row) = context.row(&track_key) {
            let track: Track = Rows::plain(&track_key, row)?;
            if self.messages.contains(&track.message) && track.state != TrackState::Settled {
                let settled = Track {
                    state: TrackState::Settled,
                    ..track
                };
                ops.push(Rows::put_plain(
                    track_key,
                    Expect::Version(row.version),
                    &settled,
                )?);
            }
        }
        for parent in self.parents() {
            let link = parent.row(Table::Link);
            if context.row(&link).is_some() {
                if self.parked.is_some() {
                    return Ok(None);
                }
                // The parent came between: look again at once.
                ops.push(engine.hint(&self.key)?);
                continue;
            }
            if !engine.mistakes.has(Mistake::ParentWakeLost) {
                ops.push(Op::Check {
                    key: link,
                    expect: Expect::Absent,
                });
            }
            ops.push(Rows::put_plain(
                waiting_row(parent, &self.key),
                Expect::Any,
                &self.key,
            )?);
            ops.push(Op::Put {
                key: waiting_anchor(parent),
                expect: Expect::Any,
                value: Vec::new(),
            });
        }
        if self.unlinked && !engine.mistakes.has(Mistake::ParkedThoughLinked) {
            // Whoever made it may not have said so when we looked: what it was set aside for would stand against a pair.
            let key = self.key.row(Table::Link);
            if context.row(&key).is_some() {
                return Ok(None);
            }
            let expect = Expect::Absent;
            ops.push(Op::Check { key, expect });
        }
        let parked_row = self.key.row(Table::Parked);
        match &self.parked {
            Some(parked) => ops.push(engine.typed().put_sealed(parked_row, Expect::Any, parked)?),
            None => ops.push(Op::Delete {
                key: parked_row,
                expect: Expect::Any,
            }),
        }
        if let Some((target, pair, expect)) = &self.pair {
            let target_key = RecordKey::new(&self.sync.id, self.key.side.other(), target);
            ops.push(
                engine
                    .typed()
                    .put_sealed(pair_row_of(&self.key, target), *expect, pair)?,
            );
            if self.linked {
                ops.push(Rows::put_plain(
                    self.key.row(Table::Link),
                    Expect::Absent,
                    &Link {
                        other: target.clone(),
                    },
                )?);
                let back = Link {
                    other: self.key.id.clone(),
                };
                ops.push(Rows::put_plain(
                    target_key.row(Table::Link),
                    Expect::Absent,
                    &back,
                )?);
                for record in [&self.key, &target_key] {
                    ops.extend(context.wakes.get(record).cloned().unwrap_or_default());
                }
            }
            let key = self.key.on_first_side(target).row(Table::Held);
            let expect = Expect::Any;
            ops.push(if pair.blocked.is_empty() {
                Op::Delete { key, expect }
            } else {
                let value = Vec::new();
                Op::Put { key, expect, value }
            });
            if self.linked {
                for record in [&self.key, &target_key] {
                    ops.push(Op::Delete {
                        key: record.row(Table::Decision),
                        expect: Expect::Any,
                    });
                }
            }
            if self.overtakes() {
                let parked = target_key.row(Table::Parked);
                let row = context.row(&parked);
                ops.push(Op::Delete {
                    key: parked,
                    expect: expect_of(row),
                });
                if row.is_some() {
                    // Its message is settled and will not come again: what it said is still to be brought.
                    ops.push(engine.hint(&target_key)?);
                }
            }
        }
        for (record, xref) in &self.write_backs {
            let row = WriteBack::new(xref.clone(), engine.clock.now());
            ops.push(Rows::put_plain(record.row(Table::WriteBack), Expect::Any, &row)?);
        }
        if let Some(record) = &self.hint_target {
            ops.push(engine.hint(record)?);
        }
        if let Some(record) = &self.born {
            ops.extend(engine.note_birth(&self.sync, self.key.side.other(), record)?);
        }
        if let Some(write) = &self.own_write {
            ops.push(write.op(engine, context.row(&write.row))?);
        }
        for record in &self.pulls {
            ops.extend(engine.take_in(record)?);
        }
        for entry in &self.entries {
            let row = entry.row(engine.salt());
            ops.push(engine.typed().put_sealed(row, Expect::Any, entry)?);
        }
        Ok(Some(ops))
    }
}
