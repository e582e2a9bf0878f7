//! The CRM's own work: tickets and opportunities on its accounts, with what people forget and overdo.

use super::rows::{DAY_MS, Writer};
use crate::rng::Rng;
use crate::value::Value;
use crate::world::World;
use crate::{Entity, System};

const SUBJECTS: [&str; 6] = [
    "Printer prints only cats",
    "VPN drops every hour",
    "New laptop for the new colleague",
    "Besprechungsraum ohne Bild",
    "Backup läuft nicht 🙁",
    "Пароль забыт",
];
const STATUSES: [&str; 7] = [
    "new",
    "open",
    "waiting",
    "scheduled",
    "escalated",
    "snoozed",
    "solved",
];
const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];
const KINDS: [&str; 5] = ["service request", "incident", "problem", "change", "alert"];
const SOURCES: [&str; 5] = ["phone", "email", "web", "internal", "monitoring"];
const STAGES: [&str; 6] = ["lead", "contacted", "qualified", "proposal", "contract", "won"];
const DEALS: [&str; 6] = ["not_ready", "active", "lost", "closed", "implemented", "parked"];

fn pick(rng: &mut Rng, words: &[&'static str]) -> &'static str {
    words[rng.below(words.len())]
}

/// A contact of an account, with its e-mail address, where it has one.
fn contact_of(w: &World, rng: &mut Rng, account: i64) -> Option<(i64, String)> {
    let table = w.table(System::Crm, Entity::Contact);
    let (of, email) = (table.schema.find("account_id")?, table.schema.find("email")?);
    let ids = table.by_key(of, &Value::Int(account)).to_vec();
    if ids.is_empty() {
        return None;
    }
    let id = *rng.pick(&ids);
    let address = table.get(id)?.get(email).as_str().to_owned();
    Some((id, address))
}

/// Names the contact by id, or, as mail does, by address.
fn name_contact(row: &mut Writer<'_>, rng: &mut Rng, contact: Option<(i64, String)>) {
    match contact {
        Some((_, email)) if !email.is_empty() && rng.chance(0.3) => {
            row.set("contact_email", Value::text(&email));
        }
        Some((id, _)) if rng.chance(0.8) => row.set("contact_id", Value::Int(id)),
        _ => {}
    }
}

/// A ticket.
pub(super) fn ticket(w: &mut World, rng: &mut Rng, i: usize, accounts: &[i64], mess: bool) {
    if accounts.is_empty() {
        return;
    }
    let account = *rng.pick(accounts);
    let contact = contact_of(w, rng, account);
    let now = w.now();
    let mut row = Writer::new(w, System::Crm, Entity::Ticket);
    row.set("account_id", Value::Int(account));
    name_contact(&mut row, rng, contact);
    let mut subject = format!("{} ({i})", pick(rng, &SUBJECTS));
    if mess && i % 40 == 7 {
        subject = format!("{subject} {}", "and so on ".repeat(26));
    }
    row.set("subject", Value::text(subject.trim()));
    let body = if rng.chance(0.8) {
        "It was fine yesterday.\nPlease help."
    } else {
        ""
    };
    row.text(rng, "body", body);
    row.set("status", Value::text(pick(rng, &STATUSES)));
    row.set("priority", Value::text(pick(rng, &PRIORITIES)));
    row.set("type", Value::text(pick(rng, &KINDS)));
    row.set("source", Value::text(pick(rng, &SOURCES)));
    if !(mess && i % 30 == 11) {
        row.set(
            "due_at",
            Value::Time((now + rng.below(30) as i64 * DAY_MS) / 1000 * 1000),
        );
    }
    row.stamps(rng, false);
    row.done();
}

/// An opportunity.
pub(super) fn opportunity(w: &mut World, rng: &mut Rng, i: usize, accounts: &[i64], mess: bool) {
    if accounts.is_empty() {
        return;
    }
    let account = *rng.pick(accounts);
    let contact = contact_of(w, rng, account);
    let today = w.now().div_euclid(DAY_MS) * DAY_MS;
    let mut row = Writer::new(w, System::Crm, Entity::Opportunity);
    row.set("account_id", Value::Int(account));
    name_contact(&mut row, rng, contact);
    let title = if mess && i % 20 == 3 {
        format!("Office move {i} {}", "with everything in it ".repeat(6))
    } else {
        format!("Office move {i}")
    };
    row.set("title", Value::text(title.trim()));
    let described = rng.chance(0.5);
    let description = if described {
        "Twelve desks — and the cat."
    } else {
        ""
    };
    row.text(rng, "description", description);
    row.set("stage", Value::text(pick(rng, &STAGES)));
    row.set("status", Value::text(pick(rng, &DEALS)));
    // What Autotask insists on and people leave out.
    if !(mess && i % 12 == 5) {
        row.set(
            "amount",
            Value::Num(format!("{}.{:02}", 1_000 + rng.below(9_000_000), rng.below(100)).into()),
        );
    }
    if !(mess && i % 25 == 9) {
        row.set("probability", Value::Int(rng.below(11) as i64 * 10));
    }
    if rng.chance(0.3) {
        row.set("cost", Value::Num(format!("{}.5", rng.below(900)).into()));
    }
    row.set(
        "projected_close_date",
        Value::Time(today + rng.below(90) as i64 * DAY_MS),
    );
    row.stamps(rng, false);
    row.done();
}
