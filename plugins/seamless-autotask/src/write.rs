//! Creates, updates and deletes, one call each. Never PUT: it would clear every field that is not sent.

use futures::StreamExt;
use seamless_core::{
    Effect, Error, ErrorKind, Fields, NativeRecord, RecordId, Result, Value, Write, WriteAction, Written,
};
use seamless_http::Request;
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, read_only, whole};
use crate::entity::{Entity, is_reference};
use crate::record::{COUNTRY, COUNTRY_ID, UDF, USER_DEFINED_FIELDS};

/// A write as it goes over the wire.
struct Call {
    request: Request,
    entity: &'static Entity,
    /// The id that the answer must name; a create learns its own.
    id: Option<i64>,
}

impl Client {
    /// Performs the writes, a few at once; outcomes in order.
    pub(crate) async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let calls: Vec<_> = writes.iter().map(|write| self.write_one(write)).collect();
        futures::stream::iter(calls)
            .buffered(self.settings.concurrency_per_endpoint)
            .collect()
            .await
    }

    async fn write_one(&self, write: &Write) -> Result<Written> {
        // Whatever goes wrong before the call is made had no effect, however the reads for it failed.
        let call = self
            .prepare(write)
            .await
            .map_err(|e| in_entity(read_only(e), &write.entity))?;
        let request = || call.request.clone().send_by(write.send_by).writes();
        let response = self
            .call(call.entity.write_purpose(), request)
            .await
            .map_err(|e| in_entity(e, call.entity.name))?;
        let unconfirmed = |text: &str| {
            let error = Error::protocol(text)
                .effect(Effect::Unknown)
                .with("status", response.status);
            Err(in_entity(error, call.entity.name))
        };
        let Ok(answer) = response.json() else {
            return unconfirmed("autotask answered a write with something else than json");
        };
        match (whole(&answer["itemId"]), call.id) {
            (None, _) => unconfirmed("autotask answered a write without 'itemId'"),
            (Some(id), Some(expected)) if id != expected => {
                unconfirmed("autotask answered a write with the id of another record")
            }
            (Some(id), _) => Ok(Written {
                id: RecordId(id.to_string()),
            }),
        }
    }

    async fn prepare(&self, write: &Write) -> Result<Call> {
        let entity = Entity::named(&write.entity)?;
        match &write.action {
            WriteAction::Create { fields } => {
                let mut body = self.body(entity, fields).await?;
                self.add_defaults(entity, &mut body);
                let path = match entity.parent {
                    Some(parent) => child_path(entity, body.get(parent).and_then(whole), parent)?,
                    None => entity.name.to_owned(),
                };
                Ok(Call {
                    request: Request::post(path).json(&Json::Object(body)),
                    entity,
                    id: None,
                })
            }
            WriteAction::Update { current, fields } => {
                let id = numeric(&current.id)?;
                if let Some(parent) = entity.parent.filter(|parent| fields.contains_key(*parent)) {
                    let text = format!(
                        "{parent} of a record in {} cannot be changed in autotask",
                        entity.name
                    );
                    return Err(Error::invalid(text).field(parent));
                }
                let mut body = self.body(entity, fields).await?;
                body.insert("id".to_owned(), json!(id));
                let path = collection_path(entity, current)?;
                Ok(Call {
                    request: Request::patch(path).json(&Json::Object(body)),
                    entity,
                    id: Some(id),
                })
            }
            WriteAction::Delete { id } => {
                if entity.parent.is_none() {
                    let text = format!(
                        "autotask cannot delete {} through its api; deactivate the record instead",
                        entity.name
                    );
                    return Err(Error::invalid(text));
                }
                let id = numeric(id)?;
                let current = self.fetch(entity.name, &[RecordId(id.to_string())]).await?.pop();
                let current = current.ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "the record does not exist in autotask")
                })?;
                let path = format!("{}/{id}", collection_path(entity, &current)?);
                Ok(Call {
                    request: Request::delete(path),
                    entity,
                    id: Some(id),
                })
            }
        }
    }

    /// Native fields as a JSON body.
    async fn body(&self, entity: &'static Entity, fields: &Fields) -> Result<Map<String, Json>> {
        let mut body = Map::new();
        let mut user_defined = Vec::new();
        for (path, value) in fields {
            if path == COUNTRY {
                body.insert(COUNTRY_ID.to_owned(), self.country_id(entity, value).await?);
            } else if let Some(name) = path.strip_prefix(UDF).and_then(|rest| rest.strip_prefix('.')) {
                user_defined.push(json!({"name": name, "value": value.to_plain()}));
            } else if path == UDF || path.contains('.') || path == "id" || path == USER_DEFINED_FIELDS {
                return Err(
                    Error::invalid(format!("field '{path}' cannot be written to autotask")).field(path),
                );
            } else {
                body.insert(path.clone(), wire_value(entity, path, value));
            }
        }
        if !user_defined.is_empty() {
            // The list form is the only one: an object is answered as a fault of the server.
            body.insert(USER_DEFINED_FIELDS.to_owned(), Json::Array(user_defined));
        }
        Ok(body)
    }

    async fn country_id(&self, entity: &Entity, value: &Value) -> Result<Json> {
        if !entity.country {
            return Err(
                Error::invalid(format!("{} in autotask have no country", entity.name)).field(COUNTRY),
            );
        }
        if value.is_empty() {
            return Ok(Json::Null);
        }
        let text = value.to_plain().unwrap_or_default();
        let table = self.countries(|table| table.id(&text).is_some()).await?;
        let unknown = || {
            Error::invalid("autotask knows no country by this code or name; correct the record")
                .field(COUNTRY)
        };
        table.id(&text).map(Json::from).ok_or_else(unknown)
    }

    fn add_defaults(&self, entity: &Entity, body: &mut Map<String, Json>) {
        for (field, value) in self.create_defaults(entity) {
            if body.get(field).is_none_or(Json::is_null) {
                body.insert(field.to_owned(), json!(value));
            }
        }
    }

    /// What Autotask requires on a create and the other system does not have.
    pub(crate) fn create_defaults(&self, entity: &Entity) -> Vec<(&'static str, i64)> {
        let owner = self.settings.default_owner_resource_id.filter(|_| entity.owner);
        let company_type = self
            .settings
            .default_company_type
            .filter(|_| entity.name == "Companies");
        let active = (entity.name == "Contacts").then_some(1);
        [
            ("ownerResourceID", owner),
            ("companyType", company_type),
            ("isActive", active),
        ]
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)))
        .collect()
    }
}

/// Ids travel as numbers; a contact's `isActive` is a number too.
fn wire_value(entity: &Entity, path: &str, value: &Value) -> Json {
    match value {
        Value::Text(text) if is_reference(path) => {
            text.parse::<i64>().map_or_else(|_| value.to_json(), Json::from)
        }
        Value::Bool(flag) if entity.name == "Contacts" && path == "isActive" => json!(i64::from(*flag)),
        _ => value.to_json(),
    }
}

fn collection_path(entity: &Entity, current: &NativeRecord) -> Result<String> {
    match entity.parent {
        Some(parent) => {
            let id = current
                .fields
                .get(parent)
                .and_then(Value::to_plain)
                .and_then(|id| id.parse().ok());
            child_path(entity, id, parent)
        }
        None => Ok(entity.name.to_owned()),
    }
}

/// Child records are written below their parent, and nowhere else.
fn child_path(entity: &Entity, parent_id: Option<i64>, parent: &str) -> Result<String> {
    match parent_id {
        Some(id) => Ok(format!("Companies/{id}/{}", entity.name)),
        None => Err(Error::invalid(format!(
            "{} are written below their company; {parent} is missing",
            entity.name
        ))
        .field(parent)),
    }
}

fn numeric(id: &RecordId) -> Result<i64> {
    id.as_str().parse().map_err(|_| {
        Error::new(
            ErrorKind::NotFound,
            "autotask ids are numbers; this record cannot exist",
        )
    })
}
