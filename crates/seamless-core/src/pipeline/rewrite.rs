//! What came back otherwise than it was sent (R7): the system writes it its own way, or somebody edited it in that moment. Nobody can tell at first.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::Engine;
use super::merge::Half;
use super::spec::Normaliser;
use super::state::{Pair, Rewrite};
use crate::contract::Side;
use crate::mapping::Observed;
use crate::value::Value;

/// Notes that `back` came back from a side for `sent`; returns how often in a row it has.
pub(super) fn note(
    engine: &Engine,
    pair: &mut Pair,
    side: Side,
    field: &str,
    sent: &Value,
    back: &Value,
) -> u32 {
    let hash = hash(engine, sent, back);
    let slot = slot(side, field);
    let before = pair.rewrites.get(&slot).filter(|rewrite| rewrite.hash == hash);
    let times = before.map_or(1, |rewrite| rewrite.times + 1);
    pair.rewrites.insert(slot, Rewrite { hash, times });
    times
}

/// By side: fields that still hold what came back, while their half says what was sent.
pub(super) fn unexplained(
    engine: &Engine,
    pair: &Pair,
    side: Side,
    source: &Observed,
    target: Option<&Observed>,
) -> [BTreeSet<String>; 2] {
    let mut fields = [BTreeSet::new(), BTreeSet::new()];
    for (side, observed) in [(side, Some(source)), (side.other(), target)] {
        for (name, halves) in &pair.base {
            let back = observed.and_then(|observed| observed.fields.get(name));
            let (Some(back), Half::Known(sent)) = (back, &halves[side.index()]) else {
                continue;
            };
            let noted = pair.rewrites.get(&slot(side, name));
            if noted.is_some_and(|noted| noted.hash == hash(engine, sent, back)) {
                fields[side.index()].insert(name.clone());
            }
        }
    }
    fields
}

/// The same text in capitals, or with other blanks.
pub(super) fn same_but_for_form(sent: &Value, back: &Value) -> bool {
    let form = |value: &Value| Normaliser::Text.apply(value);
    form(sent) == form(back)
}

fn slot(side: Side, field: &str) -> String {
    format!("{}/{field}", side.letter())
}

fn hash(engine: &Engine, sent: &Value, back: &Value) -> String {
    engine.hash(&BTreeMap::from([
        ("sent".to_owned(), sent.clone()),
        ("back".to_owned(), back.clone()),
    ]))
}
