//! Account: Autotask `Companies`.

use seamless_core::mapping::{Compare, FieldKind, FieldMapping, OptionMap};

use crate::autotask::{AutotaskDefaults, country, reference};
use crate::canonical::{Entity, Field, address};

pub(crate) fn entity() -> Entity {
    let fields = [
        Field::text("name"),
        Field::text("phone").compare(Compare::PhoneDigits),
        Field::text("website"),
        Field::choice("account_type"),
        Field::reference("parent", "account", false),
        Field::text("account_number"),
        Field::new("created_at", FieldKind::Time)
            .passenger()
            .rest_read_only(),
        Field::new("last_activity_at", FieldKind::Time).passenger(),
        Field::new("active", FieldKind::Bool),
    ];
    Entity {
        name: "account",
        plural: "accounts",
        fields: fields.into_iter().chain(address()).collect(),
        // Names and phone numbers repeat: beyond the cross-reference only a tenant knows what identifies its accounts.
        match_rules: Vec::new(),
        identity: &["name"],
    }
}

/// `ownerResourceID` is not here: the connector supplies its configured owner on a create.
pub(crate) fn autotask(defaults: &AutotaskDefaults) -> Vec<(&'static str, FieldMapping)> {
    let types = OptionMap::of([
        ("customer", 1),
        ("lead", 2),
        ("prospect", 3),
        ("dead", 4),
        ("cancelation", 6),
        ("vendor", 7),
        ("partner", 8),
    ]);
    let account_type = FieldMapping::choice("companyType", types).required();
    vec![
        ("name", FieldMapping::text("companyName").max(100).required()),
        ("address.line1", FieldMapping::text("address1").max(150)),
        ("address.line2", FieldMapping::text("address2").max(150)),
        ("address.city", FieldMapping::text("city").max(30)),
        ("address.state", FieldMapping::text("state").max(40)),
        ("address.postal_code", FieldMapping::text("postalCode").max(10)),
        ("address.country", country()),
        ("phone", FieldMapping::text("phone").max(25).required()),
        ("website", FieldMapping::text("webAddress").max(255)),
        (
            "account_type",
            account_type.default_value(defaults.account_type.as_str()),
        ),
        ("parent", reference("parentCompanyID")),
        ("account_number", FieldMapping::text("companyNumber").max(50)),
        (
            "created_at",
            FieldMapping::new("createDate", FieldKind::Time).read_only(),
        ),
        (
            "last_activity_at",
            FieldMapping::new("lastActivityDate", FieldKind::Time).read_only(),
        ),
        (
            "active",
            FieldMapping::new("isActive", FieldKind::Bool).default_value(true),
        ),
    ]
}
