//! Written bodies: native fields → the request that creates or changes a record.

use seamless_core::{Error, Fields, NativeRecord, Result, Value, lookup};
use seamless_http::encode_segment;
use serde_json::{Map, Value as Json};

use crate::call::{Call, Payload};
use crate::json_path::{dig, plain, put, remove};
use crate::manifest::{BodyFormat, Create, Delete, Entity, Method, Update};
use crate::template::{fill, slots};

impl Create {
    /// The request that makes a record.
    pub(crate) fn call(&self, entity: &Entity, fields: &Fields) -> Result<Call> {
        let path = record_path(&self.path, None, fields)?;
        let mut record = Json::Object(Map::new());
        self.fixed
            .iter()
            .for_each(|(path, value)| put(&mut record, path, value.clone()));
        entity.put_fields(&mut record, fields);
        Ok(Call {
            body: Some(encode(record, &self.wrap, self.format)),
            ..Call::new(self.method, path)
        })
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
    ) -> Result<Call> {
        let path = record_path(&self.path, Some(current.id.as_str()), &current.fields)?;
        let mut record = match whole {
            Some(whole) => self.writable(entity, whole),
            None if self.merges_nested => Json::Object(Map::new()),
            None => self.around(entity, current, fields),
        };
        self.fixed
            .iter()
            .for_each(|(path, value)| put(&mut record, path, value.clone()));
        entity.put_fields(&mut record, fields);
        let mut call = Call::new(self.method, path);
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
        call.body = Some(encode(record, &self.wrap, self.format));
        Ok(call)
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
    /// The request that removes a record.
    pub(crate) fn call(&self, id: &str) -> Result<Call> {
        let path = record_path(&self.path, Some(id), &Fields::new())?;
        Ok(Call {
            body: self.body.clone().map(Payload::Json),
            ..Call::new(self.method, path)
        })
    }
}

impl Entity {
    fn put_fields(&self, record: &mut Json, fields: &Fields) {
        for (path, value) in fields {
            let written = self.write_as.get(path).unwrap_or(path);
            put(record, written, value.to_json());
        }
    }
}

/// Fills `{id}` and fields of the record (a parent's id) into a path.
fn record_path(template: &str, id: Option<&str>, fields: &Fields) -> Result<String> {
    let value = |name: &str| match (name, id) {
        ("id", Some(id)) => Some(id.to_owned()),
        _ => lookup(fields, name)
            .and_then(|value| value.to_plain())
            .filter(|text| !text.is_empty()),
    };
    if let Some(missing) = slots(template).into_iter().find(|name| value(name).is_none()) {
        let message = format!("the path of the write needs '{missing}', which the record does not have");
        return Err(Error::invalid(message).field(missing));
    }
    Ok(fill(template, &|name| {
        value(name).map(|text| encode_segment(&text))
    }))
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

fn encode(record: Json, wrap: &str, format: BodyFormat) -> Payload {
    let mut body = Json::Object(Map::new());
    put(&mut body, wrap, record);
    match format {
        BodyFormat::Json => Payload::Json(body),
        BodyFormat::Form => Payload::Form(form_pairs(&body)),
    }
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
