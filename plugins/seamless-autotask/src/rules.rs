//! What Autotask wants beside the fields that were changed: pairs, parents, and the order of two steps.

use seamless_core::{Error, NativeRecord, Result, Timestamp, Value};
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, whole};
use crate::entity::Entity;

/// Fields that a ticket's company may not be changed beside.
const TIED_TO_COMPANY: [&str; 2] = ["contactID", "companyLocationID"];

/// A body, and what has to be cleared by a call of its own before it.
pub(crate) struct Completed {
    pub(crate) clear_first: Vec<&'static str>,
}

impl Client {
    /// Adds what the rules of an entity want. `current` is the record as last read, absent on create.
    pub(crate) async fn complete(
        &self,
        entity: &'static Entity,
        current: Option<&NativeRecord>,
        body: &mut Map<String, Json>,
    ) -> Result<Completed> {
        self.add_option_parents(entity, current, body).await?;
        let mut clear_first = Vec::new();
        if entity.name == "Tickets" {
            self.add_assignment(current, body).await?;
            if current.is_none() {
                self.add_due_date(body);
            }
        }
        if matches!(entity.name, "Tickets" | "Opportunities")
            && let Some(current) = current
            && changes(current, body, "companyID")
        {
            let keeps_contact = self.contact_after_move(current, body).await?;
            if entity.name == "Tickets" {
                // Refused in one call, whatever the new values are: first without, then with.
                clear_first = TIED_TO_COMPANY
                    .into_iter()
                    .filter(|field| held(current, field).is_some())
                    .collect();
                if let (Some(contact), true) = (keeps_contact, clear_first.contains(&"contactID")) {
                    body.entry("contactID").or_insert(json!(contact));
                }
                // Cleared already; a write of what is there would be one for nothing.
                for field in TIED_TO_COMPANY {
                    if body.get(field).is_some_and(Json::is_null) {
                        body.remove(field);
                    }
                }
            } else if keeps_contact.is_none() && held(current, "contactID").is_some() {
                body.entry("contactID").or_insert(Json::Null);
            }
        }
        Ok(Completed { clear_first })
    }

    /// The record's contact, where nothing is said about it and it may stay after the record has moved to another company: it belongs
    /// to the new company, or to its parent.
    async fn contact_after_move(
        &self,
        current: &NativeRecord,
        body: &Map<String, Json>,
    ) -> Result<Option<i64>> {
        let (Some(contact), Some(company), false) = (
            held(current, "contactID"),
            body.get("companyID").and_then(whole),
            body.contains_key("contactID"),
        ) else {
            return Ok(None);
        };
        let one = |id: i64| [json!({"op": "eq", "field": "id", "value": id})];
        let row = self.query("Contacts", &one(contact), None, 1).await?.items.pop();
        let Some(home) = row.and_then(|row| whole(row.get("companyID")?)) else {
            return Ok(None);
        };
        if home == company {
            return Ok(Some(contact));
        }
        let row = self.query("Companies", &one(company), None, 1).await?.items.pop();
        let parent = row.and_then(|row| whole(row.get("parentCompanyID")?));
        Ok((parent == Some(home)).then_some(contact))
    }

    /// A resource goes with a role; without a resource there must be a queue.
    async fn add_assignment(
        &self,
        current: Option<&NativeRecord>,
        body: &mut Map<String, Json>,
    ) -> Result<()> {
        let resource = "assignedResourceID";
        let role = "assignedResourceRoleID";
        let queue_now = effective(current, body, "queueID");
        let is_assigned = effective(current, body, resource).is_some();
        match body.get(resource).map(whole) {
            Some(Some(person)) if !body.contains_key(role) => {
                let same = current.is_some_and(|current| held(current, resource) == Some(person));
                if !same {
                    let found = self.role_of(person, queue_now).await?.ok_or_else(|| {
                        let text = "the person has no role at the service desk in autotask, and a ticket is assigned to a person in a role; give \
                                    them one there, or set resource_roles or default_role_id in the system's settings";
                        Error::invalid(text).field(resource)
                    })?;
                    body.insert(role.to_owned(), json!(found));
                }
            }
            Some(None)
                if !body.contains_key(role)
                    && current.is_some_and(|current| held(current, role).is_some()) =>
            {
                body.insert(role.to_owned(), Json::Null);
            }
            _ => {}
        }
        if !is_assigned
            && queue_now.is_none()
            && let Some(queue) = self.settings.default_queue_id
        {
            body.insert("queueID".to_owned(), json!(queue));
        }
        Ok(())
    }

    fn add_due_date(&self, body: &mut Map<String, Json>) {
        if let Some(hours) = self.settings.default_due_hours
            && body.get("dueDateTime").is_none_or(Json::is_null)
        {
            const MINUTE: i64 = 60_000_000;
            let due = self
                .clock
                .now()
                .plus(std::time::Duration::from_secs(hours.saturating_mul(3_600)));
            let whole_minutes = Timestamp(due.0.div_euclid(MINUTE) * MINUTE);
            body.insert("dueDateTime".to_owned(), json!(whole_minutes.to_string()));
        }
    }

    /// An option that belongs to an option of another field goes with it: a sub-issue type with its issue type.
    async fn add_option_parents(
        &self,
        entity: &'static Entity,
        current: Option<&NativeRecord>,
        body: &mut Map<String, Json>,
    ) -> Result<()> {
        // Only tickets have such fields among those that are synced by default; asking costs a call once.
        if !body.keys().any(|field| may_depend(entity, field)) {
            return Ok(());
        }
        let facts = self.facts(entity).await?;
        for list in &facts.dependents {
            let parent_of = |value: i64| {
                list.parents
                    .get(&value.to_string())
                    .and_then(|text| text.parse().ok())
            };
            match body.get(&list.field).map(whole) {
                Some(Some(value)) => {
                    let wanted: Option<i64> = parent_of(value);
                    let is_said = body.get(&list.parent).is_some_and(|value| !value.is_null());
                    if let Some(wanted) = wanted
                        && !is_said
                        && current.and_then(|current| held(current, &list.parent)) != Some(wanted)
                    {
                        body.insert(list.parent.clone(), json!(wanted));
                    }
                }
                // The parent changes, and what hangs on it does not fit any more.
                None => {
                    let left = current.and_then(|current| held(current, &list.field));
                    if let (Some(left), Some(parent)) = (left, body.get(&list.parent).map(whole))
                        && parent_of(left).is_some()
                        && parent_of(left) != parent
                    {
                        body.insert(list.field.clone(), Json::Null);
                    }
                }
                Some(None) => {}
            }
        }
        Ok(())
    }
}

/// Fields that Autotask is known to tie together; other picklists have no parents.
fn may_depend(entity: &Entity, field: &str) -> bool {
    match entity.name {
        "Tickets" => matches!(field, "issueType" | "subIssueType"),
        _ => false,
    }
}

/// A whole number that the record holds.
fn held(record: &NativeRecord, field: &str) -> Option<i64> {
    record
        .fields
        .get(field)
        .and_then(Value::to_plain)
        .and_then(|text| text.parse().ok())
}

/// What a field will hold after the write.
fn effective(current: Option<&NativeRecord>, body: &Map<String, Json>, field: &str) -> Option<i64> {
    match body.get(field) {
        Some(value) => whole(value),
        None => current.and_then(|current| held(current, field)),
    }
}

/// Whether the body says something else than the record holds. What the record is not known to hold counts as another value.
fn changes(current: &NativeRecord, body: &Map<String, Json>, field: &str) -> bool {
    body.get(field)
        .is_some_and(|value| whole(value) != held(current, field))
}
