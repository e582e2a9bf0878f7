//! The two simulated systems, with a history of everything that people and the engine did to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seamless_core::pipeline::RecordKey;
use seamless_core::{
    Effect, Error, ErrorKind, Event, Fields, Nudge, RecordId, Result, SyncId, Value, WriteAction,
};

use super::asked::Answered;
use super::checks::Violation;
use super::model::required_there;
use super::plan::Plan;
use super::record::{
    Change, Record, STALE_READ_MAX, as_kept, floor, has_unique_key, in_capitals, moment, numbers, read_at,
    version_of,
};

/// Both systems.
#[derive(Clone)]
pub(super) struct World {
    pub(super) systems: [System; 2],
    pub(super) violation: Option<Violation>,
    /// Edits that the engine overwrote although it could not see them (R7's open window).
    pub(super) open_window: u64,
    pub(super) next_edit: u64,
    /// When intents were open, by the store's own commits.
    pub(super) intents: Vec<OpenIntent>,
    /// When the store went back to an earlier state: what nobody remembers is decided as at a first link.
    pub(super) forgotten: Option<Duration>,
    /// Accounts that people copied.
    pub(super) copies: Vec<Copied>,
    /// Conflicts that a person decided.
    pub(super) answers: Vec<Answered>,
    /// Pairs that a person took apart once, by sync and both ids: when they meet again, first-merge rules decide on every field.
    pub(super) apart: BTreeSet<(SyncId, RecordId, RecordId)>,
    /// The first system has closed an option.
    pub(super) option_closed: bool,
    /// The field that accounts of a system come without for the time being.
    pub(super) vanished: Option<(usize, &'static str)>,
    /// What the systems have to say of changes.
    pub(super) nudges: Vec<(usize, Nudge)>,
    /// Since when those who watch know a field of a record, by the store's own commits: system/entity/id, field.
    pub(super) known: BTreeMap<(String, String), Duration>,
    /// What the receiver of events was told, or refused to hear.
    pub(super) told: Vec<Event>,
}

/// A copy that a person made of an account, and whom its cross-reference named.
#[derive(Clone)]
pub(super) struct Copied {
    pub(super) side: usize,
    pub(super) id: u64,
    pub(super) named: String,
}

/// The life of an intent: what a person edits meanwhile is R7's window or R8's named conflict.
#[derive(Clone, Debug)]
pub(super) struct OpenIntent {
    pub(super) key: String,
    pub(super) source: RecordKey,
    pub(super) target: Option<RecordId>,
    pub(super) fields: Vec<String>,
    pub(super) from: Duration,
    pub(super) to: Option<Duration>,
}

/// One system: the first is Autotask-like (rising numbers, order by id, no compare-and-set), the second a CRM.
#[derive(Clone)]
pub(super) struct System {
    pub(super) tables: BTreeMap<String, BTreeMap<u64, Record>>,
    /// What people deleted.
    gone: BTreeMap<String, BTreeMap<u64, Record>>,
    pub(super) next_id: u64,
    pub(super) writes: u64,
    /// Ghosts: calls that land later.
    pub(super) ghosts: Vec<(Duration, Landing)>,
    /// People's edits that are committed later, with their earlier stamp.
    late: Vec<(Duration, Edit)>,
}

/// A call that is under way.
#[derive(Clone)]
pub(super) struct Landing {
    pub(super) entity: String,
    pub(super) action: WriteAction,
    pub(super) sent: Duration,
}

/// A person's edit of one field.
#[derive(Clone)]
pub(super) struct Edit {
    pub(super) entity: String,
    pub(super) id: u64,
    pub(super) field: String,
    pub(super) value: Value,
    /// When it was made; it may land later.
    pub(super) stamp: Duration,
    /// Its record's stamp does not move.
    pub(super) silent: bool,
}

impl World {
    pub(super) fn new() -> World {
        let system = |next_id| System {
            tables: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_id,
            writes: 0,
            ghosts: Vec::new(),
            late: Vec::new(),
        };
        World {
            systems: [system(100), system(5_000)],
            violation: None,
            open_window: 0,
            next_edit: 0,
            intents: Vec::new(),
            forgotten: None,
            copies: Vec::new(),
            answers: Vec::new(),
            apart: BTreeSet::new(),
            option_closed: false,
            vanished: None,
            nudges: Vec::new(),
            known: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// A person creates a record; returns its id.
    pub(super) fn create(
        &mut self,
        system: usize,
        entity: &str,
        mut fields: Fields,
        now: Duration,
        plan: &Plan,
    ) -> u64 {
        fields.retain(|field, _| !self.has_vanished(system, entity, field));
        self.insert(system, entity, fields, now, plan, false)
    }

    fn insert(
        &mut self,
        system: usize,
        entity: &str,
        mut fields: Fields,
        now: Duration,
        plan: &Plan,
        engine: bool,
    ) -> u64 {
        let own_number = numbers(entity, system);
        for (field, value) in &mut fields {
            *value = as_kept(system, field, value, plan);
        }
        let lag = if plan.search_lag.is_zero() {
            Duration::ZERO
        } else {
            plan.search_lag / (1 + (now.as_micros() as u32 % 3))
        };
        let at = system;
        let system = &mut self.systems[at];
        let id = system.next_id;
        system.next_id += 1;
        if own_number {
            fields.insert("number".to_owned(), Value::from(format!("T{id}").as_str()));
            fields.insert("last_activity".to_owned(), moment(now));
        }
        let stamp = floor(now, plan);
        let history = fields
            .iter()
            .map(|(field, value)| Change {
                at: now,
                field: field.clone(),
                value: value.clone(),
                person: !engine,
                excused: false,
            })
            .collect();
        let record = Record {
            indexed: vec![(now + lag, fields.clone())],
            fields,
            stamp,
            created: stamp,
            version: 1,
            by_engine: engine,
            history,
        };
        system
            .tables
            .entry(entity.to_owned())
            .or_default()
            .insert(id, record);
        self.say_that_it_changed(at, entity, id, plan);
        id
    }

    fn say_that_it_changed(&mut self, system: usize, entity: &str, id: u64, plan: &Plan) {
        if plan.nudged {
            let (entity, id) = (entity.to_owned(), RecordId(id.to_string()));
            self.nudges.push((system, Nudge { entity, id }));
        }
    }

    /// A person deletes a record.
    pub(super) fn delete(&mut self, system: usize, entity: &str, id: u64) {
        let system = &mut self.systems[system];
        if let Some(record) = system.tables.get_mut(entity).and_then(|table| table.remove(&id)) {
            system
                .gone
                .entry(entity.to_owned())
                .or_default()
                .insert(id, record);
        }
    }

    /// Whether a create of the engine is under way.
    pub(super) fn is_made(&self, system: usize, entity: &str) -> bool {
        self.intents.iter().any(|intent| {
            let source = &intent.source;
            let into = source.side.other().index() == system && source.sync.as_str() == entity;
            into && intent.target.is_none() && intent.to.is_none()
        })
    }

    /// Whether a person deleted it.
    pub(super) fn is_gone(&self, system: usize, entity: &str, id: &RecordId) -> bool {
        let id = id.0.parse().ok();
        let gone = self.systems[system].gone.get(entity).zip(id);
        gone.is_some_and(|(table, id)| table.contains_key(&id))
    }

    /// A person edits one field; it may become visible later, under its earlier stamp.
    pub(super) fn edit(&mut self, system: usize, edit: Edit, delay: Duration, plan: &Plan) {
        if delay.is_zero() {
            let now = edit.stamp;
            self.land_edit(system, edit, now, plan);
        } else {
            self.systems[system].late.push((edit.stamp + delay, edit));
        }
    }

    fn land_edit(&mut self, system: usize, late: Edit, now: Duration, plan: &Plan) {
        let Some(record) = self.systems[system]
            .tables
            .get_mut(&late.entity)
            .and_then(|table| table.get_mut(&late.id))
        else {
            return;
        };
        let stamp = if late.silent {
            record.stamp
        } else {
            floor(late.stamp, plan)
        };
        record.touch(&late.entity, system, now);
        let value = as_kept(system, &late.field, &late.value, plan);
        record.set(&late.field, value, now, stamp, true, plan);
        self.say_that_it_changed(system, &late.entity, late.id, plan);
    }

    /// Everything that was to land by now lands.
    pub(super) fn settle(&mut self, now: Duration, plan: &Plan) {
        for system in 0..2 {
            let mut due = Vec::new();
            self.systems[system].late.retain(|(at, late)| {
                if *at <= now {
                    due.push((*at, late.clone()));
                }
                *at > now
            });
            for (at, late) in due {
                self.land_edit(system, late, at, plan);
            }
            let mut ghosts = Vec::new();
            self.systems[system].ghosts.retain(|(at, landing)| {
                if *at <= now {
                    ghosts.push((*at, landing.clone()));
                }
                *at > now
            });
            for (at, landing) in ghosts {
                let landed = self.apply(system, &landing, at, plan);
                drop(landed);
            }
        }
    }

    /// Whether something is still to land by itself.
    pub(super) fn pending(&self) -> bool {
        self.systems
            .iter()
            .any(|system| !system.late.is_empty() || !system.ghosts.is_empty())
    }

    /// A write of the engine lands.
    pub(super) fn apply(
        &mut self,
        system: usize,
        landing: &Landing,
        now: Duration,
        plan: &Plan,
    ) -> Result<RecordId> {
        self.systems[system].writes += 1;
        if has_unique_key(plan, system) && self.is_key_taken(system, landing) {
            return Err(Error::conflict("another record has this key").effect(Effect::NotApplied));
        }
        match &landing.action {
            WriteAction::Create { fields } => {
                let fields = fields.clone();
                if system == 0 && landing.entity == "opportunity" {
                    let later = fields.get("starts").zip(fields.get("closes"));
                    let later = later.is_some_and(|(starts, closes)| starts.to_plain() > closes.to_plain());
                    if let Some(missing) = required_there(&fields).or(later.then_some("starts")) {
                        let what =
                            format!("an opportunity was to be made although its {missing} will not do");
                        self.fail(Violation::new("GUIDE", what));
                        return Err(Error::invalid("a required field").field(missing));
                    }
                }
                let id = self.insert(system, &landing.entity, fields, now, plan, true);
                Ok(RecordId(id.to_string()))
            }
            WriteAction::Update { current, fields } => {
                let id: u64 = current.id.0.parse().unwrap_or_default();
                let cas = plan.second_has_cas && system == 1;
                let unasked = self.unasked(system, &landing.entity, current, fields);
                let record = self.systems[system]
                    .tables
                    .get_mut(&landing.entity)
                    .and_then(|table| table.get_mut(&id));
                let Some(record) = record else {
                    return Err(Error::new(ErrorKind::NotFound, "no such record"));
                };
                if cas && version_of(current) != record.version {
                    return Err(Error::conflict("the record has changed"));
                }
                let stamp = floor(now, plan);
                let mut problem = unasked;
                let mut overwritten = 0;
                for (field, value) in fields.iter().filter(|(field, _)| *field != "xref") {
                    let or_empty = |fields: &Fields| fields.get(field).cloned().unwrap_or_default();
                    let (read, held) = (or_empty(&current.fields), or_empty(&record.fields));
                    if current.fields.get(field) == Some(value) {
                        problem = Some(Violation::new(
                            "I13",
                            format!("{field} was written although it held that value"),
                        ));
                    }
                    if read != held {
                        // Somebody edited it after we read it: the open window, if the call was sent in time.
                        overwritten += 1;
                        if let Some(change) = record
                            .history
                            .iter_mut()
                            .rev()
                            .find(|change| change.field == *field)
                        {
                            change.excused = true;
                        }
                        // A field that comes back leaves no trace on the record.
                        let was_gone = plan.vanishes.is_some_and(|vanish| vanish.field == field)
                            && !current.fields.contains_key(field);
                        if landing.sent.saturating_sub(read_at(current)) > STALE_READ_MAX && !was_gone {
                            let what = format!("{field} was overwritten by a write sent long after its read");
                            problem = Some(Violation::new("I14", what));
                        }
                    }
                }
                record.touch(&landing.entity, system, now);
                for (field, value) in fields {
                    let value = as_kept(system, field, value, plan);
                    record.set(field, value, now, stamp, false, plan);
                }
                self.open_window += overwritten;
                self.say_that_it_changed(system, &landing.entity, id, plan);
                if fields.keys().all(|field| field == "last_activity") {
                    let what = "a stamp that only travels along was written alone".to_owned();
                    problem = Some(Violation::new("R12", what));
                }
                if let Some(problem) = problem {
                    self.fail(problem);
                }
                Ok(current.id.clone())
            }
            WriteAction::Delete { .. } => {
                self.fail(Violation::new("I13", "the engine deleted a record".into()));
                Err(Error::invalid("deletes are off"))
            }
        }
    }

    /// Whether somebody has taken the field out of the system.
    pub(super) fn has_vanished(&self, system: usize, entity: &str, field: &str) -> bool {
        entity == "account" && self.vanished == Some((system, field))
    }

    fn is_key_taken(&self, system: usize, landing: &Landing) -> bool {
        let (fields, own) = match &landing.action {
            WriteAction::Create { fields } => (fields, None),
            WriteAction::Update { current, fields } => (fields, current.id.0.parse::<u64>().ok()),
            WriteAction::Delete { .. } => return false,
        };
        let Some(key) = fields.get("xref").filter(|key| !key.is_empty()) else {
            return false;
        };
        let mut others = self.records(system, &landing.entity);
        others.any(|(id, record)| Some(*id) != own && record.fields.get("xref") == Some(key))
    }

    pub(super) fn records(&self, system: usize, entity: &str) -> impl Iterator<Item = (&u64, &Record)> {
        self.systems[system].tables.get(entity).into_iter().flatten()
    }

    /// The same, as if notes had been in capitals from the beginning.
    pub(super) fn with_notes_in_capitals(&self) -> World {
        let mut world = self.clone();
        let tables = world
            .systems
            .iter_mut()
            .flat_map(|system| [&mut system.tables, &mut system.gone]);
        for record in tables
            .flat_map(BTreeMap::values_mut)
            .flat_map(BTreeMap::values_mut)
        {
            if let Some(note) = record.fields.get_mut("note") {
                *note = in_capitals(note);
            }
            for change in record.history.iter_mut().filter(|change| change.field == "note") {
                change.value = in_capitals(&change.value);
            }
        }
        world
    }

    /// Those that are gone among them.
    pub(super) fn all_records(&self, system: usize, entity: &str) -> impl Iterator<Item = (&u64, &Record)> {
        let gone = self.systems[system].gone.get(entity).into_iter().flatten();
        self.records(system, entity).chain(gone)
    }
}
