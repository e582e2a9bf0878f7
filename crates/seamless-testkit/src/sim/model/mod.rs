//! What is synchronised in a run: one module an entity, and what people type into its fields.

mod account;
mod contact;
mod opportunity;
mod ticket;

use seamless_core::Value;
use seamless_core::mapping::SideMapping;
use seamless_core::pipeline::{
    Direction, EntityModel, FieldSpec, NamedBy, Normaliser, Outside, ReferenceSpec,
};

use super::plan::Plan;
use super::rng::Rng;

pub(super) use account::{FIELDS as ACCOUNT_HAS, PEOPLE_EDIT as ACCOUNT_FIELDS};
pub(super) use opportunity::{PEOPLE_EDIT as OPPORTUNITY_FIELDS, required_there};
pub(super) use ticket::PEOPLE_EDIT as TICKET_FIELDS;

/// One entity between the two systems.
pub(super) struct Entity {
    pub(super) model: EntityModel,
    pub(super) mappings: [SideMapping; 2],
    pub(super) direction: Direction,
}

/// The entities of a run, parents first.
pub(super) fn entities(plan: &Plan, remapped: bool) -> Vec<Entity> {
    let mut all = vec![
        Entity {
            model: account::model(),
            mappings: [0, 1].map(|system| account::mapping(system, remapped)),
            direction: Direction::TwoWay,
        },
        Entity {
            model: contact::model(),
            mappings: [contact::mapping(), contact::mapping()],
            direction: Direction::TwoWay,
        },
    ];
    all.extend(plan.tickets.map(|direction| Entity {
        model: ticket::model(),
        mappings: [0, 1].map(ticket::mapping),
        direction,
    }));
    all.extend(plan.opportunities.map(|direction| Entity {
        model: opportunity::model(),
        mappings: [0, 1].map(opportunity::mapping),
        direction,
    }));
    all
}

/// The field by which a person would tell two records of an entity apart. Nobody edits it.
pub(super) fn label_of(entity: &str) -> &'static str {
    match entity {
        "account" => "name",
        "contact" => "email",
        _ => "title",
    }
}

/// What a person types. Titles of accounts exceed the first system's length; some options exist in one system only.
pub(super) fn value_of(
    entity: &str,
    field: &str,
    side: usize,
    number: u64,
    few: bool,
    rng: &mut Rng,
) -> Value {
    let number = if few { rng.below(3) } else { number };
    match (entity, field) {
        ("ticket", "status") => ticket::status(side, rng),
        ("opportunity", _) => opportunity::value_of(field, side, number, rng),
        (_, "phone") if side == 1 => Value::from(format!("+1 ({number}) 555").as_str()),
        (_, "phone") => Value::from(format!("1{number}555").as_str()),
        (_, "title") if side == 1 => Value::from(format!("t{number:04} long title").as_str()),
        (_, "title") => Value::from(format!("t{number:04}").as_str()),
        (_, "kind") if side == 1 => Value::from(["x", "y", "z"][rng.below(3) as usize]),
        (_, "kind") => Value::Int(rng.between(1, 2) as i64),
        _ => Value::from(format!("v{number}").as_str()),
    }
}

/// The account that a record cannot do without.
fn own_account() -> FieldSpec {
    FieldSpec {
        reference: Some(ReferenceSpec {
            entity: "account".into(),
            required: true,
            outside: Outside::Wait,
            named_by: None,
        }),
        ..FieldSpec::default()
    }
}

/// The contact, which the second system may name by its address only.
fn contact_or_email() -> FieldSpec {
    FieldSpec {
        reference: Some(ReferenceSpec {
            entity: "contact".into(),
            required: false,
            outside: Outside::Wait,
            named_by: Some(NamedBy {
                field: "contact_email".to_owned(),
                equals: "email".to_owned(),
                within: Some("account".to_owned()),
                normalise: Normaliser::Email,
            }),
        }),
        ..FieldSpec::default()
    }
}
