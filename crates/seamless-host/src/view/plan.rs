//! A plan for people: what would happen to each record and why, what it would cost. Shows record content.

use std::collections::BTreeMap;

use seamless_core::pipeline::{Calls, Conflict, FieldWrite, Plan, PlanItem, PlanStep, Reason, RecordKey};
use seamless_core::{RecordId, Timestamp, Usage, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::plain_text;
use crate::build::SyncPlan;

/// A plan, told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanView {
    /// When it was made (RFC 3339).
    pub made: String,
    /// Whether a run would change anything.
    pub changes: bool,
    /// By sync: what would happen, counted.
    pub syncs: BTreeMap<String, PlanCounts>,
    /// By system: what carrying it out costs.
    pub cost: BTreeMap<String, PlanCost>,
    /// Record by record, in the order in which it would happen.
    pub items: Vec<PlanLine>,
    /// Records about which nothing can be said yet: a call about them is under way.
    pub undecided: Vec<String>,
}

/// What would happen in one sync.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlanCounts {
    /// Records created on the other side.
    pub create: u64,
    /// Records updated there.
    pub update: u64,
    /// Records linked, by rule (`cross-reference`, or the match rule's name); some of them are updated as well.
    pub link: BTreeMap<String, u64>,
    /// Ids written into cross-reference fields.
    pub write_back: u64,
    /// Records that wait for their parents.
    pub wait: u64,
    /// Records set aside for a person, by reason.
    pub park: BTreeMap<String, u64>,
    /// Records with fields that wait alone.
    pub fields_held: u64,
    /// Values overwritten because the two sides differ when they are first linked.
    pub first_merge_overwrites: u64,
}

/// What carrying a plan out costs in one system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlanCost {
    /// Searches and reads; each may be more than one call where a system takes fewer records at once than we ask for.
    pub reads: u64,
    /// Creates and updates.
    pub writes: u64,
    /// What that means for the system's call budget, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// How long that may take, in seconds: as long a call as it took to make the plan.
    pub seconds: u64,
}

/// What would happen to one record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanLine {
    /// The sync.
    pub sync: String,
    /// What.
    pub step: PlanStep,
    /// The record that the change comes from (`crm:17`; `new:account:crm/17` for one that the plan creates).
    pub record: String,
    /// Its counterpart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// How the two were recognised, when they would be linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<String>,
    /// Fields written, by canonical name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, PlanField>,
    /// Fields that wait alone, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, String>,
    /// Conflicts: who wins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub conflicts: BTreeMap<String, String>,
    /// Why it is set aside, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is set aside, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// Records to choose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

/// A field that would be written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanField {
    /// Where to, in the target's own words.
    pub path: String,
    /// What it holds now.
    pub from: Json,
    /// What it would hold.
    pub to: Json,
    /// Why (`source_changed`, `conflict_won`, `filled_empty`, …).
    pub why: String,
    /// What is lost on the way (`truncated`, `fallback`, `transformed`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
}

/// Calls made at once while a plan is carried out; connectors limit it further.
const CALLS_AT_ONCE: u64 = 2;

impl PlanView {
    /// Tells a plan of a tenant.
    pub(crate) fn of(plan: &Plan, syncs: &[SyncPlan]) -> PlanView {
        let names = Names { plan, syncs };
        let mut counts: BTreeMap<String, PlanCounts> = BTreeMap::new();
        for item in &plan.items {
            counts.entry(item.record.sync.to_string()).or_default().add(item);
        }
        for (sync, overwrites) in &plan.first_merge_overwrites {
            counts.entry(sync.to_string()).or_default().first_merge_overwrites = *overwrites;
        }
        PlanView {
            made: plan.made.to_string(),
            changes: !plan.is_empty(),
            syncs: counts,
            cost: plan
                .calls
                .iter()
                .map(|(system, calls)| (system.to_string(), cost_of(calls, plan.budgets.get(system))))
                .collect(),
            items: plan.items.iter().map(|item| names.line(item)).collect(),
            undecided: plan.undecided.iter().map(|record| names.shown(record)).collect(),
        }
    }

    /// A time of the plan's making, for messages.
    pub fn made_at(plan: &Plan) -> Timestamp {
        plan.made
    }
}

impl PlanCounts {
    fn add(&mut self, item: &PlanItem) {
        match item.step {
            PlanStep::Create => self.create += 1,
            PlanStep::Update => self.update += 1,
            PlanStep::WriteBack => self.write_back += 1,
            PlanStep::Wait => self.wait += 1,
            PlanStep::Link | PlanStep::Hold => {}
            PlanStep::Park => {
                let reason = item.aside.as_ref().map(|aside| aside.reason.code());
                *self.park.entry(reason.unwrap_or_default()).or_default() += 1;
            }
        }
        if let Some((reason, note)) = &item.link {
            *self.link.entry(rule_of(*reason, note)).or_default() += 1;
        }
        self.fields_held += u64::from(!item.blocked.is_empty());
    }
}

fn rule_of(reason: Reason, note: &str) -> String {
    match reason {
        Reason::LinkedByRule => note.strip_prefix("by ").unwrap_or(note).to_owned(),
        Reason::LinkedByReference => "cross-reference".to_owned(),
        other => other.code(),
    }
}

fn cost_of(calls: &Calls, budget: Option<&Usage>) -> PlanCost {
    let reads = calls.finds + calls.fetches;
    let millis_each = calls.read_millis / (reads + calls.lists).max(1);
    PlanCost {
        reads,
        writes: calls.writes,
        budget: budget.map(|usage| usage.forecast(reads + calls.writes).to_string()),
        seconds: (reads + calls.writes) * millis_each.max(1) / 1_000 / CALLS_AT_ONCE,
    }
}

/// Names records as people write them.
struct Names<'a> {
    plan: &'a Plan,
    syncs: &'a [SyncPlan],
}

impl Names<'_> {
    fn shown(&self, record: &RecordKey) -> String {
        let sync = self.syncs.iter().find(|sync| sync.id == record.sync);
        let system = |record: &RecordKey| {
            sync.map_or_else(
                || record.side.letter().to_string(),
                |sync| sync.systems[record.side.index()].to_string(),
            )
        };
        match self.plan.born_from(record) {
            Some(from) => {
                let entity = sync.map_or(record.sync.as_str(), |sync| sync.model.name.as_str());
                format!("new:{entity}:{}/{}", system(&from), from.id)
            }
            None => format!("{}:{}", system(record), record.id),
        }
    }

    fn line(&self, item: &PlanItem) -> PlanLine {
        let sync = self.syncs.iter().find(|sync| sync.id == item.record.sync);
        let there = |id: &RecordId| RecordKey::new(&item.record.sync, item.record.side.other(), id);
        let winner = |conflict: &Conflict| {
            let name = sync.map(|sync| sync.systems[conflict.winner.index()].to_string());
            let when = if conflict.first_merge {
                "differs at the first link"
            } else {
                "changed on both sides"
            };
            (
                conflict.field.clone(),
                format!("{when}; {} wins", name.unwrap_or_default()),
            )
        };
        let aside = item.aside.as_ref();
        PlanLine {
            sync: item.record.sync.to_string(),
            step: item.step,
            record: self.shown(&item.record),
            other: item.other.as_ref().map(|id| self.shown(&there(id))),
            linked: item
                .link
                .as_ref()
                .map(|(reason, note)| plain_text(&rule_of(*reason, note))),
            fields: item
                .fields
                .iter()
                .map(|(name, write)| (name.clone(), self.field(item, name, write)))
                .collect(),
            held: item
                .blocked
                .iter()
                .map(|(name, why)| (name.clone(), plain_text(why)))
                .chain(item.pending.iter().map(|(name, parent)| {
                    let why = format!("left out until {} has a counterpart", self.shown(parent));
                    (name.clone(), why)
                }))
                .collect(),
            conflicts: item.conflicts.iter().map(winner).collect(),
            reason: aside.map(|aside| aside.reason.code()),
            sentence: aside.map(|aside| plain_text(&aside.sentence)),
            candidates: aside
                .map(|aside| aside.candidates.iter().map(|record| self.shown(record)).collect())
                .unwrap_or_default(),
        }
    }

    fn field(&self, item: &PlanItem, name: &str, write: &FieldWrite) -> PlanField {
        let show = |value: &Value| {
            self.reference(item, name, value)
                .unwrap_or_else(|| value.to_json())
        };
        PlanField {
            path: write.path.clone(),
            from: show(&write.before),
            to: show(&write.predicted),
            why: code(&write.why),
            loss: write.loss.as_ref().map(code),
        }
    }

    /// A reference to a record that the plan creates, by name.
    fn reference(&self, item: &PlanItem, name: &str, value: &Value) -> Option<Json> {
        let sync = self.syncs.iter().find(|sync| sync.id == item.record.sync)?;
        let reference = sync.model.fields.get(name)?.reference.as_ref()?;
        let id = RecordId(value.to_plain()?);
        let system = &sync.systems[item.record.side.other().index()];
        let parents = self
            .syncs
            .iter()
            .filter(|parent| parent.model.name == reference.entity);
        parents
            .filter_map(|parent| Some(RecordKey::new(&parent.id, parent.side_of(system.as_str())?, &id)))
            .find(|key| self.plan.born_from(key).is_some())
            .map(|key| self.shown(&key).into())
    }
}

fn code(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
