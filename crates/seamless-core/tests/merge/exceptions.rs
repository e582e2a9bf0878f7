//! What is not simply written: references, defaults, passengers, what is required, fixed, held or not readable.

use super::*;

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

/// The number of a ticket: the system that makes the record gives it.
#[test]
fn what_only_the_new_record_gives_is_not_written_at_its_create() {
    for (direction, writes) in [
        (Direction::AToB, false),
        (Direction::TwoWay, true),
        (Direction::BToA, true),
    ] {
        let mut sync = sync(Side::B, Direction::TwoWay);
        sync.model.fields.entry("field".into()).or_default().direction = Some(direction);
        let create = merge(&input(&sync, &observed("mine"), &BTreeMap::new()));
        assert_eq!(create.writes.contains_key("field"), writes, "{direction:?}");
        assert_eq!(
            create.hint_target, !writes,
            "{direction:?}: its own message brings it"
        );
    }
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
