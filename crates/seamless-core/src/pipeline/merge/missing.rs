//! Fields that are not in a record although every record of its system has them (R3): what is not there has not been read, and empties nothing.

use super::{Half, Merge, MergeInput, Unseen};
use crate::contract::Side;
use crate::mapping::{Compare, Observed};
use crate::pipeline::mistakes::{Mistake, Mistakes};
use crate::pipeline::rewrite::same_but_for_form;
use crate::pipeline::spec::SyncSpec;
use crate::value::Value;

/// Settles a write that nobody could see, where the field is in the record again: it arrived, or it did not, and the halves before it stand.
pub(super) fn look_at_unseen(input: &MergeInput<'_>, name: &str, target: &Observed, plan: &mut Merge) {
    for (side, record) in [(input.side, input.source), (input.side.other(), target)] {
        let Some(halves) = plan.base.get_mut(name) else {
            return;
        };
        let (Half::Unseen(write), Some(now)) = (&halves[side.index()], record.fields.get(name)) else {
            continue;
        };
        if is_missing(input.sync, side, name, record, input.mistakes) {
            continue;
        }
        match (
            write.fate(input.sync.model.compare_of(name), side, now),
            write.settled.clone(),
        ) {
            (Fate::Arrived, _) => halves[side.index()] = Half::Known(now.clone()),
            (Fate::EditedSince, _) => halves[side.index()] = Half::Known(write.sent.clone()),
            (Fate::NeverArrived, Some(settled)) => *halves = settled,
            (Fate::NeverArrived, None) => drop(plan.base.remove(name)),
        }
    }
}

/// What has become of a write that nobody could see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrived,
    NeverArrived,
    EditedSince,
}

impl Unseen {
    /// By what the field holds now that it can be seen again.
    pub(crate) fn fate(&self, compare: Compare, side: Side, now: &Value) -> Fate {
        if compare.same(&self.sent, now) || same_but_for_form(&self.sent, now) {
            return Fate::Arrived;
        }
        let settled = self.settled.as_ref().map(|halves| &halves[side.index()]);
        let is_as_before = match (&self.before, settled) {
            (Some(before), _) | (None, Some(Half::Known(before))) => compare.same(before, now),
            // Nothing says that somebody has edited it.
            (None, _) => true,
        };
        if is_as_before {
            Fate::NeverArrived
        } else {
            Fate::EditedSince
        }
    }
}

/// Whether a record has come without a field that every record of its system has. A reference that is named by something else may be left out.
pub(crate) fn is_missing(
    sync: &SyncSpec,
    side: Side,
    name: &str,
    record: &Observed,
    mistakes: Mistakes,
) -> bool {
    let spec = sync.model.fields.get(name);
    let reference = spec.and_then(|spec| spec.reference.as_ref());
    let is_named_otherwise = reference.is_some_and(|reference| reference.named_by.is_some());
    record.absent.contains(name)
        && sync.side(side).mapping.fields.contains_key(name)
        && !is_named_otherwise
        && !mistakes.has(Mistake::AbsentIsEmpty)
}

/// What is said of a field that is missing.
pub(crate) fn missing_sentence(sync: &SyncSpec, side: Side, name: &str) -> String {
    let mapping = &sync.side(side).mapping;
    let native = mapping.fields.get(name).map_or(name, |field| &field.native);
    format!(
        "{native} is not in the record, although it held or was given a value: bring it back to {}, or map another field (a system that leaves out what is empty has to say so: omits_empty)",
        mapping.entity
    )
}

/// Why a field that is not in a record cannot be merged: it held something when it was settled, and nobody has emptied it.
pub(super) fn missed(
    input: &MergeInput<'_>,
    name: &str,
    side: Side,
    record: &Observed,
    half: &Half,
) -> Option<String> {
    let held = match half {
        Half::Known(value) => !value.is_empty(),
        Half::Cleared | Half::Unseen(_) => true,
    };
    let is_missed = held && is_missing(input.sync, side, name, record, input.mistakes);
    is_missed.then(|| missing_sentence(input.sync, side, name))
}
