//! Requests as plain data, made from manifest and arguments without I/O.

use seamless_core::{Error, Result, Timestamp};
use seamless_http::encode_segment;
use serde_json::Value as Json;

use crate::json_path::{plain, put};
use crate::manifest::{Above, Entity, Find, Get, GetMany, List, Method, Paging, Since};
use crate::page::Ask;
use crate::template::{Filling, fill, fill_json, sole};

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
}

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

    fn query(mut self, query: impl IntoIterator<Item = (String, String)>) -> Call {
        self.query.extend(query);
        self
    }

    fn json(mut self, body: Option<Json>) -> Call {
        self.body = body.map(Payload::Json);
        self
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
        }
        if let Some(name) = &paging.size_query {
            self.query.push((name.clone(), size.to_string()));
        }
        if let Some(path) = &paging.size_body {
            self.put(path, size.into());
        }
        self
    }
}

impl List {
    /// The list, from a moment on or from the beginning of time.
    pub(crate) fn call(&self, entity: &Entity, since: Option<Timestamp>) -> Call {
        let moment = |since: &Since, time: Timestamp| {
            let format = since.format.as_ref().unwrap_or(&entity.stamp_format);
            let time = if since.exclusive {
                time.minus(format.unit())
            } else {
                time
            };
            let written = format.write(time, entity.offset());
            match &since.template {
                Some(template) => fill(template, &|name| (name == "since").then(|| written.clone())),
                None => written,
            }
        };
        let path = match &self.since {
            // A path cannot leave its moment out: "everything" is asked for as "since 1970".
            Some(spec) if spec.query.is_none() && spec.body.is_none() => {
                let written = moment(spec, since.unwrap_or_default());
                fill(&self.path, &|name| {
                    (name == "since").then(|| encode_segment(&written))
                })
            }
            _ => self.path.clone(),
        };
        let mut call = Call::new(self.method, path)
            .query(self.query.clone())
            .json(self.body.clone());
        if let (Some(spec), Some(time)) = (&self.since, since) {
            if let Some(name) = &spec.query {
                call.query.push((name.clone(), moment(spec, time)));
            }
            if let Some(path) = &spec.body {
                let format = spec.format.as_ref().unwrap_or(&entity.stamp_format);
                let text = moment(spec, time);
                let number = if spec.template.is_none() && format.is_number() {
                    text.parse::<i64>().ok()
                } else {
                    None
                };
                call.put(path, number.map_or(Json::String(text), Json::from));
            }
        }
        call
    }
}

impl Get {
    /// One record.
    pub(crate) fn call(&self, id: &str) -> Call {
        let path = fill(&self.path, &|name| (name == "id").then(|| encode_segment(id)));
        Call::new(Method::Get, path).query(self.query.clone())
    }
}

impl GetMany {
    /// Several records.
    pub(crate) fn call(&self, ids: &[&str]) -> Call {
        let typed = |id: &&str| match (self.numeric, id.parse::<i64>()) {
            (true, Ok(number)) => number.into(),
            _ => Json::from(*id),
        };
        let filling = Slots {
            many: ("ids", ids.iter().map(typed).collect()),
            ones: Vec::new(),
        };
        Call::new(self.method, self.path.clone())
            .query(filling.query(&self.query, self.join.as_deref()))
            .json(filling.json(self.body.as_ref()))
    }
}

impl Find {
    /// Records whose field has one of these values.
    pub(crate) fn call(&self, field: &str, values: &[Json]) -> Result<Call> {
        let name = self.names.get(field).map_or(field, String::as_str);
        if let Some(join) = self.join.as_ref().filter(|join| !self.escape.contains_key(*join))
            && values
                .iter()
                .filter_map(plain)
                .any(|text| text.contains(join.as_str()))
        {
            let message = format!(
                "a value of '{field}' contains '{join}', which find.join puts between values; declare find.escape for it"
            );
            return Err(Error::invalid(message).field(field));
        }
        let mut ones = vec![("field", Json::from(name))];
        if let [value] = values {
            ones.push(("value", value.clone()));
        }
        let escape = |text: &str| self.escaped(text);
        let filling = Slots {
            many: ("values", values.to_vec()),
            ones,
        };
        let path = fill(&self.path, &|slot| {
            (slot == "field").then(|| encode_segment(name))
        });
        Ok(Call::new(self.method, path)
            .query(filling.query_escaped(&self.query, self.join.as_deref(), &escape))
            .json(filling.json_escaped(self.body.as_ref(), &escape)))
    }

    fn escaped(&self, text: &str) -> String {
        if self.escape.is_empty() {
            return text.to_owned();
        }
        // One pass from left to right, so that a replacement is not replaced again.
        let mut escaped = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match self
                .escape
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
    pub(crate) fn call(&self, id: &str) -> Call {
        let filling = Slots {
            many: ("", Vec::new()),
            ones: vec![("id", Json::from(id))],
        };
        Call::new(Method::Get, self.path.clone()).query(filling.query(&self.query, None))
    }
}

/// What placeholders of one call stand for.
struct Slots {
    ones: Vec<(&'static str, Json)>,
    many: (&'static str, Vec<Json>),
}

impl Slots {
    fn query(
        &self,
        query: &std::collections::BTreeMap<String, String>,
        join: Option<&str>,
    ) -> Vec<(String, String)> {
        self.query_escaped(query, join, &str::to_owned)
    }

    /// A parameter that is the list and nothing else is repeated, unless it is to be joined.
    fn query_escaped(
        &self,
        query: &std::collections::BTreeMap<String, String>,
        join: Option<&str>,
        escape: &dyn Fn(&str) -> String,
    ) -> Vec<(String, String)> {
        let mut filled = Vec::new();
        for (name, value) in query {
            let name = fill(name, &|slot| self.inline(slot, join, &str::to_owned));
            match sole(value) {
                Some(slot) if slot == self.many.0 && join.is_none() => {
                    filled.extend(
                        self.many
                            .1
                            .iter()
                            .filter_map(plain)
                            .map(|value| (name.clone(), value)),
                    );
                }
                Some(slot) if slot != self.many.0 => {
                    filled.push((name, self.inline(slot, join, &str::to_owned).unwrap_or_default()));
                }
                _ => filled.push((name, fill(value, &|slot| self.inline(slot, join, escape)))),
            }
        }
        filled
    }

    fn json(&self, body: Option<&Json>) -> Option<Json> {
        self.json_escaped(body, &str::to_owned)
    }

    fn json_escaped(&self, body: Option<&Json>, escape: &dyn Fn(&str) -> String) -> Option<Json> {
        let filling = |slot: &str| {
            if slot == self.many.0 {
                return Some(Filling::Many(self.many.1.clone()));
            }
            self.ones
                .iter()
                .find(|(name, _)| *name == slot)
                .map(|(_, value)| Filling::One(value.clone()))
        };
        body.map(|body| fill_json(body, &filling, &|slot| self.inline(slot, None, escape)))
    }

    /// A placeholder within other text. The field's name comes from the manifest and is not escaped.
    fn inline(&self, slot: &str, join: Option<&str>, escape: &dyn Fn(&str) -> String) -> Option<String> {
        if slot == self.many.0 {
            let texts: Vec<String> = self
                .many
                .1
                .iter()
                .filter_map(plain)
                .map(|text| escape(&text))
                .collect();
            return Some(texts.join(join.unwrap_or(",")));
        }
        let (name, value) = self.ones.iter().find(|(name, _)| *name == slot)?;
        let text = plain(value)?;
        Some(if *name == "field" { text } else { escape(&text) })
    }
}
