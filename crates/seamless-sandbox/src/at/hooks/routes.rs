//! The addresses at which callouts are set up: `CompanyWebhooks`, its parts, and their lists.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Callout, field_id};
use crate::schema::UDF;
use crate::wire::{Reply, Req};
use crate::world::World;
use crate::{Entity, System};

/// What a part of a callout is called below it, in lists of its own, and where its number is.
const PARTS: [(&str, &str, &str); 3] = [
    ("fields", "fields", "fieldID"),
    ("udffields", "udffields", "udfFieldID"),
    ("excludedresources", "excludedresources", "resourceID"),
];

/// Answers a request to a webhook address; `None` when it is none.
pub(crate) fn call(w: &mut World, req: &Req, parts: &[&str]) -> Option<Reply> {
    let (first, rest) = parts.split_first()?;
    let (entity, collection) = [
        ("companywebhook", Entity::Account),
        ("contactwebhook", Entity::Contact),
        ("ticketwebhook", Entity::Ticket),
    ]
    .into_iter()
    .find_map(|(prefix, entity)| Some((entity, first.strip_prefix(prefix)?)))?;
    let method = req.method.as_str();
    let body = || serde_json::from_slice::<Map<String, Json>>(&req.body).unwrap_or_default();
    Some(match (collection, rest, method) {
        ("s", [], "POST") => create(w, entity, body()),
        ("s", [], "PATCH") => update(w, entity, body()),
        ("s", ["query"], "POST") => list(&rows(w, entity, None), &body()),
        ("s", [id], "DELETE") => delete(w, entity, id),
        ("s", [id, part], "POST") => add(w, entity, id, part, &body()),
        (part, ["query"], "POST") if is_part(part) => list(&rows(w, entity, Some(part)), &body()),
        (part, ["entityinformation", "fields"], "GET") if is_part(part) => described(w, entity, part),
        _ => Reply::html(404, "404 - File or directory not found.").wrong_route(),
    })
}

fn is_part(name: &str) -> bool {
    PARTS.iter().any(|(_, list, _)| *list == name)
}

fn get<'a>(body: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    let mut found = body.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value)
}

fn create(w: &mut World, entity: Entity, body: Map<String, Json>) -> Reply {
    for name in ["name", "webhookUrl", "deactivationUrl", "secretKey"] {
        if get(&body, name).and_then(Json::as_str).is_none_or(str::is_empty) {
            return super::super::errors(&format!(
                "Missing Required Field: {name}. ; on record number [1]."
            ));
        }
    }
    let id = w.hooks.id();
    let mut callout = Callout {
        entity: Some(entity),
        ..Callout::default()
    };
    take(&mut callout, body);
    w.hooks.callouts.insert(id, callout);
    Reply::json(200, json!({ "itemId": id }))
}

fn take(callout: &mut Callout, body: Map<String, Json>) {
    for (name, value) in body {
        if name.eq_ignore_ascii_case("secretKey") {
            callout.secret = value.as_str().unwrap_or_default().to_owned();
        } else if !name.eq_ignore_ascii_case("id") {
            callout.settings.insert(name, value);
        }
    }
}

fn update(w: &mut World, entity: Entity, body: Map<String, Json>) -> Reply {
    let id = get(&body, "id").and_then(Json::as_i64);
    match id.and_then(|id| Some((id, known(w, entity, id)?))) {
        Some((id, callout)) => {
            if get(&body, "isActive") == Some(&json!(true)) {
                callout.failures = 0;
            }
            take(callout, body);
            Reply::json(200, json!({ "itemId": id }))
        }
        None => super::super::errors("No matching records found for the given id."),
    }
}

fn known(w: &mut World, entity: Entity, id: i64) -> Option<&mut Callout> {
    let callout = w.hooks.callouts.get_mut(&id)?;
    (callout.entity == Some(entity)).then_some(callout)
}

fn delete(w: &mut World, entity: Entity, id: &str) -> Reply {
    let id = id.parse().unwrap_or(-1);
    if known(w, entity, id).is_none() {
        return super::super::errors("No matching records found for the given id.");
    }
    w.hooks.callouts.remove(&id);
    Reply::json(200, json!({ "itemId": id }))
}

fn add(w: &mut World, entity: Entity, id: &str, part: &str, body: &Map<String, Json>) -> Reply {
    let Some((_, _, name)) = PARTS.iter().find(|(own, _, _)| *own == part) else {
        return Reply::html(404, "404 - File or directory not found.").wrong_route();
    };
    let Some(number) = get(body, name).and_then(Json::as_i64) else {
        return super::super::errors(&format!(
            "Missing Required Field: {name}. ; on record number [1]."
        ));
    };
    let row = w.hooks.id();
    match known(w, entity, id.parse().unwrap_or(-1)) {
        Some(callout) => {
            part_of(callout, part).insert(row, number);
            Reply::json(200, json!({ "itemId": row }))
        }
        None => super::super::errors("No matching records found for the given id."),
    }
}

fn part_of<'a>(callout: &'a mut Callout, part: &str) -> &'a mut BTreeMap<i64, i64> {
    match part {
        "fields" => &mut callout.fields,
        "udffields" => &mut callout.udf_fields,
        _ => &mut callout.excluded,
    }
}

/// The rows of a list, ascending by id.
fn rows(w: &mut World, entity: Entity, part: Option<&str>) -> Vec<Map<String, Json>> {
    let mut rows: Vec<Map<String, Json>> = Vec::new();
    for (id, callout) in &mut w.hooks.callouts {
        if callout.entity != Some(entity) {
            continue;
        }
        let Some(part) = part else {
            let mut row = callout.settings.clone();
            row.insert("id".into(), json!(id));
            row.insert("isActive".into(), json!(callout.is_active()));
            row.insert("isReady".into(), json!(callout.is_ready()));
            rows.push(row);
            continue;
        };
        let number = PARTS.iter().find(|(_, list, _)| *list == part);
        for (row, value) in part_of(callout, part) {
            let mut fields = Map::new();
            fields.insert("id".into(), json!(row));
            fields.insert("webhookID".into(), json!(id));
            fields.insert(number.map_or("number", |(_, _, name)| name).into(), json!(value));
            rows.push(fields);
        }
    }
    rows.sort_by_key(|row| row.get("id").and_then(Json::as_i64));
    rows
}

/// A page of rows that satisfy every condition of the query.
fn list(rows: &[Map<String, Json>], query: &Map<String, Json>) -> Reply {
    let Some(conditions) = get(query, "filter").and_then(Json::as_array) else {
        return super::super::errors("A filter is required.");
    };
    let max = get(query, "MaxRecords").and_then(Json::as_u64).unwrap_or(500) as usize;
    let found: Vec<_> = rows
        .iter()
        .filter(|row| conditions.iter().all(|condition| holds(row, condition)))
        .take(max)
        .collect();
    Reply::json(
        200,
        json!({
            "pageDetails": { "count": found.len(), "requestCount": max, "prevPageUrl": null, "nextPageUrl": null },
            "items": found,
        }),
    )
}

fn holds(row: &Map<String, Json>, condition: &Json) -> bool {
    let items = || condition["items"].as_array().cloned().unwrap_or_default();
    let value = condition["field"].as_str().and_then(|name| get(row, name));
    let number = |json: Option<&Json>| json.and_then(Json::as_i64).unwrap_or(i64::MIN);
    match condition["op"].as_str().unwrap_or_default() {
        "and" => items().iter().all(|condition| holds(row, condition)),
        "or" => items().iter().any(|condition| holds(row, condition)),
        "eq" => value == Some(&condition["value"]),
        "gt" => number(value) > number(condition.get("value")),
        "gte" => number(value) >= number(condition.get("value")),
        // An operator that is not known is dropped, here as elsewhere.
        _ => true,
    }
}

/// The fields of an entity that a callout can tell of, as the list of options of one field.
fn described(w: &World, entity: Entity, part: &str) -> Reply {
    let schema = &w.table(System::Autotask, entity).schema;
    let wanted = part == "udffields";
    let options: Vec<Json> = schema
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.is(UDF) == wanted && field.name != "id")
        .map(|(at, field)| {
            json!({ "value": field_id(at as u16).to_string(), "label": field.name, "isActive": true })
        })
        .collect();
    let number = PARTS
        .iter()
        .find(|(_, list, _)| *list == part)
        .map_or("", |(_, _, name)| name);
    Reply::json(
        200,
        json!({ "fields": [{ "name": number, "dataType": "integer", "isPickList": true, "picklistValues": options }] }),
    )
}
