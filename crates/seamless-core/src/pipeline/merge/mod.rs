//! The three-way merge, field by field (R3, R4, R12). Pure.
//!
//! Each side is compared with *its own half* of the base, never with the other side's value: a truncation, a fallback or a phone
//! format on one side is therefore no change, and only a person's change flows.

mod field;
mod missing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::field::{add_passengers, fill_defaults, merge_field, set};
pub(crate) use self::missing::{Fate, is_missing, missing_sentence};
use super::mistakes::{Mistake, Mistakes};
use super::origin::Origins;
use super::spec::{FieldSpec, SyncSpec};
use super::state::Answer;
use crate::contract::Side;
use crate::mapping::{Loss, Observed, SideMapping};
use crate::record::{RecordId, Stamp, SystemId};
use crate::value::{Date, Value};

/// What one side held when the field was last settled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// This value.
    Known(Value),
    /// Dirty whatever the value: this side won a conflict and its own message has not settled the field yet.
    Cleared,
    /// Written, and the field had gone from the record before anybody could see whether it arrived.
    Unseen(Box<Unseen>),
}

/// A write that nobody could see: the field was not in the record that was read back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// What was written, as it would read.
    pub sent: Value,
    /// What the field held before; `None` where it was missing already.
    pub before: Option<Value>,
    /// The halves before the write, if there were any. They stand again if it turns out that it never arrived.
    pub settled: Option<[Half; 2]>,
}

impl Half {
    /// Whether `now` differs from what was settled.
    pub fn is_dirty(&self, now: &Value) -> bool {
        match self {
            Half::Known(value) => value != now,
            Half::Cleared => true,
            Half::Unseen(write) => write.sent != *now,
        }
    }
}

/// Base of a pair: canonical field → halves of side A and B.
pub type Base = BTreeMap<String, [Half; 2]>;

/// A reference of the source, translated into the target's id space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The source refers to nothing.
    Nothing,
    /// The counterpart's id.
    Counterpart(RecordId),
    /// The record referred to has no counterpart yet.
    Unlinked(RecordId),
    /// The record referred to has no counterpart and is left out of the sync.
    Outside(RecordId),
}

/// What the merge looks at.
pub struct MergeInput<'a> {
    /// The sync.
    pub sync: &'a SyncSpec,
    /// The side the change comes from.
    pub side: Side,
    /// The source record.
    pub source: &'a Observed,
    /// The target record; `None` when it is to be created.
    pub target: Option<&'a Observed>,
    /// The base; `None` at the first link.
    pub base: Option<&'a Base>,
    /// Reference fields, translated.
    pub references: &'a BTreeMap<String, Resolved>,
    /// Newest version of each side's record that a commit has read.
    pub seen: [Option<Stamp>; 2],
    /// By side: fields that hold what came back when we wrote them, although we wrote something else. The system rewrote it, or somebody edited it in
    /// that moment (R7).
    pub unexplained: &'a [BTreeSet<String>; 2],
    /// Fields that have waited alone so far, with the reason.
    pub held: &'a BTreeMap<String, String>,
    /// What a person has said about conflicts.
    pub answers: &'a BTreeMap<String, Answer>,
    /// Where values came from that another sync has written.
    pub origins: &'a Origins,
    /// See [`super::Timings::newest_guard`].
    pub newest_guard: Duration,
    /// The day of a create, where a mapping asks for it.
    pub today: Date,
    /// Planted mistakes (tests only).
    pub mistakes: Mistakes,
}

/// Why a field is written or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Only the source changed.
    SourceChanged,
    /// Both changed; the source's side wins.
    ConflictWon,
    /// First link: the target was empty.
    FilledEmpty,
    /// First link: values differ and the source's side wins.
    FirstMergeOverwrite,
    /// New record.
    Created,
    /// A passenger of another field's write.
    Passenger,
}

/// One field to write.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldWrite {
    /// Native path in the target.
    pub path: String,
    /// Native value.
    pub native: Value,
    /// Canonical value expected at read-back.
    pub predicted: Value,
    /// Canonical value the target held when we read it.
    pub before: Value,
    /// The record that was read did not have the field: what it held is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before_unknown: bool,
    /// Why.
    pub why: Why,
    /// Declared loss.
    pub loss: Option<Loss>,
    /// The system that the value came from first, for fields with an owner list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SystemId>,
}

impl MergeInput<'_> {
    /// The system that a side's value came from.
    pub(super) fn origin(&self, side: Side, field: &str) -> &SystemId {
        let origin = self.origins[side.index()].get(field);
        origin.unwrap_or(&self.sync.side(side).system)
    }
}

/// A conflict that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The field.
    pub field: String,
    /// Who won.
    pub winner: Side,
    /// At the first link, without a base.
    pub first_merge: bool,
}

/// The merge's plan for one record.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Merge {
    /// Fields to write, by canonical name.
    pub writes: BTreeMap<String, FieldWrite>,
    /// Halves as they are once everything has landed. A written field's target half is the prediction until the read-back confirms it.
    pub base: Base,
    /// The target has something that its own message must carry.
    pub hint_target: bool,
    /// Fields that cannot be written, with the reason.
    pub blocked: BTreeMap<String, String>,
    /// Optional references left out because their record has no counterpart yet.
    pub pending: BTreeMap<String, RecordId>,
    /// A required reference without counterpart: the whole record waits.
    pub waits_for: Option<(String, RecordId)>,
    /// Conflicts.
    pub conflicts: Vec<Conflict>,
    /// Conflicts that wait for a person.
    pub asked: BTreeSet<String>,
    /// Conflicts that a person has decided.
    pub answered: BTreeSet<String>,
    /// The record is left out, because one that it refers to is.
    pub skipped: Option<String>,
    /// Records that are left out and have to be taken in.
    pub pulls: BTreeSet<String>,
}

impl Merge {
    /// Why the record cannot be created there, if a required field is among the blocked ones.
    pub fn refuses_create(&self, there: &SideMapping) -> Option<String> {
        let is_required = |name: &String| there.fields.get(name).is_some_and(|field| field.required);
        let (field, issue) = self.blocked.iter().find(|(name, _)| is_required(name))?;
        Some(format!("cannot be created there: {field}: {issue}"))
    }

    /// First-merge overwrites among the conflicts (R4).
    pub fn first_merge_overwrites(&self) -> u64 {
        self.conflicts
            .iter()
            .filter(|conflict| conflict.first_merge)
            .count() as u64
    }
}

/// Merges source into target.
pub fn merge(input: &MergeInput<'_>) -> Merge {
    let mut plan = Merge {
        base: input.base.cloned().unwrap_or_default(),
        ..Merge::default()
    };
    let target_mapping = &input.sync.side(input.side.other()).mapping;
    for (name, spec) in &input.sync.model.fields {
        let mapped_here = input.sync.side(input.side).mapping.fields.contains_key(name);
        let writable = target_mapping
            .fields
            .get(name)
            .is_some_and(|field| field.writable);
        let travels_along = spec.passenger && !input.mistakes.has(Mistake::PassengerIsDirty);
        if travels_along || !mapped_here {
            continue;
        }
        let only_from_there = comes_from_target(input, name, spec);
        match input.target {
            None if only_from_there => leave_to_target(input, name, &mut plan),
            Some(target) if only_from_there && !input.mistakes.has(Mistake::OneWayIgnored) => {
                plan.hint_target |= is_news_there(input, name, spec, target);
            }
            _ if writable => merge_field(input, name, spec, &mut plan),
            _ => {}
        }
    }
    if input.target.is_none() {
        fill_defaults(input, &mut plan);
    }
    keep_held(input, &mut plan);
    if !plan.writes.is_empty() || input.target.is_none() {
        add_passengers(input, &mut plan);
    }
    plan
}

/// What waits to be brought *from* the target goes on waiting: the source's message says nothing of it.
fn keep_held(input: &MergeInput<'_>, plan: &mut Merge) {
    let Some(target) = input.target else { return };
    if input.mistakes.has(Mistake::HeldForgotten) {
        return;
    }
    let (s, t) = (input.side.index(), input.side.other().index());
    for (name, why) in input.held {
        let is_decided = plan.blocked.contains_key(name) || plan.writes.contains_key(name);
        let still_waits = match (target.fields.get(name), plan.base.get(name)) {
            // A write to this side that nobody could see is settled by the message that sent it.
            (Some(value), Some(halves)) => halves[t].is_dirty(value) || matches!(halves[s], Half::Unseen(_)),
            (Some(_), None) => true,
            (None, _) => target.broken.contains_key(name),
        };
        if !is_decided && still_waits {
            plan.blocked.insert(name.clone(), why.clone());
        }
    }
}

/// A field that the new record's own side gives.
fn comes_from_target(input: &MergeInput<'_>, name: &str, spec: &FieldSpec) -> bool {
    let direction = spec.direction.unwrap_or(input.sync.direction);
    let there = input.side.other();
    let mapped = input.sync.side(there).mapping.fields.contains_key(name);
    mapped && direction.flows_from(there) && !direction.flows_from(input.side)
}

/// The target holds something new of a field that only flows from there. Its own message may have come, and been set aside, while the
/// two were not linked: it will not come again.
fn is_news_there(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, target: &Observed) -> bool {
    let Some(value) = target.fields.get(name) else {
        return false;
    };
    let there = input.side.other().index();
    let is_new = match input.base.and_then(|base| base.get(name)) {
        Some(halves) => halves[there].is_dirty(value),
        None => input
            .source
            .fields
            .get(name)
            .is_none_or(|ours| !spec.compare.same(ours, value)),
    };
    is_new && !input.mistakes.has(Mistake::TargetHintLost)
}

/// What the new record holds there is not known yet; its own message brings it, and overwrites nothing that was merged: the two were never two records.
fn leave_to_target(input: &MergeInput<'_>, name: &str, plan: &mut Merge) {
    let (s, t) = (input.side.index(), input.side.other().index());
    if let Some(source) = input.source.fields.get(name) {
        set(plan, name, s, Half::Known(source.clone()), t, Half::Cleared);
        plan.hint_target = true;
    }
}
