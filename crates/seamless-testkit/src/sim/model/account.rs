//! Accounts: with parents, both ways, with every kind of declared loss and every conflict policy.

use std::collections::BTreeMap;

use seamless_core::mapping::{Compare, FieldKind, FieldMapping, OptionMap, SideMapping};
use seamless_core::pipeline::{
    Direction, EntityModel, FieldSpec, MatchField, MatchRule, Normaliser, Outside, Policy, ReferenceSpec,
};

/// What people edit after they made one.
pub(in crate::sim) const PEOPLE_EDIT: &[&str] = &[
    "phone", "title", "note", "note", "kind", "title", "tier", "memo", "origin",
];

/// What an account has, filled in or not.
pub(in crate::sim) const FIELDS: &[&str] = &[
    "name", "postal", "phone", "title", "note", "kind", "tier", "memo", "origin", "parent", "xref",
];

pub(super) fn model() -> EntityModel {
    let phone = FieldSpec {
        compare: Compare::PhoneDigits,
        ..FieldSpec::default()
    };
    let parent = FieldSpec {
        reference: Some(ReferenceSpec {
            entity: "account".into(),
            required: false,
            outside: Outside::Wait,
            named_by: None,
        }),
        ..FieldSpec::default()
    };
    let plain = FieldSpec::default;
    let policy = |policy| FieldSpec {
        policy,
        ..FieldSpec::default()
    };
    let origin = FieldSpec {
        direction: Some(Direction::AToB),
        ..FieldSpec::default()
    };
    EntityModel {
        name: "account".into(),
        fields: BTreeMap::from([
            ("name".into(), plain()),
            ("postal".into(), plain()),
            ("phone".into(), phone),
            ("title".into(), plain()),
            ("note".into(), plain()),
            ("kind".into(), plain()),
            ("tier".into(), policy(Policy::Newest)),
            ("memo".into(), policy(Policy::Ask)),
            ("origin".into(), origin),
            ("parent".into(), parent),
        ]),
        match_rules: vec![MatchRule {
            name: "name+postal".into(),
            fields: vec![
                MatchField {
                    field: "name".into(),
                    normalise: Normaliser::Text,
                },
                MatchField {
                    field: "postal".into(),
                    normalise: Normaliser::Text,
                },
            ],
        }],
        identity: vec!["name".into()],
    }
}

/// What the options are called, before and after the mapping is changed.
const KINDS: [[&str; 3]; 2] = [["x", "y", "z"], ["ex", "why", "zed"]];

pub(super) fn mapping(system: usize, remapped: bool) -> SideMapping {
    let [x, y, z] = KINDS[usize::from(remapped)];
    let mut title = FieldMapping::text("title");
    let mut kind = FieldMapping::choice("kind", OptionMap::of([(x, "x"), (y, "y"), (z, "z")]));
    if system == 0 {
        title = title.max(5);
        title.truncate = true;
        kind = FieldMapping::choice("kind", OptionMap::of([(x, 1_i64), (y, 2)]).write_fallback(x));
    }
    SideMapping {
        entity: "account".into(),
        xref: Some("xref".into()),
        fields: BTreeMap::from([
            ("name".into(), FieldMapping::text("name")),
            ("postal".into(), FieldMapping::text("postal")),
            ("phone".into(), FieldMapping::text("phone")),
            ("title".into(), title),
            ("note".into(), FieldMapping::text("note")),
            ("kind".into(), kind),
            ("tier".into(), FieldMapping::text("tier")),
            ("memo".into(), FieldMapping::text("memo")),
            ("origin".into(), FieldMapping::text("origin")),
            (
                "parent".into(),
                FieldMapping::reference("parent", FieldKind::Text),
            ),
        ]),
    }
}
