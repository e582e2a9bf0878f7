//! What the mappings to Autotask need to know of a tenant.

use seamless_core::Value;
use seamless_core::mapping::{FieldKind, FieldMapping, OptionMap};

/// Tenant-specific parts of the mappings to Autotask. The default fits a vanilla Autotask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutotaskDefaults {
    /// Native path of the user-defined field that holds the other system's id, on every entity. Default `udf.CRM ID`.
    pub xref: String,
    /// Type of an account created for a record without one (canonical option). Default `customer`.
    pub account_type: String,
    /// Status of a ticket created for a record without one (canonical option). Default `new`.
    pub ticket_status: String,
    /// Priority of a ticket created for a record without one (canonical option). Default `medium`.
    pub ticket_priority: String,
    /// Queue (native number) of a ticket created for a record without one. Default none: Autotask then refuses tickets without a queue.
    pub ticket_queue: Option<i64>,
    /// People by canonical name (spelled as the other system does) and resource id, where e-mail addresses do not tell who is who. Default none:
    /// ticket assignee and creator and opportunity owner go by the e-mail addresses of Autotask's resources.
    pub resources: Vec<(String, i64)>,
    /// Where an opportunity's description lives: `description`, or a user-defined field (`udf.Details`). Default `description`.
    pub opportunity_description: String,
    /// Write an opportunity status without counterpart as `active`. Default true.
    pub opportunity_status_fallback: bool,
}

impl Default for AutotaskDefaults {
    fn default() -> Self {
        AutotaskDefaults {
            xref: "udf.CRM ID".to_owned(),
            account_type: "customer".to_owned(),
            ticket_status: "new".to_owned(),
            ticket_priority: "medium".to_owned(),
            ticket_queue: None,
            resources: Vec::new(),
            opportunity_description: "description".to_owned(),
            opportunity_status_fallback: true,
        }
    }
}

/// The country as the connector presents it: `countryID` resolved to the two-letter ISO code, and back.
pub(crate) fn country() -> FieldMapping {
    FieldMapping::text("country").transform(seamless_core::mapping::Transform::Uppercase)
}

/// A reference to another record, which Autotask keeps as a number.
pub(crate) fn reference(native: &str) -> FieldMapping {
    FieldMapping::reference(native, FieldKind::Int)
}

/// A picklist whose numbers are the tenant's own, until its configuration names them.
pub(crate) fn own_list(native: &str) -> FieldMapping {
    FieldMapping::new(native, FieldKind::Choice).stored_as(FieldKind::Int)
}

/// A field that names a person: by e-mail address, which the connector resolves (`assignedResourceEmail` for `assignedResourceID`), or by the table
/// in which the tenant has said who is who.
pub(crate) fn person(native: &str, defaults: &AutotaskDefaults) -> FieldMapping {
    if defaults.resources.is_empty() {
        return FieldMapping::text(native.replace("ID", "Email"));
    }
    let pairs = defaults
        .resources
        .iter()
        .map(|(who, id)| (who.clone(), Value::Int(*id)))
        .collect();
    let options = OptionMap {
        pairs,
        ..OptionMap::default()
    };
    FieldMapping::choice(native, options)
}
