//! The gate between deciding and doing: a rehearsal writes down what passes it, a plan that is carried out lets through only what it says.

use std::sync::Arc;

use super::Applier;
use super::item::{End, Item};
use crate::error::Result;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::rehearsal::{Aside, PlanItem, PlanStep};
use crate::pipeline::state::RecordKey;

/// Sees what is about to happen to a record, with nothing written and nothing committed yet.
pub(crate) trait Gate: Send + Sync {
    /// `Err` holds the record back, with the reason: nothing is changed about it.
    fn inspect(&self, item: &PlanItem) -> std::result::Result<(), String>;
}

/// How a record that was asked for by name came out of a step.
pub(crate) enum RecordEnd {
    /// Written or linked.
    Written,
    /// Nothing was to be written.
    NothingToDo,
    /// The gate held it back.
    Held(String),
    /// Set aside, with the sentence.
    Aside(String),
    /// Not decided: somebody else holds it, or a call's answer was lost.
    Deferred,
}

impl Applier {
    /// The same applier behind a gate.
    pub(crate) fn gated(mut self, gate: Arc<dyn Gate>) -> Applier {
        self.gate = Some(gate);
        self
    }

    /// Handles these records, without taking anything from the bus.
    pub(crate) async fn step_over(&self, records: Vec<RecordKey>) -> Result<Vec<(RecordKey, RecordEnd)>> {
        let mut items = Vec::with_capacity(records.len());
        for record in records {
            let sync = self.engine.sync(&record.sync)?.clone();
            let mut item = Item::new(sync, record);
            item.reread = true;
            items.push(item);
        }
        let worked = self.work(&mut items).await;
        let ends = items.iter().map(end_of).collect();
        self.end(&mut items, worked.is_err()).await?;
        worked.map(|()| ends)
    }

    pub(super) fn pass_gate(&self, items: &mut [Item]) {
        let Some(gate) = &self.gate else { return };
        for item in items {
            if let Some(decided) = decided(item)
                && let Err(why) = gate.inspect(&decided)
                && !self.engine.mistakes.has(Mistake::PlanUngated)
            {
                item.end = Some(End::Hold(why));
            }
        }
    }
}

fn end_of(item: &Item) -> (RecordKey, RecordEnd) {
    let end = match &item.end {
        Some(End::Done(_)) => match &item.aside {
            Some(sentence) => RecordEnd::Aside(sentence.clone()),
            None if item.written || item.new_link.is_some() => RecordEnd::Written,
            None => RecordEnd::NothingToDo,
        },
        Some(End::Hold(why)) => RecordEnd::Held(why.clone()),
        _ => RecordEnd::Deferred,
    };
    (item.key.clone(), end)
}

/// What has been decided about a record; `None` when nothing happens to it, or it comes later.
fn decided(item: &Item) -> Option<PlanItem> {
    let step = match &item.end {
        None if item.target.is_none() => PlanStep::Create,
        None => PlanStep::Update,
        Some(End::Commit {
            parked: Some(parked), ..
        }) if parked.waits_for.is_some() => PlanStep::Wait,
        Some(End::Commit { parked: Some(_), .. }) => PlanStep::Park,
        Some(End::Commit { parked: None, .. }) if item.new_link.is_some() => PlanStep::Link,
        Some(End::Commit { parked: None, .. }) if !item.merge.blocked.is_empty() => PlanStep::Hold,
        Some(_) => return None,
    };
    let mut decided = PlanItem::new(&item.key, step);
    if let Some(End::Commit {
        parked: Some(parked), ..
    }) = &item.end
    {
        decided.aside = Some(Aside {
            reason: parked.reason,
            sentence: parked.sentence.clone(),
            candidates: parked.candidates.clone(),
        });
        return Some(decided);
    }
    decided.other = item.target_id().cloned();
    decided.link = item.new_link.clone();
    decided.fields = item.merge.writes.clone();
    decided.conflicts = item.merge.conflicts.clone();
    decided.blocked = item.merge.blocked.clone();
    decided.pending = item.pending.clone();
    Some(decided)
}
