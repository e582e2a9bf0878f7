//! Creates and updates.

use serde_json::{Value as Json, json};

use super::fields::{entity_named, parse_id};
use super::read::{etag, invalid};
use super::routes::{error, render};
use crate::calls::Effect;
use crate::schema::{Field, PICKLIST, READ_ONLY, REQUIRED};
use crate::value::Value;
use crate::wire::{Reply, Req};
use crate::world::{Changes, World};
use crate::{Entity, System};

const CRM: System = System::Crm;

/// `POST /api/{x}`
pub(super) fn create(w: &mut World, entity: Entity, body: &Json) -> Reply {
    let mut changes = match read_body(w, entity, body) {
        Ok(changes) => changes,
        Err(reply) => return reply,
    };
    let schema = &w.table(CRM, entity).schema;
    for (i, field) in schema.fields.iter().enumerate() {
        let sent = changes.iter().any(|(f, v)| usize::from(*f) == i && !v.is_blank());
        if field.is(REQUIRED) && !sent {
            return invalid(&field.name, "is required");
        }
        if field.name == "active" && !changes.iter().any(|(f, _)| usize::from(*f) == i) {
            changes.push((i as u16, Value::Bool(true)));
        }
    }
    let fields = names(w, entity, &changes);
    let id = w.create(CRM, entity, changes, true);
    let mut reply = shown(w, entity, id, 201);
    reply.note.effect = Effect::Create;
    reply.note.fields = fields;
    reply
}

/// `PATCH /api/{x}/{id}`, with an optional `If-Match`.
pub(super) fn update(w: &mut World, entity: Entity, id: &str, body: &Json, req: &Req) -> Reply {
    let Some(rec) = parse_id(entity, id).and_then(|n| w.table(CRM, entity).get(n)) else {
        return error(404, "not_found", "no such record");
    };
    let number = rec.id;
    let current = etag(w, entity, rec);
    if let Some(wanted) = &req.if_match
        && wanted != "*"
        && *wanted != current
        && *wanted != current.trim_matches('"')
    {
        return error(412, "version_mismatch", "the record has been changed since");
    }
    let changes = match read_body(w, entity, body) {
        Ok(changes) => changes,
        Err(reply) => return reply,
    };
    let schema = &w.table(CRM, entity).schema;
    for (field, value) in &changes {
        if schema.field(*field).is(REQUIRED) && value.is_blank() {
            return invalid(schema.name(*field), "is required");
        }
    }
    let rec_before = w.table(CRM, entity).get(number);
    let no_change = rec_before.is_some_and(|r| changes.iter().all(|(f, v)| r.get(*f).identical(v)));
    let fields = names(w, entity, &changes);
    w.api_update(CRM, entity, number, &changes, req.late);
    let mut reply = shown(w, entity, number, 200);
    reply.note.effect = Effect::Update;
    reply.note.no_change = no_change;
    reply.note.fields = fields;
    reply
}

fn names(w: &World, entity: Entity, changes: &Changes) -> Vec<String> {
    let schema = &w.table(CRM, entity).schema;
    changes.iter().map(|(f, _)| schema.name(*f).to_owned()).collect()
}

fn shown(w: &World, entity: Entity, id: i64, status: u16) -> Reply {
    let Some(rec) = w.table(CRM, entity).get(id) else {
        return error(404, "not_found", "no such record");
    };
    let mut reply = Reply::json(status, json!({ "data": render(w, entity, rec) }));
    reply.headers.push(("etag", etag(w, entity, rec)));
    reply.note.ids.push(id);
    reply
}

fn read_body(w: &World, entity: Entity, body: &Json) -> Result<Changes, Reply> {
    let schema = &w.table(CRM, entity).schema;
    let Some(object) = body.as_object() else {
        return Err(error(400, "bad_json", "the body must be an object"));
    };
    let mut changes = Vec::new();
    for (name, json) in object {
        let is_there = |f: &u16| schema.name(*f) == name && !w.faults.has_lost(CRM, name);
        let Some(index) = schema.find(name).filter(is_there) else {
            return Err(invalid(name, "unknown field"));
        };
        let field = schema.field(index);
        if field.is(READ_ONLY) {
            continue;
        }
        match read_value(w, field, json) {
            Ok(value) => changes.push((index, value)),
            Err(message) => return Err(invalid(name, &message)),
        }
    }
    Ok(changes)
}

fn read_value(w: &World, field: &Field, json: &Json) -> Result<Value, String> {
    if let Some(target) = entity_named(field.refers) {
        return match json {
            Json::Null => Ok(Value::Null),
            Json::String(s) => parse_id(target, s)
                .filter(|id| w.table(CRM, target).get(*id).is_some())
                .map(Value::Int)
                .ok_or_else(|| format!("there is no record {s}")),
            _ => Err("must be an id".into()),
        };
    }
    let value = Value::strict(field.kind, json)?;
    if let (Value::Text(_), true) = (&value, !json.is_string()) {
        return Err("must be a text".into());
    }
    let text = value.as_str();
    if field.max > 0 && text.chars().count() > field.max {
        return Err(format!("at most {} characters", field.max));
    }
    if field.is(PICKLIST) && !value.is_blank() && !field.picks.iter().any(|p| p.value == text) {
        return Err(format!("{text} is not an option"));
    }
    if field.name == "country"
        && !text.is_empty()
        && !(text.len() == 2 && text.chars().all(|c| c.is_ascii_uppercase()))
    {
        return Err("must be an ISO 3166 alpha-2 code".into());
    }
    if field.name == "email" && !text.is_empty() && !text.contains('@') {
        return Err("is not an e-mail address".into());
    }
    Ok(value)
}
