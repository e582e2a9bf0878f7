//! Whose value stands.

use super::*;

/// One field, seen from side B as the source: base (A, B), now (A, B), who owns it, which way it flows.
struct Case {
    name: &'static str,
    base: Option<(Slot, Slot)>,
    now: (&'static str, &'static str),
    owner: Side,
    direction: Direction,
    expected: Expected,
}

/// What is written to A, the halves afterwards, and whether A's own message is asked for.
struct Expected {
    written: Option<(&'static str, Why)>,
    halves: Option<(Slot, Slot)>,
    hint: bool,
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
