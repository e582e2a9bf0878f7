//! Contact: Autotask `Contacts`.

use seamless_core::mapping::{Compare, FieldKind, FieldMapping};
use seamless_core::pipeline::{MatchField, MatchRule, Normaliser};

use crate::autotask::{country, reference};
use crate::canonical::{Entity, Field, address};

pub(crate) fn entity() -> Entity {
    let fields = [
        Field::reference("account", "account", true),
        Field::text("first_name"),
        Field::text("last_name"),
        Field::text("email").compare(Compare::IgnoreCase),
        Field::text("phone").compare(Compare::PhoneDigits),
        Field::text("mobile_phone").compare(Compare::PhoneDigits),
        Field::new("primary", FieldKind::Bool),
        Field::new("created_at", FieldKind::Time)
            .passenger()
            .rest_read_only(),
        Field::new("modified_at", FieldKind::Time)
            .passenger()
            .rest_read_only(),
        Field::new("active", FieldKind::Bool),
    ];
    let email = MatchField {
        field: "email".to_owned(),
        normalise: Normaliser::Email,
    };
    Entity {
        name: "contact",
        plural: "contacts",
        fields: fields.into_iter().chain(address()).collect(),
        match_rules: vec![MatchRule {
            name: "email".to_owned(),
            fields: vec![email],
        }],
        identity: &["first_name", "last_name", "account"],
    }
}

pub(crate) fn autotask() -> Vec<(&'static str, FieldMapping)> {
    vec![
        // A contact cannot be moved to another company.
        ("account", reference("companyID").required().create_only()),
        // Some tenants take 20 characters only: the live length is read at start.
        ("first_name", FieldMapping::text("firstName").max(50).required()),
        ("last_name", FieldMapping::text("lastName").max(50).required()),
        ("address.line1", FieldMapping::text("addressLine").max(128)),
        ("address.line2", FieldMapping::text("addressLine1").max(128)),
        ("address.city", FieldMapping::text("city").max(32)),
        ("address.state", FieldMapping::text("state").max(40)),
        ("address.postal_code", FieldMapping::text("zipCode").max(16)),
        ("address.country", country()),
        ("email", FieldMapping::text("emailAddress").max(254)),
        ("phone", FieldMapping::text("phone").max(25)),
        ("mobile_phone", FieldMapping::text("mobilePhone").max(25)),
        // Setting it clears the account's previous primary contact, so it flows out of Autotask unless the tenant decides otherwise.
        (
            "primary",
            FieldMapping::new("primaryContact", FieldKind::Bool).read_only(),
        ),
        (
            "created_at",
            FieldMapping::new("createDate", FieldKind::Time).read_only(),
        ),
        (
            "modified_at",
            FieldMapping::new("lastModifiedDate", FieldKind::Time).read_only(),
        ),
        ("active", active()),
    ]
}

/// 0 or 1 here, where companies have a truth value.
fn active() -> FieldMapping {
    FieldMapping::new("isActive", FieldKind::Bool)
        .stored_as(FieldKind::Int)
        .required()
        .default_value(true)
}
