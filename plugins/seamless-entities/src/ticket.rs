//! Ticket: Autotask `Tickets`.

use seamless_core::mapping::{Compare, FieldKind, FieldMapping, OptionMap};

use crate::autotask::{AutotaskDefaults, own_list, person, reference};
use crate::canonical::{Entity, Field};

pub(crate) fn entity() -> Entity {
    let fields = [
        Field::text("ticket_number"),
        Field::text("title"),
        Field::text("description"),
        Field::reference("account", "account", true),
        Field::contact_or_email(),
        Field::text("contact_email").compare(Compare::IgnoreCase),
        Field::new("due_at", FieldKind::Time),
        Field::choice("category"),
        Field::choice("type"),
        Field::choice("priority"),
        Field::choice("status"),
        Field::choice("source"),
        Field::choice("queue"),
        Field::text("assignee").compare(Compare::IgnoreCase),
        Field::text("creator").compare(Compare::IgnoreCase),
        Field::new("last_activity_at", FieldKind::Time).passenger(),
    ];
    Entity {
        name: "ticket",
        plural: "tickets",
        fields: fields.into(),
        // An e-mail address names a ticket's contact, never the ticket.
        match_rules: Vec::new(),
        identity: &["title", "account"],
    }
}

pub(crate) fn autotask(defaults: &AutotaskDefaults) -> Vec<(&'static str, FieldMapping)> {
    let status = FieldMapping::choice("status", statuses()).required();
    let priority = FieldMapping::choice("priority", priorities()).required();
    let queue = FieldMapping {
        default: defaults.ticket_queue.map(seamless_core::Value::Int),
        ..own_list("queueID")
    };
    vec![
        ("ticket_number", FieldMapping::text("ticketNumber").read_only()),
        ("title", FieldMapping::text("title").max(255).required()),
        ("description", FieldMapping::text("description").max(8000)),
        ("account", reference("companyID").required()),
        ("contact", reference("contactID")),
        ("due_at", FieldMapping::new("dueDateTime", FieldKind::Time)),
        ("category", own_list("ticketCategory")),
        ("type", FieldMapping::choice("ticketType", types())),
        (
            "priority",
            priority.default_value(defaults.ticket_priority.as_str()),
        ),
        ("status", status.default_value(defaults.ticket_status.as_str())),
        ("source", FieldMapping::choice("source", sources())),
        ("assignee", person("assignedResourceID", defaults)),
        ("creator", person("creatorResourceID", defaults).read_only()),
        ("queue", queue),
        (
            "last_activity_at",
            FieldMapping::new("lastActivityDate", FieldKind::Time).read_only(),
        ),
    ]
}

/// A status that is not mapped is synced as In Progress, in either direction.
fn statuses() -> OptionMap {
    OptionMap::of([
        ("new", 1),
        ("complete", 5),
        ("waiting_customer", 7),
        ("in_progress", 8),
        ("waiting_materials", 9),
        ("scheduled", 10),
        ("escalate", 11),
        ("waiting_vendor", 12),
        ("waiting_approval", 13),
        ("waiting_dispatch", 14),
        ("approved", 15),
        ("denied", 16),
    ])
    .read_fallback("in_progress")
    .write_fallback("in_progress")
}

fn priorities() -> OptionMap {
    OptionMap::of([("high", 1), ("medium", 2), ("low", 3), ("critical", 4)])
}

fn types() -> OptionMap {
    OptionMap::of([
        ("service_request", 1),
        ("incident", 2),
        ("problem", 3),
        ("change_request", 4),
        ("alert", 5),
    ])
}

fn sources() -> OptionMap {
    OptionMap::of([
        ("insourced", -2),
        ("client_portal", -1),
        ("internal", 1),
        ("phone", 2),
        ("email", 4),
        ("web_portal", 5),
        ("in_person_onsite", 6),
        ("monitoring_alert", 8),
    ])
}
