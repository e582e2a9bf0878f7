//! Which address does what, and who may call it.

use serde_json::{Value as Json, json};

use super::{Req, base_url, errors, meta, query, write};
use crate::limits::WINDOW_MINUTES;
use crate::wire::{Reply, Twists};
use crate::world::World;
use crate::{Entity, System};

/// Longest URL that the real front end takes.
const URL_MAX: usize = 2048;

/// The path below `…/ATServicesRest/`, in lower case, and the zone in front of it.
fn split(path: &str) -> Option<(u32, Vec<String>)> {
    let mut segments: Vec<String> = path
        .split('/')
        .filter(|s| !s.is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut zone = 1;
    if let Some(n) = segments
        .first()
        .and_then(|s| s.strip_prefix("zone")?.parse().ok())
    {
        zone = n;
        segments.remove(0);
    }
    (segments.first().is_some_and(|s| s == "atservicesrest")).then(|| (zone, segments.split_off(1)))
}

fn collection(name: &str) -> Option<Entity> {
    Some(match name {
        "companies" => Entity::Account,
        "contacts" => Entity::Contact,
        "tickets" => Entity::Ticket,
        "opportunities" => Entity::Opportunity,
        "countries" => Entity::Country,
        "resources" => Entity::Resource,
        "roles" => Entity::Role,
        "resourceservicedeskroles" => Entity::ServiceDeskRole,
        _ => return None,
    })
}

/// The endpoint a call counts under: the parent's name for child addresses.
pub(crate) fn endpoint_of(path: &str) -> String {
    match split(path) {
        Some((_, rest)) if rest.len() >= 2 => rest[1].clone(),
        Some((_, rest)) if rest.len() == 1 => rest[0].clone(),
        _ => "unknown".into(),
    }
}

/// Addresses which need no credentials and count against no limit.
pub(crate) fn is_open(path: &str) -> bool {
    matches!(
        endpoint_of(path).as_str(),
        "zoneinformation" | "versioninformation"
    )
}

/// Whether a call changes data (a query by POST does not).
pub(crate) fn is_write(method: &str, path: &str) -> bool {
    let path = path.to_lowercase();
    let reads = path.contains("/query") || path.contains("/zoneinformation");
    matches!(method, "POST" | "PATCH" | "PUT" | "DELETE") && !reads
}

/// Answers one request.
pub(crate) fn call(w: &mut World, req: &Req, twists: &Twists) -> Reply {
    if req.url_len > URL_MAX {
        return Reply::html(404, "404 - File or directory not found.").wrong_route();
    }
    let Some((zone, rest)) = split(&req.path) else {
        return no_route();
    };
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["versioninformation"] => return Reply::json(200, json!({ "apiVersions": ["V1.0", "V2.0"] })),
        ["v1.0", "versioninformation"] => {
            return Reply::json(200, json!({ "apiVersions": ["V1.0", "V2.0"] }));
        }
        ["v1.0", "zoneinformation"] if req.method == "GET" => return zone_information(w, req),
        ["v1.0", ..] => {}
        _ => return no_route(),
    }
    if let Some(refusal) = authenticate(w, req, zone) {
        return refusal;
    }
    route(w, req, &parts[1..], twists)
}

fn zone_information(w: &World, req: &Req) -> Reply {
    let user = req.query_param("user").unwrap_or_default();
    if !user.eq_ignore_ascii_case(&w.config.autotask_user) {
        return errors("Zone information could not be determined");
    }
    let name = format!("Sandbox Zone {}", w.zone);
    let web = format!("http://127.0.0.1:{}/", w.autotask_port);
    Reply::json(
        200,
        json!({ "zoneName": name, "url": base_url(w), "webUrl": web, "ci": 1 }),
    )
}

fn authenticate(w: &mut World, req: &Req, zone: u32) -> Option<Reply> {
    let unauthorized = || Reply::json(401, json!({ "errors": ["Authentication failed."] }));
    if zone != w.zone {
        // The tenant lives elsewhere now; only zoneInformation knows where.
        return Some(unauthorized());
    }
    if req.code.as_deref() != Some(w.config.integration_code.as_str()) {
        return Some(errors("IntegrationCode is invalid."));
    }
    if !req
        .user
        .as_deref()
        .is_some_and(|u| u.eq_ignore_ascii_case(&w.config.autotask_user))
    {
        return Some(errors("The user was not found."));
    }
    let locked = w.config.lock_after.is_some_and(|n| w.bad_secrets >= n);
    if locked || req.secret.as_deref() != Some(w.config.autotask_secret.as_str()) {
        w.bad_secrets += 1;
        return Some(unauthorized());
    }
    w.bad_secrets = 0;
    None
}

fn no_route() -> Reply {
    Reply::html(404, "404 - File or directory not found.").wrong_route()
}

fn no_method(method: &str) -> Reply {
    let text = format!("The requested resource does not support http method '{method}'.");
    Reply::json(405, json!({ "Message": text })).wrong_route()
}

fn route(w: &mut World, req: &Req, parts: &[&str], twists: &Twists) -> Reply {
    let method = req.method.as_str();
    if parts == ["thresholdinformation"] {
        if method != "GET" {
            return no_method(method);
        }
        let now = w.clock.limit_ms();
        let used = w.limits.used(now);
        return Reply::json(
            200,
            json!({
                "externalRequestThreshold": w.config.hourly_limit,
                "requestThresholdTimeframe": WINDOW_MINUTES,
                "currentTimeframeRequestCount": used,
            }),
        );
    }
    if let Some(reply) = super::hooks::call(w, req, parts) {
        return reply;
    }
    let Some(entity) = parts.first().and_then(|p| collection(p)) else {
        return no_route();
    };
    let writable = Entity::SYNCED.contains(&entity);
    match (&parts[1..], method) {
        ([], "POST" | "PATCH" | "PUT") if writable && entity != Entity::Contact => {
            write::handle(w, entity, None, req)
        }
        // Contacts are child records: their own collection has no write address at all.
        ([], "POST" | "PATCH" | "PUT") if entity == Entity::Contact => no_route(),
        ([], _) => no_method(method),
        (["query"], "GET" | "POST") => {
            run_query(w, req, |w, body| query::first_page(w, entity, body, req, twists))
        }
        (["query", "next"], "GET" | "POST") => query::wrong_method(req)
            .unwrap_or_else(|| run_query(w, req, |w, body| query::next_page(w, entity, body, req, twists))),
        (["query", "count"], "GET" | "POST") => run_query(w, req, |w, body| query::count(w, entity, body)),
        (["query", ..], _) => no_method(method),
        (["entityinformation"], "GET") => meta::entity(w, entity),
        (["entityinformation", "fields"], "GET") => meta::fields(w, entity),
        (["entityinformation", "userdefinedfields"], "GET") => meta::udfs(w, entity),
        (["entityinformation", ..], _) => no_method(method),
        ([id], "GET") => match id.parse() {
            Ok(id) => query::by_id(w, entity, id),
            Err(_) => no_route(),
        },
        ([id], _) if id.parse::<i64>().is_ok() => no_method(method),
        ([company, "contacts", rest @ ..], _) if entity == Entity::Account => match company.parse() {
            Ok(company) => contacts(w, req, company, rest),
            Err(_) => no_route(),
        },
        _ => no_route(),
    }
}

/// `Companies/{pid}/Contacts…`
fn contacts(w: &mut World, req: &Req, company: i64, rest: &[&str]) -> Reply {
    match (rest, req.method.as_str()) {
        ([], "GET") => query::children(w, company),
        ([], "POST" | "PATCH" | "PUT") => write::handle(w, Entity::Contact, Some(company), req),
        ([], method) => no_method(method),
        ([id], method) => match (id.parse::<i64>(), method) {
            (Ok(id), "GET") => child(w, company, id),
            (Ok(id), "DELETE") => write::delete_contact(w, company, id),
            (Ok(_), _) => no_method(method),
            // Nested collections take no query.
            (Err(_), _) => no_route(),
        },
        _ => no_route(),
    }
}

fn child(w: &World, company: i64, id: i64) -> Reply {
    let table = w.table(System::Autotask, Entity::Contact);
    let parent = table.schema.find("companyID");
    let is_child = table
        .get(id)
        .zip(parent)
        .is_some_and(|(r, p)| r.get(p).as_int() == Some(company));
    if is_child {
        query::by_id(w, Entity::Contact, id)
    } else {
        Reply::json(200, json!({ "item": null }))
    }
}

fn run_query(w: &mut World, req: &Req, run: impl FnOnce(&mut World, &Json) -> Reply) -> Reply {
    let parsed = if req.method == "GET" {
        serde_json::from_str(&req.query_param("search").unwrap_or_default())
    } else {
        serde_json::from_slice(&req.body)
    };
    w.lift_veils();
    match parsed {
        Ok(body) => run(w, &body),
        Err(_) => errors("The query is not valid JSON."),
    }
}
