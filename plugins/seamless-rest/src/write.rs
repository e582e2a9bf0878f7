//! Writing: one call for one write, never repeated here.

use std::time::Duration;

use seamless_core::{
    Effect, Error, ErrorKind, Fields, NativeRecord, RecordId, Result, Write, WriteAction, Written,
};

use crate::answer::{Answer, Purpose, changed_nothing};
use crate::connector::Connector;
use crate::json_path::{dig, plain};
use crate::manifest::{Create, Update};
use crate::rows::Native;

impl Connector {
    /// Performs one write.
    pub(crate) async fn write_one(&self, write: &Write) -> Result<Written> {
        let native = self.native(&write.entity)?;
        match &write.action {
            WriteAction::Create { fields } => self.create(native, fields, write.send_by).await,
            WriteAction::Update { current, fields } => {
                self.update(native, current, fields, write.send_by).await
            }
            WriteAction::Delete { id } => self.delete(native, id, write.send_by).await,
        }
    }

    async fn create(&self, native: Native<'_>, fields: &Fields, send_by: Duration) -> Result<Written> {
        let create = native
            .entity
            .create
            .as_ref()
            .ok_or_else(|| self.not_described(native, "create"))?;
        let call = create
            .call(native.entity, fields, self.manifest.system.format)
            .map_err(|error| self.named(native, error))?;
        let answer = self.write(native.name, call, Purpose::Create, send_by).await?;
        match new_id(native, create, &answer).and_then(|own| native.entity.whole_id(own, fields)) {
            Some(id) => Ok(Written { id: RecordId(id) }),
            // It was probably made, but nobody knows under which id: the engine has to look for it.
            None => {
                let message = "the system confirmed the new record but did not name its id; see create.id and create.id_header";
                Err(self.named(
                    native,
                    Error::protocol(message).effect(Effect::Unknown).retry_later(None),
                ))
            }
        }
    }

    async fn update(
        &self,
        native: Native<'_>,
        current: &NativeRecord,
        fields: &Fields,
        send_by: Duration,
    ) -> Result<Written> {
        let update = native
            .entity
            .update
            .as_ref()
            .ok_or_else(|| self.not_described(native, "update"))?;
        let whole = if update.partial {
            None
        } else {
            Some(
                self.whole(native, update, current, send_by)
                    .await
                    .map_err(changed_nothing)?,
            )
        };
        let call = update
            .call(native.entity, current, whole, fields, self.manifest.system.format)
            .map_err(|error| self.named(native, changed_nothing(error)))?;
        self.write(native.name, call, Purpose::Change, send_by)
            .await
            .map_err(|error| error.with("record", &current.id))?;
        Ok(Written {
            id: current.id.clone(),
        })
    }

    /// The record as it is now, for systems that take whole records only. Read last of all, so that little time is left in
    /// which a foreign edit could be overwritten.
    async fn whole(
        &self,
        native: Native<'_>,
        update: &Update,
        current: &NativeRecord,
        send_by: Duration,
    ) -> Result<serde_json::Value> {
        let get = native
            .entity
            .get
            .as_ref()
            .ok_or_else(|| self.not_described(native, "get"))?;
        let gone = || {
            Error::new(ErrorKind::NotFound, "the record does not exist any more").with("record", &current.id)
        };
        let (raw, now) = self
            .get_raw(native, get, current.id.as_str(), Some(send_by))
            .await?
            .ok_or_else(|| self.named(native, gone()))?;
        if update.expects_version() && now.version != current.version {
            let message = "the record was changed by somebody else meanwhile";
            return Err(self.named(native, Error::conflict(message).with("record", &current.id)));
        }
        Ok(raw)
    }

    async fn delete(&self, native: Native<'_>, id: &RecordId, send_by: Duration) -> Result<Written> {
        let delete = native
            .entity
            .delete
            .as_ref()
            .ok_or_else(|| self.not_described(native, "delete"))?;
        // Whatever the call names beside the id (a revision) is the record's as it is now.
        let fields = match &native.entity.get {
            Some(get) if delete.names_fields(native.entity) => {
                let now = self.get_raw(native, get, id.as_str(), Some(send_by)).await;
                match now.map_err(changed_nothing)? {
                    Some((_, record)) => {
                        let version = record
                            .version
                            .map(|version| ("version".to_owned(), version.as_str().into()));
                        record.fields.into_iter().chain(version).collect()
                    }
                    None => return Ok(Written { id: id.clone() }),
                }
            }
            _ => Fields::new(),
        };
        let call = delete
            .call(native.entity, id.as_str(), fields)
            .map_err(|error| self.named(native, error))?;
        match self.write(native.name, call, Purpose::Change, send_by).await {
            Ok(_) => Ok(Written { id: id.clone() }),
            // Gone already is what was wanted.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Written { id: id.clone() }),
            Err(error) => Err(error.with("record", id)),
        }
    }

    fn not_described(&self, native: Native<'_>, operation: &str) -> Error {
        self.named(
            native,
            Error::config(format!("the manifest describes no '{operation}' for this entity")),
        )
    }
}

fn new_id(native: Native<'_>, create: &Create, answer: &Answer) -> Option<String> {
    let in_body = match &create.id {
        Some(path) => dig(&answer.json, path).and_then(plain),
        None => dig(&answer.json, &create.item).and_then(|item| native.entity.own_id(item)),
    };
    let in_header = || {
        let header = answer.response.header(create.id_header.as_deref()?)?;
        let path = header.split(['?', '#']).next()?.trim_end_matches('/');
        let id = path.rsplit('/').next()?;
        // An encoded id could be read in more than one way; the engine then looks for the record.
        (!id.contains('%')).then(|| id.to_owned())
    };
    in_body.or_else(in_header).filter(|id| !id.is_empty())
}
