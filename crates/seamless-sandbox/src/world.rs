//! The whole state of a sandbox behind one lock, and the few ways in which it changes.

use serde_json::{Map, Value as Json, json};

use crate::at::hooks::{Action, Hooks};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::config::Config;
use crate::faults::{Call, Fault, Faults};
use crate::limits::Limits;
use crate::rng::Rng;
use crate::schema::{Kind, UDF};
use crate::store::{Rec, Table};
use crate::truth::Truth;
use crate::value::{Style, Value};
use crate::{Entity, System, at, crm};

/// Changes to one record.
pub(crate) type Changes = Vec<(u16, Value)>;

/// Whose hand changes a record, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand<'a> {
    /// What to call the edit.
    pub(crate) label: &'a str,
    /// The change stamp stays as it is: an import, a repair in the database, a field that is not tracked.
    pub(crate) quiet: bool,
}

/// Everything the servers share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) calls: Calls,
    pub(crate) truth: Truth,
    /// Callouts of Autotask, and their events.
    pub(crate) hooks: Hooks,
    /// Counts every change to data, by anybody.
    pub(crate) seq: u64,
    /// 1 at first; moves on when the tenant is moved to another zone.
    pub(crate) zone: u32,
    /// Port of the Autotask listener, for URLs in replies.
    pub(crate) autotask_port: u16,
    /// Port of another origin, to which a next page may lead.
    pub(crate) foreign_port: u16,
    pub(crate) error_id: u64,
    pub(crate) bad_secrets: u32,
    at: Vec<Table>,
    crm: Vec<Table>,
}

impl World {
    pub(crate) fn new(config: Config, clock: Clock) -> Self {
        let at = at::tables::build(&config);
        let crm = crm::fields::build();
        let truth = Truth::new(&at, &crm);
        let mut world = Self {
            clock,
            rng: Rng::new(config.seed),
            faults: config.faults.clone(),
            limits: Limits::default(),
            calls: Calls::default(),
            truth,
            hooks: Hooks::default(),
            seq: 0,
            zone: 1,
            autotask_port: 0,
            foreign_port: 0,
            error_id: 1165,
            bad_secrets: 0,
            at,
            crm,
            config,
        };
        crate::seed::fill(&mut world);
        world
    }

    /// The CRM has no countries or resources of its own: asking for them gives its accounts' table,
    /// which no route does.
    pub(crate) fn table(&self, system: System, entity: Entity) -> &Table {
        match system {
            System::Autotask => &self.at[entity as usize],
            System::Crm => &self.crm[(entity as usize) % self.crm.len()],
        }
    }

    pub(crate) fn table_mut(&mut self, system: System, entity: Entity) -> &mut Table {
        match system {
            System::Autotask => &mut self.at[entity as usize],
            System::Crm => {
                let n = self.crm.len();
                &mut self.crm[(entity as usize) % n]
            }
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Whether the chosen fault strikes this call; a copy of its settings if so.
    pub(crate) fn strike(&mut self, call: &Call<'_>, which: fn(&mut Faults) -> &mut Fault) -> Option<Fault> {
        let fault = which(&mut self.faults);
        fault.strikes(&mut self.rng, call).then(|| fault.clone())
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Lets time pass for queries: what was hidden until now is seen.
    pub(crate) fn lift_veils(&mut self) {
        let now = self.now();
        for table in self.at.iter_mut().chain(&mut self.crm) {
            table.lift_veils(now);
        }
    }

    fn touch(&mut self, system: System, entity: Entity, id: i64, now: i64, modified: bool) {
        let table = self.table_mut(system, entity);
        let (m, a, v) = (table.schema.modified, table.schema.activity, table.schema.version);
        if let (Some(field), true) = (m, modified) {
            table.set(id, field, Value::Time(now));
        }
        let moves = entity != Entity::Opportunity || self.config.opportunity_edits_move_activity;
        let table = self.table_mut(system, entity);
        if let (Some(field), System::Autotask, true) = (a, system, moves) {
            // Activity stamps are whole seconds while modified stamps carry milliseconds.
            table.set(id, field, Value::Time(now.div_euclid(1000) * 1000));
        }
        if let Some(field) = v {
            let version = table.get(id).and_then(|r| r.get(field).as_int()).unwrap_or(0);
            table.set(id, field, Value::Int(version + 1));
        }
    }

    fn lag(&mut self, system: System, entity: Entity, write: bool) -> Option<i64> {
        let path = format!("/{}", self.table(system, entity).schema.collection);
        let call = Call {
            system,
            method: "",
            path: &path,
            write,
        };
        let fault = self.strike(&call, |f| &mut f.search_lag)?;
        Some(self.now() + fault.delay_ms as i64)
    }

    /// Creates a record on behalf of an API call (`by_api`) or a person.
    pub(crate) fn create(&mut self, system: System, entity: Entity, changes: Changes, by_api: bool) -> i64 {
        let (now, seq) = (self.now(), self.next_seq());
        let hidden_until = self.lag(system, entity, true);
        let table = self.table_mut(system, entity);
        let id = table.take_id();
        let mut rec = Rec::new(id);
        for (field, value) in changes {
            rec.set(field, value);
        }
        if let Some(field) = table.schema.find("id") {
            rec.set(field, Value::Int(id));
        }
        if let Some(field) = table.schema.created {
            rec.set(field, Value::Time(now));
        }
        rec.api_created = by_api;
        rec.created_seq = seq;
        if table.schema.xref.is_some_and(|x| !rec.get(x).is_blank()) {
            rec.xref_seq = seq;
            rec.copy = by_api;
        }
        table.insert(rec);
        self.touch(system, entity, id, now, true);
        self.single_primary(system, entity, id, now);
        if let Some(until) = hidden_until {
            self.table_mut(system, entity).hide(id, until);
        }
        if by_api {
            self.judge_create(system, entity, id);
        }
        if system == System::Autotask {
            let set: Vec<u16> = self
                .table(system, entity)
                .get(id)
                .map(|rec| rec.values().map(|(field, _)| field).collect())
                .unwrap_or_default();
            self.cause_events(entity, id, Action::Create, &set, by_api);
        }
        id
    }

    /// Changes a record on behalf of an API call; returns the fields whose value really changed.
    /// `late` marks a ghost write: its sender could not know what stands there by now.
    pub(crate) fn api_update(
        &mut self,
        system: System,
        entity: Entity,
        id: i64,
        changes: &Changes,
        late: bool,
    ) -> Vec<u16> {
        let (now, seq) = (self.now(), self.next_seq());
        self.judge_update(system, entity, id, changes, late);
        let xref = self.table(system, entity).schema.xref;
        let lag_until = xref
            .filter(|x| changes.iter().any(|(f, _)| f == x))
            .and_then(|_| self.lag(system, entity, true));
        let path = format!("/{}", self.table(system, entity).schema.collection);
        let call = Call {
            system,
            method: "RULE",
            path: &path,
            write: true,
        };
        let undone = self.strike(&call, |f| &mut f.undone_write).is_some();
        let table = self.table_mut(system, entity);
        table.flush_late(id);
        let mut undo = Vec::new();
        let mut changed = Vec::new();
        let mut only_udfs = !changes.is_empty();
        for (field, value) in changes {
            only_udfs &= table.schema.field(*field).is(UDF);
            let old = table.set(id, *field, value.clone());
            if old.identical(value) && old == *value {
                continue;
            }
            changed.push(*field);
            if Some(*field) != xref && undone {
                undo.push((*field, old.clone()));
            }
            if Some(*field) == xref {
                if let Some(rec) = table.meta(id) {
                    rec.xref_seq = if value.is_blank() { 0 } else { seq };
                }
                if let Some(until) = lag_until {
                    table.veil_field(id, *field, old, until);
                }
            }
        }
        let modified = !only_udfs || self.config.udf_moves_stamp;
        self.touch(system, entity, id, now, modified);
        self.single_primary(system, entity, id, now);
        self.mark_synced(system, entity, id, changes);
        for (field, old) in undo {
            self.table_mut(system, entity).set(id, field, old);
        }
        if system == System::Autotask && !changed.is_empty() {
            self.cause_events(entity, id, Action::Update, &changed, true);
        }
        changed
    }

    /// A person changes a record in the system's own screens: nothing is validated, the stamps move, unless it is done quietly.
    pub(crate) fn person_edit(
        &mut self,
        system: System,
        entity: Entity,
        id: i64,
        changes: &Changes,
        hand: &Hand<'_>,
    ) -> bool {
        let Some(before) = self.table(system, entity).get(id).cloned() else {
            return false;
        };
        let now = self.now();
        let xref = self.table(system, entity).schema.xref;
        for (field, value) in changes {
            let seq = self.next_seq();
            let old = self.table_mut(system, entity).set(id, *field, value.clone());
            if Some(*field) == xref {
                if let Some(rec) = self.table_mut(system, entity).meta(id) {
                    rec.xref_seq = if value.is_blank() { 0 } else { seq };
                }
            } else if !old.identical(value) {
                self.note_edit(system, entity, id, *field, old, value.clone(), hand.label, seq);
            }
        }
        self.touch(system, entity, id, now, !hand.quiet);
        self.single_primary(system, entity, id, now);
        let path = format!("/{}", self.table(system, entity).schema.collection);
        let call = Call {
            system,
            method: "EDIT",
            path: &path,
            write: true,
        };
        if let Some(fault) = self.strike(&call, |f| &mut f.late_stamps) {
            self.table_mut(system, entity)
                .veil_record(before, now + fault.delay_ms as i64);
        }
        if system == System::Autotask && !hand.quiet {
            let changed: Vec<u16> = changes.iter().map(|(field, _)| *field).collect();
            self.cause_events(entity, id, Action::Update, &changed, false);
        }
        true
    }

    /// Removes a record on behalf of an API call (`by_api`) or a person; false when there is none.
    pub(crate) fn delete(&mut self, system: System, entity: Entity, id: i64, by_api: bool) -> bool {
        let removed = self.table_mut(system, entity).remove(id).is_some();
        if removed && system == System::Autotask {
            self.cause_events(entity, id, Action::Delete, &[], by_api);
        }
        removed
    }

    /// Setting one primary contact clears the previous one of the same account, in either system's way.
    fn single_primary(&mut self, system: System, entity: Entity, id: i64, now: i64) {
        if entity != Entity::Contact || system != System::Autotask {
            return;
        }
        let table = self.table(system, entity);
        let (Some(primary), Some(parent)) = (
            table.schema.find("primaryContact"),
            table.schema.find("companyID"),
        ) else {
            return;
        };
        let Some(rec) = table.get(id) else { return };
        if *rec.get(primary) != Value::Bool(true) {
            return;
        }
        let siblings = table.by_key(parent, rec.get(parent)).iter().copied();
        let others: Vec<i64> = siblings
            .filter(|other| *other != id)
            .filter(|other| {
                table
                    .get(*other)
                    .is_some_and(|r| *r.get(primary) == Value::Bool(true))
            })
            .collect();
        for other in others {
            self.table_mut(system, entity)
                .set(other, primary, Value::Bool(false));
            self.touch(system, entity, other, now, true);
        }
    }

    /// An id as the system itself spells it.
    pub(crate) fn id_json(system: System, entity: Entity, id: i64) -> Json {
        match system {
            System::Autotask => Json::from(id),
            System::Crm => Json::from(crm::fields::format_id(entity, id)),
        }
    }

    /// Reads an id given as number or text in either spelling.
    pub(crate) fn parse_id(system: System, entity: Entity, json: &Json) -> Option<i64> {
        match (system, json) {
            (_, Json::Number(n)) => n.as_i64(),
            (System::Crm, Json::String(s)) => crm::fields::parse_id(entity, s).or_else(|| s.parse().ok()),
            (System::Autotask, Json::String(s)) => s.parse().ok(),
            _ => None,
        }
    }

    /// A value as the system itself shows it (CRM references are string ids).
    pub(crate) fn value_json(&self, system: System, entity: Entity, field: u16, value: &Value) -> Json {
        let def = self.table(system, entity).schema.field(field);
        match (system, value) {
            (System::Crm, Value::Int(n)) if !def.refers.is_empty() => crm::fields::entity_named(def.refers)
                .map_or(Json::Null, |e| Json::from(crm::fields::format_id(e, *n))),
            (System::Crm, _) => value.to_json(def.kind, Style::Crm),
            (System::Autotask, _) => value.to_json(def.kind, Style::Autotask),
        }
    }

    /// Reads a person's value for a field.
    pub(crate) fn value_lenient(&self, system: System, entity: Entity, field: u16, json: &Json) -> Value {
        let def = self.table(system, entity).schema.field(field);
        if let (System::Crm, Some(target), Json::String(s)) =
            (system, crm::fields::entity_named(def.refers), json)
        {
            return crm::fields::parse_id(target, s).map_or(Value::Null, Value::Int);
        }
        Value::lenient(def.kind, json)
    }

    /// The stored record, every field by its native name, for the admin interface.
    pub(crate) fn dump(&self, system: System, entity: Entity, rec: &Rec) -> Json {
        let schema = &self.table(system, entity).schema;
        let mut fields = Map::new();
        for (i, field) in schema.fields.iter().enumerate() {
            let i = i as u16;
            let mut shown = self.value_json(system, entity, i, rec.get(i));
            if field.kind == Kind::Long && field.name == "id" {
                shown = Self::id_json(system, entity, rec.id);
            }
            fields.insert(field.name.clone(), shown);
        }
        json!({
            "system": system, "entity": entity, "id": Self::id_json(system, entity, rec.id),
            "xref": schema.xref.map(|x| rec.get(x).as_str()).filter(|s| !s.is_empty()),
            "api_created": rec.api_created, "fields": fields,
        })
    }
}
