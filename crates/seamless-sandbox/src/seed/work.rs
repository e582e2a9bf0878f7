//! Tickets and opportunities, with the dirt that such records have: values that the other system lacks, mandatory figures left out, contacts named
//! by their e-mail address only, titles beyond every limit.

use super::Home;
use super::rows::{DAY_MS, Writer, stretch};
use crate::at::picks::SUPPORT_QUEUE;
use crate::at::tables::HUMAN_RESOURCE;
use crate::crm::fields::USERS;
use crate::rng::Rng;
use crate::value::Value;
use crate::world::World;
use crate::{Entity, System};

const TITLES: &[&str] = &[
    "Printer is on fire",
    "Cannot log in since Monday 😕",
    "VPN drops every hour",
    "Neuer Laptop für die Buchhaltung",
    "メールが届かない",
    "Backup failed again",
    "Screen flickers — see the photo",
    "New starter: account & phone",
];
const DEALS: &[&str] = &[
    "Office move",
    "Managed backup 🚀",
    "Firewall renewal",
    "Umzug nach München",
    "Microsoft 365, 40 seats",
    "電話システム",
];
const BODIES: &[&str] = &[
    "It was fine yesterday.\nPlease help.",
    "Ça ne marche plus depuis ce matin 🙏",
    "  see attachment  ",
    "Error 0x80070005 — \"access denied\"",
    "",
];
/// Amounts as people type them: with cents, large, tiny.
const AMOUNTS: &[&str] = &[
    "1250.50",
    "0.99",
    "48000",
    "9999999999.99",
    "133333.33",
    "75",
    "20000.1",
];

/// All tickets.
pub(super) fn tickets(w: &mut World, rng: &mut Rng, homes: &[Home], mess: bool) {
    let (crm, autotask) = (w.config.crm_tickets, w.config.tickets);
    for i in 0..crm {
        crm_ticket(w, rng, i, homes, mess);
    }
    for i in 0..autotask {
        at_ticket(w, rng, i, homes, mess);
    }
}

/// All opportunities.
pub(super) fn opportunities(w: &mut World, rng: &mut Rng, homes: &[Home], mess: bool) {
    let (crm, autotask) = (w.config.crm_opportunities, w.config.opportunities);
    for i in 0..crm {
        crm_opportunity(w, rng, i, homes, mess);
    }
    for i in 0..autotask {
        at_opportunity(w, rng, i, homes, mess);
    }
}

/// An account of this system, if it has any.
fn account(rng: &mut Rng, homes: &[Home], system: System) -> Option<i64> {
    let of = |home: &Home| match system {
        System::Autotask => home.autotask,
        System::Crm => home.crm,
    };
    let known: Vec<i64> = homes.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| *rng.pick(&known))
}

/// A contact of the account, and its e-mail address.
fn contact(w: &World, rng: &mut Rng, system: System, account: Option<i64>) -> Option<(i64, String)> {
    let (parent, email) = match system {
        System::Autotask => ("companyID", "emailAddress"),
        System::Crm => ("account_id", "email"),
    };
    let table = w.table(system, Entity::Contact);
    let (parent, email) = (table.schema.find(parent)?, table.schema.find(email)?);
    let ids: Vec<i64> = table.by_key(parent, &Value::Int(account?)).to_vec();
    let id = (!ids.is_empty()).then(|| *rng.pick(&ids))?;
    Some((id, table.get(id)?.get(email).as_str().to_owned()))
}

/// Names the contact by its id; in messy data now and then by its address only, by a stranger's, or not at all.
fn name_contact(row: &mut Writer<'_>, rng: &mut Rng, account: Option<i64>, i: usize, mess: bool) {
    let Some((id, email)) = contact(row.w, rng, System::Crm, account) else {
        return;
    };
    match i % 8 {
        2 if mess && !email.is_empty() => row.text(rng, "contact_email", &email),
        4 if mess && !email.is_empty() => row.text(rng, "contact_email", &email.to_uppercase()),
        5 if mess => row.text(rng, "contact_email", "stranger@elsewhere.example"),
        7 if mess => {}
        _ => row.set("contact_id", Value::Int(id)),
    }
}

/// Who looks after it. In messy data now and then somebody whom Autotask does not know, or not any more.
fn user(i: usize, mess: bool) -> &'static str {
    let who = match i % 20 {
        7 if mess => 2,
        14 if mess => 3,
        n => n % 2,
    };
    USERS[who].1
}

fn choice(row: &mut Writer<'_>, rng: &mut Rng, name: &str, options: &[&str], empty: bool) {
    let option = *rng.pick(options);
    if !empty {
        row.set(name, Value::text(option));
    }
}

fn crm_ticket(w: &mut World, rng: &mut Rng, i: usize, homes: &[Home], mess: bool) {
    let account = account(rng, homes, System::Crm).filter(|_| !(mess && i % 40 == 13));
    let now = w.now();
    let mut row = Writer::new(w, System::Crm, Entity::Ticket);
    if let Some(account) = account {
        row.set("account_id", Value::Int(account));
    }
    name_contact(&mut row, rng, account, i, mess);
    let title = format!("{} #{}", rng.pick(TITLES), i + 1);
    let title = match i % 40 {
        9 if mess => stretch(&title, 280),
        10 if mess => stretch(&title, 255),
        _ => title,
    };
    row.text(rng, "subject", &title);
    let body = match i % 50 {
        21 if mess => stretch("A very long story", 9_000),
        _ => (*rng.pick(BODIES)).to_owned(),
    };
    row.text(rng, "body", &body);
    let status = match i % 9 {
        // No counterpart in Autotask.
        4 if mess => "snoozed",
        _ => *rng.pick(&["new", "open", "waiting", "scheduled", "escalated", "solved"]),
    };
    if !(mess && i % 30 == 11) {
        row.set("status", Value::text(status));
    }
    choice(
        &mut row,
        rng,
        "priority",
        &["low", "medium", "high", "critical"],
        mess && i % 25 == 8,
    );
    let category = if mess && i % 35 == 15 {
        "hardware"
    } else {
        "standard"
    };
    row.set("category", Value::text(category));
    choice(
        &mut row,
        rng,
        "type",
        &["question", "incident", "problem", "change", "alert"],
        mess && i % 6 == 5,
    );
    let channel = if mess && i % 17 == 6 {
        "chat"
    } else {
        *rng.pick(&["phone", "email", "portal", "web"])
    };
    row.set("source", Value::text(channel));
    if !(mess && i % 20 == 7) {
        let hours = rng.below(30 * 24) as i64;
        row.set("due_at", Value::Time(now / 1000 * 1000 + hours * 3_600_000));
    }
    if !i.is_multiple_of(3) {
        row.set("assignee_email", Value::text(user(i, mess)));
    }
    row.stamps(rng, mess && i % 60 == 3);
    row.done();
}

fn crm_opportunity(w: &mut World, rng: &mut Rng, i: usize, homes: &[Home], mess: bool) {
    let account = account(rng, homes, System::Crm);
    let today = w.now().div_euclid(DAY_MS) * DAY_MS;
    let mut row = Writer::new(w, System::Crm, Entity::Opportunity);
    if let Some(account) = account {
        row.set("account_id", Value::Int(account));
    }
    name_contact(&mut row, rng, account, i, mess);
    let title = format!("{} {}", rng.pick(DEALS), i + 1);
    let title = match i % 40 {
        9 if mess => stretch(&title, 160),
        10 if mess => stretch(&title, 128),
        _ => title,
    };
    row.text(rng, "title", &title);
    let body = *rng.pick(BODIES);
    row.text(rng, "description", body);
    row.set("owner_email", Value::text(user(i, mess)));
    choice(
        &mut row,
        rng,
        "stage",
        &["lead", "contacted", "qualified", "proposal", "contract", "won"],
        mess && i % 30 == 16,
    );
    let status = match i % 7 {
        // No counterpart in Autotask.
        5 if mess => "parked",
        _ => *rng.pick(&["not_ready", "active", "active", "closed", "implemented"]),
    };
    row.set("status", Value::text(status));
    // The three that Autotask demands and that salespeople leave out.
    if !(mess && i % 10 == 3) {
        row.set("amount", Value::Num(AMOUNTS[i % AMOUNTS.len()].into()));
    }
    if !(mess && i % 20 == 4) {
        row.set("probability", Value::Int(rng.below(11) as i64 * 10));
    }
    let close = match i % 25 {
        17 if mess => today - 5 * 365 * DAY_MS,
        _ => today + rng.below(120) as i64 * DAY_MS,
    };
    if !(mess && i % 20 == 6) {
        row.set("projected_close_date", Value::Time(close));
    }
    if rng.chance(0.3) {
        row.set("cost", Value::Num("12.30".into()));
    }
    row.stamps(rng, mess && i % 60 == 3);
    row.done();
}

fn at_ticket(w: &mut World, rng: &mut Rng, i: usize, homes: &[Home], mess: bool) {
    let Some(company) = account(rng, homes, System::Autotask) else {
        return;
    };
    let (now, contact) = (w.now(), contact(w, rng, System::Autotask, Some(company)));
    let mut row = Writer::new(w, System::Autotask, Entity::Ticket);
    row.set("companyID", Value::Int(company));
    if let Some((contact, _)) = contact.filter(|_| i % 4 != 3) {
        row.set("contactID", Value::Int(contact));
    }
    row.set("title", Value::text(&format!("{} ({})", rng.pick(TITLES), i + 1)));
    let body = *rng.pick(BODIES);
    row.text(rng, "description", body);
    // 17 is inactive by now and still on old tickets.
    let status = if mess && i % 11 == 5 {
        17
    } else {
        *rng.pick(&[1, 5, 7, 8, 12, 16])
    };
    row.set("status", Value::Int(status));
    row.set("priority", Value::Int(1 + rng.below(4) as i64));
    row.set("queueID", Value::Int(SUPPORT_QUEUE));
    row.set("ticketType", Value::Int(1 + rng.below(5) as i64));
    row.set("ticketCategory", Value::Int(3));
    row.set("source", Value::Int(*rng.pick(&[-1, 1, 2, 4, 8])));
    row.set("dueDateTime", Value::Time(now + rng.below(30) as i64 * DAY_MS));
    row.set("ticketNumber", Value::text(&format!("T20260101.{:04}", i + 1)));
    row.set("creatorResourceID", Value::Int(HUMAN_RESOURCE));
    row.stamps(rng, mess && i % 50 == 3);
    row.done();
}

fn at_opportunity(w: &mut World, rng: &mut Rng, i: usize, homes: &[Home], mess: bool) {
    let Some(company) = account(rng, homes, System::Autotask) else {
        return;
    };
    let today = w.now().div_euclid(DAY_MS) * DAY_MS;
    let contact = contact(w, rng, System::Autotask, Some(company));
    let mut row = Writer::new(w, System::Autotask, Entity::Opportunity);
    row.set("companyID", Value::Int(company));
    if let Some((contact, _)) = contact.filter(|_| i % 3 != 2) {
        row.set("contactID", Value::Int(contact));
    }
    row.set("title", Value::text(&format!("{} ({})", rng.pick(DEALS), i + 1)));
    let body = if mess { *rng.pick(BODIES) } else { "" };
    row.text(rng, "description", body);
    row.set("amount", Value::Num(AMOUNTS[i % AMOUNTS.len()].into()));
    row.set("cost", Value::Num("0".into()));
    row.set("probability", Value::Int(rng.below(11) as i64 * 10));
    row.set("stage", Value::Int(29_682_769 + rng.below(6) as i64));
    row.set("status", Value::Int(*rng.pick(&[0, 1, 3, 4])));
    row.set("startDate", Value::Time(today - rng.below(90) as i64 * DAY_MS));
    row.set(
        "projectedCloseDate",
        Value::Time(today + rng.below(90) as i64 * DAY_MS),
    );
    row.set("useQuoteTotals", Value::Bool(false));
    row.set("ownerResourceID", Value::Int(HUMAN_RESOURCE));
    row.stamps(rng, false);
    row.done();
}
