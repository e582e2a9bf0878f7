//! Creates, updates and deletes.

use serde_json::{Value as Json, json};

use super::filter::prop;
use super::tables::API_RESOURCE;
use super::validate::{self, Refusal};
use super::{Req, errors, unexpected};
use crate::calls::{Effect, Note};
use crate::schema::{READ_ONLY, UDF};
use crate::store::Rec;
use crate::value::{Style, Value, format_time};
use crate::wire::Reply;
use crate::world::{Changes, World};
use crate::{Entity, System};

const AT: System = System::Autotask;

/// POST, PATCH or PUT on a collection; contacts come with the company of their address.
pub(crate) fn handle(w: &mut World, entity: Entity, company: Option<i64>, req: &Req) -> Reply {
    let Ok(body) = serde_json::from_slice::<Json>(&req.body) else {
        return errors("The request body is not valid JSON.");
    };
    let changes = match validate::read_body(w, entity, &body) {
        Ok(changes) => changes,
        Err(Refusal::Unexpected) => return unexpected(w),
        Err(Refusal::Texts(texts)) => return refused(texts),
    };
    let names = field_names(w, entity, &changes);
    let mut reply = match req.method.as_str() {
        "POST" => create(w, entity, company, &body, changes),
        method => update(w, entity, company, &body, changes, method == "PUT", req.late),
    };
    reply.note.entity = Some(entity);
    reply.note.fields = names;
    reply.note.put = req.method == "PUT";
    reply
}

fn field_names(w: &World, entity: Entity, changes: &Changes) -> Vec<String> {
    let schema = &w.table(AT, entity).schema;
    changes.iter().map(|(f, _)| schema.name(*f).to_owned()).collect()
}

fn refused(texts: Vec<String>) -> Reply {
    Reply::json(500, json!({ "errors": texts }))
}

fn done(id: i64, effect: Effect) -> Reply {
    let mut reply = Reply::json(200, json!({ "itemId": id }));
    reply.note = Note {
        ids: vec![id],
        effect,
        ..Note::default()
    };
    reply
}

fn id_in(body: &Json) -> Option<i64> {
    match prop(body, "id") {
        Some(Json::Number(n)) => n.as_i64(),
        Some(Json::String(s)) => s.trim().parse().ok(),
        _ => None,
    }
}

fn set_default(changes: &mut Changes, field: Option<u16>, value: Value) {
    if let Some(field) = field
        && !changes.iter().any(|(f, v)| *f == field && !v.is_null())
    {
        changes.retain(|(f, _)| *f != field);
        changes.push((field, value));
    }
}

fn force(changes: &mut Changes, field: Option<u16>, value: Value) {
    if let Some(field) = field {
        changes.retain(|(f, _)| *f != field);
        changes.push((field, value));
    }
}

fn create(w: &mut World, entity: Entity, company: Option<i64>, body: &Json, mut changes: Changes) -> Reply {
    if id_in(body).is_some_and(|id| id != 0) {
        return refused(vec![
            "The id must be omitted or 0 on create. ; on record number [1].".into(),
        ]);
    }
    let schema = &w.table(AT, entity).schema;
    if let Some(company) = company {
        force(&mut changes, schema.find("companyID"), Value::Int(company));
    }
    match entity {
        Entity::Account => set_default(&mut changes, schema.find("isActive"), Value::Bool(true)),
        Entity::Contact => set_default(&mut changes, schema.find("primaryContact"), Value::Bool(false)),
        Entity::Ticket => set_default(&mut changes, schema.find("ticketCategory"), Value::Int(3)),
        _ => {}
    }
    let mut after = Rec::new(-1);
    for (field, value) in &changes {
        after.set(*field, value.clone());
    }
    let texts = validate::check(w, entity, None, &after, &changes);
    if !texts.is_empty() {
        return refused(texts);
    }
    let now = w.now();
    let schema = &w.table(AT, entity).schema;
    for name in ["createdByResourceID", "creatorResourceID"] {
        force(&mut changes, schema.find(name), Value::Int(API_RESOURCE));
    }
    if entity == Entity::Ticket {
        let day: String = format_time(now, Style::Crm)
            .chars()
            .take(10)
            .filter(|c| *c != '-')
            .collect();
        let number = format!("T{day}.{:04}", w.table(AT, entity).len() + 1);
        force(&mut changes, schema.find("ticketNumber"), Value::text(&number));
    }
    server_rules(w, entity, None, &mut changes, now);
    let id = w.create(AT, entity, changes, true);
    done(id, Effect::Create)
}

fn update(
    w: &mut World,
    entity: Entity,
    company: Option<i64>,
    body: &Json,
    mut changes: Changes,
    put: bool,
    late: bool,
) -> Reply {
    let table = w.table(AT, entity);
    let Some(id) = id_in(body) else {
        return refused(vec!["Missing Required Field: id. ; on record number [1].".into()]);
    };
    let Some(before) = table.get(id).cloned() else {
        let text = format!("No matching records found for the id {id}. ; on record number [1].");
        return refused(vec![text]);
    };
    if let (Some(company), Some(field)) = (company, table.schema.find("companyID")) {
        let sent = changes
            .iter()
            .find(|(f, _)| *f == field)
            .and_then(|(_, v)| v.as_int());
        let stored = before.get(field).as_int();
        if stored != Some(company) || sent.is_some_and(|s| stored != Some(s)) {
            let text = "The companyID of a contact cannot be changed. ; on record number [1].";
            return refused(vec![text.into()]);
        }
        changes.retain(|(f, _)| *f != field);
    }
    if put {
        // PUT replaces: whatever is writable and was not sent is gone.
        for (i, field) in table.schema.fields.iter().enumerate() {
            let i = i as u16;
            let keeps =
                field.is(READ_ONLY) || field.is(UDF) || (field.name == "companyID" && company.is_some());
            if !keeps && !changes.iter().any(|(f, _)| *f == i) {
                changes.push((i, Value::Null));
            }
        }
    }
    let mut after = before.clone();
    for (field, value) in &changes {
        after.set(*field, value.clone());
    }
    let texts = validate::check(w, entity, Some(&before), &after, &changes);
    if !texts.is_empty() {
        return refused(texts);
    }
    let now = w.now();
    server_rules(w, entity, Some(&before), &mut changes, now);
    let no_change = changes.iter().all(|(f, v)| before.get(*f).identical(v));
    w.api_update(AT, entity, id, &changes, late);
    let mut reply = done(id, Effect::Update);
    reply.note.no_change = no_change;
    reply
}

/// Values which the server sets by itself.
fn server_rules(w: &World, entity: Entity, before: Option<&Rec>, changes: &mut Changes, now: i64) {
    let schema = &w.table(AT, entity).schema;
    let status = schema.find("status");
    let sent = changes
        .iter()
        .find(|(f, _)| Some(*f) == status)
        .and_then(|(_, v)| v.as_int());
    let Some(new) = sent else { return };
    let old = before.zip(status).and_then(|(b, s)| b.get(s).as_int());
    match entity {
        Entity::Ticket if new == 5 && old != Some(5) => {
            force(changes, schema.find("completedDate"), Value::Time(now));
            force(
                changes,
                schema.find("completedByResourceID"),
                Value::Int(API_RESOURCE),
            );
        }
        Entity::Ticket if new != 5 && old == Some(5) => {
            force(changes, schema.find("completedDate"), Value::Null);
            force(changes, schema.find("completedByResourceID"), Value::Null);
        }
        // Lost carries a date; leaving Lost clears it.
        Entity::Opportunity if new == 2 => set_default(changes, schema.find("lostDate"), Value::Time(now)),
        Entity::Opportunity if old == Some(2) => force(changes, schema.find("lostDate"), Value::Null),
        _ => {}
    }
}

/// DELETE of a contact under its company.
pub(crate) fn delete_contact(w: &mut World, company: i64, id: i64) -> Reply {
    let table = w.table(AT, Entity::Contact);
    let get = |rec: &Rec, name: &str| {
        table
            .schema
            .find(name)
            .map_or(Value::Null, |f| rec.get(f).clone())
    };
    let rec = table
        .get(id)
        .filter(|r| get(r, "companyID").as_int() == Some(company));
    let Some(rec) = rec else {
        return refused(vec![format!("No matching records found for the id {id}.")]);
    };
    if get(rec, "primaryContact") == Value::Bool(true) {
        return refused(vec![
            "The contact is the primary contact of its company and cannot be deleted.".into(),
        ]);
    }
    for entity in [Entity::Ticket, Entity::Opportunity] {
        let table = w.table(AT, entity);
        let used = table
            .schema
            .find("contactID")
            .is_some_and(|f| !table.by_key(f, &Value::Int(id)).is_empty());
        if used {
            let text = format!(
                "The contact is referenced by a {} and cannot be deleted.",
                table.schema.entity
            );
            return refused(vec![text]);
        }
    }
    w.delete(AT, Entity::Contact, id, true);
    let mut reply = done(id, Effect::Delete);
    reply.note.entity = Some(Entity::Contact);
    reply
}
