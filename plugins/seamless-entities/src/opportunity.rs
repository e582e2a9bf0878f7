//! Opportunity: Autotask `Opportunities`.

use seamless_core::mapping::{Compare, FieldKind, FieldMapping, OptionMap, TODAY};

use crate::autotask::{AutotaskDefaults, person, reference};
use crate::canonical::{Entity, Field};

pub(crate) fn entity() -> Entity {
    let fields = [
        Field::text("title"),
        Field::text("description"),
        Field::reference("account", "account", true),
        Field::contact_or_email(),
        Field::text("contact_email").compare(Compare::IgnoreCase),
        Field::text("owner").compare(Compare::IgnoreCase),
        Field::choice("stage"),
        Field::choice("status"),
        Field::new("projected_close_date", FieldKind::Date),
        Field::new("closed_date", FieldKind::Date),
        Field::new("start_date", FieldKind::Date),
        Field::new("probability", FieldKind::Int),
        Field::new("amount", FieldKind::Decimal),
        Field::new("cost", FieldKind::Decimal),
        Field::choice("use_quote_totals").rest_stored_as(FieldKind::Bool),
        Field::new("created_at", FieldKind::Time)
            .passenger()
            .rest_read_only(),
    ];
    Entity {
        name: "opportunity",
        plural: "opportunities",
        fields: fields.into(),
        match_rules: Vec::new(),
        identity: &["title", "account"],
    }
}

pub(crate) fn autotask(defaults: &AutotaskDefaults) -> Vec<(&'static str, FieldMapping)> {
    let date = |native: &str| FieldMapping::new(native, FieldKind::Date);
    let cost = FieldMapping::new("cost", FieldKind::Decimal)
        .required()
        .default_value(0);
    let totals = FieldMapping::choice("useQuoteTotals", quote_totals())
        .required()
        .default_value("false");
    vec![
        ("title", FieldMapping::text("title").max(128).required()),
        (
            "description",
            FieldMapping::text(&defaults.opportunity_description).max(8000),
        ),
        ("account", reference("companyID").required()),
        ("contact", reference("contactID")),
        // Nobody named: the connector's configured owner.
        ("owner", person("ownerResourceID", defaults)),
        ("stage", FieldMapping::choice("stage", stages()).required()),
        (
            "status",
            FieldMapping::choice("status", statuses(defaults)).required(),
        ),
        // Mandatory there, and nothing that we could make up: without them a record waits for a person.
        ("projected_close_date", date("projectedCloseDate").required()),
        (
            "probability",
            FieldMapping::new("probability", FieldKind::Int).required(),
        ),
        (
            "amount",
            FieldMapping::new("amount", FieldKind::Decimal).required(),
        ),
        ("closed_date", date("closedDate")),
        // The source's day of creation, else the day of the create; never after the projected close date, which Autotask refuses.
        (
            "start_date",
            date("startDate")
                .required()
                .default_from(&["created_at", TODAY])
                .not_after("projected_close_date"),
        ),
        ("cost", cost),
        ("use_quote_totals", totals),
        (
            "created_at",
            FieldMapping::new("createDate", FieldKind::Time).read_only(),
        ),
    ]
}

fn stages() -> OptionMap {
    OptionMap::of([
        ("new_lead", 29_682_769),
        ("stage_1_first_contact", 29_682_770),
        ("stage_2_qualification", 29_682_771),
        ("stage_3_proposal_sent", 29_682_772),
        ("stage_4_contract_sent", 29_682_773),
        ("stage_5_closed", 29_682_774),
    ])
}

fn statuses(defaults: &AutotaskDefaults) -> OptionMap {
    let map = OptionMap::of([
        ("not_ready_to_buy", 0),
        ("active", 1),
        ("lost", 2),
        ("closed", 3),
        ("implemented", 4),
    ]);
    if defaults.opportunity_status_fallback {
        map.write_fallback("active")
    } else {
        map
    }
}

/// Always false when written: true needs a quote, which we do not sync.
fn quote_totals() -> OptionMap {
    let map = OptionMap::of([("false", false), ("true", true)]).write_fallback("false");
    OptionMap {
        read_only: vec!["true".to_owned()],
        ..map
    }
}
