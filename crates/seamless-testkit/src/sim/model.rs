//! What is synchronised in a run: accounts with parents, contacts below accounts, with every kind of declared loss.

use std::collections::BTreeMap;

use seamless_core::Value;
use seamless_core::mapping::{Compare, FieldKind, FieldMapping, OptionMap, SideMapping};
use seamless_core::pipeline::{
    Direction, EntityModel, FieldSpec, MatchField, MatchRule, Normaliser, Outside, Policy, ReferenceSpec,
};

use super::rng::Rng;

/// What a person types. Titles exceed the first system's length; one option exists in the second system only.
pub(super) fn value_of(field: &str, side: usize, number: u64, few: bool, rng: &mut Rng) -> Value {
    let number = if few { rng.below(3) } else { number };
    match field {
        "phone" if side == 1 => Value::from(format!("+1 ({number}) 555").as_str()),
        "phone" => Value::from(format!("1{number}555").as_str()),
        "title" if side == 1 => Value::from(format!("t{number:04} long title").as_str()),
        "title" => Value::from(format!("t{number:04}").as_str()),
        "kind" if side == 1 => Value::from(["x", "y", "z"][rng.below(3) as usize]),
        "kind" => Value::Int(rng.between(1, 2) as i64),
        _ => Value::from(format!("v{number}").as_str()),
    }
}

pub(super) fn account_model() -> EntityModel {
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

pub(super) fn account_mapping(system: usize, remapped: bool) -> SideMapping {
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

pub(super) fn contact_model() -> EntityModel {
    let account = FieldSpec {
        reference: Some(ReferenceSpec {
            entity: "account".into(),
            required: true,
            outside: Outside::Wait,
            named_by: None,
        }),
        ..FieldSpec::default()
    };
    EntityModel {
        name: "contact".into(),
        fields: BTreeMap::from([
            (
                "email".into(),
                FieldSpec {
                    compare: Compare::IgnoreCase,
                    ..FieldSpec::default()
                },
            ),
            ("last".into(), FieldSpec::default()),
            ("note".into(), FieldSpec::default()),
            ("account".into(), account),
        ]),
        match_rules: vec![MatchRule {
            name: "email".into(),
            fields: vec![MatchField {
                field: "email".into(),
                normalise: Normaliser::Email,
            }],
        }],
        identity: vec!["last".into(), "account".into()],
    }
}

pub(super) fn contact_mapping() -> SideMapping {
    SideMapping {
        entity: "contact".into(),
        xref: Some("xref".into()),
        fields: BTreeMap::from([
            ("email".into(), FieldMapping::text("email")),
            ("last".into(), FieldMapping::text("last")),
            ("note".into(), FieldMapping::text("note")),
            (
                "account".into(),
                FieldMapping::reference("account", FieldKind::Text),
            ),
        ]),
    }
}
