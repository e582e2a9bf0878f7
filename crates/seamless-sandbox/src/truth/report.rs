//! The report behind `GET /truth`, computed from the stored records and the edit log.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value as Json, json};

use super::compare::REFERENCES;
use super::{Edit, Finding, Fit};
use crate::store::Rec;
use crate::value::Value;
use crate::world::World;
use crate::{Entity, System};

/// Detail rows given for each list; the counts are always complete.
const DETAILS_MAX: usize = 50;

/// What the judge has to know of the sync: who wins a conflict, and which entities flow one way only.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The system that wins where both sides changed a field.
    pub(crate) owner: System,
    /// Entities that flow one way, and from which system; edits on the other side are not the sync's business.
    pub(crate) one_way: Vec<(Entity, System)>,
}

impl Rules {
    fn source(&self, entity: Entity) -> Option<System> {
        self.one_way
            .iter()
            .find(|(one, _)| *one == entity)
            .map(|(_, from)| *from)
    }

    fn owner_of(&self, entity: Entity) -> System {
        self.source(entity).unwrap_or(self.owner)
    }
}

#[derive(Default)]
struct Verdicts {
    lost: Vec<Json>,
    unsyncable: Vec<Json>,
    unpaired: Vec<Json>,
    first_merge: Vec<Json>,
    overtaken: Vec<Json>,
    held: u64,
    one_way: u64,
}

impl World {
    /// Everything the sandbox knows about how well the two systems are kept in step.
    pub(crate) fn truth_report(&self, rules: &Rules) -> Json {
        let duplicates = self.duplicates();
        let verdicts = self.edit_verdicts(rules);
        let (mut pairs, mut differing, mut explained) = (0_u64, 0_u64, 0_u64);
        let mut difference_details = Vec::new();
        let mut explained_details = Vec::new();
        let mut unpaired: BTreeMap<String, u64> = BTreeMap::new();
        for entity in Entity::SYNCED {
            let mut paired = 0_u64;
            for rec in self.table(System::Autotask, entity).iter() {
                if entity == Entity::Account && rec.id == 0 {
                    continue;
                }
                let Some(other) = self.counterpart(System::Autotask, entity, rec.id) else {
                    *unpaired
                        .entry(format!("autotask_{}", entity_name(entity)))
                        .or_default() += 1;
                    continue;
                };
                paired += 1;
                let (differs, lossy) = self.compare_pair(entity, rec.id, other);
                differing += u64::from(!differs.is_empty());
                explained += u64::from(!lossy.is_empty());
                keep(&mut difference_details, differs);
                keep(&mut explained_details, lossy);
            }
            let crm = self.table(System::Crm, entity).len() as u64;
            if crm > paired {
                unpaired.insert(format!("crm_{}", entity_name(entity)), crm - paired);
            }
            pairs += paired;
        }
        json!({
            "owner": rules.owner,
            "duplicates": duplicates.len(),
            "lost_edits": verdicts.lost.len(),
            "echo_writes": self.truth.echoes.len(),
            "pairs": pairs,
            "differences": differing,
            "explained_differences": explained,
            "unpaired": unpaired,
            "person_edits": self.truth.edits.len(),
            "edits_held": verdicts.held,
            "unsyncable": verdicts.unsyncable.len(),
            "unpaired_edits": verdicts.unpaired.len(),
            "one_way_edits": verdicts.one_way,
            "first_merge_edits": verdicts.first_merge.len(),
            "excused_writes": self.truth.excused,
            "overtaken_edits": verdicts.overtaken.len(),
            "details": {
                "duplicates": head(&duplicates),
                "lost_edits": head(&verdicts.lost),
                "echo_writes": head(&self.truth.echoes),
                "differences": difference_details,
                "explained_differences": explained_details,
                "unsyncable": head(&verdicts.unsyncable),
                "unpaired_edits": head(&verdicts.unpaired),
                "first_merge_edits": head(&verdicts.first_merge),
                "overtaken_edits": head(&verdicts.overtaken),
            },
        })
    }

    fn compare_pair(&self, entity: Entity, at: i64, crm: i64) -> (Vec<Json>, Vec<Json>) {
        let (mut differs, mut lossy) = (Vec::new(), Vec::new());
        let (Some(a), Some(c)) = (
            self.table(System::Autotask, entity).get(at),
            self.table(System::Crm, entity).get(crm),
        ) else {
            return (differs, lossy);
        };
        for row in self.truth.map.iter().filter(|r| r.entity == entity) {
            let (fa, fc) = (row.field(System::Autotask), row.field(System::Crm));
            let fit = row.agree(a.get(fa), c.get(fc));
            if fit == Fit::Equal {
                continue;
            }
            let mut detail = json!({
                "entity": entity, "field": row.name,
                "autotask_id": at, "crm_id": World::id_json(System::Crm, entity, crm),
                "autotask": self.value_json(System::Autotask, entity, fa, a.get(fa)),
                "crm": self.value_json(System::Crm, entity, fc, c.get(fc)),
            });
            if let Fit::Unsyncable(why) = fit {
                detail["why"] = Json::from(why);
                lossy.push(detail);
            } else {
                differs.push(detail);
            }
        }
        for (_, name, at_field, crm_field, target) in REFERENCES.iter().filter(|row| row.0 == entity) {
            if let Some(detail) = self.compare_reference(entity, (a, at_field), (c, crm_field), *target) {
                let mut detail = detail;
                detail["field"] = Json::from(*name);
                differs.push(detail);
            }
        }
        (differs, lossy)
    }

    /// References that lead to different records. One that is empty on either side is none of the sync's mistakes: it may wait for its record.
    fn compare_reference(
        &self,
        entity: Entity,
        (a, at_field): (&Rec, &str),
        (c, crm_field): (&Rec, &str),
        target: Entity,
    ) -> Option<Json> {
        let field = |system: System, name: &str| self.table(system, entity).schema.find(name);
        let at = a.get(field(System::Autotask, at_field)?).as_int()?;
        let crm = c.get(field(System::Crm, crm_field)?).as_int()?;
        let there = self.counterpart(System::Autotask, target, at);
        (there != Some(crm)).then(|| {
            json!({
                "entity": entity, "autotask_id": a.id, "crm_id": World::id_json(System::Crm, entity, c.id),
                "autotask": at, "crm": World::id_json(System::Crm, target, crm),
            })
        })
    }

    fn duplicates(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for twin in &self.truth.twins {
            let table = self.table(twin.system, twin.entity);
            if table.get(twin.id).is_none() || table.get(twin.other).is_none() {
                continue;
            }
            let what = if twin.entity == Entity::Account {
                "name and postal code"
            } else {
                "account, e-mail and name"
            };
            found.push(Finding {
                system: twin.system,
                entity: twin.entity,
                id: Self::id_json(twin.system, twin.entity, twin.id),
                fields: Vec::new(),
                other: Some(Self::id_json(twin.system, twin.entity, twin.other)),
                label: self.label_of(twin.system, twin.entity, twin.other),
                sentence: format!("created although a record with the same {what} was there"),
            });
        }
        for system in [System::Autotask, System::Crm] {
            for entity in Entity::SYNCED {
                self.shared_xrefs(system, entity, &mut found);
            }
        }
        found
    }

    fn shared_xrefs(&self, system: System, entity: Entity, found: &mut Vec<Finding>) {
        let table = self.table(system, entity);
        let Some(xref) = table.schema.xref else { return };
        let mut seen: HashMap<&str, (i64, bool)> = HashMap::new();
        for rec in table.iter() {
            let text = rec.get(xref).as_str();
            if text.is_empty() {
                continue;
            }
            let Some((first, by_api)) = seen.get(text).copied() else {
                seen.insert(text, (rec.id, rec.copy));
                continue;
            };
            let known = self
                .truth
                .twins
                .iter()
                .any(|t| t.system == system && t.entity == entity && (t.id == rec.id || t.id == first));
            // Copies of a cross-reference made by people are not the sync's doing.
            if (by_api && rec.api_created || rec.copy) && !known {
                found.push(Finding {
                    system,
                    entity,
                    id: Self::id_json(system, entity, rec.id),
                    fields: vec![table.schema.name(xref).to_owned()],
                    other: Some(Self::id_json(system, entity, first)),
                    label: self.label_of(system, entity, rec.id),
                    sentence: "two live records carry the same cross-reference".to_owned(),
                });
            }
        }
    }

    fn edit_verdicts(&self, rules: &Rules) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let mut last: Vec<&Edit> = self.truth.last.values().map(|i| &self.truth.edits[*i]).collect();
        last.sort_by_key(|e| e.seq);
        for edit in last {
            let Some(c) = self.truth.of(edit.system, edit.entity, edit.field) else {
                continue;
            };
            if self.table(edit.system, edit.entity).get(edit.id).is_none() {
                continue;
            }
            if rules.source(edit.entity).is_some_and(|from| from != edit.system) {
                verdicts.one_way += 1;
                continue;
            }
            let Some(other) = self.counterpart(edit.system, edit.entity, edit.id) else {
                verdicts
                    .unpaired
                    .push(self.edit_json(edit, "the record has no counterpart yet"));
                continue;
            };
            let there = edit.system.other();
            let counter = self
                .truth
                .last
                .get(&(there, edit.entity, other, c.field(there)))
                .map(|i| &self.truth.edits[*i]);
            if let Some(counter) = counter
                && !wins(edit, counter, rules)
            {
                continue;
            }
            let linked = self.linked_since(edit.system, edit.entity, edit.id, other);
            let here = self.value_of(edit.system, edit.entity, edit.id, edit.field);
            let image = self.value_of(there, edit.entity, other, c.field(there));
            let fit = c.fit(edit.system, &edit.new, &image);
            let kept = held(&here, &edit.new);
            let reverted = counter.filter(|c| contested(edit, c) && self.is_revert(edit));
            if let Some(counter) = reverted
                && held(&image, &counter.new)
                && c.fit(there, &image, &here) == Fit::Equal
            {
                // Edited and put back before anybody looked: the counter-edit may stand as well.
                verdicts.held += 1;
                continue;
            }
            let why = match (kept, fit) {
                (true, Fit::Equal) => {
                    verdicts.held += 1;
                    continue;
                }
                (_, _) if linked.is_some_and(|l| edit.seq < l) => {
                    let why = "made before the pair was linked: settled by the first merge";
                    verdicts.first_merge.push(self.edit_json(edit, why));
                    continue;
                }
                (true, Fit::Unsyncable(why)) => {
                    verdicts.unsyncable.push(self.edit_json(edit, why));
                    continue;
                }
                (false, _) if edit.overtaken => {
                    let why = "overwritten in the open window: made after the record was last shown, and before the write came";
                    verdicts.overtaken.push(self.edit_json(edit, why));
                    continue;
                }
                (true, Fit::Differs) => "the other side does not hold it",
                (false, _) => "it has been overwritten where it was made",
            };
            let mut row = self.edit_json(edit, why);
            row["here"] = self.value_json(edit.system, edit.entity, edit.field, &here);
            row["there"] = self.value_json(there, edit.entity, c.field(there), &image);
            row["other_id"] = Self::id_json(there, edit.entity, other);
            row["contested"] = Json::from(counter.is_some_and(|c| contested(edit, c)));
            verdicts.lost.push(row);
        }
        verdicts
    }

    /// Whether an edit only put back what an earlier edit of the same field had replaced.
    fn is_revert(&self, edit: &Edit) -> bool {
        let same_field = |e: &&Edit| {
            (e.system, e.entity, e.id, e.field) == (edit.system, edit.entity, edit.id, edit.field)
                && e.seq < edit.seq
        };
        self.truth
            .edits
            .iter()
            .filter(same_field)
            .any(|e| held(&e.old, &edit.new))
    }

    fn value_of(&self, system: System, entity: Entity, id: i64, field: u16) -> Value {
        self.table(system, entity)
            .get(id)
            .map_or(Value::Null, |r| r.get(field).clone())
    }

    /// Every edit that a person made, oldest first, with what has become of it so far.
    pub(crate) fn edits_json(&self) -> Json {
        let row = |e: &Edit| {
            let mut json = self.edit_json(
                e,
                if e.synced.is_some() {
                    "carried over"
                } else {
                    "not carried over yet"
                },
            );
            json["carried_over"] = Json::from(e.synced.is_some());
            json
        };
        json!({ "edits": self.truth.edits.iter().map(row).collect::<Vec<_>>() })
    }

    fn edit_json(&self, edit: &Edit, sentence: &str) -> Json {
        json!({
            "system": edit.system, "entity": edit.entity,
            "id": Self::id_json(edit.system, edit.entity, edit.id),
            "field": self.table(edit.system, edit.entity).schema.name(edit.field),
            "old": self.value_json(edit.system, edit.entity, edit.field, &edit.old),
            "new": self.value_json(edit.system, edit.entity, edit.field, &edit.new),
            "seq": edit.seq, "label": edit.label, "sentence": sentence,
        })
    }
}

/// Neither of the two edits had reached the other side when the later one was made.
fn contested(a: &Edit, b: &Edit) -> bool {
    let (first, second) = if a.seq < b.seq { (a, b) } else { (b, a) };
    first.synced.is_none_or(|s| s > second.seq)
}

/// Whether `edit` is the one that must stand against `counter` on the other side.
fn wins(edit: &Edit, counter: &Edit, rules: &Rules) -> bool {
    if rules.source(edit.entity).is_some() {
        // Whatever is typed over it on the other side is not carried; only the source's own next edit would be.
        return true;
    }
    if contested(edit, counter) {
        edit.system == rules.owner_of(edit.entity)
    } else {
        edit.seq > counter.seq
    }
}

/// The stored value is the edited one, blanks and trimming aside.
fn held(stored: &Value, edited: &Value) -> bool {
    match (stored, edited) {
        (Value::Text(a), Value::Text(b)) => a.trim() == b.trim(),
        _ => stored.same(edited),
    }
}

fn entity_name(entity: Entity) -> &'static str {
    match entity {
        Entity::Account => "accounts",
        Entity::Contact => "contacts",
        Entity::Ticket => "tickets",
        _ => "opportunities",
    }
}

fn head<T: serde::Serialize>(list: &[T]) -> Json {
    json!(list.iter().take(DETAILS_MAX).collect::<Vec<_>>())
}

fn keep(list: &mut Vec<Json>, more: Vec<Json>) {
    let room = DETAILS_MAX.saturating_sub(list.len());
    list.extend(more.into_iter().take(room));
}
