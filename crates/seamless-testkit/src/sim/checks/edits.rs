//! I1: no edit is lost, among rivals but the one that the policy lets lose.

use std::time::Duration;

use seamless_core::pipeline::{Policy, RecordKey, SyncSpec};
use seamless_core::{Side, Value};

use super::pairs::{agree, default_given, value};
use crate::sim::plan::Plan;
use crate::sim::record::{Change, Record};
use crate::sim::world::World;

/// Whether the other side had seen an edit when somebody edited there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The engine had brought it.
    Yes,
    /// It held that value anyway, so nobody can tell.
    Maybe,
    No,
}

/// I1: the last edit that had no rival is there; among rivals the owner's.
pub(super) fn lost_edit(
    spec: &SyncSpec,
    key: &RecordKey,
    name: &str,
    a: &Record,
    b: &Record,
    world: &World,
    plan: &Plan,
) -> Option<String> {
    let last = |record: &Record| -> Option<Change> {
        let mut edits = record.history.iter().rev();
        edits
            .find(|change| change.field == name && change.person && !change.value.is_empty())
            .cloned()
    };
    let has_none_yet = |edit: &Change| {
        !b.history
            .iter()
            .any(|change| change.field == name && change.at <= edit.at)
    };
    let is_default = |edit: &Change| default_given(spec, name, a).is_some_and(|given| given == edit.value);
    let put_back = |edit: &Change| has_none_yet(edit) && is_default(edit);
    let (last_a, last_b) = (last(a).filter(|edit| !put_back(edit)), last(b));
    let excused = [a, b].iter().any(|record| {
        record
            .history
            .iter()
            .any(|change| change.field == name && change.person && change.excused)
    });
    let unsettled = |record: &Record, last: &Option<Change>| {
        let Some(last) = last else { return false };
        let before = record
            .history
            .iter()
            .filter(|change| change.field == name && change.at <= last.at);
        let run = before.rev().take_while(|change| change.person);
        run.into_iter().any(|edit| under_intent(world, key, name, edit))
    };
    if excused || unsettled(a, &last_a) || unsettled(b, &last_b) {
        return None;
    }
    let survived = |side: Side, edit: &Change| match side {
        Side::A => agree(spec, name, &edit.value, &value(b, name)) && edit.value == value(a, name),
        Side::B => agree(spec, name, &value(a, name), &edit.value) && edit.value == value(b, name),
    };
    let text = |change: &Change| change.value.to_plain().unwrap_or_default();
    let owner = if plan.owner_first { Side::A } else { Side::B };
    let (winner, edit) = match (&last_a, &last_b) {
        (None, None) => return None,
        (Some(edit), None) => (Side::A, edit),
        (None, Some(edit)) => (Side::B, edit),
        (Some(edit_a), Some(edit_b)) => {
            // Who edited first cannot have seen the other's edit, but may have held its value: a revert is no rival.
            let first = |seen: Seen| if seen == Seen::No { Seen::No } else { Seen::Maybe };
            let later = edit_a.at.max(edit_b.at);
            let b_saw_a = seen(spec, name, Side::A, edit_a, b, later);
            let b_saw_a = if edit_b.at >= edit_a.at {
                b_saw_a
            } else {
                first(b_saw_a)
            };
            let a_saw_b = seen(spec, name, Side::B, edit_b, a, later);
            let a_saw_b = if edit_a.at >= edit_b.at {
                a_saw_b
            } else {
                first(a_saw_b)
            };
            let policy = spec.model.fields.get(name).map(|field| field.policy);
            // By stamps of whole records, or by a person: either may stand, but one of them does.
            let undecided = matches!(policy, Some(Policy::Newest | Policy::Ask));
            let either = agree(spec, name, &edit_a.value, &edit_b.value)
                || undecided
                || b_saw_a == Seen::Maybe
                || a_saw_b == Seen::Maybe
                // Whoever puts back what the record was born with may have changed nothing that the other side had seen.
                || is_default(edit_a)
                || (b_saw_a == Seen::Yes && a_saw_b == Seen::Yes)
                // An earlier edit of the owner may have been a rival although the last one was not.
                || (b_saw_a == Seen::Yes && owner == Side::A && had_rival(spec, name, Side::A, a, b, edit_b))
                || (a_saw_b == Seen::Yes && owner == Side::B && had_rival(spec, name, Side::B, b, a, edit_a));
            if either {
                let one = survived(Side::A, edit_a) || survived(Side::B, edit_b);
                return (!one).then(|| format!("neither of two last edits is there; {}", story(name, a, b)));
            }
            match (b_saw_a, a_saw_b) {
                (Seen::Yes, _) => (Side::B, edit_b),
                (_, Seen::Yes) => (Side::A, edit_a),
                _ if owner == Side::A => (Side::A, edit_a),
                _ => (Side::B, edit_b),
            }
        }
    };
    (!survived(winner, edit)).then(|| {
        let what = text(edit);
        format!(
            "the edit '{what}' on side {winner:?} at {:.3} s is lost; {}",
            edit.at.as_secs_f64(),
            story(name, a, b)
        )
    })
}

/// An edit made while a write of the field was under way: R7's open window or R8's named conflict.
fn under_intent(world: &World, key: &RecordKey, name: &str, edit: &Change) -> bool {
    world.intents.iter().any(|intent| {
        let of_pair = intent.source == *key
            || intent.target.as_ref().is_some_and(|target| {
                intent.source.sync == key.sync && intent.source.side == Side::B && *target == key.id
            });
        let during = intent.from <= edit.at && intent.to.is_none_or(|to| edit.at <= to);
        of_pair && during && intent.fields.iter().any(|field| field == name)
    }) || during_create(world, key, edit)
}

/// Seen from the second system's record: one that it sent was being made in the first.
pub(super) fn during_create(world: &World, key: &RecordKey, edit: &Change) -> bool {
    world.intents.iter().any(|intent| {
        intent.source.sync == key.sync
            && intent.source.side == Side::B
            && intent.target.is_none()
            && intent.from <= edit.at
            && intent.to.is_none_or(|to| edit.at <= to)
    })
}

/// The field's history on both sides, for whoever has to find out.
pub(super) fn story(name: &str, a: &Record, b: &Record) -> String {
    let mut changes: Vec<(Duration, char, &Change)> = Vec::new();
    for (letter, record) in [('a', a), ('b', b)] {
        changes.extend(
            record
                .history
                .iter()
                .filter(|change| change.field == name)
                .map(|c| (c.at, letter, c)),
        );
    }
    changes.sort_by_key(|(at, letter, _)| (*at, *letter));
    let line = |(at, side, change): &(Duration, char, &Change)| {
        let who = if change.person { "person" } else { "engine" };
        format!(
            "{:.3} {side} {who} '{}'",
            at.as_secs_f64(),
            change.value.to_plain().unwrap_or_default()
        )
    };
    changes.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// Whether `other` had seen the edit at `until`.
fn seen(spec: &SyncSpec, name: &str, side: Side, edit: &Change, other: &Record, until: Duration) -> Seen {
    let mut verdict = Seen::No;
    let changes = other
        .history
        .iter()
        .filter(|change| change.field == name && change.at < until);
    for change in changes.filter(|change| matches_edit(spec, name, side, edit, &change.value)) {
        // Brought by the engine after the edit, and to the letter; what was there before is equal by chance or by a revert, and what
        // differs by declared loss may stand for another value.
        if !change.person && change.at >= edit.at && change.value == edit.value {
            return Seen::Yes;
        }
        verdict = Seen::Maybe;
    }
    verdict
}

fn matches_edit(spec: &SyncSpec, name: &str, side: Side, edit: &Change, value: &Value) -> bool {
    match side {
        Side::A => agree(spec, name, &edit.value, value),
        Side::B => agree(spec, name, value, &edit.value),
    }
}

/// Whether the owner had made an edit that the other side had not seen when `edit` was made.
fn had_rival(spec: &SyncSpec, name: &str, owner: Side, own: &Record, other: &Record, edit: &Change) -> bool {
    own.history
        .iter()
        .filter(|change| change.field == name && change.person && change.at <= edit.at)
        .any(|rival| seen(spec, name, owner, rival, other, edit.at) != Seen::Yes)
}
