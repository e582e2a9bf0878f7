//! How the system is told of events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::check::Check;
use super::check_reading::under;
use super::problem::hint;
use super::reading::post;
use super::{Manifest, Method};
use crate::template::{slots, texts};

/// The name that stands for every event without a table of its own.
pub(crate) const ANY_EVENT: &str = "*";

/// The request that tells an event. `{id}`, `{event}`, `{system}`, `{entity}`, `{record}`, `{sequence}`, `{field}`, `{before}`, `{after}` and the record's
/// canonical fields (`{fields.title}`) stand in its path, query, headers and body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventCall {
    /// `POST` (default), `PUT` or `PATCH`.
    #[serde(default = "post")]
    pub method: Method,
    /// Path.
    pub path: String,
    /// Query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body. Without it and without `body_template`: the whole event as JSON.
    #[serde(default)]
    pub body: Option<Json>,
    /// The body as a template instead: all names above are known there, the fields as `fields["title"]`.
    #[serde(default)]
    pub body_template: Option<String>,
    /// Header that carries the event's id, by which a repetition is known. Default `Idempotency-Key`.
    #[serde(default = "idempotency_key")]
    pub idempotency_header: String,
}

fn idempotency_key() -> String {
    "Idempotency-Key".to_owned()
}

/// What an event is made of.
const NAMES: [&str; 10] = [
    "id", "event", "system", "entity", "record", "sequence", "field", "before", "after", "fields",
];

impl Check<'_> {
    pub(crate) fn events(&mut self, manifest: &Manifest) {
        for (name, call) in &manifest.events {
            self.event_call(name, call);
        }
    }

    fn event_call(&mut self, name: &str, call: &EventCall) {
        let at = ["events", name];
        self.path(&under(&at, "path"), &call.path, &slots(&call.path), &[]);
        self.method(&at, call.method, &[Method::Post, Method::Put, Method::Patch]);
        let message = "'body' and 'body_template' exclude each other; keep one";
        self.demand(call.body.is_none() || call.body_template.is_none(), &at, message);
        self.demand(
            !call.idempotency_header.is_empty(),
            &under(&at, "idempotency_header"),
            "the header needs a name",
        );
        let mut found = vec![("path", call.path.as_str())];
        found.extend(call.query.values().map(|text| ("query", text.as_str())));
        found.extend(call.headers.values().map(|text| ("headers", text.as_str())));
        let mut in_body = Vec::new();
        call.body.iter().for_each(|body| texts(body, &mut in_body));
        found.extend(in_body.into_iter().map(|text| ("body", text)));
        for (key, text) in found {
            let unknown = slots(text)
                .into_iter()
                .find(|slot| !NAMES.contains(slot) && !slot.starts_with("fields."));
            if let Some(slot) = unknown {
                let message = format!("{{{slot}}} means nothing here{}", hint(slot, &NAMES));
                self.wrong(&under(&at, key), message);
            }
        }
        if let Some(template) = &call.body_template {
            self.template(&under(&at, "body_template"), template, &NAMES);
        }
    }
}
