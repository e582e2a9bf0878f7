//! Validation of writes, with the texts that the real service gives.

use serde_json::Value as Json;

use super::filter::prop;
use super::tables::API_RESOURCE;
use crate::schema::{Field, PICKLIST, READ_ONLY, REQUIRED, UDF};
use crate::store::Rec;
use crate::value::Value;
use crate::world::{Changes, World};
use crate::{Entity, System};

/// Why a body was refused.
pub(crate) enum Refusal {
    /// Texts about fields.
    Texts(Vec<String>),
    /// A shape the server stumbles over.
    Unexpected,
}

fn numbered(text: String) -> String {
    format!("{text} ; on record number [1].")
}

/// Reads the writable properties of a body; unknown and read-only ones are ignored without a word.
pub(crate) fn read_body(w: &World, entity: Entity, body: &Json) -> Result<Changes, Refusal> {
    let schema = &w.table(System::Autotask, entity).schema;
    let Some(object) = body.as_object() else {
        return Err(Refusal::Unexpected);
    };
    let mut changes: Changes = Vec::new();
    let mut texts = Vec::new();
    for (name, json) in object {
        if name.eq_ignore_ascii_case("userDefinedFields") {
            read_udfs(w, entity, json, &mut changes, &mut texts)?;
            continue;
        }
        let Some(index) = schema.find(name) else { continue };
        let field = schema.field(index);
        if field.is(READ_ONLY) || field.is(UDF) {
            continue;
        }
        match Value::strict(field.kind, json) {
            Ok(value) => changes.push((index, value)),
            Err(text) => texts.push(numbered(format!("{text} Path '{name}'."))),
        }
    }
    if texts.is_empty() {
        Ok(changes)
    } else {
        Err(Refusal::Texts(texts))
    }
}

fn read_udfs(
    w: &World,
    entity: Entity,
    json: &Json,
    changes: &mut Changes,
    texts: &mut Vec<String>,
) -> Result<(), Refusal> {
    let schema = &w.table(System::Autotask, entity).schema;
    let list = match json {
        Json::Null => return Ok(()),
        Json::Array(list) => list,
        // A map instead of the list is answered as a fault of the server.
        _ => return Err(Refusal::Unexpected),
    };
    for item in list {
        let name = prop(item, "name").and_then(Json::as_str).unwrap_or_default();
        let found = schema
            .find(name)
            .filter(|f| schema.field(*f).is(UDF) && schema.name(*f) == name);
        let Some(index) = found else {
            let text = format!("Unable to find {name} in the {} Entity.", schema.entity);
            texts.push(numbered(text));
            continue;
        };
        match prop(item, "value").unwrap_or(&Json::Null) {
            Json::Null => changes.push((index, Value::Null)),
            Json::String(s) if s.is_empty() => changes.push((index, Value::Null)),
            Json::String(s) => changes.push((index, Value::text(s))),
            Json::Number(n) => changes.push((index, Value::text(&n.to_string()))),
            _ => return Err(Refusal::Unexpected),
        }
    }
    Ok(())
}

/// Checks a record as it would be after the changes. `before` is absent on create.
pub(crate) fn check(
    w: &World,
    entity: Entity,
    before: Option<&Rec>,
    after: &Rec,
    changes: &Changes,
) -> Vec<String> {
    let schema = &w.table(System::Autotask, entity).schema;
    let mut texts = Vec::new();
    for (index, field) in schema.fields.iter().enumerate() {
        let index = index as u16;
        let changed = changes.iter().any(|(f, _)| *f == index);
        if field.is(REQUIRED) && (before.is_none() || changed) && after.get(index).is_blank() {
            texts.push(format!(
                "Value does not exist for the required field {}.",
                field.name
            ));
        }
    }
    for (index, value) in changes {
        let field = schema.field(*index);
        let kept = before.is_some_and(|b| b.get(*index) == value);
        // What is stored already is tolerated, even where it could not be chosen any more.
        if !value.is_null() && !kept {
            texts.extend(check_value(w, field, value));
        }
    }
    match entity {
        Entity::Account => company(w, after, changes, &mut texts),
        Entity::Ticket => ticket(w, before, after, &mut texts),
        Entity::Opportunity => opportunity(w, after, &mut texts),
        _ => {}
    }
    texts.into_iter().map(numbered).collect()
}

fn check_value(w: &World, field: &Field, value: &Value) -> Option<String> {
    if let Value::Text(s) = value
        && field.max > 0
        && s.chars().count() > field.max
    {
        return Some(format!(
            "{} must be less than or equal to {} characters",
            field.name, field.max
        ));
    }
    if field.is(PICKLIST) {
        let text = value
            .as_int()
            .map_or_else(|| value.as_str().to_owned(), |n| n.to_string());
        if !field.picks.iter().any(|p| p.value == text && p.active) {
            return Some(format!(
                "Picklist value [{text}] does not exist for {}.",
                field.name
            ));
        }
    }
    if !field.refers.is_empty() {
        let exists = value.as_int().is_some_and(|id| reference_ok(w, field, id));
        if !exists {
            return Some(format!(
                "Reference value on field: {} of type: {} does not exist or is invalid.",
                field.name, field.refers
            ));
        }
    }
    None
}

fn reference_ok(w: &World, field: &Field, id: i64) -> bool {
    let entity = match field.refers {
        "Company" => Entity::Account,
        "Contact" => Entity::Contact,
        "Ticket" => Entity::Ticket,
        "Opportunity" => Entity::Opportunity,
        "Country" => Entity::Country,
        "Resource" => Entity::Resource,
        "Role" => Entity::Role,
        // Entities which the sandbox does not have are empty.
        _ => return false,
    };
    let table = w.table(System::Autotask, entity);
    let Some(rec) = table.get(id) else { return false };
    match entity {
        Entity::Country | Entity::Resource | Entity::Role => {
            let active = table
                .schema
                .find("isActive")
                .is_some_and(|f| *rec.get(f) == Value::Bool(true));
            // An API-only user may create records, but owns none and is assigned to none.
            active && !(entity == Entity::Resource && id == API_RESOURCE)
        }
        _ => true,
    }
}

fn company(w: &World, after: &Rec, changes: &Changes, texts: &mut Vec<String>) {
    let schema = &w.table(System::Autotask, Entity::Account).schema;
    let Some(parent) = schema.find("parentCompanyID") else {
        return;
    };
    let itself = after.get(parent).as_int() == Some(after.id) && after.id != 0;
    if itself && changes.iter().any(|(f, _)| *f == parent) {
        texts.push("A company cannot be its own parent company.".into());
    }
}

/// The value of a named field, null if there is no such field.
fn named<'a>(w: &World, entity: Entity, rec: &'a Rec, name: &str) -> &'a Value {
    w.table(System::Autotask, entity)
        .schema
        .find(name)
        .map_or(&Value::Null, |f| rec.get(f))
}

/// A contact must be active and belong to the company or its parent.
fn contact_fits(w: &World, company: Option<i64>, contact: i64) -> bool {
    let contacts = w.table(System::Autotask, Entity::Contact);
    let Some(rec) = contacts.get(contact) else {
        return true;
    };
    let parent = company
        .and_then(|c| w.table(System::Autotask, Entity::Account).get(c))
        .and_then(|c| named(w, Entity::Account, c, "parentCompanyID").as_int());
    let of = named(w, Entity::Contact, rec, "companyID").as_int();
    let active = named(w, Entity::Contact, rec, "isActive").as_int() == Some(1);
    active && of.is_some() && (of == company || of == parent)
}

fn bad_contact() -> String {
    "Reference value on field: contactID of type: Contact does not exist or is invalid.".into()
}

fn ticket(w: &World, before: Option<&Rec>, after: &Rec, texts: &mut Vec<String>) {
    let get = |rec: &'_ Rec, name: &str| named(w, Entity::Ticket, rec, name).clone();
    if get(after, "dueDateTime").is_null() {
        texts.push("dueDateTime is required.".into());
    }
    let (resource, role) = (
        get(after, "assignedResourceID"),
        get(after, "assignedResourceRoleID"),
    );
    if resource.is_null() != role.is_null() {
        texts.push(
            "Data violation: When assigning a Resource, you must assign both a assignedResourceID and assignedResourceRoleID."
                .into(),
        );
    }
    let assigned = |before: &Rec| {
        (
            get(before, "assignedResourceID"),
            get(before, "assignedResourceRoleID"),
        )
    };
    if let (Some(person), Some(in_role)) = (resource.as_int(), role.as_int())
        && before.is_none_or(|before| assigned(before) != (resource.clone(), role.clone()))
        && !has_role(w, person, in_role)
    {
        texts.push(
            "Reference value on field: assignedResourceRoleID of type: Role does not exist or is invalid."
                .into(),
        );
    }
    let issues = (get(after, "issueType"), get(after, "subIssueType"));
    if let Some(sub) = issues.1.as_int()
        && before.is_none_or(|before| (get(before, "issueType"), get(before, "subIssueType")) != issues)
        && !sub_issue_fits(w, issues.0.as_int(), sub)
    {
        texts.push(format!("Picklist value [{sub}] does not exist for subIssueType."));
    }
    if get(after, "queueID").is_null() && resource.is_null() {
        texts.push("queueID is required".into());
    }
    let company = get(after, "companyID").as_int();
    if let Some(before) = before
        && get(before, "companyID").as_int() != company
        && (!get(before, "contactID").is_null() || !get(before, "companyLocationID").is_null())
    {
        texts.push("contactID and companyLocationID must be cleared before companyID can be changed.".into());
    }
    if let Some(contact) = get(after, "contactID").as_int()
        && before.is_none_or(|b| get(b, "contactID").as_int() != Some(contact))
        && !contact_fits(w, company, contact)
    {
        texts.push(bad_contact());
    }
}

/// A person is assigned in one of the roles that are theirs at the service desk.
fn has_role(w: &World, resource: i64, role: i64) -> bool {
    let table = w.table(System::Autotask, Entity::ServiceDeskRole);
    table.from(i64::MIN).any(|row| {
        let is = |name: &str| named(w, Entity::ServiceDeskRole, row, name);
        is("resourceID").as_int() == Some(resource)
            && is("roleID").as_int() == Some(role)
            && *is("isActive") == Value::Bool(true)
    })
}

fn sub_issue_fits(w: &World, issue: Option<i64>, sub: i64) -> bool {
    let schema = &w.table(System::Autotask, Entity::Ticket).schema;
    let Some(field) = schema.find("subIssueType") else {
        return false;
    };
    let parent = schema.field(field).parent_of(&sub.to_string());
    !parent.is_empty() && issue.is_some_and(|issue| parent == issue.to_string())
}

fn opportunity(w: &World, after: &Rec, texts: &mut Vec<String>) {
    let get = |name: &str| named(w, Entity::Opportunity, after, name).clone();
    if get("probability")
        .as_int()
        .is_some_and(|p| !(0..=100).contains(&p))
    {
        texts.push("probability must be between 0 and 100.".into());
    }
    if let (Some(start), Some(close)) = (get("startDate").as_time(), get("projectedCloseDate").as_time())
        && close < start
    {
        texts.push("projectedCloseDate must be on or after startDate.".into());
    }
    if get("useQuoteTotals") == Value::Bool(true) {
        texts.push("useQuoteTotals can only be true when a quote references the opportunity.".into());
    }
    if let Some(contact) = get("contactID").as_int()
        && !contact_fits(w, get("companyID").as_int(), contact)
    {
        texts.push(bad_contact());
    }
}
