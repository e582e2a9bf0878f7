//! Whose value stands when both sides changed a field (R4). Pure.

use std::cmp::Ordering;

use super::merge::{Merge, MergeInput};
use super::mistakes::Mistake;
use super::spec::{FieldSpec, Policy};
use crate::contract::Side;
use crate::record::Stamp;
use crate::value::Value;

/// What a field that waits for a person says of itself.
pub(crate) const ASKED: &str =
    "it was changed on both sides, and a person has to say which value stands: `seamless review`";

/// Whose value stands; `None` when only a person can say.
pub(super) fn winner(
    input: &MergeInput<'_>,
    name: &str,
    spec: &FieldSpec,
    two_way: bool,
    source: &Value,
    target: &Value,
    plan: &mut Merge,
) -> Option<Side> {
    if !spec.owners.is_empty() {
        return Some(listed(input, name, spec, two_way));
    }
    if !two_way {
        return Some(input.side);
    }
    Some(match spec.policy {
        Policy::OwnerA => Side::A,
        Policy::OwnerB => Side::B,
        Policy::OnlyIfEmpty if source.is_empty() => input.side.other(),
        Policy::OnlyIfEmpty if target.is_empty() => input.side,
        Policy::SyncOwner | Policy::OnlyIfEmpty => input.sync.owner,
        Policy::Newest => newest(input).unwrap_or(input.sync.owner),
        Policy::Ask => {
            let mut values = [source.clone(), target.clone()];
            if input.side == Side::B {
                values.reverse();
            }
            let answer = input.answers.get(name);
            if input.mistakes.has(Mistake::AskedIsNotAsked) {
                return Some(input.sync.owner);
            }
            let always = input.mistakes.has(Mistake::AnswerOutlivesValues);
            let answer = answer.filter(|answer| always || answer.values == values)?;
            plan.answered.insert(name.to_owned());
            answer.winner
        }
    })
}

/// The side whose value came from the system that the list names first; not the sync's sides count, but where the values were entered.
fn listed(input: &MergeInput<'_>, name: &str, spec: &FieldSpec, two_way: bool) -> Side {
    let rank = |side: Side| {
        let origin = input.origin(side, name);
        let place = spec.owners.iter().position(|owner| owner == origin);
        place.unwrap_or(usize::MAX)
    };
    let (here, there) = (rank(input.side), rank(input.side.other()));
    match here.cmp(&there) {
        Ordering::Less => input.side,
        Ordering::Greater => input.side.other(),
        Ordering::Equal if two_way => input.sync.owner,
        Ordering::Equal => input.side,
    }
}

/// The side whose record was edited later, where both stamps are those of an edit, and far enough apart.
fn newest(input: &MergeInput<'_>) -> Option<Side> {
    // What a commit has seen may be our own write; and a counter is no clock.
    const YEAR_2000_IN_MICROS: i64 = 946_684_800_000_000;
    let edited = |stamp: Option<Stamp>, side: Side| {
        stamp.filter(|stamp| Some(*stamp) > input.seen[side.index()] && stamp.0 > YEAR_2000_IN_MICROS)
    };
    let here = edited(input.source.stamp, input.side)?;
    let there = edited(input.target?.stamp, input.side.other())?;
    if i128::from(here.0.abs_diff(there.0)) <= input.newest_guard.as_micros() as i128 {
        return None;
    }
    Some(if here > there {
        input.side
    } else {
        input.side.other()
    })
}
