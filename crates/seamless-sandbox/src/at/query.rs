//! Queries and paging.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Map, Value as Json, json};

use super::filter::{self, Node};
use super::{Req, base_url, errors};
use crate::calls::Note;
use crate::schema::UDF;
use crate::store::Rec;
use crate::value::{Style, Value};
use crate::wire::{Reply, Twists};
use crate::world::World;
use crate::{Entity, System};

/// The largest page, and the default one.
const PAGE_MAX: usize = 500;

struct Query {
    node: Node,
    max: usize,
    include: Option<Vec<u16>>,
}

fn parse(w: &World, entity: Entity, body: &Json) -> Result<Query, String> {
    let schema = &w.table(System::Autotask, entity).schema;
    let filter = filter::prop(body, "filter").ok_or("A query must contain at least one filter.")?;
    let node = filter::parse(schema, filter, w.config.udf_in)?;
    let max = match filter::prop(body, "MaxRecords") {
        None | Some(Json::Null) => PAGE_MAX,
        Some(n) => match n.as_i64() {
            Some(n @ 1..=500) => n as usize,
            _ => return Err("MaxRecords must be between 1 and 500.".into()),
        },
    };
    let include = match filter::prop(body, "IncludeFields") {
        None | Some(Json::Null) => None,
        Some(Json::Array(names)) if names.is_empty() => None,
        Some(Json::Array(names)) => {
            let mut fields = Vec::new();
            for name in names {
                let name = name.as_str().unwrap_or_default();
                let unknown = || format!("Unable to find {name} in the {} Entity.", schema.entity);
                fields.push(schema.find(name).ok_or_else(unknown)?);
            }
            Some(fields)
        }
        Some(_) => return Err("IncludeFields must be an array.".into()),
    };
    Ok(Query { node, max, include })
}

/// Records as queries see them, ascending by id, from `after` on.
fn select(w: &World, entity: Entity, node: &Node, after: i64, limit: usize) -> Vec<Rec> {
    let table = w.table(System::Autotask, entity);
    let Some(id) = table.schema.find("id") else {
        return Vec::new();
    };
    let first = node.first_id(id).max(after.saturating_add(1));
    let mut found = Vec::new();
    let mut take = |rec: &Rec| {
        if let Some(seen) = table.view(rec)
            && node.eval(&seen)
        {
            found.push(seen.into_owned());
        }
        found.len() >= limit
    };
    // Above a quarter of the table an ordered scan beats sorting what the index gives.
    match node.plan(table, id, (table.len() / 4).max(1000)) {
        Some(mut ids) => {
            ids.extend(table.veiled());
            ids.sort_unstable();
            ids.dedup();
            let from = ids.partition_point(|i| *i < first);
            let _full = ids[from..].iter().filter_map(|i| table.get(*i)).any(&mut take);
        }
        None => {
            let _full = table.from(first).any(&mut take);
        }
    }
    found
}

/// `…/query`: a first page. `body` is the query itself, from the body (POST) or from `search` (GET).
pub(crate) fn first_page(w: &mut World, entity: Entity, body: &Json, req: &Req, twists: &Twists) -> Reply {
    page(w, entity, body, req, i64::MIN, 1, twists)
}

fn token(req: &Req) -> Option<Json> {
    serde_json::from_slice(&B64.decode(req.query_param("paging")?).ok()?).ok()
}

/// The 405 for a following page that is asked for by another method than the first one was.
pub(crate) fn wrong_method(req: &Req) -> Option<Reply> {
    let method = &req.method;
    if token(req)?["method"] == *method {
        return None;
    }
    let text = format!("The requested resource does not support http method '{method}'.");
    Some(Reply::json(405, json!({ "Message": text })))
}

/// `…/query/next`: the following pages, with the method and the text of the first call.
pub(crate) fn next_page(w: &mut World, entity: Entity, body: &Json, req: &Req, twists: &Twists) -> Reply {
    let Some(token) = token(req) else {
        return errors("The paging token is not valid.");
    };
    let after = token["after"].as_i64().unwrap_or(i64::MIN);
    if token["hash"].as_u64() != Some(hash(body)) {
        return errors("The query of the following page must equal that of the first page.");
    }
    page(
        w,
        entity,
        body,
        req,
        after,
        token["page"].as_u64().unwrap_or(1) + 1,
        twists,
    )
}

fn page(
    w: &mut World,
    entity: Entity,
    body: &Json,
    req: &Req,
    after: i64,
    number: u64,
    twists: &Twists,
) -> Reply {
    let query = match parse(w, entity, body) {
        Ok(query) => query,
        Err(text) => return errors(&text),
    };
    if filter::prop(body, "filter").is_some_and(filter::drops) {
        w.calls.dropped_condition();
    }
    let rows = if twists.unfiltered {
        let first = w.table(System::Autotask, entity).from(after.saturating_add(1));
        first.take(query.max).cloned().collect()
    } else {
        select(w, entity, &query.node, after, query.max)
    };
    let schema = &w.table(System::Autotask, entity).schema;
    if let (Some(include), Some(id)) = (&query.include, schema.find("id"))
        && !include.contains(&id)
        && rows.len() == PAGE_MAX
    {
        return errors("IncludeFields must contain id when more than 500 records match.");
    }
    let any_udf = rows
        .iter()
        .any(|r| schema.udfs().any(|(f, _)| !r.get(f).is_null()));
    let items: Vec<Json> = rows
        .iter()
        .map(|r| {
            render(
                w,
                entity,
                r,
                query.include.as_deref(),
                any_udf,
                query.include.is_some(),
            )
        })
        .collect();
    let full = rows.len() == query.max;
    // An exactly full last page still names a next one, which is then empty.
    let next = if twists.endless {
        Some(next_url(w, entity, body, req, after, number, twists.foreign))
    } else {
        let last = rows.last().map_or(after, |r| r.id);
        full.then(|| next_url(w, entity, body, req, last, number, twists.foreign))
    };
    let details = json!({
        "count": items.len(), "requestCount": query.max, "prevPageUrl": null, "nextPageUrl": next,
    });
    let seen = rows.iter().map(|rec| rec.id);
    let ids = seen
        .filter(|id| !w.table(System::Autotask, entity).is_late(*id))
        .collect();
    let mut reply = Reply::json(200, json!({ "items": items, "pageDetails": details }));
    reply.note = Note {
        entity: Some(entity),
        ids,
        is_list: true,
        is_poll: !query.node.names_values(),
        ..Note::default()
    };
    reply
}

fn next_url(
    w: &World,
    entity: Entity,
    body: &Json,
    req: &Req,
    after: i64,
    page: u64,
    foreign: bool,
) -> String {
    let token = json!({ "after": after, "method": req.method, "hash": hash(body), "page": page });
    let token = B64.encode(token.to_string());
    let base = if foreign {
        // The admin interface counts who brings credentials there.
        format!("http://127.0.0.1:{}/ATServicesRest/", w.foreign_port)
    } else {
        base_url(w)
    };
    let collection = w.table(System::Autotask, entity).schema.collection;
    let mut url = format!("{base}V1.0/{collection}/query/next?paging={token}");
    if req.method == "GET" {
        url.push_str("&search=");
        url.push_str(&percent_encode(&body.to_string()));
    }
    url
}

/// A stable fingerprint of the query (FNV-1a), to hold the following pages to the first one's text.
fn hash(body: &Json) -> u64 {
    let fold = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
    body.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, fold) >> 12
}

fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// `…/query/count`.
pub(crate) fn count(w: &World, entity: Entity, body: &Json) -> Reply {
    match parse(w, entity, body) {
        Ok(query) => {
            let n = select(w, entity, &query.node, i64::MIN, usize::MAX).len();
            Reply::json(200, json!({ "queryCount": n }))
        }
        Err(text) => errors(&text),
    }
}

/// `…/{id}`: a missing id is no error.
pub(crate) fn by_id(w: &World, entity: Entity, id: i64) -> Reply {
    let table = w.table(System::Autotask, entity);
    let item = table.get(id).map_or(Json::Null, |rec| {
        let any = table.schema.udfs().any(|(f, _)| !rec.get(f).is_null());
        render(w, entity, rec, None, any, true)
    });
    let mut reply = Reply::json(200, json!({ "item": item }));
    reply.note = Note {
        entity: Some(entity),
        ids: vec![id],
        ..Note::default()
    };
    reply
}

/// `Companies/{id}/Contacts` by GET.
pub(crate) fn children(w: &World, company: i64) -> Reply {
    let table = w.table(System::Autotask, Entity::Contact);
    let Some(parent) = table.schema.find("companyID") else {
        return errors("no such field");
    };
    let mut ids = table.by_key(parent, &Value::Int(company)).to_vec();
    ids.sort_unstable();
    let items: Vec<Json> = ids
        .iter()
        .take(PAGE_MAX)
        .filter_map(|id| table.get(*id))
        .map(|r| render(w, Entity::Contact, r, None, true, true))
        .collect();
    let details = json!({
        "count": items.len(), "requestCount": PAGE_MAX, "prevPageUrl": null, "nextPageUrl": null,
    });
    Reply::json(200, json!({ "items": items, "pageDetails": details }))
}

/// A record as JSON. Without any value in its user-defined fields they are `[]` or absent altogether.
pub(crate) fn render(
    w: &World,
    entity: Entity,
    rec: &Rec,
    only: Option<&[u16]>,
    udfs: bool,
    empty_udfs: bool,
) -> Json {
    let schema = &w.table(System::Autotask, entity).schema;
    let mut out = Map::new();
    let mut list = Vec::new();
    for (i, field) in schema.fields.iter().enumerate() {
        let i = i as u16;
        if only.is_some_and(|o| !o.contains(&i)) {
            continue;
        }
        if field.is(UDF) {
            if udfs && !w.faults.has_lost(System::Autotask, &field.name) {
                let value = rec.get(i).to_json(field.kind, Style::Autotask);
                list.push(json!({ "name": field.name, "value": value }));
            }
            continue;
        }
        // The recorded replies spell times with and without an offset; UTC is meant either way.
        let bare = Some(i) == schema.activity;
        let style = if bare {
            Style::AutotaskBare
        } else {
            Style::Autotask
        };
        out.insert(field.name.clone(), rec.get(i).to_json(field.kind, style));
    }
    if udfs || empty_udfs {
        out.insert("userDefinedFields".into(), Json::Array(list));
    }
    Json::Object(out)
}
