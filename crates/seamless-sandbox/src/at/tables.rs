//! The empty tables of a simulated Autotask tenant.

use super::{fields, picks};
use crate::config::Config;
use crate::schema::Schema;
use crate::store::{Rec, Table};
use crate::value::Value;

/// The resource behind the API user: it may create, but not own.
pub(crate) const API_RESOURCE: i64 = 29_682_800;
/// The first role; the second has the next number.
const ROLE: i64 = 29_682_833;
/// A human resource which may own records.
pub(crate) const HUMAN_RESOURCE: i64 = 29_682_885;

/// All Autotask tables in `Entity` order.
pub(crate) fn build(config: &Config) -> Vec<Table> {
    let udf = |schema: &mut Schema| {
        let missing = config
            .udf_missing_on
            .iter()
            .any(|e| e.eq_ignore_ascii_case(schema.entity));
        if let (Some(name), false) = (&config.udf, missing) {
            schema.xref = Some(schema.add_udf(name));
        }
        for name in &config.more_udfs {
            schema.add_udf(name);
        }
    };
    let mut company = Schema::new("Company", "Companies", fields::COMPANIES);
    company.picks("companyType", picks::COMPANY_TYPE);
    company.picks("marketSegmentID", picks::MARKET_SEGMENT);
    company.picks("territoryID", picks::TERRITORY);
    company.picks("classification", picks::CLASSIFICATION);
    stamps(&mut company, "lastTrackedModifiedDateTime", "lastActivityDate");
    company.add_udf("Customer Ranking");
    udf(&mut company);

    let mut contact = Schema::new("Contact", "Contacts", fields::CONTACTS);
    contact.picks("namePrefix", picks::NAME_PREFIX);
    contact.picks("nameSuffix", picks::NAME_SUFFIX);
    for name in ["firstName", "lastName"] {
        if let Some(i) = contact.find(name) {
            contact.fields[usize::from(i)].max = config.contact_name_max;
        }
    }
    stamps(&mut contact, "lastModifiedDate", "lastActivityDate");
    contact.add_udf("Shoe Size");
    udf(&mut contact);

    let mut ticket = Schema::new("Ticket", "Tickets", fields::TICKETS);
    ticket.picks("priority", picks::TICKET_PRIORITY);
    ticket.picks("status", picks::TICKET_STATUS);
    ticket.picks("ticketType", picks::TICKET_TYPE);
    ticket.picks("source", picks::TICKET_SOURCE);
    ticket.picks("ticketCategory", picks::TICKET_CATEGORY);
    ticket.picks("queueID", picks::QUEUE);
    ticket.picks("issueType", picks::ISSUE_TYPE);
    ticket.picks("subIssueType", picks::SUB_ISSUE_TYPE);
    ticket.picks_hang_on("subIssueType", "issueType", picks::SUB_ISSUE_PARENTS);
    stamps(&mut ticket, "lastTrackedModificationDateTime", "lastActivityDate");
    udf(&mut ticket);

    let mut opportunity = Schema::new("Opportunity", "Opportunities", fields::OPPORTUNITIES);
    opportunity.picks("stage", picks::STAGE);
    opportunity.picks("status", picks::OPPORTUNITY_STATUS);
    opportunity.picks("leadSource", picks::LEAD_SOURCE);
    opportunity.picks("rating", picks::RATING);
    opportunity.picks("lossReason", picks::LOSS_REASON);
    stamps(&mut opportunity, "", "lastActivity");
    udf(&mut opportunity);

    let country = Schema::new("Country", "Countries", fields::COUNTRIES);
    let mut resource = Schema::new("Resource", "Resources", fields::RESOURCES);
    resource.picks("licenseType", picks::LICENSE_TYPE);
    let role = Schema::new("Role", "Roles", fields::ROLES);
    let desk_role = Schema::new(
        "ResourceServiceDeskRole",
        "ResourceServiceDeskRoles",
        fields::SERVICE_DESK_ROLES,
    );

    let mut tables = vec![
        Table::new(
            company,
            29_683_000,
            &[
                "companyName",
                "companyNumber",
                "postalCode",
                "phone",
                "parentCompanyID",
            ],
            &["lastTrackedModifiedDateTime", "createDate", "lastActivityDate"],
        ),
        Table::new(
            contact,
            30_682_000,
            &["emailAddress", "companyID", "lastName"],
            &["lastModifiedDate", "createDate", "lastActivityDate"],
        ),
        Table::new(
            ticket,
            7_500,
            &["companyID", "contactID", "ticketNumber"],
            &[
                "lastTrackedModificationDateTime",
                "createDate",
                "lastActivityDate",
            ],
        ),
        Table::new(
            opportunity,
            200,
            &["companyID", "contactID"],
            &["lastActivity", "createDate"],
        ),
        Table::new(country, 1, &["countryCode", "displayName", "name"], &[]),
        Table::new(resource, HUMAN_RESOURCE, &["email", "userName"], &[]),
        Table::new(role, ROLE, &["name"], &[]),
        Table::new(desk_role, 1, &["resourceID"], &[]),
    ];
    let (countries, people) = tables.split_at_mut(5);
    fill_countries(&mut countries[4]);
    fill_people(config, people);
    tables
}

fn stamps(schema: &mut Schema, modified: &str, activity: &str) {
    schema.created = schema.find("createDate");
    schema.modified = schema.find(modified);
    schema.activity = schema.find(activity);
}

fn put(table: &Table, rec: &mut Rec, name: &str, value: Value) {
    if let Some(field) = table.schema.find(name) {
        rec.set(field, value);
    }
}

fn fill_countries(table: &mut Table) {
    for (i, (code, name)) in COUNTRIES.iter().enumerate() {
        let id = table.take_id();
        let mut rec = Rec::new(id);
        put(table, &mut rec, "id", Value::Int(id));
        put(table, &mut rec, "countryCode", Value::text(code));
        put(table, &mut rec, "displayName", Value::text(name));
        put(table, &mut rec, "name", Value::text(name));
        put(table, &mut rec, "isActive", Value::Bool(*code != "AQ"));
        put(table, &mut rec, "isDefaultCountry", Value::Bool(i == 0));
        table.insert(rec);
    }
}

fn fill_people(config: &Config, tables: &mut [Table]) {
    let people = [
        (
            HUMAN_RESOURCE,
            "Olivia",
            "Owner",
            "olivia.owner@msp.example",
            true,
            1,
        ),
        (
            HUMAN_RESOURCE + 1,
            "Tom",
            "Technician",
            "tom.technician@msp.example",
            true,
            1,
        ),
        (
            HUMAN_RESOURCE + 2,
            "Greta",
            "Gone",
            "greta.gone@msp.example",
            false,
            1,
        ),
        (
            API_RESOURCE,
            "Integration",
            "User",
            config.autotask_user.as_str(),
            true,
            7,
        ),
    ];
    let table = &mut tables[0];
    for (id, first, last, email, active, license) in people {
        let mut rec = Rec::new(id);
        put(table, &mut rec, "id", Value::Int(id));
        put(table, &mut rec, "firstName", Value::text(first));
        put(table, &mut rec, "lastName", Value::text(last));
        put(table, &mut rec, "email", Value::text(email));
        put(table, &mut rec, "userName", Value::text(email));
        put(table, &mut rec, "isActive", Value::Bool(active));
        put(table, &mut rec, "licenseType", Value::Int(license));
        put(table, &mut rec, "resourceType", Value::text("Employee"));
        table.insert(rec);
    }
    let table = &mut tables[1];
    for name in ["Technician", "Engineer"] {
        let id = table.take_id();
        let mut rec = Rec::new(id);
        put(table, &mut rec, "id", Value::Int(id));
        put(table, &mut rec, "name", Value::text(name));
        put(table, &mut rec, "isActive", Value::Bool(true));
        table.insert(rec);
    }
    let table = &mut tables[2];
    // The technician has two roles; the default one is not the first.
    for (resource, role, is_default) in [
        (HUMAN_RESOURCE, ROLE, true),
        (HUMAN_RESOURCE + 1, ROLE, false),
        (HUMAN_RESOURCE + 1, ROLE + 1, true),
    ] {
        let id = table.take_id();
        let mut rec = Rec::new(id);
        put(table, &mut rec, "id", Value::Int(id));
        put(table, &mut rec, "resourceID", Value::Int(resource));
        put(table, &mut rec, "roleID", Value::Int(role));
        put(table, &mut rec, "isActive", Value::Bool(true));
        put(table, &mut rec, "isDefault", Value::Bool(is_default));
        table.insert(rec);
    }
}

/// Countries of the tenant; the first is the default one, Antarctica is inactive.
#[rustfmt::skip]
pub(crate) static COUNTRIES: &[(&str, &str)] = &[
    ("US", "United States"), ("CA", "Canada"), ("MX", "Mexico"), ("GB", "United Kingdom"), ("IE", "Ireland"),
    ("DE", "Germany"), ("AT", "Austria"), ("CH", "Switzerland"), ("FR", "France"), ("BE", "Belgium"),
    ("NL", "Netherlands"), ("LU", "Luxembourg"), ("ES", "Spain"), ("PT", "Portugal"), ("IT", "Italy"),
    ("DK", "Denmark"), ("SE", "Sweden"), ("NO", "Norway"), ("FI", "Finland"), ("IS", "Iceland"),
    ("PL", "Poland"), ("CZ", "Czech Republic"), ("SK", "Slovakia"), ("HU", "Hungary"), ("RO", "Romania"),
    ("BG", "Bulgaria"), ("GR", "Greece"), ("HR", "Croatia"), ("SI", "Slovenia"), ("EE", "Estonia"),
    ("LV", "Latvia"), ("LT", "Lithuania"), ("UA", "Ukraine"), ("TR", "Turkey"), ("IL", "Israel"),
    ("AE", "United Arab Emirates"), ("SA", "Saudi Arabia"), ("EG", "Egypt"), ("ZA", "South Africa"),
    ("NG", "Nigeria"), ("KE", "Kenya"), ("IN", "India"), ("CN", "China"), ("JP", "Japan"),
    ("KR", "Korea, Republic of"), ("TW", "Taiwan"), ("HK", "Hong Kong"), ("SG", "Singapore"),
    ("MY", "Malaysia"), ("TH", "Thailand"), ("VN", "Vietnam"), ("PH", "Philippines"), ("ID", "Indonesia"),
    ("AU", "Australia"), ("NZ", "New Zealand"), ("BR", "Brazil"), ("AR", "Argentina"), ("CL", "Chile"),
    ("CO", "Colombia"), ("PE", "Peru"), ("AQ", "Antarctica"),
];
