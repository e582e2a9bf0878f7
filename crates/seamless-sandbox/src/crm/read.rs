//! Listing by (updated_at, id), single records, and search by field.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value as Json, json};

use super::fields::{entity_named, parse_id};
use super::routes::{error, render};
use crate::schema::Kind;
use crate::store::Rec;
use crate::value::{Value, parse_time};
use crate::wire::{Reply, Req};
use crate::world::World;
use crate::{Entity, System};

const CRM: System = System::Crm;
const PAGE_MAX: usize = 200;
const VALUES_MAX: usize = 100;
const ROWS_MAX: usize = 1000;

/// `GET /api/{x}`: keyset paging; records without a stamp come first, and never in an answer to `modified_since`.
pub(super) fn list(w: &mut World, entity: Entity, req: &Req, endless: bool) -> Reply {
    w.lift_veils();
    let since = match req.query_param("modified_since").filter(|s| !s.is_empty()) {
        None => None,
        Some(text) => match parse_time(&text) {
            Some(ms) => Some(ms),
            None => return invalid("modified_since", "not an RFC 3339 time"),
        },
    };
    let limit = match req.query_param("limit").map(|l| l.parse::<usize>()) {
        None => 50,
        Some(Ok(n)) if (1..=PAGE_MAX).contains(&n) => n,
        Some(_) => return invalid("limit", "must be between 1 and 200"),
    };
    let after = match req.query_param("cursor").filter(|c| !c.is_empty()) {
        None => None,
        Some(cursor) => match read_cursor(&cursor) {
            Some(position) => Some(position),
            None => return invalid("cursor", "not a cursor of this list"),
        },
    };
    let table = w.table(CRM, entity);
    let Some(stamps) = table.schema.modified.and_then(|f| table.stamps(f)) else {
        return error(500, "internal", "no order");
    };
    let floor = since.map(|ms| (ms, i64::MIN));
    let stamped = |from: (i64, i64)| stamps.range(from..).map(|(t, id)| (Some(*t), *id));
    let modified = table.schema.modified.unwrap_or_default();
    let unstamped = |from: i64| {
        table
            .from(from)
            .filter(move |r| r.get(modified).is_null())
            .map(|r| (None, r.id))
    };
    let next = |n: i64| n.saturating_add(1);
    // A late edit is in no listing yet: neither where it was nor where it will be.
    let seen = |(_, id): &(Option<i64>, i64)| !table.is_late(*id);
    let rows: Vec<(Option<i64>, i64)> = match (after, floor) {
        (None, None) => unstamped(i64::MIN)
            .chain(stamped((i64::MIN, i64::MIN)))
            .filter(seen)
            .take(limit)
            .collect(),
        (Some((None, id)), None) => unstamped(next(id))
            .chain(stamped((i64::MIN, i64::MIN)))
            .filter(seen)
            .take(limit)
            .collect(),
        (Some((Some(t), id)), floor) => {
            let from = (t, next(id)).max(floor.unwrap_or((i64::MIN, i64::MIN)));
            stamped(from).filter(seen).take(limit).collect()
        }
        (_, Some(floor)) => stamped(floor).filter(seen).take(limit).collect(),
    };
    let data: Vec<Json> = rows
        .iter()
        .filter_map(|(_, id)| table.get(*id))
        .map(|r| render(w, entity, r))
        .collect();
    let next_cursor = if endless {
        Some(write_cursor(after.unwrap_or((Some(i64::MIN), i64::MIN))))
    } else {
        rows.last()
            .filter(|_| rows.len() == limit)
            .map(|last| write_cursor(*last))
    };
    Reply::json(200, json!({ "data": data, "next_cursor": next_cursor }))
}

fn write_cursor((stamp, id): (Option<i64>, i64)) -> String {
    B64.encode(json!([stamp, id]).to_string())
}

fn read_cursor(text: &str) -> Option<(Option<i64>, i64)> {
    let json: Json = serde_json::from_slice(&B64.decode(text).ok()?).ok()?;
    Some((json.get(0)?.as_i64(), json.get(1)?.as_i64()?))
}

pub(super) fn invalid(field: &str, message: &str) -> Reply {
    Reply::json(
        422,
        json!({ "error": { "code": "invalid", "field": field, "message": message } }),
    )
}

/// `GET /api/{x}/{id}`
pub(super) fn by_id(w: &World, entity: Entity, id: &str) -> Reply {
    let Some(rec) = parse_id(entity, id).and_then(|n| w.table(CRM, entity).get(n)) else {
        return error(404, "not_found", "no such record");
    };
    let mut reply = Reply::json(200, json!({ "data": render(w, entity, rec) }));
    reply.headers.push(("etag", etag(w, entity, rec)));
    reply.note.ids.push(rec.id);
    reply
}

pub(super) fn etag(w: &World, entity: Entity, rec: &Rec) -> String {
    let version = w
        .table(CRM, entity)
        .schema
        .version
        .and_then(|f| rec.get(f).as_int());
    format!("\"{}\"", version.unwrap_or(0))
}

/// `POST /api/{x}/search`: equality with any of the values, without case.
pub(super) fn search(w: &mut World, entity: Entity, body: &Json, unfiltered: bool) -> Reply {
    w.lift_veils();
    let table = w.table(CRM, entity);
    let name = body["field"].as_str().unwrap_or_default();
    // Unlike Autotask's, this server minds spelling.
    let Some(index) = table.schema.find(name).filter(|f| table.schema.name(*f) == name) else {
        return invalid("field", "unknown field");
    };
    let Some(values) = body["values"].as_array() else {
        return invalid("values", "must be a list");
    };
    if values.is_empty() || values.len() > VALUES_MAX {
        return invalid("values", "between 1 and 100 values");
    }
    let field = table.schema.field(index);
    let mut wanted = Vec::new();
    for json in values {
        let value = match (entity_named(field.refers), json) {
            (Some(target), Json::String(s)) => parse_id(target, s).map_or(Value::Null, Value::Int),
            _ => match Value::strict(field.kind, json) {
                Ok(value) => value,
                Err(text) => return invalid("values", &text),
            },
        };
        if !value.is_null() {
            wanted.push(value);
        }
    }
    let matches = |rec: &Rec| {
        let stored = rec.get(index);
        wanted.iter().any(|v| match (stored, v) {
            (Value::Text(a), Value::Text(b)) => a.to_lowercase() == b.to_lowercase(),
            (a, b) => a == b && !a.is_null(),
        })
    };
    let by_id = field.kind == Kind::Long && field.name == "id";
    let mut found: Vec<Rec> = Vec::new();
    let mut take = |rec: &Rec| {
        if let Some(seen) = table.view(rec)
            && (unfiltered || matches(&seen))
        {
            found.push(seen.into_owned());
        }
        found.len() >= ROWS_MAX
    };
    if (by_id || table.is_keyed(index)) && !unfiltered {
        let mut ids: Vec<i64> = if by_id {
            wanted.iter().filter_map(Value::as_int).collect()
        } else {
            wanted
                .iter()
                .flat_map(|v| table.by_key(index, v).iter().copied())
                .collect()
        };
        ids.extend(table.veiled());
        ids.sort_unstable();
        ids.dedup();
        let _full = ids.iter().filter_map(|id| table.get(*id)).any(&mut take);
    } else {
        let _full = table.iter().any(&mut take);
    }
    let data: Vec<Json> = found.iter().map(|r| render(w, entity, r)).collect();
    Reply::json(200, json!({ "data": data }))
}
