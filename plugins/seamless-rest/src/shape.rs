//! Shapes: a row as it comes, and the record as the mappings see it; and the way back.

use seamless_core::{Error, Fields, Result, Timestamp, Value};
use serde_json::{Map, Value as Json, json};

use crate::jinja;
use crate::json_path::{dig, plain, put, remove};
use crate::manifest::{Entity, Keyed};
use crate::stamp::StampFormat;

impl Entity {
    /// A row of an answer as a record: `row` inside it, with lifted members, lists of named members as objects, the parent, and
    /// computed fields.
    pub(crate) fn shaped(&self, row: &Json, inside: &str, parent: Option<&str>) -> Result<Json> {
        let Some(Json::Object(record)) = dig(row, inside) else {
            let place = if inside.is_empty() {
                String::new()
            } else {
                format!(" at '{inside}'")
            };
            return Err(Error::protocol(format!(
                "a record is not an object{place}; where a list has ids only, write stubs = true"
            )));
        };
        let mut record = Json::Object(record.clone());
        for path in &self.lift {
            self.raise(&mut record, path);
        }
        for (path, keyed) in &self.keyed {
            if let Some(Json::Array(members)) = dig(&record, path) {
                let object = keyed.object(members);
                put(&mut record, path, object);
            }
        }
        if let Some(spec) = &self.parent {
            if let Some(parent) = parent
                && dig(&record, &spec.field).is_none_or(Json::is_null)
            {
                put(&mut record, &spec.field, parent.into());
            }
            if spec.in_id {
                let above = parent
                    .map(str::to_owned)
                    .or_else(|| dig(&record, &spec.field).and_then(plain));
                let own = dig(&record, &self.id).and_then(plain);
                if let (Some(above), Some(own)) = (above, own) {
                    put(&mut record, &self.id, format!("{above}/{own}").into());
                }
            }
        }
        for (path, format) in self.moments() {
            if let Some(held) = dig(&record, path).filter(|held| !held.is_null()) {
                let stamp = format
                    .read(&Value::from_json(held), &self.zone())
                    .map_err(|problem| Error::protocol(format!("'{path}' {problem}; see its format")))?;
                let moment = stamp.map_or(Json::Null, |stamp| Timestamp(stamp.0).to_string().into());
                put(&mut record, path, moment);
            }
        }
        for (path, template) in &self.computed {
            let Json::Object(known) = &record else { continue };
            // Nothing is made from nothing: a record without a company has no company's id.
            let is_blank = |name: &String| known.get(name).is_none_or(Json::is_null);
            if jinja::names(template).iter().all(is_blank) {
                continue;
            }
            let value = jinja::value(template, known)
                .map_err(|problem| Error::protocol(format!("'{path}' cannot be computed: {problem}")))?;
            put(&mut record, path, value);
        }
        Ok(record)
    }

    /// What the system calls the record of an answer; a lifted or computed id is only there once it is shaped.
    pub(crate) fn own_id(&self, item: &Json) -> Option<String> {
        let id = |record: &Json| dig(record, &self.id).and_then(plain);
        id(item).or_else(|| id(&self.shaped(item, "", None).ok()?))
    }

    /// Parent and own part of an id.
    pub(crate) fn id_parts<'a>(&self, id: &'a str) -> (Option<&'a str>, &'a str) {
        match &self.parent {
            Some(parent) if parent.in_id => match id.split_once('/') {
                Some((above, own)) => (Some(above), own),
                None => (None, id),
            },
            _ => (None, id),
        }
    }

    /// The id that a record is known by, from what the system calls it.
    pub(crate) fn whole_id(&self, own: String, fields: &Fields) -> Option<String> {
        match &self.parent {
            Some(parent) if parent.in_id => {
                let above = seamless_core::lookup(fields, &parent.field)?.to_plain()?;
                Some(format!("{above}/{own}"))
            }
            _ => Some(own),
        }
    }

    /// An id as it stands in a JSON body.
    pub(crate) fn id_json(&self, id: &str) -> Json {
        match id.parse::<i64>() {
            Ok(number) if self.numeric_ids => number.into(),
            _ => id.into(),
        }
    }

    /// Puts fields into a record that is about to be sent, in the form in which they are written.
    pub(crate) fn put_fields(&self, record: &mut Json, fields: &Fields) -> Result<()> {
        for (path, value) in fields {
            let (written, value) = match self.written.get(path) {
                Some(how) => {
                    let mut context = Map::new();
                    context.insert("value".into(), value.to_json());
                    context.insert("record".into(), nested(fields));
                    let value = jinja::value(&how.template, &context).map_err(|problem| {
                        Error::invalid(format!("'{path}' cannot be written: {problem}")).field(path.clone())
                    })?;
                    (how.path.as_ref().unwrap_or(path), value)
                }
                None => (
                    self.write_as.get(path).unwrap_or(path),
                    self.written_value(path, value),
                ),
            };
            put(record, written, value);
        }
        Ok(())
    }

    /// A value in the system's own words.
    fn written_value(&self, path: &str, value: &Value) -> Json {
        if let (Value::Null | Value::Text(_), true, Some(nothing)) = (value, value.is_empty(), &self.null_as)
        {
            return nothing.clone();
        }
        let format = self.fields.get(path).and_then(|field| field.format.as_ref());
        let moment = match value {
            Value::Time(time) => Some(*time),
            Value::Text(text) => Timestamp::parse(text),
            _ => None,
        };
        match (format, moment) {
            (Some(format), Some(moment)) => {
                let text = format.write(moment, &self.zone());
                match text.parse::<i64>() {
                    Ok(number) if format.is_number() => number.into(),
                    _ => text.into(),
                }
            }
            _ => value.to_json(),
        }
    }

    /// Fields that hold moments in a form of their own.
    fn moments(&self) -> impl Iterator<Item = (&String, &StampFormat)> {
        self.fields
            .iter()
            .filter_map(|(path, field)| Some((path, field.format.as_ref()?)))
    }

    /// Objects that the system keeps as lists of named members become such lists again.
    pub(crate) fn put_lists(&self, record: &mut Json) {
        for (path, keyed) in &self.keyed {
            if let Some(Json::Object(object)) = dig(record, path) {
                let list = keyed.list(object);
                put(record, path, list);
            }
        }
    }

    /// The members of an object inside the record become the record's own. They are the record's fields, what stands around them is
    /// the envelope's: so they win, but for the record's identity.
    fn raise(&self, record: &mut Json, path: &str) {
        let Some(Json::Object(inner)) = dig(record, path).cloned() else {
            return;
        };
        remove(record, path);
        if let Json::Object(map) = record {
            for (key, value) in inner {
                if key != self.id && self.version.as_ref() != Some(&key) {
                    map.insert(key, value);
                } else {
                    map.entry(key).or_insert(value);
                }
            }
        }
    }
}

impl Keyed {
    fn object(&self, members: &[Json]) -> Json {
        let pair = |member: &Json| {
            let key = dig(member, &self.key).and_then(plain)?;
            Some((key, dig(member, &self.value).cloned().unwrap_or(Json::Null)))
        };
        Json::Object(members.iter().filter_map(pair).collect())
    }

    fn list(&self, object: &Map<String, Json>) -> Json {
        let member = |(key, value): (&String, &Json)| {
            let key = match key.parse::<i64>() {
                Ok(number) if self.numeric => Json::from(number),
                _ => key.as_str().into(),
            };
            let mut member = json!({});
            put(&mut member, &self.key, key);
            put(&mut member, &self.value, value.clone());
            member
        };
        object.iter().map(member).collect()
    }
}

/// Fields by path as one JSON object.
pub(crate) fn nested(fields: &Fields) -> Json {
    let mut record = Json::Object(Map::new());
    for (path, value) in fields {
        put(&mut record, path, value.to_json());
    }
    record
}
