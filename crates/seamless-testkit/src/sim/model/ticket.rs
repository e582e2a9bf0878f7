//! Tickets: no match rule, a number that the first system gives out, a contact that the second may name by its address, statuses that not
//! both systems know, a stamp that only travels along.

use std::collections::BTreeMap;

use seamless_core::Value;
use seamless_core::mapping::{Compare, FieldKind, FieldMapping, OptionMap, SideMapping};
use seamless_core::pipeline::{Direction, EntityModel, FieldSpec};

use super::{contact_or_email, own_account};
use crate::sim::rng::Rng;

/// What people edit after they made one.
pub(in crate::sim) const PEOPLE_EDIT: &[&str] = &["status", "status", "note", "note", "account"];

pub(super) fn model() -> EntityModel {
    let number = FieldSpec {
        direction: Some(Direction::AToB),
        ..FieldSpec::default()
    };
    let passenger = FieldSpec {
        passenger: true,
        ..FieldSpec::default()
    };
    let email = FieldSpec {
        compare: Compare::IgnoreCase,
        ..FieldSpec::default()
    };
    EntityModel {
        name: "ticket".into(),
        fields: BTreeMap::from([
            ("title".into(), FieldSpec::default()),
            ("number".into(), number),
            ("account".into(), own_account()),
            ("contact".into(), contact_or_email()),
            ("contact_email".into(), email),
            ("status".into(), FieldSpec::default()),
            ("queue".into(), FieldSpec::default()),
            ("note".into(), FieldSpec::default()),
            ("last_activity".into(), passenger),
        ]),
        match_rules: Vec::new(),
        identity: vec!["title".into(), "account".into()],
    }
}

pub(super) fn mapping(system: usize) -> SideMapping {
    let mut fields = BTreeMap::from([
        ("title".into(), FieldMapping::text("title").required()),
        (
            "account".into(),
            FieldMapping::reference("account", FieldKind::Text).required(),
        ),
        (
            "contact".into(),
            FieldMapping::reference("contact", FieldKind::Text),
        ),
        ("note".into(), FieldMapping::text("note")),
    ]);
    let last_activity = FieldMapping::new("last_activity", FieldKind::Time);
    if system == 0 {
        let status = OptionMap::of([("new", 1_i64), ("complete", 5), ("in_progress", 8)])
            .read_fallback("in_progress")
            .write_fallback("in_progress");
        fields.extend([
            ("number".into(), FieldMapping::text("number").read_only()),
            (
                "status".into(),
                FieldMapping::choice("status", status)
                    .required()
                    .default_value("new"),
            ),
            (
                "queue".into(),
                FieldMapping::text("queue")
                    .required()
                    .default_value("service desk"),
            ),
            ("last_activity".into(), last_activity.read_only()),
        ]);
    } else {
        let statuses = ["new", "complete", "in_progress", "paused"];
        fields.extend([
            ("number".into(), FieldMapping::text("number")),
            (
                "status".into(),
                FieldMapping::choice("status", OptionMap::of(statuses.map(|name| (name, name)))),
            ),
            ("contact_email".into(), FieldMapping::text("contact_email")),
            ("last_activity".into(), last_activity),
        ]);
    }
    SideMapping {
        entity: "ticket".into(),
        xref: Some("xref".into()),
        fields,
    }
}

/// 12 is a status of the first system's own that no mapping knows.
pub(super) fn status(side: usize, rng: &mut Rng) -> Value {
    let at = rng.below(4) as usize;
    if side == 0 {
        Value::Int([1, 5, 8, 12][at])
    } else {
        Value::from(["new", "complete", "in_progress", "paused"][at])
    }
}
