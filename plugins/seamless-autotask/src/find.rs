//! Searches. No filter is believed: each row is compared with the question again.

use std::collections::BTreeMap;

use futures::StreamExt;
use seamless_core::{Error, ErrorKind, Lookup, NativeRecord, RecordId, Result, Value};
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity};
use crate::entity::Entity;
use crate::metadata::FieldType;
use crate::people::id_field;
use crate::read::{IN_VALUES_MAX, ignored_filter};
use crate::record::{COUNTRY, COUNTRY_ID, UDF, USER_DEFINED_FIELDS};

/// Records for one value; more would not help anybody to match.
const FOUND_MAX: usize = 50;
/// Records above an id.
const ABOVE_MAX: usize = 1_000;

/// A field as queries name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) user_defined: bool,
}

/// A value to look for: how it compares, and how it is sent.
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) json: Json,
}

/// Rows by the key they match.
type Hits = BTreeMap<String, Vec<Map<String, Json>>>;

impl Client {
    /// For each lookup, the records found. Values of one field are asked together where that works.
    pub(crate) async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let entity = Entity::named(entity)?;
        let mut found: Vec<Vec<NativeRecord>> = lookups.iter().map(|_| Vec::new()).collect();
        let mut questions: BTreeMap<Field, BTreeMap<String, (Json, Vec<usize>)>> = BTreeMap::new();
        for (at, lookup) in lookups.iter().enumerate() {
            match lookup {
                Lookup::AboveId(id) => found[at] = self.above(entity, id).await?,
                Lookup::Field { field, value } => {
                    if let Some((field, asked)) = self.question(entity, field, value).await? {
                        let values = questions.entry(field).or_default();
                        values
                            .entry(asked.key)
                            .or_insert_with(|| (asked.json, Vec::new()))
                            .1
                            .push(at);
                    }
                }
            }
        }
        for (field, values) in questions {
            let (asked, askers): (Vec<Asked>, BTreeMap<String, Vec<usize>>) = values
                .into_iter()
                .map(|(key, (json, askers))| {
                    (
                        Asked {
                            key: key.clone(),
                            json,
                        },
                        (key, askers),
                    )
                })
                .unzip();
            for (key, rows) in self.search(entity, &field, &asked).await? {
                let records = self.records(entity, rows).await?;
                for at in askers.get(&key).into_iter().flatten() {
                    found[*at] = records.clone();
                }
            }
        }
        Ok(found)
    }

    /// How a lookup is put to Autotask; `None` when its value cannot occur in the field, so that nothing need be asked.
    async fn question(
        &self,
        entity: &'static Entity,
        path: &str,
        value: &Value,
    ) -> Result<Option<(Field, Asked)>> {
        let Some(text) = value.to_plain().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let user_defined = path.strip_prefix(UDF).and_then(|rest| rest.strip_prefix('.'));
        let (name, json) = if let Some(name) = user_defined {
            (name, Some(Json::from(text)))
        } else if path == COUNTRY && entity.country {
            let table = self.countries(|table| table.id(&text).is_some()).await?;
            (COUNTRY_ID, table.id(&text).map(Json::from))
        } else if let Some(id) = id_field(path) {
            let table = self.people(|table| table.id(&text).is_some()).await?;
            (id, table.id(&text).map(Json::from))
        } else if path == "id" {
            (path, text.trim().parse::<i64>().ok().map(Json::from))
        } else {
            let facts = self.facts(entity).await?;
            let json = match facts.types.get(&path.to_lowercase()) {
                Some(FieldType::Whole) => text.trim().parse::<i64>().ok().map(Json::from),
                Some(FieldType::Decimal) => serde_json::from_str(text.trim()).ok().filter(Json::is_number),
                Some(FieldType::Bool) => text.to_ascii_lowercase().parse::<bool>().ok().map(Json::from),
                Some(FieldType::Other) => Some(Json::from(text)),
                None => Some(value.to_json()),
            };
            (path, json)
        };
        let field = Field {
            name: name.to_owned(),
            user_defined: user_defined.is_some(),
        };
        Ok(json.and_then(|json| {
            Some((
                field,
                Asked {
                    key: key(&json)?,
                    json,
                },
            ))
        }))
    }

    async fn search(&self, entity: &'static Entity, field: &Field, asked: &[Asked]) -> Result<Hits> {
        let together = asked.len() > 1 && (!field.user_defined || self.udf_in_works(entity, field).await?);
        let size = if together { IN_VALUES_MAX } else { 1 };
        let calls: Vec<_> = asked
            .chunks(size)
            .map(|values| self.gather(entity, field, values))
            .collect();
        let mut answers = futures::stream::iter(calls).buffered(self.settings.concurrency_per_endpoint);
        let mut hits = Hits::new();
        while let Some(answer) = answers.next().await {
            hits.extend(answer?);
        }
        Ok(hits)
    }

    /// All rows for some values, page by page. A value that has enough rows is not asked for any more.
    async fn gather(&self, entity: &'static Entity, field: &Field, asked: &[Asked]) -> Result<Hits> {
        let rows_max = if asked.len() == 1 {
            FOUND_MAX.min(self.settings.page_size)
        } else {
            self.settings.page_size
        };
        // Each value takes that many full pages at most; more means that the rows are not what was asked for.
        let pages_max = asked.len() * (FOUND_MAX / rows_max + 1) + 2;
        let mut open: Vec<&Asked> = asked.iter().collect();
        let mut hits = Hits::new();
        let mut above = None;
        for _ in 0..pages_max {
            let page = self
                .query(entity.name, &[field.condition(&open)], above, rows_max)
                .await?;
            let (rows, mut matching) = (page.items.len(), 0);
            for item in page.items {
                let Some(key) = field
                    .key_of(&item)
                    .filter(|key| asked.iter().any(|asked| asked.key == *key))
                else {
                    continue;
                };
                matching += 1;
                let rows = hits.entry(key).or_default();
                if rows.len() < FOUND_MAX {
                    rows.push(item);
                }
            }
            if matching == 0 && rows == rows_max {
                return Err(ignored_filter(entity));
            }
            open.retain(|asked| hits.get(&asked.key).is_none_or(|rows| rows.len() < FOUND_MAX));
            above = page.last_id;
            if !page.more || open.is_empty() {
                return Ok(hits);
            }
        }
        Err(ignored_filter(entity))
    }

    async fn above(&self, entity: &'static Entity, id: &RecordId) -> Result<Vec<NativeRecord>> {
        let Ok(mut above) = id.as_str().parse::<i64>() else {
            return Ok(Vec::new());
        };
        let mut items = Vec::new();
        loop {
            let page = self
                .query(entity.name, &[], Some(above), self.settings.page_size)
                .await?;
            above = page.last_id.unwrap_or(above);
            items.extend(page.items);
            if items.len() > ABOVE_MAX {
                let text = format!("autotask has more than {ABOVE_MAX} records above the id asked for");
                return Err(in_entity(Error::new(ErrorKind::Limit, text), entity.name));
            }
            if !page.more {
                return self.records(entity, items).await;
            }
        }
    }
}

impl Field {
    pub(crate) fn condition(&self, asked: &[&Asked]) -> Json {
        let mut condition = match asked {
            [one] => json!({"op": "eq", "field": self.name, "value": one.json}),
            many => {
                json!({"op": "in", "field": self.name, "value": many.iter().map(|asked| &asked.json).collect::<Vec<_>>()})
            }
        };
        self.mark(&mut condition);
        condition
    }

    /// A user-defined field without its mark is an unknown field.
    pub(crate) fn mark(&self, condition: &mut Json) {
        if self.user_defined {
            condition["udf"] = Json::Bool(true);
        }
    }

    /// What a row holds in this field, as it compares. Names match in any case, as they do on the server.
    pub(crate) fn key_of(&self, item: &Map<String, Json>) -> Option<String> {
        let same = |name: &str| name.eq_ignore_ascii_case(&self.name);
        if self.user_defined {
            let entries = item.get(USER_DEFINED_FIELDS)?.as_array()?;
            return key(entries
                .iter()
                .find(|entry| entry["name"].as_str().is_some_and(same))?
                .get("value")?);
        }
        key(item.iter().find(|(name, _)| same(name))?.1)
    }
}

fn key(json: &Json) -> Option<String> {
    Value::from_json(json)
        .to_plain()
        .map(|text| text.to_lowercase())
        .filter(|text| !text.is_empty())
}
