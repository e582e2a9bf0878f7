//! Field tables of the CRM, and its string ids.

use crate::Entity;
use crate::schema::{Def, Kind::*, PICKLIST as PL, Pick, READ_ONLY as RO, REQUIRED as RQ, Schema, def};
use crate::store::Table;

#[rustfmt::skip]
static ACCOUNTS: &[Def] = &[
    def("id", Long, 0, RO, "Account"),
    def("name", Text, 200, RQ, ""),
    def("street", Text, 200, 0, ""),
    def("street2", Text, 200, 0, ""),
    def("city", Text, 60, 0, ""),
    def("region", Text, 60, 0, ""),
    def("zip", Text, 20, 0, ""),
    def("country", Text, 2, 0, ""),
    def("phone", Text, 40, 0, ""),
    def("website", Text, 255, 0, ""),
    def("type", Text, 20, PL, ""),
    def("parent_id", Long, 0, 0, "Account"),
    def("number", Text, 80, 0, ""),
    def("active", Bool, 0, 0, ""),
    def("autotask_id", Text, 64, 0, ""),
    def("version", Int, 0, RO, ""),
    def("created_at", Time, 0, RO, ""),
    def("updated_at", Time, 0, RO, ""),
    def("last_activity_at", Time, 0, RO, ""),
];

#[rustfmt::skip]
static CONTACTS: &[Def] = &[
    def("id", Long, 0, RO, "Contact"),
    def("account_id", Long, 0, 0, "Account"),
    def("first_name", Text, 100, 0, ""),
    def("last_name", Text, 100, 0, ""),
    def("street", Text, 200, 0, ""),
    def("street2", Text, 200, 0, ""),
    def("city", Text, 60, 0, ""),
    def("region", Text, 60, 0, ""),
    def("zip", Text, 20, 0, ""),
    def("country", Text, 2, 0, ""),
    def("email", Text, 254, 0, ""),
    def("phone", Text, 40, 0, ""),
    def("mobile", Text, 40, 0, ""),
    def("is_primary", Bool, 0, 0, ""),
    def("active", Bool, 0, 0, ""),
    def("autotask_id", Text, 64, 0, ""),
    def("version", Int, 0, RO, ""),
    def("created_at", Time, 0, RO, ""),
    def("updated_at", Time, 0, RO, ""),
];

#[rustfmt::skip]
static TICKETS: &[Def] = &[
    def("id", Long, 0, RO, "Ticket"),
    def("account_id", Long, 0, 0, "Account"),
    def("contact_id", Long, 0, 0, "Contact"),
    def("contact_email", Text, 254, 0, ""),
    def("number", Text, 60, 0, ""),
    def("subject", Text, 300, RQ, ""),
    def("body", Text, 20_000, 0, ""),
    def("status", Text, 30, PL, ""),
    def("priority", Text, 20, PL, ""),
    def("category", Text, 60, PL, ""),
    def("type", Text, 30, PL, ""),
    def("source", Text, 30, PL, ""),
    def("due_at", Time, 0, 0, ""),
    def("assignee_email", Text, 254, 0, ""),
    def("creator", Text, 254, 0, ""),
    def("autotask_id", Text, 64, 0, ""),
    def("version", Int, 0, RO, ""),
    def("created_at", Time, 0, RO, ""),
    def("updated_at", Time, 0, RO, ""),
    def("last_activity_at", Time, 0, RO, ""),
];

#[rustfmt::skip]
static OPPORTUNITIES: &[Def] = &[
    def("id", Long, 0, RO, "Opportunity"),
    def("account_id", Long, 0, 0, "Account"),
    def("contact_id", Long, 0, 0, "Contact"),
    def("contact_email", Text, 254, 0, ""),
    def("title", Text, 200, RQ, ""),
    def("description", Text, 20_000, 0, ""),
    def("owner_email", Text, 254, 0, ""),
    def("stage", Text, 60, PL, ""),
    def("status", Text, 30, PL, ""),
    def("amount", Dec, 0, 0, ""),
    def("cost", Dec, 0, 0, ""),
    def("probability", Int, 0, 0, ""),
    def("projected_close_date", Date, 0, 0, ""),
    def("closed_date", Date, 0, 0, ""),
    def("start_date", Date, 0, 0, ""),
    def("autotask_id", Text, 64, 0, ""),
    def("version", Int, 0, RO, ""),
    def("created_at", Time, 0, RO, ""),
    def("updated_at", Time, 0, RO, ""),
];

const fn on(value: &'static str) -> Pick {
    Pick {
        value,
        label: value,
        active: true,
        system: false,
    }
}

static TYPES: &[Pick] = &[
    on("customer"),
    on("lead"),
    on("prospect"),
    on("dead"),
    on("cancelled"),
    on("vendor"),
    on("partner"),
];
static TICKET_STATUS: &[Pick] = &[
    on("new"),
    on("open"),
    on("waiting"),
    on("scheduled"),
    on("escalated"),
    on("snoozed"),
    on("solved"),
];
static PRIORITIES: &[Pick] = &[on("low"), on("medium"), on("high"), on("critical")];
static CATEGORIES: &[Pick] = &[on("standard"), on("alert"), on("hardware")];
static TICKET_TYPES: &[Pick] = &[
    on("question"),
    on("incident"),
    on("problem"),
    on("change"),
    on("alert"),
];
static CHANNELS: &[Pick] = &[
    on("phone"),
    on("email"),
    on("portal"),
    on("web"),
    on("walk_in"),
    on("internal"),
    on("monitoring"),
    on("chat"),
];
static STAGES: &[Pick] = &[
    on("lead"),
    on("contacted"),
    on("qualified"),
    on("proposal"),
    on("contract"),
    on("won"),
];
static DEAL_STATUS: &[Pick] = &[
    on("not_ready"),
    on("active"),
    on("lost"),
    on("closed"),
    on("implemented"),
    on("parked"),
];

/// The CRM's users: id, e-mail, name, active. Two work in Autotask too, one has left there, one was never there.
pub(crate) static USERS: &[(&str, &str, &str, bool)] = &[
    ("U000001", "olivia.owner@msp.example", "Olivia Owner", true),
    ("U000002", "tom.technician@msp.example", "Tom Technician", true),
    ("U000003", "greta.gone@msp.example", "Greta Gone", true),
    ("U000004", "casey.sales@msp.example", "Casey Sales", true),
];

/// All CRM tables in `Entity` order.
pub(crate) fn build() -> Vec<Table> {
    let mut account = Schema::new("Account", "accounts", ACCOUNTS);
    account.picks("type", TYPES);
    let contact = Schema::new("Contact", "contacts", CONTACTS);
    let mut ticket = Schema::new("Ticket", "tickets", TICKETS);
    ticket.picks("status", TICKET_STATUS);
    ticket.picks("priority", PRIORITIES);
    ticket.picks("category", CATEGORIES);
    ticket.picks("type", TICKET_TYPES);
    ticket.picks("source", CHANNELS);
    let mut opportunity = Schema::new("Opportunity", "opportunities", OPPORTUNITIES);
    opportunity.picks("stage", STAGES);
    opportunity.picks("status", DEAL_STATUS);
    for schema in [&mut account, &mut ticket] {
        schema.activity = schema.find("last_activity_at");
    }
    let mut schemas = [account, contact, ticket, opportunity];
    for schema in &mut schemas {
        schema.xref = schema.find("autotask_id");
        schema.created = schema.find("created_at");
        schema.modified = schema.find("updated_at");
        schema.version = schema.find("version");
    }
    let [account, contact, ticket, opportunity] = schemas;
    let stamped = &["updated_at"];
    vec![
        Table::new(
            account,
            1,
            &["name", "zip", "number", "parent_id", "phone", "website"],
            stamped,
        ),
        Table::new(contact, 1, &["email", "account_id", "last_name"], stamped),
        Table::new(ticket, 1, &["account_id", "contact_id", "number"], stamped),
        Table::new(opportunity, 1, &["account_id", "contact_id", "title"], stamped),
    ]
}

fn prefix(entity: Entity) -> &'static str {
    match entity {
        Entity::Account => "A",
        Entity::Contact => "C",
        Entity::Ticket => "T",
        _ => "O",
    }
}

/// The entity whose ids a CRM reference field holds, by its singular name.
pub(crate) fn entity_named(name: &str) -> Option<Entity> {
    Some(match name {
        "Account" => Entity::Account,
        "Contact" => Entity::Contact,
        "Ticket" => Entity::Ticket,
        "Opportunity" => Entity::Opportunity,
        _ => return None,
    })
}

/// "A000123".
pub(crate) fn format_id(entity: Entity, id: i64) -> String {
    format!("{}{id:06}", prefix(entity))
}

/// The number behind an id, if it is spelled exactly as the CRM spells it.
pub(crate) fn parse_id(entity: Entity, text: &str) -> Option<i64> {
    let id = text.strip_prefix(prefix(entity))?.parse::<i64>().ok()?;
    (format_id(entity, id) == text).then_some(id)
}
