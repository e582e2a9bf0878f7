//! One field: what becomes of it, case by case.

use super::missing::{is_missing, look_at_unseen, missed};
use super::{Conflict, FieldWrite, Half, Merge, MergeInput, Resolved, Why};
use crate::mapping::{Observed, Projection};
use crate::pipeline::conflict::{ASKED, winner};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::{FieldSpec, Outside, Policy};
use crate::record::RecordId;
use crate::value::Value;

pub(super) fn merge_field(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, plan: &mut Merge) {
    let (s, t) = (input.side.index(), input.side.other().index());
    if let Some(reason) = input.source.broken.get(name) {
        plan.blocked.insert(name.to_owned(), reason.clone());
        return;
    }
    let Some(source) = input.source.fields.get(name) else {
        return;
    };
    let direction = spec.direction.unwrap_or(input.sync.direction);
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
    look_at_unseen(input, name, target_record, plan);
    let halves = plan.base.get(name).cloned();
    let halves = halves.as_ref();
    // A cleared half is that of a winner. Otherwise it says nothing: of a reference that waits, of a field that only follows.
    let may_have_won = |side: &Half| *side != Half::Cleared || two_way && spec.reference.is_none();
    let missed_here = halves
        .filter(|halves| may_have_won(&halves[s]) && !(halves[s] == Half::Cleared && target.is_empty()))
        .and_then(|halves| missed(input, name, input.side, input.source, &halves[s]));
    if let Some(reason) = missed_here {
        plan.blocked.insert(name.to_owned(), reason);
        return;
    }
    let missed_there = halves
        .filter(|halves| may_have_won(&halves[t]))
        .and_then(|halves| missed(input, name, input.side.other(), target_record, &halves[t]));
    let (source_dirty, target_dirty) = match halves {
        Some(halves) => (halves[s].is_dirty(source), halves[t].is_dirty(target)),
        None => (true, true),
    };
    if !source_dirty {
        let is_news = target_dirty && missed_there.is_none();
        if let (Some(reason), Some(Half::Unseen(_))) = (&missed_there, halves.map(|halves| &halves[t])) {
            plan.blocked.insert(name.to_owned(), reason.clone());
        }
        if is_news && two_way && !input.mistakes.has(Mistake::TargetHintLost) {
            plan.hint_target = true;
        }
        return;
    }
    if let Some(reason) = missed_there {
        plan.blocked.insert(name.to_owned(), reason);
        return;
    }
    if !two_way && source.is_empty() && halves.is_some_and(|halves| halves[s] == Half::Cleared) {
        // Never seen before ([`leave_to_target`]), and it says nothing: no reason to empty what the other side holds.
        settle(plan, name, s, source, t, target);
        return;
    }
    let first_merge = halves.is_none();
    let is_missing = |side, record| is_missing(input.sync, side, name, record, input.mistakes);
    if first_merge && is_missing(input.side, input.source) {
        // It has not been read, and says nothing yet, not even that it is empty.
        plan.hint_target |= two_way && !target.is_empty();
        return;
    }
    if first_merge && source.is_empty() && is_missing(input.side.other(), target_record) {
        return;
    }
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
    } else if two_way && is_unexplained(input, name, spec, t) && !is_unexplained(input, name, spec, s) {
        // An edit here, and there perhaps nothing but an echo of our own write.
        Why::SourceChanged
    } else if two_way && is_unexplained(input, name, spec, s) && !is_unexplained(input, name, spec, t) {
        lose(plan, name, s, source, t, two_way, target);
        return;
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

/// Where a person decides, the person is asked: it may be somebody's edit.
fn is_unexplained(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, side: usize) -> bool {
    input.unexplained[side].contains(name)
        && spec.policy != Policy::Ask
        && !input.mistakes.has(Mistake::EchoIsRival)
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
pub(super) fn fill_defaults(input: &MergeInput<'_>, plan: &mut Merge) {
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

pub(super) fn add_passengers(input: &MergeInput<'_>, plan: &mut Merge) {
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

pub(super) fn set(plan: &mut Merge, name: &str, s: usize, source: Half, t: usize, target: Half) {
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
            before_unknown: input.target.is_some_and(|target| target.absent.contains(name)),
            why,
            loss: lossy,
            origin,
        },
    );
}
