//! Written bodies: native fields → the request that creates or changes a record.

use std::collections::BTreeMap;

use seamless_core::{Error, Fields, NativeRecord, Result, Value, lookup};
use seamless_http::encode_segment;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::call::{Call, Payload, XML, templated};
use crate::json_path::{dig, plain, put, remove};
use crate::manifest::{AnswerFormat, BodyFormat, Create, Delete, Entity, Method, Update};
use crate::shape::nested;
use crate::template::{Filling, fill, fill_json, slots};
use crate::xml;

impl Create {
    /// The request that makes a record.
    pub(crate) fn call(&self, entity: &Entity, fields: &Fields, format: AnswerFormat) -> Result<Call> {
        let slots = RecordSlots { id: None, fields };
        let mut call = slots.call(self.method, &self.path, &self.query, &self.headers)?;
        let mut record = Json::Object(Map::new());
        self.fixed
            .iter()
            .for_each(|(path, value)| put(&mut record, path, value.clone()));
        entity.put_fields(&mut record, fields)?;
        entity.put_lists(&mut record);
        if let Some(header) = &self.idempotency_header {
            call.headers
                .push((header.clone(), entity.once_key(&record, fields)?));
        }
        call.body = Some(match &self.body_template {
            Some(template) => templated(template, &context(record, None, None), format)?,
            None => encode(
                whole_body(self.body.as_ref(), &self.wrap, record, Json::Null),
                self.format,
            )?,
        });
        Ok(call)
    }
}

impl Update {
    /// The request that changes a record. `whole` is the record as just read, where the system takes whole records only.
    pub(crate) fn call(
        &self,
        entity: &Entity,
        current: &NativeRecord,
        whole: Option<Json>,
        fields: &Fields,
        format: AnswerFormat,
    ) -> Result<Call> {
        let slots = RecordSlots {
            id: Some(entity.id_parts(current.id.as_str()).1),
            fields: &current.fields,
        };
        let mut call = slots.call(self.method, &self.path, &self.query, &self.headers)?;
        let id = entity.id_json(slots.id.unwrap_or_default());
        let mut record = match whole {
            Some(whole) => self.writable(entity, whole),
            None => self.around(entity, current, fields),
        };
        self.fixed
            .iter()
            .for_each(|(path, value)| put(&mut record, path, value.clone()));
        entity.put_fields(&mut record, fields)?;
        if let Some(path) = &self.id_body {
            put(&mut record, path, id.clone());
        }
        if self.expects_version() {
            let version = current.version.as_deref().ok_or_else(|| {
                Error::protocol(format!(
                    "record {} came without the version that its update needs",
                    current.id
                ))
            })?;
            if let Some(name) = &self.version_header {
                call.headers.push((name.clone(), header_version(name, version)));
            }
            if let Some(path) = &self.version_body {
                let typed = version
                    .parse::<i64>()
                    .map_or_else(|_| Json::from(version), Json::from);
                put(&mut record, path, typed);
            }
            if let Some(name) = &self.version_query {
                call.query.push((name.clone(), version.to_owned()));
            }
        }
        entity.put_lists(&mut record);
        call.body = Some(match (&self.body_template, self.format) {
            (Some(template), _) => templated(template, &context(record, Some(id), Some(current)), format)?,
            (None, BodyFormat::JsonPatch) => {
                if !call
                    .headers
                    .iter()
                    .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
                {
                    call.headers
                        .push(("content-type".into(), "application/json-patch+json".into()));
                }
                Payload::Json(self.patch(entity, &record, fields)?)
            }
            (None, written) => encode(whole_body(self.body.as_ref(), &self.wrap, record, id), written)?,
        });
        Ok(call)
    }

    /// One operation for each changed field; a list of named members is replaced as a whole.
    fn patch(&self, entity: &Entity, record: &Json, fields: &Fields) -> Result<Json> {
        let mut changed = Json::Object(Map::new());
        entity.put_fields(&mut changed, fields)?;
        let mut paths = Vec::new();
        leaf_paths(&changed, "", &mut paths);
        for path in self.fixed.keys().chain(&self.version_body).chain(&self.id_body) {
            paths.push(path.clone());
        }
        for path in &mut paths {
            let is_within = |list: &&String| path.starts_with(&format!("{list}."));
            if let Some(list) = entity.keyed.keys().find(is_within) {
                path.clone_from(list);
            }
        }
        paths.sort();
        paths.dedup();
        let op = self.patch_op.as_deref().unwrap_or("add");
        let operation = |path: &String| {
            let value = dig(record, path).cloned().unwrap_or(Json::Null);
            let pointer = path.replace('~', "~0").replace('/', "~1").replace('.', "/");
            json!({ "op": op, "path": format!("/{pointer}"), "value": value })
        };
        Ok(paths.iter().map(operation).collect())
    }

    /// True when an update carries the version it expects.
    pub(crate) fn expects_version(&self) -> bool {
        self.version_header.is_some() || self.version_body.is_some() || self.version_query.is_some()
    }

    /// The nested objects and lists that the change lies in, as last read: most servers replace them as a whole, so what is
    /// not sent along would be lost.
    fn around(&self, entity: &Entity, current: &NativeRecord, fields: &Fields) -> Json {
        let mut record = Json::Object(Map::new());
        for path in fields.keys() {
            let written = entity.write_as.get(path).unwrap_or(path);
            let Some((head, _)) = written.split_once('.') else {
                continue;
            };
            // Of a list of named members it is known whether the system replaces it.
            let is_sent = match entity.keyed.get(head) {
                Some(keyed) => keyed.whole,
                None => !self.merges_nested,
            };
            if !is_sent {
                continue;
            }
            if let Some(value @ (Value::Map(_) | Value::List(_))) = current.fields.get(head) {
                put(&mut record, head, value.to_json());
            }
        }
        self.writable(entity, record)
    }

    /// The record as it may be sent back: without what cannot be written, in the shape in which it is written.
    fn writable(&self, entity: &Entity, mut record: Json) -> Json {
        let read_only = entity
            .fields
            .iter()
            .filter(|(_, field)| field.read_only)
            .map(|(path, _)| path);
        for path in self.omit.iter().chain(read_only) {
            remove(&mut record, path);
        }
        for (read, written) in &entity.write_as {
            if let Some(value) = dig(&record, read).cloned() {
                remove(&mut record, read);
                put(&mut record, written, value);
            }
        }
        record
    }
}

impl Delete {
    /// True when the call names more of the record than its id says.
    pub(crate) fn names_fields(&self, entity: &Entity) -> bool {
        let parent = entity.parent.as_ref().map(|parent| parent.field.as_str());
        let texts = self
            .query
            .values()
            .chain(self.headers.values())
            .chain([&self.path]);
        texts
            .flat_map(|text| slots(text))
            .any(|slot| slot != "id" && Some(slot) != parent)
    }

    /// The request that removes a record.
    pub(crate) fn call(&self, entity: &Entity, id: &str, mut fields: Fields) -> Result<Call> {
        let (above, own) = entity.id_parts(id);
        if let (Some(parent), Some(above)) = (&entity.parent, above) {
            fields.insert(parent.field.clone(), above.into());
        }
        let slots = RecordSlots {
            id: Some(own),
            fields: &fields,
        };
        let mut call = slots.call(self.method, &self.path, &self.query, &self.headers)?;
        let id = entity.id_json(slots.id.unwrap_or_default());
        call.body = self
            .body
            .as_ref()
            .map(|body| Payload::Json(filled(body, &Json::Null, &id)));
        Ok(call)
    }
}

impl Entity {
    /// A key under which a create is made once: the same for the same source record, which its cross-reference tells. Without
    /// one, equal records are different records, so the key is a new one each time.
    fn once_key(&self, record: &Json, fields: &Fields) -> Result<String> {
        let mut hasher = Sha256::new();
        hasher.update(self.list.path.as_bytes());
        hasher.update(record.to_string().as_bytes());
        let is_told = |xref: &String| lookup(fields, xref).is_some_and(|value| !value.is_empty());
        if !self
            .map
            .values()
            .filter_map(|section| section.xref.as_ref())
            .any(is_told)
        {
            let mut chance = [0; 32];
            getrandom::fill(&mut chance)
                .map_err(|error| Error::unavailable("the system has no random numbers").because(error))?;
            hasher.update(chance);
        }
        let hex: String = hasher.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        ))
    }
}

/// What placeholders stand for in paths and queries of writes: the id, and fields of the record (a parent's id).
struct RecordSlots<'a> {
    id: Option<&'a str>,
    fields: &'a Fields,
}

impl RecordSlots<'_> {
    fn call(
        &self,
        method: Method,
        path: &str,
        query: &BTreeMap<String, String>,
        headers: &BTreeMap<String, String>,
    ) -> Result<Call> {
        let path = self.fill(path, &encode_segment)?;
        let mut call = Call::new(method, path);
        for (name, value) in query {
            call.query.push((name.clone(), self.fill(value, &str::to_owned)?));
        }
        for (name, value) in headers {
            call.headers
                .push((name.clone(), self.fill(value, &str::to_owned)?));
        }
        Ok(call)
    }

    fn fill(&self, template: &str, encoded: &dyn Fn(&str) -> String) -> Result<String> {
        if let Some(missing) = slots(template)
            .into_iter()
            .find(|name| self.value(name).is_none())
        {
            let message = format!("the call of the write needs '{missing}', which the record does not have");
            return Err(Error::invalid(message).field(missing));
        }
        Ok(fill(template, &|name| {
            self.value(name).map(|text| encoded(&text))
        }))
    }

    fn value(&self, name: &str) -> Option<String> {
        match (name, self.id) {
            ("id", Some(id)) => Some(id.to_owned()),
            _ => lookup(self.fields, name)
                .and_then(|value| value.to_plain())
                .filter(|text| !text.is_empty()),
        }
    }
}

/// The record inside its body: under `wrap`, or where the body says `"{record}"`.
fn whole_body(body: Option<&Json>, wrap: &str, record: Json, id: Json) -> Json {
    match body {
        Some(body) => filled(body, &record, &id),
        None => {
            let mut body = Json::Object(Map::new());
            put(&mut body, wrap, record);
            body
        }
    }
}

fn filled(body: &Json, record: &Json, id: &Json) -> Json {
    let filling = |slot: &str| match slot {
        "record" => Some(Filling::One(record.clone())),
        "id" => Some(Filling::One(id.clone())),
        _ => None,
    };
    fill_json(body, &filling, &|slot| (slot == "id").then(|| plain(id))?)
}

fn context(record: Json, id: Option<Json>, current: Option<&NativeRecord>) -> Map<String, Json> {
    let mut context = Map::new();
    context.insert("record".into(), record);
    context.insert("id".into(), id.unwrap_or(Json::Null));
    if let Some(current) = current {
        context.insert("current".into(), nested(&current.fields));
    }
    context
}

/// Paths of everything in an object that is no object itself.
fn leaf_paths(json: &Json, above: &str, paths: &mut Vec<String>) {
    match json {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if above.is_empty() {
                    key.clone()
                } else {
                    format!("{above}.{key}")
                };
                leaf_paths(value, &path, paths);
            }
        }
        _ if !above.is_empty() => paths.push(above.to_owned()),
        _ => {}
    }
}

/// An entity tag is quoted text (RFC 9110 §8.8.3); versions from a field come bare.
fn header_version(header: &str, version: &str) -> String {
    let is_tag = version.starts_with('"') || version.starts_with("W/\"");
    if header.eq_ignore_ascii_case("if-match") && !is_tag {
        format!("\"{version}\"")
    } else {
        version.to_owned()
    }
}

fn encode(body: Json, format: BodyFormat) -> Result<Payload> {
    Ok(match format {
        BodyFormat::Json | BodyFormat::JsonPatch => Payload::Json(body),
        BodyFormat::Form => Payload::Form(form_pairs(&body)),
        BodyFormat::Xml => Payload::Text {
            content_type: XML,
            text: xml::write(&body).map_err(Error::invalid)?,
        },
    })
}

/// JSON as the fields of a form.
pub(crate) fn form_pairs(body: &Json) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    form(body, "", &mut pairs);
    pairs
}

fn form(json: &Json, name: &str, pairs: &mut Vec<(String, String)>) {
    let inner = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}[{key}]")
        }
    };
    match json {
        Json::Object(map) => map
            .iter()
            .for_each(|(key, value)| form(value, &inner(key), pairs)),
        Json::Array(items) => items.iter().for_each(|item| form(item, &inner(""), pairs)),
        scalar => pairs.push((name.to_owned(), plain(scalar).unwrap_or_default())),
    }
}

impl Method {
    /// The method's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}
