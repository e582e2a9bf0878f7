//! Creates, updates and deletes, one call each. Never PUT: it would clear every field that is not sent.

use std::time::Duration;

use futures::StreamExt;
use seamless_core::{
    Effect, Error, ErrorKind, Fields, NativeRecord, RecordId, Result, Value, Write, WriteAction, Written,
};
use seamless_http::Request;
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, read_only, whole};
use crate::entity::{Entity, is_reference};
use crate::people::id_field;
use crate::record::{COUNTRY, COUNTRY_ID, UDF, USER_DEFINED_FIELDS};

/// A write as it goes over the wire.
struct Call {
    /// Made before, where Autotask takes the write in two steps only; its own body, to be able to undo it.
    first: Option<Map<String, Json>>,
    path: String,
    method: Method,
    body: Map<String, Json>,
    entity: &'static Entity,
    /// The id that the answer must name; a create learns its own.
    id: Option<i64>,
}

enum Method {
    Post,
    Patch,
    Delete,
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
        self.try_write(write)
            .await
            .map_err(|error| named_as_asked(error, write))
    }

    async fn try_write(&self, write: &Write) -> Result<Written> {
        // Whatever goes wrong before the call is made had no effect, however the reads for it failed.
        let call = self
            .prepare(write)
            .await
            .map_err(|e| in_entity(read_only(e), &write.entity))?;
        let outcome = match &call.first {
            None => self.send_write(&call, &call.body, write.send_by).await,
            Some(first) => self.write_in_two_steps(&call, first, write).await,
        };
        if let Err(error) = &outcome {
            match error.context("class") {
                Some("field" | "picklist" | "length") => self.forget_description(call.entity).await,
                Some("pair" | "reference") => self.forget_roles().await,
                _ => {}
            }
        }
        outcome.map_err(|e| in_entity(e, call.entity.name))
    }

    /// One write in the eyes of the pipeline. Where the second step is refused, the first is taken back; where that fails too, or nobody
    /// knows, the error says so, and the pipeline looks at the record field by field.
    async fn write_in_two_steps(
        &self,
        call: &Call,
        first: &Map<String, Json>,
        write: &Write,
    ) -> Result<Written> {
        self.send_write(call, first, write.send_by).await?;
        let refused = match self.send_write(call, &call.body, write.send_by).await {
            Err(error) if error.effect == Effect::NotApplied => error,
            outcome => return outcome,
        };
        let WriteAction::Update { current, .. } = &write.action else {
            return Err(refused);
        };
        let mut undo: Map<String, Json> = first
            .keys()
            .filter_map(|field| Some((field.clone(), current.fields.get(field)?.to_json())))
            .collect();
        undo.insert("id".to_owned(), json!(call.id));
        match self.send_write(call, &undo, write.send_by).await {
            Ok(_) => Err(refused),
            Err(error) => {
                tracing::warn!(entity = call.entity.name, %error, "a refused change left the record without contact or location");
                Err(refused.effect(Effect::Applied))
            }
        }
    }

    async fn send_write(&self, call: &Call, body: &Map<String, Json>, send_by: Duration) -> Result<Written> {
        let body = Json::Object(body.clone());
        let request = || {
            let request = match call.method {
                Method::Post => Request::post(&call.path).json(&body),
                Method::Patch => Request::patch(&call.path).json(&body),
                Method::Delete => Request::delete(&call.path),
            };
            request.send_by(send_by).writes()
        };
        let response = self.call(call.entity.write_purpose(), request).await?;
        let unconfirmed = |text: &str| {
            let error = Error::protocol(text)
                .effect(Effect::Unknown)
                .with("status", response.status);
            Err(error)
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
                self.complete(entity, None, &mut body).await?;
                let path = match entity.parent {
                    Some(parent) => child_path(entity, body.get(parent).and_then(whole), parent)?,
                    None => entity.name.to_owned(),
                };
                Ok(Call {
                    first: None,
                    path,
                    method: Method::Post,
                    body,
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
                let rules = self.complete(entity, Some(current), &mut body).await?;
                let with_id = |mut body: Map<String, Json>| {
                    body.insert("id".to_owned(), json!(id));
                    body
                };
                let clears = rules.clear_first.into_iter();
                let first: Map<String, Json> = clears.map(|field| (field.to_owned(), Json::Null)).collect();
                Ok(Call {
                    first: (!first.is_empty()).then(|| with_id(first)),
                    path: collection_path(entity, current)?,
                    method: Method::Patch,
                    body: with_id(body),
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
                    first: None,
                    path,
                    method: Method::Delete,
                    body: Map::new(),
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
            } else if let Some(id) = id_field(path) {
                let person = match value.to_plain().filter(|text| !text.trim().is_empty()) {
                    Some(email) => json!(self.resource_id(path, &email).await?),
                    None => Json::Null,
                };
                body.insert(id.to_owned(), person);
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

/// Fields that hold a date without a time. Autotask takes the date as sent and shifts nothing.
const DATES: [&str; 6] = [
    "projectedCloseDate",
    "closedDate",
    "lostDate",
    "startDate",
    "throughDate",
    "promisedFulfillmentDate",
];

/// Ids travel as numbers; a contact's `isActive` is a number too.
/// A refusal names the field as it was asked for: people, countries and user-defined fields have other names on the wire.
fn named_as_asked(mut error: Error, write: &Write) -> Error {
    let (WriteAction::Create { fields } | WriteAction::Update { fields, .. }) = &write.action else {
        return error;
    };
    let Some(said) = error.field.clone() else {
        return error;
    };
    let on_the_wire = |path: &str| match id_field(path) {
        Some(id) => id.to_owned(),
        None if path == COUNTRY => COUNTRY_ID.to_owned(),
        None => path
            .strip_prefix(UDF)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(path)
            .to_owned(),
    };
    let asked = fields
        .keys()
        .find(|path| on_the_wire(path).eq_ignore_ascii_case(&said));
    error.field = asked.cloned().or(Some(said));
    error
}

fn wire_value(entity: &Entity, path: &str, value: &Value) -> Json {
    match value {
        Value::Text(text) if is_reference(path) => {
            text.parse::<i64>().map_or_else(|_| value.to_json(), Json::from)
        }
        Value::Bool(flag) if entity.name == "Contacts" && path == "isActive" => json!(i64::from(*flag)),
        // A calendar day, whatever time of day it was given with.
        Value::Time(time) if DATES.contains(&path) => json!(time.to_string().get(..10)),
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
