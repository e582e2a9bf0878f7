//! What a plan says.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::systems::Calls;
use crate::contract::{Clock, Side, Usage};
use crate::pipeline::ledger::Reason;
use crate::pipeline::merge::{Conflict, FieldWrite, Why};
use crate::pipeline::state::RecordKey;
use crate::record::{RecordId, SyncId, SystemId};
use crate::value::{Fields, Timestamp, Value};

/// Everything that a run would do now, in the order in which it would do it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made.
    pub made: Timestamp,
    /// What would happen, record by record. A record can come twice: created first, and completed once its parent is there.
    pub items: Vec<PlanItem>,
    /// Records that would be born: their stand-in ids (below zero, counted by system), and the record that each is made from.
    pub born: Vec<Born>,
    /// What the rehearsal asked of each system; applying it asks about as much, the lists excepted, and makes the writes.
    pub calls: BTreeMap<SystemId, Calls>,
    /// First-merge overwrites, by sync (R4).
    pub first_merge_overwrites: BTreeMap<SyncId, u64>,
    /// How the call budgets stood when it was made, of the systems that have one.
    #[serde(default)]
    pub budgets: BTreeMap<SystemId, Usage>,
    /// Records about which nothing can be said: a call about them is still under way.
    pub undecided: Vec<RecordKey>,
}

/// A record that would be created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Born {
    /// The sync, side and stand-in id.
    pub record: RecordKey,
    /// What it would be created from.
    pub from: RecordId,
}

/// What would happen to one record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    /// The record that the change comes from.
    pub record: RecordKey,
    /// What would happen.
    pub step: PlanStep,
    /// Its counterpart, where there is one.
    pub other: Option<RecordId>,
    /// How the two were recognised, when they would be linked.
    pub link: Option<(Reason, String)>,
    /// Fields that would be written there.
    pub fields: BTreeMap<String, FieldWrite>,
    /// Conflicts that would be decided.
    pub conflicts: Vec<Conflict>,
    /// Fields that would wait alone, with the reason.
    pub blocked: BTreeMap<String, String>,
    /// Optional references that would be left out until their record has a counterpart.
    pub pending: BTreeMap<String, RecordKey>,
    /// Why it would be set aside.
    pub aside: Option<Aside>,
}

/// The kinds of things that happen to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStep {
    /// It is created on the other side.
    Create,
    /// Fields are written on the other side.
    Update,
    /// It is linked; no field needs to be written.
    Link,
    /// An id goes into its cross-reference field.
    WriteBack,
    /// Nothing is written, but fields wait.
    Hold,
    /// It waits for its parent.
    Wait,
    /// It is set aside for a person.
    Park,
}

/// Why a record would be set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Why, as a stable code.
    pub reason: Reason,
    /// Why, and what to do.
    pub sentence: String,
    /// Records a person has to choose from.
    pub candidates: Vec<RecordKey>,
}

impl PlanStep {
    /// Whether it writes to a system.
    pub fn writes(self) -> bool {
        matches!(self, PlanStep::Create | PlanStep::Update | PlanStep::WriteBack)
    }

    /// Whether it changes anything that lasts: a system, or who belongs to whom.
    pub fn changes(self) -> bool {
        self.writes() || self == PlanStep::Link
    }
}

impl Plan {
    pub(super) fn new(clock: &dyn Clock) -> Plan {
        Plan {
            made: clock.now(),
            items: Vec::new(),
            born: Vec::new(),
            calls: BTreeMap::new(),
            first_merge_overwrites: BTreeMap::new(),
            budgets: BTreeMap::new(),
            undecided: Vec::new(),
        }
    }

    /// Whether a run would change nothing.
    pub fn is_empty(&self) -> bool {
        !self.items.iter().any(|item| item.step.changes())
    }

    /// What a stand-in id stands for.
    pub fn born_from(&self, record: &RecordKey) -> Option<RecordKey> {
        let at = self.born.binary_search_by(|born| born.record.cmp(record)).ok()?;
        let born = &self.born[at];
        Some(RecordKey::new(
            &born.record.sync,
            born.record.side.other(),
            &born.from,
        ))
    }
}

impl PlanItem {
    /// An item about a record.
    pub(crate) fn new(record: &RecordKey, step: PlanStep) -> PlanItem {
        PlanItem {
            record: record.clone(),
            step,
            other: None,
            link: None,
            fields: BTreeMap::new(),
            conflicts: Vec::new(),
            blocked: BTreeMap::new(),
            pending: BTreeMap::new(),
            aside: None,
        }
    }

    /// The write of an id into the cross-reference field at `path`.
    pub(super) fn write_back(record: &RecordKey, fields: &Fields, path: &str) -> Option<PlanItem> {
        let id = fields.get(path)?.to_plain()?;
        let mut item = PlanItem::new(record, PlanStep::WriteBack);
        item.other = Some(RecordId(id));
        Some(item)
    }

    /// How the counterpart was found, without the sentence.
    fn link_reason(&self) -> Option<Reason> {
        self.link.as_ref().map(|(reason, _)| *reason)
    }

    /// What differs from another item about the same record, as words for a person; `None` when both do the same.
    pub(super) fn differs(&self, now: &PlanItem, names: impl Fn(Side) -> String) -> Option<String> {
        if self.step != now.step && !(self.step.changes() && now.step.changes()) {
            let sentence = now.aside.as_ref().map(|aside| aside.sentence.as_str());
            return Some(match (now.step, sentence) {
                (_, Some(sentence)) => format!("it would be set aside now: {sentence}"),
                (step, None) if !step.changes() => "nothing is left to be written".to_owned(),
                _ => "something else would happen to it now".to_owned(),
            });
        }
        if self.other != now.other || self.link_reason() != now.link_reason() {
            return Some("it has another counterpart now".to_owned());
        }
        let (own, there) = (names(self.record.side), names(self.record.side.other()));
        let mut changed = Vec::new();
        let (planned, wanted) = (own_writes(self), own_writes(now));
        for field in planned.keys().chain(wanted.keys()).collect::<BTreeSet<_>>() {
            match (planned.get(field), wanted.get(field)) {
                (Some(a), Some(b)) if a.native != b.native || a.path != b.path => {
                    changed.push(format!("{field} changed in {own}"));
                }
                (Some(a), Some(b)) if a.before != b.before => {
                    changed.push(format!("{field} changed in {there}"))
                }
                (Some(_), Some(_)) => {}
                (Some(_), None) => changed.push(format!("{field} needs no write any more")),
                (None, _) => changed.push(format!(
                    "{field} changed in {own} or {there}, and was not in the plan"
                )),
            }
        }
        (!changed.is_empty()).then(|| changed.join("; "))
    }
}

/// Passengers travel as they are at the moment: they are no decision.
fn own_writes(item: &PlanItem) -> BTreeMap<&String, &FieldWrite> {
    let writes = item.fields.iter();
    writes.filter(|(_, write)| write.why != Why::Passenger).collect()
}

/// Replaces stand-in ids by real ones wherever the item names a record.
pub(super) fn with_real_ids(
    item: &PlanItem,
    is_reference: impl Fn(&str) -> bool,
    real: impl Fn(&RecordId, Where<'_>) -> Option<RecordId>,
) -> Result<PlanItem, RecordId> {
    let mut item = item.clone();
    let swap = |id: &mut RecordId, at: Where<'_>| -> Result<(), RecordId> {
        if super::systems::is_born_here(id) {
            *id = real(id, at).ok_or_else(|| id.clone())?;
        }
        Ok(())
    };
    swap(&mut item.record.id, Where::Own)?;
    if let Some(other) = &mut item.other {
        swap(other, Where::Other)?;
    }
    for (name, write) in &mut item.fields {
        if !is_reference(name) {
            continue;
        }
        for value in [&mut write.native, &mut write.predicted, &mut write.before] {
            let Some(plain) = value.to_plain() else { continue };
            let mut id = RecordId(plain);
            swap(&mut id, Where::Field(name))?;
            *value = match value {
                Value::Int(_) => id.0.parse().map(Value::Int).unwrap_or(Value::Text(id.0)),
                _ => Value::Text(id.0),
            };
        }
    }
    Ok(item)
}

/// Where a stand-in id stands.
#[derive(Clone, Copy)]
pub(super) enum Where<'a> {
    /// The item's own record.
    Own,
    /// Its counterpart.
    Other,
    /// A reference field of the counterpart.
    Field(&'a str),
}
