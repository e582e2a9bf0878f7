//! People: they create records, twins among them, and edit them.

use std::time::Duration;

use seamless_core::pipeline::Direction;
use seamless_core::{Fields, Value};

use super::hosts::Run;
use super::model::{ACCOUNT_FIELDS, OPPORTUNITY_FIELDS, TICKET_FIELDS, value_of};
use super::record::has_unique_key;
use super::rng::Rng;
use super::world::{Copied, Edit, World};

impl Run {
    /// The first records, and twins among them.
    pub(super) fn populate(&self, rng: &mut Rng) {
        let now = self.sim.now();
        for _ in 0..self.plan.records {
            self.new_account(rng, now);
        }
        for _ in 0..self.plan.records / 3 {
            self.new_contact(rng, now);
        }
        for _ in 0..self.plan.records / 3 {
            self.new_service_record(rng, now);
        }
    }

    pub(super) fn person(&self, rng: &mut Rng, now: Duration) {
        if self.plan.copies > 0 && rng.per_mille(self.plan.copies) {
            return self.copy(rng, now);
        }
        if self.plan.deletions > 0 && rng.per_mille(self.plan.deletions) {
            return self.delete(rng);
        }
        match rng.below(100) {
            0..8 => self.new_account(rng, now),
            8..14 => self.new_contact(rng, now),
            14..20 if self.has_service_records() => self.new_service_record(rng, now),
            _ => self.edit(rng, now),
        }
    }

    fn new_account(&self, rng: &mut Rng, now: Duration) {
        let mut world = self.world();
        world.next_edit += 1;
        let number = world.next_edit;
        let side = rng.below(2) as usize;
        let fields = |world: &mut World, rng: &mut Rng, side: usize| {
            let mut fields = Fields::from([
                (
                    "name".to_owned(),
                    Value::from(format!("MARKER name {number}").as_str()),
                ),
                ("postal".to_owned(), Value::from(format!("P{number}").as_str())),
            ]);
            for field in ["phone", "title", "note", "kind", "tier", "memo", "origin"] {
                if rng.per_mille(600) {
                    world.next_edit += 1;
                    fields.insert(
                        field.to_owned(),
                        value_of("account", field, side, world.next_edit, self.plan.few_values, rng),
                    );
                }
            }
            fields
        };
        let first = fields(&mut world, rng, side);
        let id = world.create(side, "account", first, now, &self.plan);
        self.sim.note(|| format!("person creates account {side}/{id}"));
        if rng.per_mille(self.plan.twins) {
            let other = if rng.per_mille(750) { 1 - side } else { side };
            let second = fields(&mut world, rng, other);
            let id = world.create(other, "account", second, now, &self.plan);
            self.sim
                .note(|| format!("person creates twin account {other}/{id}"));
            if other == side && rng.per_mille(600) {
                // Two here, one there: nobody may guess.
                let third = fields(&mut world, rng, 1 - side);
                let id = world.create(1 - side, "account", third, now, &self.plan);
                self.sim
                    .note(|| format!("person creates third account {}/{id}", 1 - side));
            }
        }
        if rng.per_mille(150) {
            let parent = pick(&world, side, "account", rng);
            if let Some(parent) = parent.filter(|parent| *parent != id) {
                let value = Value::from(parent.to_string().as_str());
                let edit = Edit {
                    entity: "account".into(),
                    id,
                    field: "parent".into(),
                    value,
                    stamp: now,
                    silent: false,
                };
                world.edit(side, edit, Duration::ZERO, &self.plan);
            }
        }
    }

    fn new_contact(&self, rng: &mut Rng, now: Duration) {
        let mut world = self.world();
        let side = rng.below(2) as usize;
        let Some(account) = pick(&world, side, "account", rng) else {
            return;
        };
        world.next_edit += 1;
        let number = world.next_edit;
        let fields = Fields::from([
            (
                "email".to_owned(),
                Value::from(format!("m{number}@x.test").as_str()),
            ),
            (
                "last".to_owned(),
                Value::from(format!("MARKER last {number}").as_str()),
            ),
            ("account".to_owned(), Value::from(account.to_string().as_str())),
            ("note".to_owned(), Value::from(format!("c{number}").as_str())),
        ]);
        let id = world.create(side, "contact", fields, now, &self.plan);
        self.sim
            .note(|| format!("person creates contact {side}/{id} of account {account}"));
    }

    /// "Copy" in a form takes the cross-reference along.
    fn copy(&self, rng: &mut Rng, now: Duration) {
        let mut world = self.world();
        let side = rng.below(2) as usize;
        let Some(original) = pick(&world, side, "account", rng) else {
            return;
        };
        world.next_edit += 1;
        let number = world.next_edit;
        let copied = &world.systems[side].tables["account"][&original];
        // Until a search shows what the original names, nobody can know of it.
        let shown = copied.found(now).and_then(|fields| fields.get("xref"));
        let is_shown = shown == copied.fields.get("xref");
        let mut fields = copied.fields.clone();
        for (field, value) in [
            ("name", format!("MARKER copy {number}")),
            ("postal", format!("P{number}")),
        ] {
            fields.insert(field.to_owned(), Value::from(value.as_str()));
        }
        if has_unique_key(&self.plan, side) {
            fields.remove("xref");
        }
        let named = fields.get("xref").and_then(Value::as_text).map(str::to_owned);
        let id = world.create(side, "account", fields, now, &self.plan);
        self.sim.note(|| {
            format!("person copies account {side}/{original} to {side}/{id}, which names {named:?}")
        });
        if let Some(named) = named.filter(|named| is_shown && !named.is_empty()) {
            world.copies.push(Copied { side, id, named });
        }
    }

    fn delete(&self, rng: &mut Rng) {
        let mut world = self.world();
        let side = rng.below(2) as usize;
        let entity = *rng
            .pick(&["account", "contact", "ticket", "opportunity"])
            .unwrap_or(&"account");
        // What has just been made, and lost its answer, cannot be told from what was never made. And a ticket that names a contact who is gone
        // waits for a person.
        let may_be_named = entity == "contact" && self.plan.tickets.is_some();
        if may_be_named || world.is_made(side, entity) {
            return;
        }
        if let Some(id) = pick(&world, side, entity, rng) {
            world.delete(side, entity, id);
            self.sim.note(|| format!("person deletes {entity} {side}/{id}"));
        }
    }

    fn has_service_records(&self) -> bool {
        self.plan.tickets.is_some() || self.plan.opportunities.is_some()
    }

    fn service_entity(&self, rng: &mut Rng) -> &'static str {
        match (self.plan.tickets, self.plan.opportunities) {
            (Some(_), Some(_)) if rng.per_mille(500) => "ticket",
            (Some(_), None) => "ticket",
            _ => "opportunity",
        }
    }

    fn one_way(&self, entity: &str) -> bool {
        let direction = match entity {
            "ticket" => self.plan.tickets,
            "opportunity" => self.plan.opportunities,
            _ => None,
        };
        direction == Some(Direction::BToA)
    }

    /// A ticket or an opportunity of an account, for a contact now and then.
    fn new_service_record(&self, rng: &mut Rng, now: Duration) {
        if !self.has_service_records() {
            return;
        }
        let entity = self.service_entity(rng);
        let mut world = self.world();
        let side = rng.below(2) as usize;
        // Where it flows one way only, what is made on the far side stays there.
        let side = if self.one_way(entity) && rng.per_mille(900) {
            1
        } else {
            side
        };
        world.next_edit += 1;
        let title = format!("MARKER {entity} {}", world.next_edit);
        let contact = pick(&world, side, "contact", rng).filter(|_| !title.ends_with(NOBODYS));
        let held = |id: &u64, field: &str| {
            world.systems[side].tables["contact"][id]
                .fields
                .get(field)
                .cloned()
        };
        let account = match &contact {
            Some(contact) => held(contact, "account"),
            None => pick(&world, side, "account", rng).map(|id| Value::from(id.to_string().as_str())),
        };
        let Some(account) = account else { return };
        let mut fields = Fields::from([("account".to_owned(), account)]);
        if let (Some(contact), "ticket") = (contact, entity) {
            if side == 1 && rng.per_mille(500) {
                fields.extend(held(&contact, "email").map(|email| ("contact_email".to_owned(), email)));
            } else {
                fields.insert("contact".to_owned(), Value::from(contact.to_string().as_str()));
            }
        }
        fields.insert("title".to_owned(), Value::from(title.as_str()));
        let own: &[&str] = match entity {
            "ticket" => &["status", "note"],
            _ => &["stage", "amount", "closes", "note"],
        };
        for field in own {
            // The first system's forms insist on what it requires; the second's do not.
            let filled = (side == 0 && *field != "note") || rng.per_mille(750);
            if filled {
                world.next_edit += 1;
                let value = value_of(entity, field, side, world.next_edit, self.plan.few_values, rng);
                fields.insert((*field).to_owned(), value);
            }
        }
        if side == 0 && entity == "opportunity" {
            fields.insert("cost".to_owned(), Value::Decimal(Default::default()));
            fields.extend(
                fields
                    .get("closes")
                    .cloned()
                    .map(|date| ("starts".to_owned(), date)),
            );
        }
        let id = world.create(side, entity, fields, now, &self.plan);
        self.sim.note(|| format!("person creates {entity} {side}/{id}"));
    }

    fn edit(&self, rng: &mut Rng, now: Duration) {
        let mut world = self.world();
        let side = rng.below(2) as usize;
        let entity = match () {
            () if self.has_service_records() && rng.per_mille(450) => self.service_entity(rng),
            () if rng.per_mille(250) => "contact",
            () => "account",
        };
        // What is typed over on the far side of a one-way sync stays, or is overwritten: some do it all the same.
        let side = if self.one_way(entity) && rng.per_mille(800) {
            1
        } else {
            side
        };
        let Some(id) = pick(&world, side, entity, rng) else {
            return;
        };
        let field = if self.plan.clear_xrefs && rng.per_mille(60) {
            "xref"
        } else {
            let fields = match entity {
                "contact" => &["note"],
                "ticket" => TICKET_FIELDS,
                "opportunity" => OPPORTUNITY_FIELDS,
                _ => ACCOUNT_FIELDS,
            };
            rng.pick(fields).copied().unwrap_or("note")
        };
        // One way: what is typed over on the other side stays as it is typed, and is nobody's edit.
        let side = if field == "origin" { 0 } else { side };
        let id = match field {
            "origin" => match pick(&world, side, entity, rng) {
                Some(id) => id,
                None => return,
            },
            _ => id,
        };
        if world.has_vanished(side, entity, field) {
            return;
        }
        if field == "xref" && side == 1 && self.plan.second_unordered && !is_named(&world, 0, entity, id) {
            // Without order among its ids, a record whose create is in doubt cannot be told from a new one once its cross-reference is gone.
            return;
        }
        world.next_edit += 1;
        let number = world.next_edit;
        let value = if field == "xref" {
            Value::Null
        } else if field == "account" {
            match moves_to(&world, side, id, rng) {
                Some(account) => account,
                None => return,
            }
        } else if rng.per_mille(250) {
            // Back to something it held before.
            let record = world.systems[side]
                .tables
                .get(entity)
                .and_then(|table| table.get(&id));
            let earlier: Vec<Value> = record
                .into_iter()
                .flat_map(|record| &record.history)
                .filter(|change| change.field == field)
                .map(|change| change.value.clone())
                .collect();
            rng.pick(&earlier)
                .cloned()
                .unwrap_or_else(|| value_of(entity, field, side, number, self.plan.few_values, rng))
        } else {
            value_of(entity, field, side, number, self.plan.few_values, rng)
        };
        let silent = self.plan.reconciled && rng.per_mille(200);
        let delay = Duration::from_micros(rng.below(self.plan.commit_delay_max.as_micros() as u64 + 1));
        self.sim.note(|| {
            format!(
                "person edits {entity} {side}/{id} {field}={}",
                value.to_plain().unwrap_or_default()
            )
        });
        let edit = Edit {
            entity: entity.to_owned(),
            id,
            field: field.to_owned(),
            value,
            stamp: now,
            silent,
        };
        world.edit(side, edit, delay, &self.plan);
    }
}

/// Whether a record of a system carries a cross-reference to `id`.
fn is_named(world: &World, system: usize, entity: &str, id: u64) -> bool {
    let id = Value::Text(id.to_string());
    let mut records = world.records(system, entity);
    records.any(|(_, record)| record.fields.get("xref") == Some(&id))
}

/// The account that a ticket is moved to. One that may be somebody's stays where that person is.
fn moves_to(world: &World, side: usize, id: u64, rng: &mut Rng) -> Option<Value> {
    let ticket = world.systems[side].tables.get("ticket")?.get(&id)?;
    let title = ticket.fields.get("title")?.as_text()?.to_owned();
    let account = pick(world, side, "account", rng).filter(|_| title.ends_with(NOBODYS))?;
    Some(Value::from(account.to_string().as_str()))
}

/// Tickets whose titles end so never have a contact.
const NOBODYS: [char; 5] = ['0', '2', '4', '6', '8'];

fn pick(world: &World, side: usize, entity: &str, rng: &mut Rng) -> Option<u64> {
    let ids: Vec<u64> = world.records(side, entity).map(|(id, _)| *id).collect();
    rng.pick(&ids).copied()
}
