//! Opportunities: no stamps in the first system, which wants fields that a record of the second may lack.

use std::collections::BTreeMap;

use seamless_core::mapping::{FieldKind, FieldMapping, OptionMap, SideMapping, TODAY};
use seamless_core::pipeline::{EntityModel, FieldSpec};
use seamless_core::{Date, Fields, Value};

use super::own_account;
use crate::sim::rng::Rng;

/// What people edit after they made one.
pub(in crate::sim) const PEOPLE_EDIT: &[&str] = &["stage", "stage", "amount", "closes", "note"];

/// What the first system takes no record without, and what of it nobody can make up.
const REQUIRED: [&str; 6] = ["title", "account", "stage", "amount", "closes", "cost"];

/// A field without which the first system has no opportunity.
pub(in crate::sim) fn required_there(fields: &Fields) -> Option<&'static str> {
    let missing = |field: &&str| fields.get(*field).is_none_or(Value::is_empty);
    REQUIRED.into_iter().find(missing)
}

pub(super) fn model() -> EntityModel {
    let plain = ["title", "note", "stage", "amount", "closes", "starts", "cost"];
    let plain = plain.map(|field| (field.to_owned(), FieldSpec::default()));
    let mut fields = BTreeMap::from(plain);
    fields.insert("account".into(), own_account());
    EntityModel {
        name: "opportunity".into(),
        fields,
        match_rules: Vec::new(),
        identity: vec!["title".into(), "account".into()],
    }
}

pub(super) fn mapping(system: usize) -> SideMapping {
    let required = |field: FieldMapping| if system == 0 { field.required() } else { field };
    let stages = ["lead", "offer", "won", "lost"];
    let stages = if system == 0 {
        OptionMap::of(stages.into_iter().zip(1_i64..))
    } else {
        OptionMap::of(stages.map(|name| (name, name)))
    };
    let mut starts = FieldMapping::new("starts", FieldKind::Date);
    let mut cost = FieldMapping::new("cost", FieldKind::Decimal);
    if system == 0 {
        starts = starts
            .required()
            .default_from(&["closes", TODAY])
            .not_after("closes");
        cost = cost.default_value(0);
    }
    SideMapping {
        entity: "opportunity".into(),
        xref: Some("xref".into()),
        fields: BTreeMap::from([
            ("title".into(), required(FieldMapping::text("title"))),
            ("note".into(), FieldMapping::text("note")),
            (
                "account".into(),
                required(FieldMapping::reference("account", FieldKind::Text)),
            ),
            ("stage".into(), required(FieldMapping::choice("stage", stages))),
            (
                "amount".into(),
                required(FieldMapping::new("amount", FieldKind::Decimal)),
            ),
            (
                "closes".into(),
                required(FieldMapping::new("closes", FieldKind::Date)),
            ),
            ("starts".into(), starts),
            ("cost".into(), required(cost)),
        ]),
    }
}

pub(super) fn value_of(field: &str, side: usize, number: u64, rng: &mut Rng) -> Value {
    match field {
        "stage" if side == 0 => Value::Int(rng.between(1, 4) as i64),
        "stage" => Value::from(["lead", "offer", "won", "lost"][rng.below(4) as usize]),
        "amount" => Value::Decimal(format!("{number}.50").parse().unwrap_or_default()),
        "closes" => Date::parse(&format!("2031-{:02}-17", 1 + number % 12)).map_or(Value::Null, Value::Date),
        _ => Value::from(format!("v{number}").as_str()),
    }
}
