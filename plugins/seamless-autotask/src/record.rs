//! Autotask's JSON objects as native records.

use std::collections::BTreeMap;

use seamless_core::{
    Error, Fields, NativeRecord, RecordId, Result, Stamp, Timestamp, UsedFields, Value, lookup,
};
use serde_json::{Map, Value as Json};

use crate::client::{Client, in_entity, whole};
use crate::countries::CountryTable;
use crate::entity::Entity;
use crate::people::{PERSONS, PeopleTable};

/// The native name under which a country's code is read and written, instead of its number in this tenant.
pub(crate) const COUNTRY: &str = "country";
/// What it stands for.
pub(crate) const COUNTRY_ID: &str = "countryID";
/// The object that holds user-defined fields.
pub(crate) const UDF: &str = "udf";
/// The beginning of a user-defined field's native path.
pub(crate) const UDF_PREFIX: &str = "udf.";
/// What they are called on the wire.
pub(crate) const USER_DEFINED_FIELDS: &str = "userDefinedFields";

impl Client {
    /// Rows as records, countries resolved.
    pub(crate) async fn records(
        &self,
        entity: &Entity,
        items: Vec<Map<String, Json>>,
    ) -> Result<Vec<NativeRecord>> {
        let mut needed: Vec<i64> = Vec::new();
        if entity.country {
            needed = items
                .iter()
                .filter_map(|item| whole(item.get(COUNTRY_ID)?))
                .collect();
            needed.sort_unstable();
            needed.dedup();
        }
        let mut people: Vec<i64> = Vec::new();
        if self.wants_people(entity) {
            let ids = |item: &Map<String, Json>| PERSONS.map(|(_, id)| item.get(id).and_then(whole));
            people = items.iter().flat_map(ids).flatten().collect();
        }
        let people = match people.is_empty() {
            true => None,
            false => Some(
                self.people(|table| people.iter().all(|id| table.person(*id).is_some()))
                    .await?,
            ),
        };
        let countries = match needed.is_empty() {
            true => None,
            false => Some(
                self.countries(|table| needed.iter().all(|id| table.text(*id).is_some()))
                    .await?,
            ),
        };
        let needed = self.needed(entity);
        let mut records = items
            .into_iter()
            .map(|mut item| {
                if needed.is_some() {
                    // Some sixty fields, most of them null: those that are used are filled in again.
                    item.retain(|_, value| !value.is_null());
                }
                record(entity, item, countries.as_deref(), people.as_deref())
            })
            .collect::<Result<Vec<NativeRecord>>>()?;
        if let Some(used) = needed {
            self.fill_in(entity, &used, &mut records).await?;
        }
        Ok(records)
    }

    /// Fills in the empty fields that an answer left out, so that a record lacks only what the tenant does not have any more. The ordinary fields are not
    /// the tenant's to delete. A user-defined one that no row of the answer has a value in may be empty in all of them, or somebody has deleted or
    /// renamed it: the metadata, asked after the read, tell which.
    async fn fill_in(&self, entity: &Entity, used: &UsedFields, records: &mut [NativeRecord]) -> Result<()> {
        let (user_defined, ordinary): (Vec<&str>, Vec<&str>) = used
            .mapped
            .iter()
            .map(String::as_str)
            .partition(|path| path.starts_with(UDF_PREFIX));
        let is_seen = |path: &str| {
            let mut records = records.iter();
            records.any(|record| lookup(&record.fields, path).is_some())
        };
        let (mut there, unseen): (Vec<&str>, Vec<&str>) =
            user_defined.into_iter().partition(|path| is_seen(path));
        if !records.is_empty() && !unseen.is_empty() {
            let names = self.user_defined(entity).await?;
            let is_known = |path: &&str| {
                path.strip_prefix(UDF_PREFIX)
                    .is_some_and(|name| names.contains(name))
            };
            there.extend(unseen.into_iter().filter(is_known));
        }
        let names: Vec<&str> = there
            .iter()
            .filter_map(|path| path.strip_prefix(UDF_PREFIX))
            .collect();
        for record in records {
            for name in &ordinary {
                record.fields.entry((*name).to_owned()).or_default();
            }
            if let Some(Value::Map(fields)) = record.fields.get_mut(UDF) {
                for name in &names {
                    fields.entry((*name).to_owned()).or_default();
                }
            }
        }
        Ok(())
    }
}

fn record(
    entity: &Entity,
    item: Map<String, Json>,
    countries: Option<&CountryTable>,
    people: Option<&PeopleTable>,
) -> Result<NativeRecord> {
    let id = item.get("id").and_then(whole).ok_or_else(|| {
        in_entity(
            Error::protocol("autotask sent a record without a numeric id"),
            entity.name,
        )
    })?;
    let stamp = |field: &str| Some(Stamp::from(Timestamp::parse(item.get(field)?.as_str()?)?));
    let changed = entity.stamp.and_then(stamp);
    let created = stamp("createDate");
    let mut fields = Fields::new();
    for (name, value) in &item {
        if name != USER_DEFINED_FIELDS {
            fields.insert(name.clone(), Value::from_json(value));
        }
    }
    fields.insert(
        UDF.to_owned(),
        Value::Map(user_defined(item.get(USER_DEFINED_FIELDS))),
    );
    if entity.country
        && let Some(country) = item.get(COUNTRY_ID)
    {
        let text = whole(country).map(|id| match countries.and_then(|table| table.text(id)) {
            Some(text) => text.to_owned(),
            // Not blank: blank would clear the country on the other side.
            None => format!("country {id}"),
        });
        fields.insert(COUNTRY.to_owned(), text.map_or(Value::Null, Value::Text));
    }
    for (email, id) in PERSONS {
        if let (Some(people), Some(id)) = (people, item.get(id).and_then(whole)) {
            // Not blank: blank would unassign the record on the other side.
            let text = people
                .email(id)
                .map_or_else(|| format!("resource {id}"), str::to_owned);
            fields.insert(email.to_owned(), Value::Text(text));
        }
    }
    Ok(NativeRecord {
        id: RecordId(id.to_string()),
        stamp: changed,
        created,
        version: None,
        fields,
    })
}

/// `[{name, value}]` as an object. Absent and null mean that no row of the answer has a value.
fn user_defined(json: Option<&Json>) -> BTreeMap<String, Value> {
    let entries = json
        .and_then(Json::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let pair = |entry: &Json| {
        let value = entry.get("value").map_or(Value::Null, Value::from_json);
        Some((entry.get("name")?.as_str()?.to_owned(), value))
    };
    entries.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Json) -> NativeRecord {
        let Json::Object(item) = json else {
            panic!("not an object")
        };
        let table =
            CountryTable::from_rows(&[json!({"id": 2, "countryCode": "DE", "displayName": "Germany"})]);
        record(Entity::named("Companies").unwrap(), item, Some(&table), None).unwrap()
    }

    #[test]
    fn user_defined_fields_become_an_object_whatever_form_they_have() {
        for udf in [json!([]), Json::Null] {
            assert_eq!(
                read(json!({"id": 1, "userDefinedFields": udf})).fields[UDF],
                Value::Map(BTreeMap::new())
            );
        }
        assert_eq!(read(json!({"id": 1})).fields[UDF], Value::Map(BTreeMap::new()));
        let some = read(
            json!({"id": 1, "userDefinedFields": [{"name": "CRM ID", "value": "7"}, {"name": "X", "value": null}]}),
        );
        assert_eq!(
            seamless_core::lookup(&some.fields, "udf.CRM ID"),
            Some(&Value::from("7"))
        );
        assert_eq!(seamless_core::lookup(&some.fields, "udf.X"), Some(&Value::Null));
        assert!(!some.fields.contains_key(USER_DEFINED_FIELDS));
    }

    #[test]
    fn stamps_and_countries_are_read() {
        let full = read(json!({
            "id": "5", "countryID": 2,
            "lastTrackedModifiedDateTime": "2016-03-30T13:10:35.84", "createDate": "2016-03-30T13:10:35Z",
        }));
        assert_eq!(full.id.as_str(), "5");
        assert_eq!(
            full.stamp,
            Timestamp::parse("2016-03-30T13:10:35.840Z").map(Stamp::from)
        );
        assert_eq!(
            full.created,
            Timestamp::parse("2016-03-30T13:10:35Z").map(Stamp::from)
        );
        assert_eq!(full.fields[COUNTRY], Value::from("DE"));
        let bare = read(json!({"id": 6, "countryID": null, "lastTrackedModifiedDateTime": null}));
        assert_eq!((bare.stamp, &bare.fields[COUNTRY]), (None, &Value::Null));
        assert_eq!(
            read(json!({"id": 7, "countryID": 99})).fields[COUNTRY],
            Value::from("country 99")
        );
        assert!(!read(json!({"id": 8})).fields.contains_key(COUNTRY));
    }
}
