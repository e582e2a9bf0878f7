//! Reading: records by id.

use std::time::Duration;

use futures::future::try_join_all;
use seamless_core::{Error, ErrorKind, NativeRecord, RecordId, Result};
use serde_json::Value as Json;

use crate::call::Call;
use crate::connector::Connector;
use crate::json_path::dig;
use crate::manifest::{Get, GetMany};
use crate::page::Walk;
use crate::rows::{Native, WRONG_ROWS_MAX};

impl Connector {
    /// Records by id; those that do not exist are left out.
    pub(crate) async fn fetch(&self, name: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let native = self.native(name)?;
        let ids: Vec<&str> = ids.iter().map(RecordId::as_str).collect();
        let Some(many) = &native.entity.get_many else {
            return self.get_each(native, &ids).await;
        };
        let batches = ids
            .chunks(many.ids_max)
            .map(|batch| self.get_batch(native, many, batch));
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    /// The JSON of one record, its version header and all; `None` when there is no such record.
    pub(crate) async fn get_raw(
        &self,
        native: Native<'_>,
        get: &Get,
        id: &str,
        send_by: Option<Duration>,
    ) -> Result<Option<(Json, NativeRecord)>> {
        let call = get
            .call(native.entity, id)
            .map_err(|error| self.named(native, error))?;
        let answer = match self.read(native.name, call, send_by).await {
            Ok(answer) => answer,
            Err(error) if error.kind == ErrorKind::NotFound || get.says_missing(&error) => {
                self.confirm_empty().await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let item = match dig(&answer.json, &get.item) {
            None | Some(Json::Null) => return Ok(None),
            Some(item) => item,
        };
        let header = native
            .entity
            .version_header
            .as_deref()
            .and_then(|name| answer.response.header(name));
        let (parent, _) = native.entity.id_parts(id);
        let item = native
            .entity
            .shaped(item, "", parent)
            .map_err(|error| self.named(native, error))?;
        let record = native
            .entity
            .record(&item, header)
            .map_err(|error| self.named(native, error))?;
        // Asked for one record and given another: it was merged into that one, so the one asked for is gone.
        Ok((record.id.as_str() == id).then_some((item, record)))
    }

    /// Nothing was there. Is it that we are nobody?
    pub(crate) async fn confirm_empty(&self) -> Result<()> {
        if self.manifest.system.confirm_empty {
            self.ping().await
        } else {
            Ok(())
        }
    }

    /// One harmless call.
    pub(crate) async fn ping(&self) -> Result<()> {
        if let Some(path) = &self.manifest.system.ping {
            return self
                .read(
                    "ping",
                    Call::new(crate::manifest::Method::Get, path.clone()),
                    None,
                )
                .await
                .map(drop);
        }
        let first = self
            .manifest
            .entities
            .iter()
            .find(|(_, entity)| !entity.list.names("parent"));
        if let Some((name, entity)) = first {
            let walk = Walk::start(&entity.list.page, 1);
            let call = entity
                .list
                .call(entity, None, None, self.manifest.system.format)?
                .page(&entity.list.page, &walk.asks(&entity.list.page)[0], walk.size);
            self.read(name, call, None).await?;
        }
        Ok(())
    }

    async fn get_each(&self, native: Native<'_>, ids: &[&str]) -> Result<Vec<NativeRecord>> {
        let get = native.entity.get.as_ref();
        let get = get.ok_or_else(|| {
            self.named(
                native,
                Error::config("the manifest describes no 'get' for this entity"),
            )
        })?;
        let reads = ids.iter().map(|id| self.get_raw(native, get, id, None));
        Ok(try_join_all(reads)
            .await?
            .into_iter()
            .flatten()
            .map(|(_, record)| record)
            .collect())
    }

    async fn get_batch(&self, native: Native<'_>, many: &GetMany, ids: &[&str]) -> Result<Vec<NativeRecord>> {
        let call = many
            .call(native.entity, ids, self.manifest.system.format)
            .map_err(|error| self.named(native, error))?;
        let rows = match self.read(native.name, call, None).await {
            Ok(answer) => self.rows_of(native, &answer, many.place())?,
            Err(error) if error.kind == ErrorKind::NotFound && many.missing_is_empty => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut records = self.records(native, &rows)?;
        let wrong = records.len();
        records.retain(|record| ids.contains(&record.id.as_str()));
        if wrong - records.len() >= WRONG_ROWS_MAX && records.len() < wrong / 2 {
            return Err(self.ignored(native, "id"));
        }
        // A batch that comes back short may have been cut by the server: a record is only gone when `get` says so.
        let missing: Vec<&str> = ids
            .iter()
            .copied()
            .filter(|id| !records.iter().any(|record| record.id.as_str() == *id))
            .collect();
        if native.entity.get.is_some() && !missing.is_empty() {
            records.extend(self.get_each(native, &missing).await?);
        }
        Ok(records)
    }
}

impl Get {
    fn says_missing(&self, error: &Error) -> bool {
        let status = error.context("status").and_then(|status| status.parse().ok());
        status.is_some_and(|status| self.missing_status.contains(&status))
    }
}
