//! Requests as plain data, made from manifest and arguments without I/O.

use std::collections::BTreeMap;

use seamless_core::{Error, Result, Timestamp};
use seamless_http::encode_segment;
use serde_json::{Map, Value as Json};

use crate::jinja;
use crate::json_path::{plain, put};
use crate::manifest::{Above, AnswerFormat, Entity, Find, Get, GetMany, List, Method, Paging, Since};
use crate::page::Ask;
use crate::slots::Slots;
use crate::template::{fill, slots, texts};

/// A request, ready but for base address and credentials.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path below the base URL, or path and query of a next page.
    pub(crate) path: String,
    /// `path` was handed out by the server and is complete.
    pub(crate) is_next_url: bool,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Payload>,
}

/// An encoded body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Payload {
    Json(Json),
    Form(Vec<(String, String)>),
    Text {
        content_type: &'static str,
        text: String,
    },
}

/// Placeholders of a counted page: where it begins, and how long it is.
pub(crate) const PLACE: &str = "page";
pub(crate) const SIZE: &str = "size";
/// What stands for them until the page is known. Of no language, so that no record holds it.
const PLACE_MARK: &str = "\u{f8ff}page\u{f8ff}";
const SIZE_MARK: &str = "\u{f8ff}size\u{f8ff}";

pub(crate) const XML: &str = "application/xml";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            is_next_url: false,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    fn put(&mut self, path: &str, value: Json) {
        let body = self.body.get_or_insert(Payload::Json(Json::Null));
        if let Payload::Json(body) = body {
            put(body, path, value);
        }
    }

    /// Adds the page: its place and size, or the URL that the server handed out instead of everything else.
    pub(crate) fn page(mut self, paging: &Paging, ask: &Ask, size: usize) -> Call {
        let value = match ask {
            Ask::Url(url) => {
                return Call {
                    path: url.clone(),
                    is_next_url: true,
                    query: Vec::new(),
                    ..self
                };
            }
            Ask::Value(value) => value,
        };
        if let Some(value) = value {
            if let Some(name) = &paging.query {
                self.query.retain(|(known, _)| known != name);
                self.query.push((name.clone(), plain(value).unwrap_or_default()));
            }
            if let Some(path) = &paging.body {
                self.put(path, value.clone());
            }
            if paging.query.is_none() && paging.body.is_none() {
                self.turn_to(&plain(value).unwrap_or_default(), size);
            }
        }
        if let Some(name) = &paging.size_query {
            self.query.push((name.clone(), size.to_string()));
        }
        if let Some(path) = &paging.size_body {
            self.put(path, size.into());
        }
        self
    }

    /// Puts the page's place and size where the request itself names them.
    fn turn_to(&mut self, place: &str, size: usize) {
        let size = size.to_string();
        let filled = |text: &str| text.replace(PLACE_MARK, place).replace(SIZE_MARK, &size);
        self.path = filled(&self.path);
        for (_, value) in &mut self.query {
            *value = filled(value);
        }
        match &mut self.body {
            Some(Payload::Json(json)) => fill_marks(json, &filled),
            Some(Payload::Text { text, .. }) => *text = filled(text),
            Some(Payload::Form(_)) | None => {}
        }
    }
}

/// A text that is nothing but the mark becomes a number.
fn fill_marks(json: &mut Json, filled: &dyn Fn(&str) -> String) {
    match json {
        Json::String(text) if text == PLACE_MARK || text == SIZE_MARK => {
            let number = filled(text);
            *json = number.parse::<u64>().map_or(Json::String(number), Json::from);
        }
        Json::String(text) => *text = filled(text),
        Json::Array(items) => items.iter_mut().for_each(|item| fill_marks(item, filled)),
        Json::Object(members) => members.values_mut().for_each(|member| fill_marks(member, filled)),
        _ => {}
    }
}

/// Marks the places of a counted page.
fn mark_page(slots: &mut Slots<'_>, paging: &Paging) {
    if paging.kind.is_counted() {
        slots.ones.push((PLACE, PLACE_MARK.into()));
        slots.ones.push((SIZE, SIZE_MARK.into()));
    }
}

/// What the manifest says of a request, whatever the operation.
pub(crate) struct Parts<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a BTreeMap<String, String>,
    pub(crate) query_template: Option<&'a BTreeMap<String, String>>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: Option<&'a Json>,
    pub(crate) body_template: Option<&'a str>,
}

impl Parts<'_> {
    /// Fills in what is known.
    fn call(&self, slots: &Slots<'_>, format: AnswerFormat) -> Result<Call> {
        let path = fill(self.path, &|slot| {
            let text = slots.plain(slot)?;
            Some(if [PLACE, SIZE].contains(&slot) {
                text
            } else {
                encode_segment(&text)
            })
        });
        let mut call = Call::new(self.method, path);
        call.query = slots.query(self.query);
        for (name, template) in self.query_template.into_iter().flatten() {
            let text = jinja::text(template, &slots.context())
                .map_err(|problem| Error::invalid(format!("query_template '{name}': {problem}")))?;
            call.query.push((name.clone(), text));
        }
        for (name, value) in self.headers {
            call.headers
                .push((name.clone(), fill(value, &|slot| slots.plain(slot))));
        }
        call.body = match self.body_template {
            None => self.body.map(|body| Payload::Json(slots.json(body))),
            Some(template) => Some(templated(template, &slots.context(), format)?),
        };
        Ok(call)
    }
}

/// A body from a template, as JSON or XML.
pub(crate) fn templated(
    template: &str,
    context: &Map<String, Json>,
    format: AnswerFormat,
) -> Result<Payload> {
    let wrong = |problem: String| Error::invalid(format!("body_template: {problem}"));
    let text = jinja::text(template, context).map_err(wrong)?;
    match format {
        AnswerFormat::Xml => Ok(Payload::Text {
            content_type: XML,
            text,
        }),
        AnswerFormat::Json => serde_json::from_str(&text).map(Payload::Json).map_err(|error| {
            wrong(format!(
                "what it gives is no json (line {}, column {}); use | tojson for texts",
                error.line(),
                error.column()
            ))
        }),
    }
}

impl List {
    /// The list, from a moment on or from the beginning of time.
    pub(crate) fn call(
        &self,
        entity: &Entity,
        since: Option<Timestamp>,
        parent: Option<&str>,
        format: AnswerFormat,
    ) -> Result<Call> {
        let written = |time: Timestamp| {
            let format = self.stamp_format(entity);
            let exclusive = self.since.as_ref().is_some_and(|since| since.exclusive);
            let time = if exclusive {
                time.minus(format.unit())
            } else {
                time
            };
            format.write(time, &entity.zone())
        };
        let moment = |since: &Since, time: Timestamp| match &since.template {
            Some(template) => fill(template, &|name| (name == "since").then(|| written(time))),
            None => written(time),
        };
        // What is filled into other text cannot be left out: "everything" is asked for as "since 1970".
        let anytime = written(since.unwrap_or_default());
        let mut slots = Slots::new();
        let typed = match (self.stamp_format(entity).is_number(), anytime.parse::<i64>()) {
            (true, Ok(number)) => number.into(),
            _ => Json::from(anytime),
        };
        slots.ones.push(("since", typed));
        slots.ones.extend(parent.map(|id| ("parent", entity.id_json(id))));
        mark_page(&mut slots, &self.page);
        let mut call = self.parts().call(&slots, format)?;
        if let (Some(spec), Some(time)) = (&self.since, since) {
            if let Some(name) = &spec.query {
                call.query.push((name.clone(), moment(spec, time)));
            }
            if let Some(path) = &spec.body {
                let text = moment(spec, time);
                let number = if spec.template.is_none() && self.stamp_format(entity).is_number() {
                    text.parse::<i64>().ok()
                } else {
                    None
                };
                call.put(path, number.map_or(Json::String(text), Json::from));
            }
        }
        Ok(call)
    }

    /// How moments are written in this list's request.
    pub(crate) fn stamp_format<'a>(&'a self, entity: &'a Entity) -> &'a crate::stamp::StampFormat {
        self.since
            .as_ref()
            .and_then(|since| since.format.as_ref())
            .unwrap_or(&entity.stamp_format)
    }

    /// True when the request says from when on.
    pub(crate) fn asks_since(&self) -> bool {
        let has_way = |since: &Since| since.query.is_some() || since.body.is_some();
        self.since.as_ref().is_some_and(has_way) || self.names("since")
    }

    /// True when a placeholder or template variable occurs in the request.
    pub(crate) fn names(&self, slot: &str) -> bool {
        let mut found: Vec<&str> = self.query.values().map(String::as_str).collect();
        found.push(&self.path);
        found.extend(self.headers.values().map(String::as_str));
        self.body.iter().for_each(|body| texts(body, &mut found));
        let templates = self.query_template.values().chain(&self.body_template);
        found.into_iter().any(|text| slots(text).contains(&slot))
            || templates
                .into_iter()
                .any(|template| jinja::names(template).iter().any(|name| name == slot))
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            method: self.method,
            path: &self.path,
            query: &self.query,
            query_template: Some(&self.query_template),
            headers: &self.headers,
            body: self.body.as_ref(),
            body_template: self.body_template.as_deref(),
        }
    }
}

impl Get {
    /// One record.
    pub(crate) fn call(&self, entity: &Entity, id: &str) -> Result<Call> {
        let (parent, own) = entity.id_parts(id);
        let mut slots = Slots::new();
        slots.ones.push(("id", own.into()));
        slots.ones.extend(parent.map(|parent| ("parent", parent.into())));
        let parts = Parts {
            method: Method::Get,
            path: &self.path,
            query: &self.query,
            query_template: None,
            headers: &self.headers,
            body: None,
            body_template: None,
        };
        parts.call(&slots, AnswerFormat::Json)
    }
}

impl GetMany {
    /// Several records.
    pub(crate) fn call(&self, entity: &Entity, ids: &[&str], format: AnswerFormat) -> Result<Call> {
        let typed = |id: &&str| match (self.numeric || entity.numeric_ids, id.parse::<i64>()) {
            (true, Ok(number)) => number.into(),
            _ => Json::from(*id),
        };
        let mut slots = Slots::new();
        slots.many = Some(("ids", ids.iter().map(typed).collect()));
        slots.join = self.join.as_deref();
        let parts = Parts {
            method: self.method,
            path: &self.path,
            query: &self.query,
            query_template: Some(&self.query_template),
            headers: &self.headers,
            body: self.body.as_ref(),
            body_template: self.body_template.as_deref(),
        };
        parts.call(&slots, format)
    }
}

impl Find {
    /// Records whose field has one of these values.
    pub(crate) fn call(&self, field: &str, values: &[Json], format: AnswerFormat) -> Result<Call> {
        let name = self.names.get(field).map_or(field, String::as_str);
        if let Some(join) = self.join.as_ref().filter(|join| {
            !self
                .escape
                .as_ref()
                .is_some_and(|escape| escape.contains_key(*join))
        }) && values
            .iter()
            .filter_map(plain)
            .any(|text| text.contains(join.as_str()))
        {
            let message = format!(
                "a value of '{field}' contains '{join}', which find.join puts between values; declare find.escape for it"
            );
            return Err(Error::invalid(message).field(field));
        }
        let escape = |text: &str| self.escaped(text);
        let mut slots = Slots::new();
        slots.ones.push(("field", name.into()));
        if let [value] = values {
            slots.ones.push(("value", value.clone()));
        }
        slots.many = Some(("values", values.to_vec()));
        slots.join = self.join.as_deref();
        slots.escape = Some(&escape);
        mark_page(&mut slots, &self.page);
        let parts = Parts {
            method: self.method,
            path: &self.path,
            query: &self.query,
            query_template: Some(&self.query_template),
            headers: &self.headers,
            body: self.body.as_ref(),
            body_template: self.body_template.as_deref(),
        };
        parts.call(&slots, format)
    }

    fn escaped(&self, text: &str) -> String {
        let Some(replacements) = &self.escape else {
            return text.to_owned();
        };
        // One pass from left to right, so that a replacement is not replaced again.
        let mut escaped = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match replacements
                .iter()
                .find(|(from, _)| rest.starts_with(from.as_str()))
            {
                Some((from, to)) => {
                    escaped.push_str(to);
                    rest = &rest[from.len()..];
                }
                None => {
                    escaped.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        escaped
    }
}

impl Above {
    /// Records with an id above this one.
    pub(crate) fn call(&self, id: &str) -> Result<Call> {
        let mut slots = Slots::new();
        slots.ones.push(("id", id.into()));
        let parts = Parts {
            method: Method::Get,
            path: &self.path,
            query: &self.query,
            query_template: None,
            headers: &self.headers,
            body: None,
            body_template: None,
        };
        parts.call(&slots, AnswerFormat::Json)
    }
}
