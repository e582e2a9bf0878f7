//! People: they create records, twins among them, and edit them.

use std::time::Duration;

use seamless_core::{Fields, Value};

use super::hosts::Run;
use super::model::value_of;
use super::rng::Rng;
use super::world::{Edit, World};

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
    }

    pub(super) fn person(&self, rng: &mut Rng, now: Duration) {
        match rng.below(100) {
            0..8 => self.new_account(rng, now),
            8..14 => self.new_contact(rng, now),
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
                        value_of(field, side, world.next_edit, self.plan.few_values, rng),
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

    fn edit(&self, rng: &mut Rng, now: Duration) {
        let mut world = self.world();
        let side = rng.below(2) as usize;
        let entity = if rng.per_mille(250) { "contact" } else { "account" };
        let Some(id) = pick(&world, side, entity, rng) else {
            return;
        };
        let field = if self.plan.clear_xrefs && rng.per_mille(60) {
            "xref"
        } else if entity == "contact" {
            "note"
        } else {
            rng.pick(&[
                "phone", "title", "note", "note", "kind", "title", "tier", "memo", "origin",
            ])
            .copied()
            .unwrap_or("note")
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
        world.next_edit += 1;
        let number = world.next_edit;
        let value = if field == "xref" {
            Value::Null
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
                .unwrap_or_else(|| value_of(field, side, number, self.plan.few_values, rng))
        } else {
            value_of(field, side, number, self.plan.few_values, rng)
        };
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
        };
        world.edit(side, edit, delay, &self.plan);
    }
}

fn pick(world: &World, side: usize, entity: &str, rng: &mut Rng) -> Option<u64> {
    let ids: Vec<u64> = world.records(side, entity).map(|(id, _)| *id).collect();
    rng.pick(&ids).copied()
}
