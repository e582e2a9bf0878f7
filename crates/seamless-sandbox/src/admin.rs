//! The admin interface: people's hands in both systems, faults, clocks, logs and the truth.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

use crate::faults::Faults;
use crate::server::App;
use crate::truth::Rules;
use crate::value::{Style, format_time};
use crate::wire::{Reply, Req};
use crate::world::{Changes, Hand, World};
use crate::{Entity, System};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditBody {
    system: System,
    entity: Entity,
    #[serde(default)]
    id: Json,
    fields: Map<String, Json>,
    #[serde(default)]
    label: String,
    /// The change stamp stays as it is.
    #[serde(default)]
    quiet: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    speed: Option<f64>,
    advance_secs: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FloodBody {
    entity: Entity,
    id: i64,
    count: u32,
}

fn flood(app: &App, body: &FloodBody) -> Json {
    let mut world = app.world();
    world.flood(body.entity, body.id, body.count.min(FLOOD_MAX));
    world.hooks.shown()["counts"].clone()
}

/// Events that one flood causes at most.
const FLOOD_MAX: u32 = 10_000;

fn bad(message: &str) -> Reply {
    Reply::json(400, json!({ "error": message }))
}

fn body<T: DeserializeOwned>(req: &Req) -> Result<T, Reply> {
    serde_json::from_slice(&req.body).map_err(|e| bad(&e.to_string()))
}

/// Answers one admin request.
pub(crate) fn call(app: &Arc<App>, req: &Req) -> Reply {
    let answer = match (req.method.as_str(), req.path.trim_end_matches('/')) {
        ("GET", "/health") => Ok(json!({ "status": "ok" })),
        ("GET", "/config") => Ok(config(app)),
        ("POST", "/edit") => body(req).and_then(|b| edit(app, b)),
        ("POST", "/create") => body(req).and_then(|b| create(app, b)),
        ("POST", "/delete") => body(req).and_then(|b| delete(app, &b)),
        ("GET", "/record") => record(app, req),
        ("GET", "/records") => records(app, req),
        ("GET", "/count") => Ok(count(app)),
        ("GET", "/faults") => Ok(json!(app.world().faults)),
        ("POST", "/faults") => body::<Faults>(req).map(|faults| {
            let shown = json!(faults);
            app.set_faults(faults);
            shown
        }),
        ("GET", "/clock") => Ok(clock(app)),
        ("POST", "/clock") => body(req).map(|b| set_clock(app, &b)),
        ("GET", "/calls") => Ok(calls(app, req)),
        ("GET", "/stats") => {
            let world = app.world();
            Ok(world.calls.stats(&world.limits.peaks))
        }
        ("GET", "/hooks") => Ok(app.world().hooks.shown()),
        ("POST", "/hooks/flood") => body(req).map(|b| flood(app, &b)),
        ("GET", "/truth") => truth(app, req),
        ("GET", "/edits") => Ok(edits(app)),
        (_, path) => Err(Reply::json(
            404,
            json!({ "error": format!("no admin route {path}") }),
        )),
    };
    match answer {
        Ok(json) => Reply::json(200, json),
        Err(reply) => reply,
    }
}

fn config(app: &App) -> Json {
    let world = app.world();
    let c = &world.config;
    json!({
        "autotask": {
            "url": app.urls[0], "zone_information_url": format!("{}/atservicesrest/v1.0/zoneInformation", app.urls[0]),
            "user": c.autotask_user, "secret": c.autotask_secret, "integration_code": c.integration_code,
            "udf": c.udf, "default_owner_id": crate::at::tables::HUMAN_RESOURCE,
            "default_queue_id": crate::at::picks::SUPPORT_QUEUE,
            "api_only_resource_id": crate::at::tables::API_RESOURCE,
            "hourly_limit": c.hourly_limit,
        },
        "crm": { "url": app.urls[1], "token": c.crm_token, "xref_field": "autotask_id" },
        "admin": { "url": app.urls[2] },
        "seed": c.seed, "records": c.records, "mess": c.mess, "clock_speed": world.clock.speed(),
    })
}

fn changes(world: &World, edit: &EditBody) -> Result<Changes, Reply> {
    let schema = &world.table(edit.system, edit.entity).schema;
    let mut changes = Vec::new();
    for (name, json) in &edit.fields {
        let Some(field) = schema.find(name) else {
            return Err(bad(&format!("{} has no field {name}", schema.entity)));
        };
        if schema.name(field) == "id" {
            return Err(bad("the id cannot be edited"));
        }
        changes.push((field, world.value_lenient(edit.system, edit.entity, field, json)));
    }
    Ok(changes)
}

fn known(system: System, entity: Entity) -> Result<(), Reply> {
    if system == System::Crm && !Entity::SYNCED.contains(&entity) {
        return Err(bad("the CRM has no such entity"));
    }
    Ok(())
}

fn edit(app: &App, edit: EditBody) -> Result<Json, Reply> {
    known(edit.system, edit.entity)?;
    let mut world = app.world();
    let changes = changes(&world, &edit)?;
    let id = World::parse_id(edit.system, edit.entity, &edit.id)
        .ok_or_else(|| bad("id is missing or misspelt"))?;
    let hand = Hand {
        label: &edit.label,
        quiet: edit.quiet,
    };
    if !world.person_edit(edit.system, edit.entity, id, &changes, &hand) {
        return Err(Reply::json(404, json!({ "error": "no such record" })));
    }
    shown(&world, edit.system, edit.entity, id)
}

fn create(app: &App, edit: EditBody) -> Result<Json, Reply> {
    known(edit.system, edit.entity)?;
    let mut world = app.world();
    let mut changes = changes(&world, &edit)?;
    // A person's form sends the boxes as they are ticked by default.
    let schema = &world.table(edit.system, edit.entity).schema;
    for name in ["isActive", "active"] {
        if let Some(field) = schema.find(name)
            && !changes.iter().any(|(f, _)| *f == field)
        {
            changes.push((
                field,
                crate::value::Value::lenient(schema.field(field).kind, &Json::Bool(true)),
            ));
        }
    }
    let id = world.create(edit.system, edit.entity, changes, false);
    shown(&world, edit.system, edit.entity, id)
}

fn delete(app: &App, body: &Json) -> Result<Json, Reply> {
    let address: (System, Entity) = serde_json::from_value(json!([body["system"], body["entity"]]))
        .map_err(|_| bad("system and entity are needed"))?;
    let (system, entity) = address;
    known(system, entity)?;
    let id = World::parse_id(system, entity, &body["id"]).ok_or_else(|| bad("id is missing or misspelt"))?;
    let mut world = app.world();
    let removed = world.delete(system, entity, id, false);
    Ok(json!({ "deleted": removed }))
}

fn shown(world: &World, system: System, entity: Entity, id: i64) -> Result<Json, Reply> {
    match world.table(system, entity).get(id) {
        Some(rec) => {
            let mut out = world.dump(system, entity, rec);
            if let Some(other) = world.counterpart(system, entity, id) {
                out["counterpart"] = World::id_json(system.other(), entity, other);
            }
            Ok(out)
        }
        None => Err(Reply::json(404, json!({ "error": "no such record" }))),
    }
}

fn address(req: &Req) -> Result<(System, Entity), Reply> {
    let word = |name: &str| Json::from(req.query_param(name).unwrap_or_default());
    let address = serde_json::from_value(json!([word("system"), word("entity")]));
    let (system, entity) =
        address.map_err(|_| bad("system=autotask|crm and entity=account|contact|… are needed"))?;
    known(system, entity)?;
    Ok((system, entity))
}

fn record(app: &App, req: &Req) -> Result<Json, Reply> {
    let (system, entity) = address(req)?;
    let id = Json::from(req.query_param("id").unwrap_or_default());
    let id = World::parse_id(system, entity, &id).ok_or_else(|| bad("id is missing or misspelt"))?;
    shown(&app.world(), system, entity, id)
}

fn records(app: &App, req: &Req) -> Result<Json, Reply> {
    let (system, entity) = address(req)?;
    let limit = req
        .query_param("limit")
        .and_then(|l| l.parse().ok())
        .unwrap_or(100_usize)
        .min(5_000);
    let after = req.query_param("after").filter(|a| !a.is_empty());
    let after = match after {
        None => i64::MIN,
        Some(text) => {
            World::parse_id(system, entity, &Json::from(text)).ok_or_else(|| bad("after is misspelt"))?
        }
    };
    let world = app.world();
    let rows: Vec<_> = world
        .table(system, entity)
        .from(after.saturating_add(1))
        .take(limit)
        .collect();
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|r| World::id_json(system, entity, r.id));
    let list: Vec<Json> = rows.iter().map(|r| world.dump(system, entity, r)).collect();
    Ok(json!({ "records": list, "next_after": next }))
}

fn count(app: &App) -> Json {
    let world = app.world();
    let of = |system: System| -> Json {
        let counts = Entity::SYNCED.iter().map(|e| {
            let name = json!(e).as_str().unwrap_or_default().to_owned();
            (name, Json::from(world.table(system, *e).len()))
        });
        Json::Object(counts.collect())
    };
    json!({ "autotask": of(System::Autotask), "crm": of(System::Crm) })
}

fn clock(app: &App) -> Json {
    let mut world = app.world();
    let limit_ms = world.clock.limit_ms();
    let used = world.limits.used(limit_ms);
    json!({
        "now": format_time(world.now(), Style::Crm), "speed": world.clock.speed(),
        "limit_secs": limit_ms / 1000.0, "requests_in_window": used,
    })
}

fn set_clock(app: &App, body: &ClockBody) -> Json {
    {
        let mut world = app.world();
        if let Some(speed) = body.speed {
            world.clock.set_speed(speed);
        }
        if let Some(secs) = body.advance_secs {
            world.clock.advance(secs);
        }
    }
    clock(app)
}

fn calls(app: &App, req: &Req) -> Json {
    let number = |name: &str| req.query_param(name).and_then(|s| s.parse::<u64>().ok());
    let limit = number("limit")
        .and_then(|l| usize::try_from(l).ok())
        .unwrap_or(usize::MAX);
    app.world().calls.since(number("since").unwrap_or(0), limit)
}

fn truth(app: &App, req: &Req) -> Result<Json, Reply> {
    let owner = match req.query_param("owner").as_deref() {
        None | Some("" | "autotask") => System::Autotask,
        Some("crm") => System::Crm,
        Some(_) => return Err(bad("owner must be autotask or crm")),
    };
    let one_way = one_way(&req.query_param("one_way").unwrap_or_default())?;
    Ok(app.world().truth_report(&Rules { owner, one_way }))
}

/// `ticket:crm,opportunity:autotask`: entities that flow one way, and from where.
fn one_way(text: &str) -> Result<Vec<(Entity, System)>, Reply> {
    let words = text.split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (entity, from) = pair.split_once(':')?;
        serde_json::from_value::<(Entity, System)>(json!([entity, from])).ok()
    };
    words
        .map(|text| pair(text).ok_or_else(|| bad("one_way must be like ticket:crm,opportunity:autotask")))
        .collect()
}

fn edits(app: &App) -> Json {
    app.world().edits_json()
}
