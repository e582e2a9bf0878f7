//! The three-way merge, field by field (R3, R4, R12). Pure.
//!
//! Each side is compared with *its own half* of the base, never with the other side's value: a truncation, a fallback or a phone
//! format on one side is therefore no change, and only a person's change flows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conflict::{ASKED, winner};
use super::mistakes::{Mistake, Mistakes};
use super::origin::Origins;
use super::spec::{FieldSpec, Outside, SyncSpec};
use super::state::Answer;
use crate::contract::Side;
use crate::mapping::{Loss, Observed, Projection, SideMapping};
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
}

impl Half {
    /// Whether `now` differs from what was settled.
    pub fn is_dirty(&self, now: &Value) -> bool {
        match self {
            Half::Known(value) => value != now,
            Half::Cleared => true,
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
        if input.target.is_none() && comes_from_target(input, name, spec) {
            leave_to_target(input, name, &mut plan);
        } else if writable {
            merge_field(input, name, spec, &mut plan);
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
    let t = input.side.other().index();
    for (name, why) in input.held {
        let is_decided = plan.blocked.contains_key(name) || plan.writes.contains_key(name);
        let still_waits = match (target.fields.get(name), plan.base.get(name)) {
            (Some(value), Some(halves)) => halves[t].is_dirty(value),
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

/// What the new record holds there is not known yet; its own message brings it, and overwrites nothing that was merged: the two were never two records.
fn leave_to_target(input: &MergeInput<'_>, name: &str, plan: &mut Merge) {
    let (s, t) = (input.side.index(), input.side.other().index());
    if let Some(source) = input.source.fields.get(name) {
        set(plan, name, s, Half::Known(source.clone()), t, Half::Cleared);
        plan.hint_target = true;
    }
}

fn merge_field(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, plan: &mut Merge) {
    let (s, t) = (input.side.index(), input.side.other().index());
    if let Some(reason) = input.source.broken.get(name) {
        plan.blocked.insert(name.to_owned(), reason.clone());
        return;
    }
    let Some(source) = input.source.fields.get(name) else {
        return;
    };
    let direction = spec.direction.unwrap_or(input.sync.direction);
    if !direction.flows_from(input.side) && !input.mistakes.has(Mistake::OneWayIgnored) {
        return;
    }
    let Some(target_record) = input.target else {
        create_field(input, name, spec, source, plan);
        return;
    };
    if let Some(reason) = target_record.broken.get(name) {
        plan.blocked.insert(
            name.to_owned(),
            format!("the other side cannot be read: {reason}"),
        );
        return;
    }
    let Some(target) = target_record.fields.get(name) else {
        return;
    };
    let two_way = direction.flows_from(input.side.other());
    let halves = input.base.and_then(|base| base.get(name));
    let (source_dirty, target_dirty) = match halves {
        Some(halves) => (halves[s].is_dirty(source), halves[t].is_dirty(target)),
        None => (true, true),
    };
    if !source_dirty {
        if target_dirty && two_way && !input.mistakes.has(Mistake::TargetHintLost) {
            plan.hint_target = true;
        }
        return;
    }
    if !two_way && source.is_empty() && halves.is_some_and(|halves| halves[s] == Half::Cleared) {
        // Never seen before ([`leave_to_target`]), and it says nothing: no reason to empty what the other side holds.
        settle(plan, name, s, source, t, target);
        return;
    }
    let first_merge = halves.is_none();
    if first_merge && two_way && is_named_otherwise(spec, target, target_record) {
        // Empty only by its id: what the name stands for is looked up when the target's own message comes.
        plan.hint_target = true;
        return;
    }
    let keeps = !input.mistakes.has(Mistake::FirstMergeEmpties);
    if keeps && first_merge && source.is_empty() && !target.is_empty() {
        // The target's value fills our empty one: its own message carries it, if it may flow that way at all.
        lose(plan, name, s, source, t, two_way, target);
        return;
    }
    let projected = project(input, name, spec, source);
    if agree(input, name, spec, source, target, &projected) {
        settle(plan, name, s, source, t, target);
        return;
    }
    let projected = match projected {
        Projected::Value(projection) => projection,
        Projected::Pending(parent) => {
            wait_or_leave(input, name, spec, parent, plan);
            return;
        }
        Projected::Blocked(reason) => {
            plan.blocked.insert(name.to_owned(), reason);
            return;
        }
        Projected::Skipped => {
            plan.blocked.insert(name.to_owned(), LEFT_OUT.to_owned());
            return;
        }
        Projected::Pull(parent) => {
            plan.pulls.insert(name.to_owned());
            wait_or_leave(input, name, spec, parent, plan);
            return;
        }
    };
    let why = if !target_dirty {
        Why::SourceChanged
    } else if first_merge && target.is_empty() {
        Why::FilledEmpty
    } else {
        let Some(winner) = winner(input, name, spec, two_way, source, target, plan) else {
            plan.asked.insert(name.to_owned());
            plan.blocked.insert(name.to_owned(), ASKED.to_owned());
            return;
        };
        plan.conflicts.push(Conflict {
            field: name.to_owned(),
            winner,
            first_merge,
        });
        if winner != input.side {
            if input.mistakes.has(Mistake::LoserHalfNotUpdated) {
                return;
            }
            let cleared = !input.mistakes.has(Mistake::WinnerHalfKept);
            if cleared {
                lose(plan, name, s, source, t, two_way, target);
            } else {
                let kept = halves.map_or(Half::Known(target.clone()), |halves| halves[t].clone());
                set(plan, name, s, Half::Known(source.clone()), t, kept);
            }
            return;
        }
        if first_merge {
            Why::FirstMergeOverwrite
        } else {
            Why::ConflictWon
        }
    };
    set(
        plan,
        name,
        s,
        Half::Known(source.clone()),
        t,
        Half::Known(projected.predicted.clone()),
    );
    write_field(input, name, projected, target.clone(), why, plan);
}

/// A reference that holds no id, in a record that names the one it means by something else.
fn is_named_otherwise(spec: &FieldSpec, value: &Value, record: &Observed) -> bool {
    let named_by = spec
        .reference
        .as_ref()
        .and_then(|reference| reference.named_by.as_ref());
    let name = named_by.and_then(|named_by| record.fields.get(&named_by.field));
    value.is_empty() && name.is_some_and(|name| !name.is_empty())
}

fn create_field(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, source: &Value, plan: &mut Merge) {
    let (s, t) = (input.side.index(), input.side.other().index());
    match project(input, name, spec, source) {
        Projected::Value(projection) => {
            set(
                plan,
                name,
                s,
                Half::Known(source.clone()),
                t,
                Half::Known(projection.predicted.clone()),
            );
            if !projection.native.is_empty() {
                write_field(input, name, projection, Value::Null, Why::Created, plan);
            }
        }
        Projected::Pending(parent) => {
            pend(input, name, spec, parent, plan);
            if input.mistakes.has(Mistake::PendingSettled) {
                set(
                    plan,
                    name,
                    s,
                    Half::Known(source.clone()),
                    t,
                    Half::Known(Value::Null),
                );
            }
        }
        Projected::Blocked(reason) => {
            plan.blocked.insert(name.to_owned(), reason);
        }
        Projected::Skipped => plan.skipped = Some(name.to_owned()),
        Projected::Pull(parent) => {
            plan.pulls.insert(name.to_owned());
            pend(input, name, spec, parent, plan);
        }
    }
}

/// What is said of a reference to a record that takes no part.
const LEFT_OUT: &str = "the record that it refers to takes no part in the sync";

/// The reference is left out of the create. Not settled: the field stays dirty, so that it is written once the parent has its counterpart.
fn pend(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, parent: RecordId, plan: &mut Merge) {
    let (s, t) = (input.side.index(), input.side.other().index());
    wait_or_leave(input, name, spec, parent, plan);
    if plan.waits_for.is_none() {
        set(plan, name, s, Half::Cleared, t, Half::Known(Value::Null));
    }
}

/// A record waits for a parent that it cannot do without; without any other it goes on.
fn wait_or_leave(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, parent: RecordId, plan: &mut Merge) {
    let required = spec
        .reference
        .as_ref()
        .is_some_and(|reference| reference.required);
    if required && !input.mistakes.has(Mistake::RequiredReferenceDropped) {
        plan.waits_for.get_or_insert((name.to_owned(), parent));
    } else {
        plan.pending.insert(name.to_owned(), parent);
    }
}

/// On a create, fields that the source does not have at all take the configured default.
fn fill_defaults(input: &MergeInput<'_>, plan: &mut Merge) {
    let mapping = &input.sync.side(input.side.other()).mapping;
    for (name, field) in &mapping.fields {
        let known = input.source.fields.contains_key(name) || input.source.broken.contains_key(name);
        let computed = mapping.computed_default(name, &input.source.fields, input.today);
        if known || !field.writable || (field.default.is_none() && computed.is_none()) {
            continue;
        }
        match mapping.project_create(name, &computed.unwrap_or_default()) {
            Ok(projection) => write_field(input, name, projection, Value::Null, Why::Created, plan),
            Err(issue) => {
                plan.blocked.insert(name.clone(), issue.0);
            }
        }
    }
}

fn add_passengers(input: &MergeInput<'_>, plan: &mut Merge) {
    let mapping = &input.sync.side(input.side.other()).mapping;
    for (name, spec) in &input.sync.model.fields {
        let Some(field) = mapping.fields.get(name) else {
            continue;
        };
        if !spec.passenger || !field.writable || (input.target.is_some() && !field.updatable) {
            continue;
        }
        let Some(value) = input.source.fields.get(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        let before = input
            .target
            .and_then(|target| target.fields.get(name))
            .cloned()
            .unwrap_or_default();
        if let Ok(projection) = mapping.project(name, value)
            && projection.predicted != before
        {
            write_field(input, name, projection, before, Why::Passenger, plan);
        }
    }
}

enum Projected {
    Value(Projection),
    Pending(RecordId),
    Blocked(String),
    /// What it refers to is left out, and so is the record.
    Skipped,
    /// What it refers to has to be taken in first.
    Pull(RecordId),
}

fn project(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, source: &Value) -> Projected {
    let mapping = &input.sync.side(input.side.other()).mapping;
    let translated = if spec.reference.is_some() {
        match input.references.get(name) {
            Some(Resolved::Counterpart(_)) if input.mistakes.has(Mistake::ReferenceUntranslated) => {
                source.clone()
            }
            Some(Resolved::Counterpart(id)) => Value::Text(id.0.clone()),
            Some(Resolved::Unlinked(parent)) => return Projected::Pending(parent.clone()),
            Some(Resolved::Outside(parent)) => match spec.reference.as_ref().map(|spec| spec.outside) {
                Some(Outside::Null) => Value::Null,
                Some(Outside::Skip) => return Projected::Skipped,
                Some(Outside::Pull) => return Projected::Pull(parent.clone()),
                Some(Outside::Wait) | None => return Projected::Pending(parent.clone()),
            },
            Some(Resolved::Nothing) | None => Value::Null,
        }
    } else {
        source.clone()
    };
    let projected = match input.target {
        Some(_) => mapping.project(name, &translated),
        None if translated.is_empty() => {
            let computed = mapping.computed_default(name, &input.source.fields, input.today);
            mapping.project_create(name, &computed.unwrap_or_default())
        }
        None => mapping.project_create(name, &translated),
    };
    match projected {
        Ok(projection) => Projected::Value(projection),
        Err(issue) => Projected::Blocked(issue.0),
    }
}

/// Equal up to declared loss, in either direction.
fn agree(
    input: &MergeInput<'_>,
    name: &str,
    spec: &FieldSpec,
    source: &Value,
    target: &Value,
    projected: &Projected,
) -> bool {
    if source.is_empty() && target.is_empty() {
        return true;
    }
    if let Projected::Value(projection) = projected
        && spec.compare.same(&projection.predicted, target)
        && !(input.mistakes.has(Mistake::FirstMergeWithoutLoss) && projection.lossy.is_some())
    {
        return true;
    }
    if spec.reference.is_some() || input.mistakes.has(Mistake::FirstMergeWithoutLoss) {
        return false;
    }
    let back = input.sync.side(input.side).mapping.project(name, target);
    back.is_ok_and(|projection| spec.compare.same(&projection.predicted, source))
}

/// The source's side lost: its half becomes its value, the winner's half is cleared until the winner's own message settles it.
fn lose(plan: &mut Merge, name: &str, s: usize, source: &Value, t: usize, two_way: bool, target: &Value) {
    let winner = if two_way {
        Half::Cleared
    } else {
        Half::Known(target.clone())
    };
    set(plan, name, s, Half::Known(source.clone()), t, winner);
    plan.hint_target |= two_way;
}

fn settle(plan: &mut Merge, name: &str, s: usize, source: &Value, t: usize, target: &Value) {
    set(
        plan,
        name,
        s,
        Half::Known(source.clone()),
        t,
        Half::Known(target.clone()),
    );
}

fn set(plan: &mut Merge, name: &str, s: usize, source: Half, t: usize, target: Half) {
    let mut halves = [Half::Cleared, Half::Cleared];
    halves[s] = source;
    halves[t] = target;
    plan.base.insert(name.to_owned(), halves);
}

fn write_field(
    input: &MergeInput<'_>,
    name: &str,
    projection: Projection,
    before: Value,
    why: Why,
    plan: &mut Merge,
) {
    let Some(field) = input.sync.side(input.side.other()).mapping.fields.get(name) else {
        return;
    };
    if input.target.is_some() && !field.updatable {
        let halves = input.base.and_then(|base| base.get(name));
        match halves {
            Some(halves) => plan.base.insert(name.to_owned(), halves.clone()),
            None => plan.base.remove(name),
        };
        plan.blocked.insert(
            name.to_owned(),
            format!("{} cannot be changed after the create there", field.native),
        );
        return;
    }
    let Projection {
        native,
        predicted,
        lossy,
    } = projection;
    let is_listed = |spec: &FieldSpec| !spec.owners.is_empty();
    let origin = input.sync.model.fields.get(name).is_some_and(is_listed);
    let origin = origin.then(|| input.origin(input.side, name).clone());
    plan.writes.insert(
        name.to_owned(),
        FieldWrite {
            path: field.native.clone(),
            native,
            predicted,
            before,
            why,
            loss: lossy,
            origin,
        },
    );
}
