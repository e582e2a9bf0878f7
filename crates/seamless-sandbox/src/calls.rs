//! The call log and the counters. Never holds a credential or a record's values.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::value::{Style, format_time};
use crate::{Entity, System};

/// Calls kept in the log; older ones are only counted.
const LOG_MAX: usize = 10_000;

/// What a call did to the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    #[default]
    None,
    Create,
    Update,
    Delete,
}

/// What the log should know about a call beyond its address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    pub(crate) entity: Option<Entity>,
    pub(crate) ids: Vec<i64>,
    pub(crate) fields: Vec<String>,
    pub(crate) effect: Effect,
    pub(crate) put: bool,
    pub(crate) no_change: bool,
    pub(crate) wrong_route: bool,
    /// `ids` are those of a list, which the log leaves out.
    pub(crate) is_list: bool,
    /// The list is of what has changed: who reads it is not who writes.
    pub(crate) is_poll: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    seq: u64,
    at: String,
    system: System,
    method: String,
    path: String,
    status: u16,
    write: bool,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<Entity>,
    ids: Vec<i64>,
    /// Fields named in a write's body.
    fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Counters {
    calls: u64,
    reads: u64,
    writes: u64,
    creates: u64,
    updates: u64,
    deletes: u64,
    by_endpoint: BTreeMap<String, u64>,
    by_status: BTreeMap<u16, u64>,
    faults: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Violations {
    over_threads: u64,
    over_budget: u64,
    put_used: u64,
    unchanged_patches: u64,
    wrong_routes: u64,
    /// Queries with a condition that the server drops without a word: they match more than they seem to.
    dropped_conditions: u64,
    /// Credentials of one system that were sent to another origin.
    foreign_credentials: u64,
}

/// How old the last read of a record was when an update of it came.
#[derive(Clone, Debug, Default, Serialize)]
struct UpdateAges {
    /// Updates of records that nobody had read.
    unread: u64,
    /// The oldest read, in milliseconds.
    oldest_ms: i64,
}

/// One finished call.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    pub(crate) system: System,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) status: u16,
    pub(crate) write: bool,
    pub(crate) note: Note,
    pub(crate) fault: Option<&'static str>,
}

/// Log and counters of both systems.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    seq: u64,
    log: VecDeque<Entry>,
    counters: BTreeMap<System, Counters>,
    violations: Violations,
    /// When Autotask last showed a record.
    shown: BTreeMap<(Entity, i64), i64>,
    update_ages: UpdateAges,
}

impl Calls {
    pub(crate) fn add(&mut self, done: Done<'_>, now: i64) {
        self.seq += 1;
        let Done {
            system,
            method,
            path,
            endpoint,
            status,
            write,
            note,
            fault,
        } = done;
        let c = self.counters.entry(system).or_default();
        c.calls += 1;
        if write {
            c.writes += 1;
        } else {
            c.reads += 1;
        }
        match note.effect {
            Effect::None => {}
            Effect::Create => c.creates += 1,
            Effect::Update => c.updates += 1,
            Effect::Delete => c.deletes += 1,
        }
        *c.by_endpoint.entry(format!("{method} {endpoint}")).or_default() += 1;
        *c.by_status.entry(status).or_default() += 1;
        if let Some(fault) = fault {
            *c.faults.entry(fault).or_default() += 1;
            // The counters above say "writes asked for"; a cut call is in them whatever became of it.
        }
        if let Some(entity) = note.entity.filter(|_| system == System::Autotask) {
            self.note_ages(entity, &note, write, now);
        }
        self.violations.put_used += u64::from(note.put);
        self.violations.unchanged_patches += u64::from(note.no_change);
        self.violations.wrong_routes += u64::from(note.wrong_route);
        self.log.push_back(Entry {
            seq: self.seq,
            at: format_time(now, Style::Crm),
            system,
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            write,
            effect: note.effect,
            entity: note.entity,
            ids: if note.is_list { Vec::new() } else { note.ids },
            fields: note.fields,
            fault,
        });
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
    }

    /// When a record of Autotask was last asked for and answered, by its id or a value; a list of changes is somebody else's reading.
    pub(crate) fn last_shown(&self, entity: Entity, id: i64) -> Option<i64> {
        self.shown.get(&(entity, id)).copied()
    }

    fn note_ages(&mut self, entity: Entity, note: &Note, write: bool, now: i64) {
        if note.is_poll {
            return;
        }
        if !write {
            self.shown.extend(note.ids.iter().map(|id| ((entity, *id), now)));
        } else if note.effect == Effect::Update {
            for id in &note.ids {
                match self.shown.get(&(entity, *id)) {
                    Some(at) => self.update_ages.oldest_ms = self.update_ages.oldest_ms.max(now - at),
                    None => self.update_ages.unread += 1,
                }
            }
        }
    }

    pub(crate) fn over_threads(&mut self) {
        self.violations.over_threads += 1;
    }

    pub(crate) fn over_budget(&mut self) {
        self.violations.over_budget += 1;
    }

    pub(crate) fn dropped_condition(&mut self) {
        self.violations.dropped_conditions += 1;
    }

    pub(crate) fn foreign_credentials(&mut self) {
        self.violations.foreign_credentials += 1;
    }

    /// Entries after `since`, oldest first.
    pub(crate) fn since(&self, since: u64, limit: usize) -> Json {
        let calls: Vec<&Entry> = self.log.iter().filter(|e| e.seq > since).take(limit).collect();
        json!({ "last_seq": self.seq, "calls": calls })
    }

    pub(crate) fn stats(&self, peaks: &BTreeMap<String, u32>) -> Json {
        let total: u64 = self.counters.values().map(|c| c.calls).sum();
        let writes: u64 = self.counters.values().map(|c| c.writes).sum();
        json!({
            "calls": total,
            "writes": writes,
            "autotask": self.counters.get(&System::Autotask).cloned().unwrap_or_default(),
            "crm": self.counters.get(&System::Crm).cloned().unwrap_or_default(),
            "max_concurrency": peaks,
            "violations": self.violations,
            "autotask_updates": self.update_ages,
        })
    }
}
