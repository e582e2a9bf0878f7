//! Addresses of the CRM.

use serde_json::{Value as Json, json};

use super::fields::USERS;
use super::{read, write};
use crate::wire::{Reply, Req, Twists};
use crate::world::World;
use crate::{Entity, System};

/// The CRM's error form.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, json!({ "error": { "code": code, "message": message } }))
}

fn collection(name: &str) -> Option<Entity> {
    Some(match name {
        "accounts" => Entity::Account,
        "contacts" => Entity::Contact,
        "tickets" => Entity::Ticket,
        "opportunities" => Entity::Opportunity,
        _ => return None,
    })
}

/// Answers one request.
pub(crate) fn call(w: &mut World, req: &Req, twists: &Twists) -> Reply {
    let wanted = format!("Bearer {}", w.config.crm_token);
    if req.bearer.as_deref() != Some(wanted.as_str()) {
        return error(401, "unauthorized", "a bearer token is needed");
    }
    let parts: Vec<&str> = req.path.split('/').filter(|s| !s.is_empty()).collect();
    let (entity, rest) = match parts.as_slice() {
        ["api", "users"] if req.method == "GET" => return users(),
        ["api", name, rest @ ..] => match collection(name) {
            Some(entity) => (entity, rest),
            None => return error(404, "not_found", "no such resource").wrong_route(),
        },
        _ => return error(404, "not_found", "no such resource").wrong_route(),
    };
    let body = || serde_json::from_slice::<Json>(&req.body);
    let mut reply = match (rest, req.method.as_str()) {
        ([], "GET") => read::list(w, entity, req, twists.endless),
        ([], "POST") => match body() {
            Ok(body) => write::create(w, entity, &body),
            Err(_) => error(400, "bad_json", "the body is not valid JSON"),
        },
        (["search"], "POST") => match body() {
            Ok(body) => read::search(w, entity, &body, twists.unfiltered),
            Err(_) => error(400, "bad_json", "the body is not valid JSON"),
        },
        ([id], "GET") => read::by_id(w, entity, id),
        ([id], "PATCH") => match body() {
            Ok(body) => write::update(w, entity, id, &body, req),
            Err(_) => error(400, "bad_json", "the body is not valid JSON"),
        },
        ([] | [_], method) => {
            let message = format!("{method} is not possible here");
            error(405, "method_not_allowed", &message).wrong_route()
        }
        _ => error(404, "not_found", "no such resource").wrong_route(),
    };
    reply.note.entity = Some(entity);
    reply
}

/// `GET /api/users`: whom tickets are assigned to and who owns opportunities, all on one page.
fn users() -> Reply {
    let user = |(id, email, name, active): &(&str, &str, &str, bool)| json!({ "id": id, "email": email, "name": name, "active": active });
    let data: Vec<Json> = USERS.iter().map(user).collect();
    Reply::json(200, json!({ "data": data, "next_cursor": null }))
}

/// Whether a call changes data (a search by POST does not).
pub(crate) fn is_write(method: &str, path: &str) -> bool {
    matches!(method, "POST" | "PATCH" | "PUT" | "DELETE") && !path.trim_end_matches('/').ends_with("/search")
}

/// The collection a call counts under.
pub(crate) fn endpoint_of(path: &str) -> String {
    path.split('/')
        .filter(|s| !s.is_empty())
        .nth(1)
        .unwrap_or("unknown")
        .to_owned()
}

/// A record as the CRM shows it.
pub(super) fn render(w: &World, entity: Entity, rec: &crate::store::Rec) -> Json {
    let schema = &w.table(System::Crm, entity).schema;
    let fields = schema.fields.iter().enumerate();
    let there = fields.filter(|(_, field)| !w.faults.has_lost(System::Crm, &field.name));
    let fields = there.map(|(i, field)| {
        let i = i as u16;
        (
            field.name.clone(),
            w.value_json(System::Crm, entity, i, rec.get(i)),
        )
    });
    Json::Object(fields.collect())
}
