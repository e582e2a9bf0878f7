//! Judging each change as it happens: twins and echoes are seen at the moment of the write, not afterwards.

use super::{Edit, Finding, Fit, Twin};
use crate::schema::READ_ONLY;
use crate::store::Rec;
use crate::value::Value;
use crate::world::{Changes, World};
use crate::{Entity, System};

/// A person's edit this recent may have landed between the sync's read and its write.
const OPEN_WINDOW_MS: i64 = 5_000;

impl World {
    /// The record of the other system which this one is paired with, through either cross-reference.
    pub(crate) fn counterpart(&self, system: System, entity: Entity, id: i64) -> Option<i64> {
        let other = system.other();
        if !Entity::SYNCED.contains(&entity) {
            return None;
        }
        let (here, there) = (self.table(system, entity), self.table(other, entity));
        let rec = here.get(id)?;
        let named = |table: &crate::store::Table, rec: &Rec, target: System| {
            let text = rec.get(table.schema.xref?).clone();
            if text.is_blank() {
                None
            } else {
                Some(Self::parse_xref(target, entity, text.as_str()))
            }
        };
        let mine = named(here, rec, other);
        if let Some(target) = mine {
            let target = there.get(target?)?;
            // A cross-reference which the other side contradicts is a copy somebody made: no pair.
            return match named(there, target, system) {
                None => Some(target.id),
                Some(back) => (back == Some(id)).then_some(target.id),
            };
        }
        let spelled = Value::text(&Self::spell_id(system, entity, id));
        let mut naming = there
            .by_key(there.schema.xref?, &spelled)
            .iter()
            .copied()
            .filter(|o| {
                let exact = |r: &Rec| {
                    there
                        .schema
                        .xref
                        .is_some_and(|x| r.get(x).as_str() == spelled.as_str())
                };
                there.get(*o).is_some_and(exact)
            });
        match (naming.next(), naming.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    fn parse_xref(target: System, entity: Entity, text: &str) -> Option<i64> {
        match target {
            System::Autotask => text.parse::<i64>().ok().filter(|n| n.to_string() == text),
            System::Crm => crate::crm::fields::parse_id(entity, text),
        }
    }

    /// An id as text, the way the other side's cross-reference holds it.
    pub(crate) fn spell_id(system: System, entity: Entity, id: i64) -> String {
        match system {
            System::Autotask => id.to_string(),
            System::Crm => crate::crm::fields::format_id(entity, id),
        }
    }

    fn stored(&self, system: System, entity: Entity, id: i64, field: u16) -> Value {
        self.table(system, entity)
            .get(id)
            .map_or(Value::Null, |r| r.get(field).clone())
    }

    /// Puts a person's edit into the log.
    #[allow(clippy::too_many_arguments)] // one row of the log, written in one place
    pub(crate) fn note_edit(
        &mut self,
        system: System,
        entity: Entity,
        id: i64,
        field: u16,
        old: Value,
        new: Value,
        label: &str,
        seq: u64,
    ) {
        let synced = self.truth.of(system, entity, field).and_then(|c| {
            let other = self.counterpart(system, entity, id)?;
            let image = self.stored(system.other(), entity, other, c.field(system.other()));
            (c.fit(system, &new, &image) == Fit::Equal).then_some(seq)
        });
        let at_ms = self.now();
        let index = self.truth.edits.len();
        self.truth.last.insert((system, entity, id, field), index);
        let label = label.to_owned();
        self.truth.edits.push(Edit {
            seq,
            at_ms,
            system,
            entity,
            id,
            field,
            old,
            new,
            label,
            synced,
            overtaken: false,
        });
    }

    /// Marks the other side's open edits as carried over, where this write brought their value here.
    pub(crate) fn mark_synced(&mut self, system: System, entity: Entity, id: i64, changes: &Changes) {
        let Some(other) = self.counterpart(system, entity, id) else {
            return;
        };
        let seq = self.seq;
        let from = system.other();
        for (field, value) in changes {
            let Some(c) = self.truth.of(system, entity, *field) else {
                continue;
            };
            let Some(index) = self
                .truth
                .last
                .get(&(from, entity, other, c.field(from)))
                .copied()
            else {
                continue;
            };
            let edit = &self.truth.edits[index];
            let arrives = c.fit(from, &edit.new, value) == Fit::Equal;
            self.truth.edits[index].synced = match edit.synced {
                None if arrives => Some(seq),
                // An older value arrives after it: it has to be carried over again.
                Some(_) if !arrives => None,
                synced => synced,
            };
        }
    }

    /// Looks for a twin of a record that an API call has just created.
    pub(crate) fn judge_create(&mut self, system: System, entity: Entity, id: i64) {
        let changes: Changes = match self.table(system, entity).get(id) {
            Some(rec) => rec.values().map(|(f, v)| (f, v.clone())).collect(),
            None => return,
        };
        self.mark_synced(system, entity, id, &changes);
        let table = self.table(system, entity);
        let (indexed, rest): (&str, &[&str]) = match (system, entity) {
            (System::Autotask, Entity::Account) => ("companyName", &["postalCode"]),
            (System::Crm, Entity::Account) => ("name", &["zip"]),
            (System::Autotask, Entity::Contact) => ("emailAddress", &["companyID", "firstName", "lastName"]),
            (System::Crm, Entity::Contact) => ("email", &["account_id", "first_name", "last_name"]),
            _ => return,
        };
        let fields: Option<Vec<u16>> = std::iter::once(&indexed)
            .chain(rest)
            .map(|n| table.schema.find(n))
            .collect();
        let Some(fields) = fields else { return };
        let key = |rec: &Rec| -> Option<Vec<String>> {
            let part = |f: &u16| match rec.get(*f) {
                Value::Int(n) => n.to_string(),
                other => other.as_str().trim().to_lowercase(),
            };
            let parts: Vec<String> = fields.iter().map(part).collect();
            // Names may be blank; the matching fields themselves never match when blank.
            (!parts[0].is_empty() && !parts[1].is_empty()).then_some(parts)
        };
        let Some(rec) = table.get(id) else { return };
        let Some(mine) = key(rec) else { return };
        let same = |other: &i64| *other != id && table.get(*other).and_then(key).as_ref() == Some(&mine);
        let twin = table
            .by_key(fields[0], rec.get(fields[0]))
            .iter()
            .copied()
            .find(same);
        if let Some(other) = twin {
            self.truth.twins.push(Twin {
                system,
                entity,
                id,
                other,
            });
        }
    }

    /// Judges an API update before it is applied.
    pub(crate) fn judge_update(
        &mut self,
        system: System,
        entity: Entity,
        id: i64,
        changes: &Changes,
        late: bool,
    ) {
        let table = self.table(system, entity);
        let Some(rec) = table.get(id) else { return };
        let data: Vec<&(u16, Value)> = changes
            .iter()
            .filter(|(f, _)| Some(*f) != table.schema.xref && !table.schema.field(*f).is(READ_ONLY))
            .collect();
        if data.is_empty() || late {
            return;
        }
        let names: Vec<String> = data
            .iter()
            .map(|(f, _)| table.schema.name(*f).to_owned())
            .collect();
        let overtaken: Vec<usize> = data
            .iter()
            .filter_map(|(f, v)| self.overtaken(system, entity, id, *f, rec.get(*f), v))
            .collect();
        let moves_xref = changes
            .iter()
            .any(|(f, v)| Some(*f) == table.schema.xref && !rec.get(*f).identical(v));
        let unchanged = !moves_xref && data.iter().all(|(f, v)| rec.get(*f).identical(v));
        let put_back = data
            .iter()
            .find(|(f, v)| self.puts_back(system, entity, id, *f, rec.get(*f), v))
            .map(|(f, _)| table.schema.name(*f).to_owned());
        let now = self.now();
        let recent = |f: &u16| {
            let last = self.truth.last.get(&(system, entity, id, *f));
            last.is_some_and(|i| now - self.truth.edits[*i].at_ms < OPEN_WINDOW_MS)
        };
        let is_recent = data.iter().any(|(f, _)| recent(f));
        for index in overtaken {
            self.truth.edits[index].overtaken = true;
        }
        let sentence = if unchanged {
            if is_recent {
                self.truth.excused += 1;
                return;
            }
            "a write whose every value was there already".to_owned()
        } else {
            let Some(field) = put_back else { return };
            format!(
                "a person's edit of {field} was overwritten here, although nobody edited it on the other side"
            )
        };
        let finding = Finding {
            system,
            entity,
            id: Self::id_json(system, entity, id),
            fields: names,
            other: None,
            label: self.label_of(system, entity, id),
            sentence,
        };
        self.truth.echoes.push(finding);
    }

    /// The standing edit that a write is about to replace, if its sender cannot have known it: the record was not shown since, but shortly
    /// before, and there is no compare-and-set.
    fn overtaken(
        &self,
        system: System,
        entity: Entity,
        id: i64,
        field: u16,
        stored: &Value,
        new: &Value,
    ) -> Option<usize> {
        let index = self.replaced_edit(system, entity, id, field, stored, new)?;
        let (shown, edit) = (self.calls.last_shown(entity, id)?, &self.truth.edits[index]);
        let in_window = shown <= edit.at_ms && self.now() - shown < OPEN_WINDOW_MS;
        (system == System::Autotask && in_window).then_some(index)
    }

    /// The standing edit of a person that a write is about to replace.
    fn replaced_edit(
        &self,
        system: System,
        entity: Entity,
        id: i64,
        field: u16,
        stored: &Value,
        new: &Value,
    ) -> Option<usize> {
        let index = *self.truth.last.get(&(system, entity, id, field))?;
        let stands = stored.same(&self.truth.edits[index].new);
        (stands && !stored.same(new)).then_some(index)
    }

    /// Whether a write undoes a person's standing edit without any counter-edit on the other side.
    fn puts_back(
        &self,
        system: System,
        entity: Entity,
        id: i64,
        field: u16,
        stored: &Value,
        new: &Value,
    ) -> bool {
        let Some(c) = self.truth.of(system, entity, field) else {
            return false;
        };
        let Some(index) = self.replaced_edit(system, entity, id, field, stored, new) else {
            return false;
        };
        let edit = &self.truth.edits[index];
        let Some(other) = self.counterpart(system, entity, id) else {
            return false;
        };
        // Before the pair existed an edit was part of the first merge, which the owner wins.
        if self
            .linked_since(system, entity, id, other)
            .is_some_and(|linked| edit.seq < linked)
        {
            return false;
        }
        let counter = self
            .truth
            .last
            .get(&(system.other(), entity, other, c.field(system.other())));
        !counter.is_some_and(|i| {
            let there = &self.truth.edits[*i];
            there.seq > edit.seq || there.synced.is_none_or(|s| s > edit.seq)
        })
    }

    /// When a matched pair was linked; `None` for a pair whose one half was created as a copy of the other.
    pub(crate) fn linked_since(&self, system: System, entity: Entity, id: i64, other: i64) -> Option<u64> {
        let here = self.table(system, entity).get(id)?;
        let there = self.table(system.other(), entity).get(other)?;
        if here.copy || there.copy {
            return None;
        }
        [here.xref_seq, there.xref_seq]
            .into_iter()
            .filter(|s| *s > 0)
            .min()
    }

    /// The label of the last person who touched a record.
    pub(crate) fn label_of(&self, system: System, entity: Entity, id: i64) -> String {
        let last = |e: &&Edit| e.system == system && e.entity == entity && e.id == id;
        self.truth
            .edits
            .iter()
            .rev()
            .find(last)
            .map(|e| e.label.clone())
            .unwrap_or_default()
    }
}
