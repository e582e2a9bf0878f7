//! The merge, case by case: what each side held, what it holds now, and what follows (R3, R4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seamless_core::mapping::{FieldKind, FieldMapping, Observed, SideMapping};
use seamless_core::pipeline::{
    Answer, Base, Direction, EntityModel, FieldSpec, Half, Merge, MergeInput, Mistakes, Outside, Policy,
    ReferenceSpec, Resolved, SideSpec, SyncSpec, Why, merge,
};
use seamless_core::{Capabilities, Fields, RecordId, Side, Stamp, SyncId, SystemId, Value};

/// One field, seen from side B as the source: base (A, B), now (A, B), who owns it, which way it flows.
struct Case {
    name: &'static str,
    base: Option<(Slot, Slot)>,
    now: (&'static str, &'static str),
    owner: Side,
    direction: Direction,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Slot {
    Is(&'static str),
    Cleared,
}

/// What is written to A, the halves afterwards, and whether A's own message is asked for.
struct Expected {
    written: Option<(&'static str, Why)>,
    halves: Option<(Slot, Slot)>,
    hint: bool,
}

const CLEARED: Slot = Slot::Cleared;

fn is(text: &'static str) -> Slot {
    Slot::Is(text)
}

#[test]
fn one_field_in_every_situation() {
    let nothing = |halves| Expected {
        written: None,
        halves,
        hint: false,
    };
    let writes = |value, why, half| Expected {
        written: Some((value, why)),
        halves: Some(half),
        hint: false,
    };
    let two_way = |name, base, now, owner, expected| Case {
        name,
        base,
        now,
        owner,
        direction: Direction::TwoWay,
        expected,
    };
    let settled = Some((is("x"), is("x")));
    let cases = [
        two_way("nobody changed", settled, ("x", "x"), Side::A, nothing(settled)),
        two_way(
            "source changed",
            settled,
            ("x", "y"),
            Side::A,
            writes("y", Why::SourceChanged, (is("y"), is("y"))),
        ),
        two_way(
            "target changed: its own message carries it",
            settled,
            ("y", "x"),
            Side::A,
            Expected {
                written: None,
                halves: settled,
                hint: true,
            },
        ),
        two_way(
            "both changed to the same",
            settled,
            ("y", "y"),
            Side::A,
            nothing(Some((is("y"), is("y")))),
        ),
        two_way(
            "both changed, source owns",
            settled,
            ("a", "b"),
            Side::B,
            writes("b", Why::ConflictWon, (is("b"), is("b"))),
        ),
        two_way(
            "both changed, target owns: the loser's half is its value, the winner's is cleared",
            settled,
            ("a", "b"),
            Side::A,
            Expected {
                written: None,
                halves: Some((CLEARED, is("b"))),
                hint: true,
            },
        ),
        two_way(
            "a cleared half is dirty whatever its value",
            Some((is("b"), CLEARED)),
            ("b", "x"),
            Side::A,
            writes("x", Why::SourceChanged, (is("x"), is("x"))),
        ),
        two_way(
            "a truncation is no change",
            Some((is("abcde"), is("abcdefgh"))),
            ("abcde", "abcdefgh"),
            Side::A,
            nothing(Some((is("abcde"), is("abcdefgh")))),
        ),
        two_way(
            "first link, equal up to truncation",
            None,
            ("abcde", "abcdefgh"),
            Side::A,
            nothing(Some((is("abcde"), is("abcdefgh")))),
        ),
        two_way(
            "first link, target empty",
            None,
            ("", "b"),
            Side::A,
            writes("b", Why::FilledEmpty, (is("b"), is("b"))),
        ),
        two_way(
            "first link, source empty: the target's own message fills it",
            None,
            ("a", ""),
            Side::B,
            Expected {
                written: None,
                halves: Some((CLEARED, is(""))),
                hint: true,
            },
        ),
        two_way(
            "first link, they differ, source owns",
            None,
            ("a", "b"),
            Side::B,
            writes("b", Why::FirstMergeOverwrite, (is("b"), is("b"))),
        ),
        two_way(
            "a longer text is written as far as it fits",
            settled,
            ("x", "abcdefgh"),
            Side::A,
            writes("abcde", Why::SourceChanged, (is("abcde"), is("abcdefgh"))),
        ),
        Case {
            name: "one-way: a hand edit in the target stays until the source changes that field",
            base: settled,
            now: ("hand", "x"),
            owner: Side::B,
            direction: Direction::BToA,
            expected: nothing(settled),
        },
        Case {
            name: "one-way: the source owns, whatever the owner says",
            base: settled,
            now: ("hand", "y"),
            owner: Side::A,
            direction: Direction::BToA,
            expected: writes("y", Why::ConflictWon, (is("y"), is("y"))),
        },
        Case {
            name: "one-way: nothing flows against the direction",
            base: settled,
            now: ("x", "y"),
            owner: Side::A,
            direction: Direction::AToB,
            expected: nothing(settled),
        },
        Case {
            name: "one-way: what its own side has changed is looked at there, lest its message was set aside",
            base: settled,
            now: ("y", "x"),
            owner: Side::A,
            direction: Direction::AToB,
            expected: Expected {
                written: None,
                halves: settled,
                hint: true,
            },
        },
        Case {
            name: "one-way, first link from the side that only follows: they differ",
            base: None,
            now: ("a", "b"),
            owner: Side::A,
            direction: Direction::AToB,
            expected: Expected {
                written: None,
                halves: None,
                hint: true,
            },
        },
    ];
    for case in cases {
        check(&case);
    }
}

#[test]
fn what_only_the_target_has_is_kept_at_the_first_link_even_where_it_is_required() {
    for direction in [Direction::TwoWay, Direction::BToA] {
        let sync = with_first(sync(Side::B, direction), FieldMapping::text("field").required());
        let merged = merged(&sync, ("there", ""), None, &BTreeMap::new());
        assert!(
            merged.writes.is_empty() && merged.blocked.is_empty(),
            "{direction:?}"
        );
        assert_eq!(
            merged.hint_target,
            direction == Direction::TwoWay,
            "{direction:?}"
        );
    }
}

#[test]
fn a_record_waits_for_a_parent_that_it_cannot_do_without() {
    let mut sync = with_first(
        sync(Side::B, Direction::TwoWay),
        FieldMapping::reference("field", FieldKind::Text).required(),
    );
    let reference = ReferenceSpec {
        entity: "parent".into(),
        required: true,
        outside: Outside::Wait,
        named_by: None,
    };
    sync.model.fields.entry("field".into()).or_default().reference = Some(reference);
    let unlinked = BTreeMap::from([("field".to_owned(), Resolved::Unlinked(RecordId::from("7")))]);
    let base = Base::from([("field".to_owned(), pair((is("1"), is("6"))))]);

    let update = merged(&sync, ("1", "7"), Some(&base), &unlinked);
    assert_eq!(update.waits_for, Some(("field".to_owned(), RecordId::from("7"))));
    assert!(update.base == base, "the field stays dirty");

    let create = merge(&MergeInput {
        target: None,
        ..input(&sync, &observed("7"), &unlinked)
    });
    assert_eq!(create.waits_for, Some(("field".to_owned(), RecordId::from("7"))));
}

#[test]
fn an_answer_stands_for_the_two_values_it_was_given_for() {
    let base = Base::from([("field".to_owned(), pair((is("old"), is("old"))))]);
    // Seen from side B as the source; the answer keeps side A's value first, whoever asks.
    let given_for = ["a", "b"];
    for (now, winner, stands) in [
        (("a", "b"), Side::A, true),
        (("a", "b"), Side::B, true),
        (("A", "b"), Side::A, false),
        (("A", "b"), Side::B, false),
        (("a", "B"), Side::A, false),
        (("a", "B"), Side::B, false),
        (("b", "a"), Side::A, false),
        (("b", "a"), Side::B, false),
    ] {
        for side in Side::BOTH {
            let mut sync = sync(Side::A, Direction::TwoWay);
            let spec = sync.model.fields.entry("field".into()).or_default();
            spec.policy = Policy::Ask;
            let answer = Answer {
                winner,
                values: given_for.map(Value::text),
            };
            let answers = BTreeMap::from([("field".to_owned(), answer)]);
            let (a, b) = (observed(now.0), observed(now.1));
            let (source, target) = if side == Side::A { (&a, &b) } else { (&b, &a) };
            let merged = merge(&MergeInput {
                side,
                target: Some(target),
                base: Some(&base),
                answers: &answers,
                ..input(&sync, source, &BTreeMap::new())
            });
            let case = format!("{now:?} from {side:?}, {winner:?} was to win");
            let decided: Vec<Side> = merged.conflicts.iter().map(|conflict| conflict.winner).collect();
            assert_eq!(decided, if stands { vec![winner] } else { Vec::new() }, "{case}");
            assert_eq!(merged.answered.contains("field"), stands, "{case}");
            assert_eq!(merged.asked.contains("field"), !stands, "{case}");
            assert_eq!(
                merged.writes.contains_key("field"),
                stands && winner == side,
                "{case}"
            );
            assert!(
                stands || merged.base == base,
                "{case}: an open question settles nothing"
            );
        }
    }
}

#[test]
fn each_policy_has_its_winner() {
    use Policy::{Newest, OnlyIfEmpty, OwnerA, OwnerB, SyncOwner};
    // 2026, in microseconds: more than any counter would count to.
    const T: i64 = 1_767_225_600_000_000;
    let (both, before) = (("a", "b"), [T - 1, T - 1]);
    // What the sides hold, when they were edited, what a commit has seen of them; who wins, where it is not the sync's owner.
    let cases = [
        (SyncOwner, both, [Some(T), Some(T)], before, None),
        (OwnerA, both, [Some(T), Some(T)], before, Some(Side::A)),
        (OwnerB, both, [Some(T), Some(T)], before, Some(Side::B)),
        (OnlyIfEmpty, both, [Some(T), Some(T)], before, None),
        (OnlyIfEmpty, ("", "b"), [Some(T), Some(T)], before, Some(Side::B)),
        (OnlyIfEmpty, ("a", ""), [Some(T), Some(T)], before, Some(Side::A)),
        (Newest, both, [Some(T), Some(T + 1_001)], before, Some(Side::B)),
        (Newest, both, [Some(T + 1_001), Some(T)], before, Some(Side::A)),
        // Within the guard; without a stamp; by counters, which are no clocks; our own write, which a commit has seen.
        (Newest, both, [Some(T), Some(T + 1_000)], before, None),
        (Newest, both, [None, Some(T)], before, None),
        (Newest, both, [Some(T), None], before, None),
        (Newest, both, [Some(7), Some(1_000_000)], [6, 6], None),
        (Newest, both, [Some(T), Some(T + 9_000)], [T - 1, T + 9_000], None),
    ];
    for (index, (policy, now, edited, seen, winner)) in cases.into_iter().enumerate() {
        for (owner, side) in [
            (Side::A, Side::A),
            (Side::A, Side::B),
            (Side::B, Side::A),
            (Side::B, Side::B),
        ] {
            let mut sync = sync(owner, Direction::TwoWay);
            sync.model.fields.entry("field".into()).or_default().policy = policy;
            let held = |text, stamp: Option<i64>| Observed {
                stamp: stamp.map(Stamp),
                ..observed(text)
            };
            let (a, b) = (held(now.0, edited[0]), held(now.1, edited[1]));
            let (source, target) = if side == Side::A { (&a, &b) } else { (&b, &a) };
            let base = Base::from([("field".to_owned(), pair((is("old"), is("old"))))]);
            let merged = merge(&MergeInput {
                side,
                target: Some(target),
                base: Some(&base),
                seen: seen.map(|stamp| Some(Stamp(stamp))),
                newest_guard: Duration::from_millis(1),
                ..input(&sync, source, &BTreeMap::new())
            });
            let decided: Vec<Side> = merged.conflicts.iter().map(|conflict| conflict.winner).collect();
            let expected = winner.unwrap_or(owner);
            assert_eq!(decided, [expected], "case {index}, {owner:?} owns, from {side:?}");
        }
    }
}

fn check(case: &Case) {
    let sync = sync(case.owner, case.direction);
    let base: Option<Base> = case
        .base
        .map(|halves| Base::from([("field".to_owned(), pair(halves))]));
    let merged = merged(&sync, case.now, base.as_ref(), &BTreeMap::new());
    let written = merged
        .writes
        .get("field")
        .map(|write| (write.native.to_plain().unwrap_or_default(), write.why));
    let expected = case.expected.written.map(|(value, why)| (value.to_owned(), why));
    assert_eq!(written, expected, "{}: what is written", case.name);
    assert!(
        merged.base.get("field").cloned() == case.expected.halves.map(pair),
        "{}: halves",
        case.name
    );
    assert_eq!(merged.hint_target, case.expected.hint, "{}: hint", case.name);
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

#[test]
fn what_came_back_otherwise_than_it_was_sent_is_no_rival_of_an_edit() {
    let base = Base::from([("field".to_owned(), pair((is("sent"), is("sent"))))]);
    for owner in Side::BOTH {
        let sync = sync(owner, Direction::TwoWay);
        // Side A made "SENT" of it; somebody edits side B. Whichever side's message comes first, the edit goes over.
        let unexplained = [BTreeSet::from(["field".to_owned()]), BTreeSet::new()];
        let references = BTreeMap::new();
        let (came_back, edited) = (observed("SENT"), observed("edit"));
        let from_the_edit = merge(&MergeInput {
            target: Some(&came_back),
            base: Some(&base),
            unexplained: &unexplained,
            ..input(&sync, &edited, &references)
        });
        let write = &from_the_edit.writes["field"];
        assert_eq!(
            (write.native.to_plain().as_deref(), write.why),
            (Some("edit"), Why::SourceChanged)
        );
        let from_the_rewrite = merge(&MergeInput {
            side: Side::A,
            target: Some(&edited),
            base: Some(&base),
            unexplained: &unexplained,
            ..input(&sync, &came_back, &references)
        });
        assert!(from_the_rewrite.writes.is_empty() && from_the_rewrite.hint_target);
        assert!(from_the_rewrite.base["field"] == pair((is("SENT"), CLEARED)));
        assert!(from_the_edit.conflicts.is_empty() && from_the_rewrite.conflicts.is_empty());
    }
}

#[test]
fn an_owner_list_asks_where_a_value_came_from() {
    // Side A is the system that others share. The list names the others before it.
    for (list, given_by, winner) in [
        (["x", "b", "a"], Some("x"), "theirs"),
        (["b", "x", "a"], Some("x"), "ours"),
        (["x", "b", "a"], None, "ours"),
        (["a", "x", "b"], None, "theirs"),
        (["a", "b", "x"], Some("x"), "ours"),
    ] {
        for direction in [Direction::TwoWay, Direction::BToA] {
            let mut sync = sync(Side::A, direction);
            let owners = list.iter().map(|system| SystemId::from(*system)).collect();
            sync.model
                .fields
                .entry("field".into())
                .and_modify(|spec| spec.owners = owners);
            let from = |system: &str| BTreeMap::from([("field".to_owned(), SystemId::from(system))]);
            let origins = [given_by.map(from).unwrap_or_default(), BTreeMap::new()];
            let base = Base::from([("field".to_owned(), pair((is("old"), is("old"))))]);
            let merged = merge(&MergeInput {
                sync: &sync,
                side: Side::B,
                source: &observed("ours"),
                target: Some(&observed("theirs")),
                base: Some(&base),
                references: &BTreeMap::new(),
                seen: [None, None],
                unexplained: &Default::default(),
                held: &BTreeMap::new(),
                answers: &BTreeMap::new(),
                origins: &origins,
                newest_guard: Duration::ZERO,
                today: Default::default(),
                mistakes: Mistakes::none(),
            });
            let written = merged.writes.get("field");
            assert_eq!(
                written.is_some(),
                winner == "ours",
                "{list:?} {given_by:?} {direction:?}"
            );
            let origin = written.and_then(|write| write.origin.as_ref());
            assert!(origin.is_none_or(|origin| origin.as_str() == "b"), "entered here");
        }
    }
}

#[test]
fn a_reference_to_what_takes_no_part_becomes_what_the_mapping_says() {
    let reference = |outside| {
        let mut sync = with_first(
            sync(Side::B, Direction::TwoWay),
            FieldMapping::reference("field", FieldKind::Text),
        );
        sync.model.fields.entry("field".into()).or_default().reference = Some(ReferenceSpec {
            entity: "parent".into(),
            required: false,
            outside,
            named_by: None,
        });
        sync
    };
    let outside = BTreeMap::from([("field".to_owned(), Resolved::Outside(RecordId::from("7")))]);
    let base = Base::from([("field".to_owned(), pair((is("1"), is("6"))))]);
    // Whether it waits, whether the record is to be taken in, what of the record: skipped at a create, blocked at an update.
    for (rule, waits, pulls, left_out) in [
        (Outside::Wait, true, false, false),
        (Outside::Pull, true, true, false),
        (Outside::Skip, false, false, true),
        (Outside::Null, false, false, false),
    ] {
        let sync = reference(rule);
        let update = merged(&sync, ("1", "7"), Some(&base), &outside);
        let create = merge(&input(&sync, &observed("7"), &outside));
        for (name, merged) in [("update", &update), ("create", &create)] {
            assert_eq!(merged.pending.contains_key("field"), waits, "{rule:?} {name}");
            assert_eq!(merged.pulls.contains("field"), pulls, "{rule:?} {name}");
            assert_eq!(merged.waits_for, None, "{rule:?} {name}");
        }
        assert_eq!(update.blocked.contains_key("field"), left_out, "{rule:?}");
        assert_eq!(create.skipped.as_deref(), left_out.then_some("field"), "{rule:?}");
        let emptied = update.writes.get("field").map(|write| write.native.is_empty());
        assert_eq!(emptied, (rule == Outside::Null).then_some(true), "{rule:?}");
        assert!(create.writes.is_empty(), "{rule:?}: there is no id to be written");
        let settled =
            matches!(create.base.get("field"), Some([_, half]) if !half.is_dirty(&Value::text("7")));
        assert_eq!(settled, rule == Outside::Null, "{rule:?}: what waits stays dirty");
    }
}

#[test]
fn what_cannot_be_read_blocks_its_field_and_settles_nothing() {
    let sync = sync(Side::B, Direction::TwoWay);
    let base = Base::from([("field".to_owned(), pair((is("x"), is("x"))))]);
    let broken = Observed {
        fields: Fields::new(),
        broken: BTreeMap::from([("field".to_owned(), "it holds a list".to_owned())]),
        ..observed("")
    };
    let (whole, references) = (observed("y"), BTreeMap::new());
    for (source, target, reason) in [
        (&broken, &whole, "it holds a list"),
        (&whole, &broken, "the other side cannot be read: it holds a list"),
    ] {
        let merged = merge(&MergeInput {
            target: Some(target),
            base: Some(&base),
            ..input(&sync, source, &references)
        });
        assert_eq!(merged.blocked["field"], reason);
        assert!(merged.writes.is_empty() && merged.base == base, "{reason}");
        assert_eq!(
            merged.refuses_create(&sync.side(Side::A).mapping),
            None,
            "it can do without"
        );
    }
    let needed = with_first(sync, FieldMapping::text("field").required());
    let create = merge(&input(&needed, &broken, &references));
    assert_eq!(
        create.refuses_create(&needed.side(Side::A).mapping).as_deref(),
        Some("cannot be created there: field: it holds a list")
    );
}

#[test]
fn what_is_fixed_at_its_create_is_not_written_later() {
    let sync = with_first(
        sync(Side::B, Direction::TwoWay),
        FieldMapping::text("field").create_only(),
    );
    let base = Base::from([("field".to_owned(), pair((is("x"), is("x"))))]);
    for base in [Some(&base), None] {
        let update = merged(&sync, ("x", "y"), base, &BTreeMap::new());
        assert_eq!(
            update.blocked["field"],
            "field cannot be changed after the create there"
        );
        assert!(
            update.writes.is_empty() && update.base.get("field") == base.and_then(|base| base.get("field"))
        );
    }
    let create = merge(&input(&sync, &observed("y"), &BTreeMap::new()));
    assert_eq!(create.writes["field"].why, Why::Created);
}

#[test]
fn a_create_takes_the_defaults_of_what_the_source_does_not_have() {
    let text = || FieldMapping::text("kind");
    for (field, expected) in [
        (text(), None),
        (text().default_value("new"), Some("new")),
        (text().default_value("new").read_only(), None),
        (text().default_from(&["field"]), Some("name")),
        (text().default_from(&["field"]).default_value("new"), Some("name")),
        (
            text().default_from(&["nothing"]).default_value("new"),
            Some("new"),
        ),
        (text().default_from(&["nothing"]), None),
    ] {
        let mut sync = sync(Side::B, Direction::TwoWay);
        sync.sides[0].mapping.fields.insert("kind".into(), field.clone());
        let references = BTreeMap::new();
        let create = merge(&input(&sync, &observed("name"), &references));
        let written = create
            .writes
            .get("kind")
            .map(|write| (write.native.to_plain(), write.why));
        let expected = expected.map(|value| (Some(value.to_owned()), Why::Created));
        assert_eq!(written, expected, "{field:?}");
        let update = merged(&sync, ("", "name"), None, &references);
        assert!(!update.writes.contains_key("kind"), "{field:?}: it is no create");
        for known in [
            Observed {
                fields: Fields::from([("kind".into(), Value::Null)]),
                ..observed("")
            },
            Observed {
                broken: BTreeMap::from([("kind".into(), "it holds a list".into())]),
                ..observed("name")
            },
        ] {
            let create = merge(&input(&sync, &known, &references));
            assert!(
                !create.writes.contains_key("kind"),
                "{field:?}: the source has it"
            );
        }
    }
}

#[test]
fn a_passenger_travels_with_other_fields_and_never_alone() {
    let record = |field: &str, note: &str| {
        let mut record = observed(field);
        record.fields.insert("note".into(), Value::text(note));
        record
    };
    let base = Base::from([("field".to_owned(), pair((is("x"), is("x"))))]);
    let note = || FieldMapping::text("note");
    // Its mapping there, the note here and there, whether the other field has changed; what is written of the note.
    for (there, here, was, changed, expected) in [
        (note(), "n", "o", true, Some("n")),
        (note(), "n", "o", false, None),
        (note(), "n", "n", true, None),
        (note(), "", "o", true, None),
        (note().read_only(), "n", "o", true, None),
        (note().create_only(), "n", "o", true, None),
    ] {
        let mut sync = sync(Side::B, Direction::TwoWay);
        sync.model.fields.insert(
            "note".into(),
            FieldSpec {
                passenger: true,
                ..FieldSpec::default()
            },
        );
        let creates = there.writable;
        sync.sides[0].mapping.fields.insert("note".into(), there);
        sync.sides[1].mapping.fields.insert("note".into(), note());
        let references = BTreeMap::new();
        let source = record(if changed { "y" } else { "x" }, here);
        let update = merge(&MergeInput {
            target: Some(&record("x", was)),
            base: Some(&base),
            ..input(&sync, &source, &references)
        });
        let written = update
            .writes
            .get("note")
            .map(|write| (write.native.to_plain(), write.why));
        let expected = expected.map(|value| (Some(value.to_owned()), Why::Passenger));
        assert_eq!(written, expected, "{here:?} over {was:?}");
        assert!(!update.base.contains_key("note"), "it is not in the base");
        let create = merge(&input(&sync, &source, &references));
        assert_eq!(
            create.writes.contains_key("note"),
            creates && !here.is_empty(),
            "{here:?} at a create"
        );
    }
}

#[test]
fn what_waits_alone_goes_on_waiting_until_its_own_side_has_settled_it() {
    let base = Base::from([("field".to_owned(), pair((is("x"), is("x"))))]);
    let held = BTreeMap::from([("field".to_owned(), "no such option".to_owned())]);
    // What the target and the source hold; what is said of the field afterwards.
    for (base, now, expected) in [
        (Some(&base), ("y", "x"), Some("no such option")),
        (Some(&base), ("x", "x"), None),
        (Some(&base), ("x", "y"), None),
        (None, ("y", ""), Some("no such option")),
    ] {
        let sync = sync(Side::B, Direction::TwoWay);
        let merged = merge(&MergeInput {
            target: Some(&observed(now.0)),
            base,
            held: &held,
            ..input(&sync, &observed(now.1), &BTreeMap::new())
        });
        let blocked = merged.blocked.get("field").map(String::as_str);
        assert_eq!(blocked, expected, "{now:?} {}", base.is_some());
    }
}
