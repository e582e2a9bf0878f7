//! The merge, case by case: what each side held, what it holds now, and what follows (R3, R4).

mod exceptions;
mod missing;
mod winner;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seamless_core::mapping::{FieldKind, FieldMapping, Observed, SideMapping};
use seamless_core::pipeline::{
    Answer, Base, Direction, EntityModel, FieldSpec, Half, Merge, MergeInput, Mistakes, NamedBy, Normaliser,
    Outside, Policy, ReferenceSpec, Resolved, SideSpec, SyncSpec, Unseen, Why, merge,
};
use seamless_core::{Capabilities, Fields, RecordId, Side, Stamp, SyncId, SystemId, Value};

#[derive(Clone, Copy)]
enum Slot {
    Is(&'static str),
    Cleared,
}

const CLEARED: Slot = Slot::Cleared;

fn is(text: &'static str) -> Slot {
    Slot::Is(text)
}

fn merged(
    sync: &SyncSpec,
    now: (&str, &str),
    base: Option<&Base>,
    references: &BTreeMap<String, Resolved>,
) -> Merge {
    merge(&MergeInput {
        target: Some(&observed(now.0)),
        base,
        ..input(sync, &observed(now.1), references)
    })
}

fn input<'a>(
    sync: &'a SyncSpec,
    source: &'a Observed,
    references: &'a BTreeMap<String, Resolved>,
) -> MergeInput<'a> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    static NOWHERE: [BTreeMap<String, SystemId>; 2] = [BTreeMap::new(), BTreeMap::new()];
    static EXPLAINED: [BTreeSet<String>; 2] = [BTreeSet::new(), BTreeSet::new()];
    static UNANSWERED: BTreeMap<String, Answer> = BTreeMap::new();
    MergeInput {
        sync,
        side: Side::B,
        source,
        target: None,
        base: None,
        references,
        seen: [None, None],
        unexplained: &EXPLAINED,
        held: &NONE,
        answers: &UNANSWERED,
        origins: &NOWHERE,
        newest_guard: Duration::ZERO,
        today: Default::default(),
        mistakes: Mistakes::none(),
    }
}

/// The same with another mapping of the first side.
fn with_first(mut sync: SyncSpec, field: FieldMapping) -> SyncSpec {
    let mut mapping = sync.sides[0].mapping.clone();
    mapping.fields.insert("field".into(), field);
    sync.sides[0] = SideSpec::new(SystemId::from("a"), mapping, Capabilities::default());
    sync
}

fn pair(halves: (Slot, Slot)) -> [Half; 2] {
    [half(halves.0), half(halves.1)]
}

fn half(slot: Slot) -> Half {
    match slot {
        Slot::Is(text) => Half::Known(Value::text(text)),
        Slot::Cleared => Half::Cleared,
    }
}

fn observed(text: &str) -> Observed {
    Observed {
        id: RecordId::from("1"),
        stamp: None,
        created: None,
        xref: None,
        fields: Fields::from([("field".to_owned(), Value::text(text))]),
        broken: BTreeMap::new(),
        absent: Default::default(),
    }
}

/// Side A takes five characters and cuts the rest.
fn sync(owner: Side, direction: Direction) -> SyncSpec {
    let mapping = |field: FieldMapping| SideMapping {
        entity: "things".into(),
        xref: None,
        fields: BTreeMap::from([("field".into(), field)]),
    };
    let mut short = FieldMapping::text("field").max(5);
    short.truncate = true;
    let side =
        |name: &str, field| SideSpec::new(SystemId::from(name), mapping(field), Capabilities::default());
    SyncSpec {
        id: SyncId::from("thing"),
        model: EntityModel {
            name: "thing".into(),
            fields: BTreeMap::from([("field".into(), FieldSpec::default())]),
            match_rules: Vec::new(),
            identity: Vec::new(),
        },
        sides: [side("a", short), side("b", FieldMapping::text("field"))],
        direction,
        owner,
        first_merge_accepted: true,
        scope: Default::default(),
    }
}
