//! Fields that are not in a record, and writes that nobody could see for that reason.

use super::*;

/// A record that does not have the field.
fn without_the_field() -> Observed {
    Observed {
        absent: BTreeSet::from(["field".to_owned()]),
        ..observed("")
    }
}

#[test]
fn a_field_that_held_something_and_is_not_in_the_record_waits_alone() {
    let two_way = sync(Side::B, Direction::TwoWay);
    let one_way = sync(Side::B, Direction::BToA);
    let none = BTreeMap::new();
    let run = |sync: &SyncSpec, source: &Observed, target: &Observed, halves: (Slot, Slot)| {
        let base = Base::from([("field".to_owned(), pair(halves))]);
        let merged = merge(&MergeInput {
            target: Some(target),
            base: Some(&base),
            ..input(sync, source, &none)
        });
        assert!(merged.writes.is_empty() || merged.blocked.is_empty());
        let waits = merged.blocked.contains_key("field");
        assert!(
            !waits || merged.base == base,
            "what waits stays as it was settled"
        );
        (waits, merged.writes.contains_key("field"), merged.hint_target)
    };
    let (gone, is_a, is_b) = (without_the_field(), observed("a"), observed("b"));
    let (waits, writes, hints, rests) = (
        (true, false, false),
        (false, true, false),
        (false, false, true),
        (false, false, false),
    );
    for (what, sync, source, target, halves, expected) in [
        (
            "gone from the source",
            &two_way,
            &gone,
            &is_a,
            (is("a"), is("a")),
            waits,
        ),
        (
            "gone from the source, one way",
            &one_way,
            &gone,
            &is_a,
            (is("a"), is("a")),
            waits,
        ),
        (
            "it never held anything",
            &two_way,
            &gone,
            &is_b,
            (is("b"), is("")),
            rests,
        ),
        (
            "emptied by a winner",
            &two_way,
            &gone,
            &is_b,
            (is("b"), CLEARED),
            waits,
        ),
        (
            "never seen on a side that leads",
            &one_way,
            &gone,
            &is_b,
            (is("b"), CLEARED),
            rests,
        ),
        (
            "gone from the target",
            &two_way,
            &is_b,
            &gone,
            (is("a"), is("a")),
            waits,
        ),
        (
            "gone from the target, one way",
            &one_way,
            &is_b,
            &gone,
            (is("a"), is("a")),
            waits,
        ),
        (
            "gone there, nothing to say here",
            &two_way,
            &is_a,
            &gone,
            (is("a"), is("a")),
            rests,
        ),
        (
            "emptied there",
            &two_way,
            &is_a,
            &observed(""),
            (is("a"), is("a")),
            hints,
        ),
        (
            "empty there before it was gone",
            &two_way,
            &is_b,
            &gone,
            (is(""), is("")),
            writes,
        ),
        (
            "emptied here",
            &two_way,
            &observed(""),
            &is_a,
            (is("a"), is("a")),
            writes,
        ),
    ] {
        assert_eq!(run(sync, source, target, halves), expected, "{what}");
    }
}

#[test]
fn a_field_that_is_missing_at_the_first_link_is_empty() {
    let sync = sync(Side::B, Direction::TwoWay);
    let none = BTreeMap::new();
    let merged = merge(&MergeInput {
        target: Some(&without_the_field()),
        ..input(&sync, &observed("b"), &none)
    });
    assert!(merged.blocked.is_empty() && merged.writes.contains_key("field"));
}

#[test]
fn a_reference_that_a_record_may_name_otherwise_is_not_missed() {
    let mut sync = sync(Side::B, Direction::TwoWay);
    let by_email = || NamedBy {
        field: "parent_email".into(),
        equals: "email".into(),
        within: None,
        normalise: Normaliser::default(),
    };
    let base = Base::from([("field".to_owned(), pair((is("7"), is("7"))))]);
    for (named_by, waits) in [(None, true), (Some(by_email()), false)] {
        sync.model.fields.entry("field".into()).or_default().reference = Some(ReferenceSpec {
            entity: "parent".into(),
            required: false,
            outside: Outside::Null,
            named_by,
        });
        let merged = merge(&MergeInput {
            target: Some(&observed("7")),
            base: Some(&base),
            ..input(&sync, &without_the_field(), &BTreeMap::new())
        });
        assert_eq!(merged.blocked.contains_key("field"), waits);
    }
}

/// `x` was written over `o`, and the field had gone before anybody could see it there. Before the write both sides held `o`, or nothing was settled.
fn unseen(settled: Option<(Slot, Slot)>) -> [Half; 2] {
    let write = Unseen {
        sent: Value::text("x"),
        before: Some(Value::text("o")),
        settled: settled.map(pair),
    };
    [Half::Unseen(Box::new(write)), half(is("x"))]
}

#[test]
fn a_write_that_nobody_could_see_is_settled_once_the_field_is_back() {
    let sync = sync(Side::A, Direction::TwoWay);
    let none = BTreeMap::new();
    // What the first side holds once it has the field again, what the second holds, and what follows: what is written there, whether the first side has
    // news, whether it waits.
    let agreed = Some((is("o"), is("o")));
    for (what, settled, first, second, writes, hints, waits) in [
        ("it arrived", agreed, Some("x"), "x", None, false, false),
        (
            "it arrived in other letters",
            agreed,
            Some("X"),
            "x",
            None,
            false,
            false,
        ),
        (
            "it arrived, and was edited since",
            agreed,
            Some("z"),
            "x",
            None,
            true,
            false,
        ),
        (
            "it arrived, and here it was edited since",
            agreed,
            Some("x"),
            "y",
            Some("y"),
            false,
            false,
        ),
        (
            "it never arrived",
            agreed,
            Some("o"),
            "x",
            Some("x"),
            false,
            false,
        ),
        (
            "it never arrived, and here it was edited since",
            agreed,
            Some("o"),
            "y",
            Some("y"),
            false,
            false,
        ),
        ("it is not there yet", agreed, None, "x", None, false, true),
        (
            "it is not there yet, and here it was edited",
            agreed,
            None,
            "y",
            None,
            false,
            true,
        ),
        (
            "nothing was settled, and it arrived",
            None,
            Some("x"),
            "x",
            None,
            false,
            false,
        ),
    ] {
        let base = Base::from([("field".to_owned(), unseen(settled))]);
        let there = first.map_or_else(without_the_field, observed);
        let merged = merge(&MergeInput {
            target: Some(&there),
            base: Some(&base),
            ..input(&sync, &observed(second), &none)
        });
        let written = merged
            .writes
            .get("field")
            .and_then(|write| write.native.to_plain());
        assert_eq!(written.as_deref(), writes, "{what}");
        assert_eq!(merged.hint_target, hints, "{what}");
        assert_eq!(merged.blocked.contains_key("field"), waits, "{what}");
        assert!(merged.conflicts.is_empty(), "{what}");
        assert_eq!(
            merged.base == base,
            waits,
            "{what}: what waits stays, what is seen is known"
        );
    }
}

#[test]
fn an_emptying_that_nobody_could_see_waits_too() {
    let sync = sync(Side::A, Direction::TwoWay);
    let none = BTreeMap::new();
    let write = Unseen {
        sent: Value::Null,
        before: Some(Value::text("o")),
        settled: Some(pair((is("o"), is("o")))),
    };
    let base = Base::from([(
        "field".to_owned(),
        [Half::Unseen(Box::new(write)), Half::Known(Value::Null)],
    )]);
    for (there, here, writes) in [
        (without_the_field(), "", false),
        (without_the_field(), "y", false),
        (observed("o"), "", true),
        (observed("o"), "y", true),
    ] {
        let merged = merge(&MergeInput {
            target: Some(&there),
            base: Some(&base),
            ..input(&sync, &observed(here), &none)
        });
        assert_eq!(merged.writes.contains_key("field"), writes);
        assert_eq!(merged.blocked.contains_key("field"), !writes);
    }
}

/// The field was missing already when the record was read for the write: only what was settled can say what it held.
#[test]
fn a_blind_write_that_nobody_could_see_is_compared_with_what_was_settled() {
    let sync = sync(Side::A, Direction::TwoWay);
    let none = BTreeMap::new();
    for (settled, there, writes, conflicts, hints) in [
        // It never arrived: nothing was settled, and the two differ.
        (None, "o", false, true, true),
        (None, "x", false, false, false),
        (Some((is(""), is(""))), "", true, false, false),
        (Some((is(""), is(""))), "z", false, false, true),
        (Some((CLEARED, is("x"))), "z", false, false, true),
    ] {
        let write = Unseen {
            sent: Value::text("x"),
            before: None,
            settled: settled.map(pair),
        };
        let base = Base::from([("field".to_owned(), [Half::Unseen(Box::new(write)), half(is("x"))])]);
        let merged = merge(&MergeInput {
            target: Some(&observed(there)),
            base: Some(&base),
            ..input(&sync, &observed("x"), &none)
        });
        assert_eq!(merged.writes.contains_key("field"), writes, "{there}");
        assert_eq!(!merged.conflicts.is_empty(), conflicts, "{there}");
        assert_eq!(merged.hint_target, hints, "{there}");
    }
}

#[test]
fn a_write_over_a_field_that_is_missing_says_so() {
    let sync = sync(Side::B, Direction::TwoWay);
    let none = BTreeMap::new();
    for (there, is_blind) in [(without_the_field(), true), (observed(""), false)] {
        let merged = merge(&MergeInput {
            target: Some(&there),
            ..input(&sync, &observed("b"), &none)
        });
        assert_eq!(merged.writes["field"].before_unknown, is_blind);
    }
}
