//! Reading: pages of changes, and records by id.

use std::time::Duration;

use futures::future::try_join_all;
use seamless_core::{
    EntityInfo, Error, ErrorKind, FieldInfo, ListRequest, NativeRecord, OptionInfo, Page, RecordId, Result,
    Stamp, Timestamp, Value,
};
use serde_json::Value as Json;

use crate::call::Call;
use crate::connector::Connector;
use crate::json_path::{dig, plain};
use crate::manifest::{Get, GetMany};
use crate::page::Walk;
use crate::rows::{Native, Rows, WRONG_ROWS_MAX};

impl Connector {
    /// One page of changes.
    pub(crate) async fn list(&self, request: &ListRequest) -> Result<Page> {
        let native = self.native(&request.entity)?;
        let list = &native.entity.list;
        let since = request.since.map(|Stamp(micros)| Timestamp(micros));
        let rows = Rows {
            call: list.call(native.entity, since),
            items: &list.items,
            paging: &list.page,
        };
        let limit = request.limit.max(1);
        let start = || Walk::start(&list.page, limit.min(self.manifest.limits.page_size));
        let mut walk = request
            .after
            .as_ref()
            .and_then(Walk::resume)
            .unwrap_or_else(start);
        let mut server_time = None;
        // Pages without rows are not worth a return; the walk itself bounds how many there can be.
        loop {
            let page = self.rows_page(native, &rows, walk.clone()).await?;
            server_time = server_time.or(page.server_time);
            let (mut page_rows, mut next) = (page.rows, page.next);
            if page_rows.len() > limit {
                // More than asked for: the rest is read again from the same page.
                page_rows.truncate(limit);
                let last = page_rows
                    .last()
                    .and_then(|row| dig(row, &native.entity.id))
                    .and_then(plain);
                next = Some(walk.behind(last.unwrap_or_default()));
            }
            if page_rows.is_empty()
                && let Some(next) = next
            {
                walk = next;
                continue;
            }
            let next = next
                .map(|walk| walk.token())
                .transpose()
                .map_err(|error| self.named(native, error))?;
            let records = if list.stubs {
                let ids = self
                    .ids(native, &page_rows, 0)?
                    .into_iter()
                    .map(RecordId)
                    .collect::<Vec<_>>();
                self.fetch(native.name, &ids).await?
            } else {
                self.records(native, &page_rows)?
            };
            return Ok(Page {
                records,
                next,
                server_time,
            });
        }
    }

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
        let answer = match self.read(native.name, get.call(id), send_by).await {
            Ok(answer) => answer,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
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
        let record = native
            .entity
            .record(item, header)
            .map_err(|error| self.named(native, error))?;
        // Asked for one record and given another: it was merged into that one, so the one asked for is gone.
        Ok((record.id.as_str() == id).then(|| (item.clone(), record)))
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
        for (name, entity) in self.manifest.entities.iter().take(1) {
            let walk = Walk::start(&entity.list.page, 1);
            let call = entity.list.call(entity, None).page(
                &entity.list.page,
                &walk.asks(&entity.list.page)[0],
                walk.size,
            );
            self.read(name, call, None).await?;
        }
        Ok(())
    }

    /// What the manifest knows about the fields.
    pub(crate) fn describe(&self, name: &str) -> Result<EntityInfo> {
        let entity = self.entity(name)?;
        let option = |json: &Json, active| OptionInfo {
            value: Value::from_json(json),
            label: plain(json).unwrap_or_default(),
            active,
        };
        let fields = entity.fields.iter().map(|(name, field)| {
            let active = field.options.iter().map(|json| option(json, true));
            let options: Vec<OptionInfo> = active
                .chain(field.inactive_options.iter().map(|json| option(json, false)))
                .collect();
            FieldInfo {
                name: name.clone(),
                data_type: field.data_type.clone().unwrap_or_else(|| "text".into()),
                length: field.max_length,
                required: field.required,
                read_only: field.read_only,
                options: (!options.is_empty()).then_some(options),
                reference: field.reference.clone(),
            }
        });
        Ok(EntityInfo {
            fields: fields.collect(),
            can_create: entity.create.is_some(),
            can_update: entity.update.is_some(),
        })
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
        let answer = self.read(native.name, many.call(ids), None).await?;
        let rows = answer
            .rows(&many.items)
            .map_err(|error| self.named(native, error))?;
        let mut records = self.records(native, rows)?;
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
