//! A connector for CSV files in a folder: `customers.csv` holds the records of `customers`. Its first line names the columns, one of them is
//! `id` (a whole number), and an empty cell is null. People and programs may edit the files at any time, and nothing says when they did.

mod sheet;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::mapping::{FieldMapping, SideMapping};
use seamless_core::{
    Capabilities, Clock, EntityInfo, EntityName, Error, ErrorKind, ExternalKey, FieldInfo, ListRequest,
    Lookup, NativeRecord, OpenContext, Page, PageToken, PluginInfo, Reader, RecordId, Result, Source,
    SourcePlugin, Target, TargetPlugin, Value, Write, WriteAction, Written, read_settings,
};
use serde_json::Value as Json;
use sheet::Sheet;

/// The plugin, kind `csv`. What `main` registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct CsvPlugin;

/// The `[systems.<name>]` table, without its `kind`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The folder, relative to the tenant's file (as the host does for every setting that ends in `_path`).
    folder_path: PathBuf,
}

#[async_trait]
impl SourcePlugin for CsvPlugin {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            kind: "csv",
            summary: "CSV files in a folder",
        }
    }

    fn validate(&self, settings: &Json) -> Result<()> {
        read_settings::<Settings>(settings).map(drop)
    }

    fn default_mapping(&self, _: &Json, entity: &EntityName) -> Result<Option<SideMapping>> {
        Ok((entity.as_str() == "account").then(|| SideMapping {
            entity: "customers".to_owned(),
            xref: Some("partner_id".to_owned()),
            fields: [
                ("name".to_owned(), FieldMapping::text("name").required()),
                ("phone".to_owned(), FieldMapping::text("phone")),
                ("address.city".to_owned(), FieldMapping::text("city")),
            ]
            .into(),
        }))
    }

    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Source>> {
        Ok(Folder::open(ctx)?)
    }
}

#[async_trait]
impl TargetPlugin for CsvPlugin {
    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Target>> {
        Ok(Folder::open(ctx)?)
    }
}

/// An open folder; both sides of the connector share one.
struct Folder {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// One of our writes at a time: each reads the whole file and puts a new one in its place.
    writing: Mutex<()>,
}

impl Folder {
    fn open(ctx: &OpenContext) -> Result<Arc<Folder>> {
        ctx.shared.get_or_try_init(|| {
            Ok(Folder {
                path: read_settings::<Settings>(&ctx.settings)?.folder_path,
                clock: ctx.clock.clone(),
                writing: Mutex::default(),
            })
        })
    }

    fn write_one(&self, write: &Write) -> Result<Written> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sheet = Sheet::read(&self.path, &write.entity)?;
        let (id, fields) = match &write.action {
            WriteAction::Create { fields } => (sheet.rows.keys().last().map_or(1, |last| last + 1), fields),
            WriteAction::Update { current, fields } => {
                let row = current.id.number().filter(|id| sheet.rows.contains_key(id));
                let no_row = || Error::new(ErrorKind::NotFound, "there is no such row");
                (row.ok_or_else(no_row)?, fields)
            }
            WriteAction::Delete { .. } => {
                return Err(Error::invalid("rows of a CSV file are not deleted by us"));
            }
        };
        let row = sheet.rows.entry(id).or_default();
        for (field, value) in fields {
            if field == "id" || !sheet.columns.contains(field) {
                return Err(Error::invalid(format!("no column can be written as {field}")).field(field));
            }
            row.insert(field.clone(), Value::text(value.to_plain().unwrap_or_default()));
        }
        // The last look at the clock comes right before the deed.
        if self.clock.monotonic() > write.send_by {
            return Err(Error::late());
        }
        sheet.save()?;
        let id = RecordId(id.to_string());
        Ok(Written { id })
    }
}

#[async_trait]
impl Reader for Folder {
    /// A file tells little, so little is promised: no stamps, no versions, and two rows may carry the same cross-reference.
    fn capabilities(&self, _: &str) -> Capabilities {
        Capabilities {
            external_key: ExternalKey::Searchable,
            find_batch_max: 500,
            // A write that has returned is on the disk, and one that has not cannot land later.
            settle_after: Duration::from_secs(1),
            search_lag_max: Duration::ZERO,
            ..Capabilities::default()
        }
    }

    async fn describe(&self, entity: &str) -> Result<EntityInfo> {
        let sheet = Sheet::read(&self.path, entity)?;
        let columns = sheet.columns.into_iter().filter(|column| column != "id");
        Ok(EntityInfo {
            fields: columns.map(FieldInfo::text).collect(),
            can_create: true,
            can_update: true,
        })
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let sheet = Sheet::read(&self.path, entity)?;
        Ok(ids.iter().filter_map(|id| sheet.record(id.number()?)).collect())
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let rows: Vec<NativeRecord> = Sheet::read(&self.path, entity)?.records_after(None).collect();
        let fitting = |asked: &Lookup| {
            rows.iter()
                .filter(|row| asked.fits(row))
                .take(asked.found_max())
                .cloned()
                .collect()
        };
        Ok(lookups.iter().map(fitting).collect())
    }

    async fn ping(&self) -> Result<()> {
        let folder = std::fs::read_dir(&self.path).map(drop);
        folder.map_err(|error| sheet::unavailable("the folder cannot be read", error))
    }
}

#[async_trait]
impl Source for Folder {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let garbled = || Error::protocol("the page token is none of ours");
        let after = request
            .after
            .as_ref()
            .map(|token| token.0.parse().map_err(|_| garbled()))
            .transpose()?;
        let sheet = Sheet::read(&self.path, &request.entity)?;
        let mut records: Vec<NativeRecord> = sheet.records_after(after).take(request.limit + 1).collect();
        let more = records.len() > request.limit;
        records.truncate(request.limit);
        let last = records.last().filter(|_| more);
        Ok(Page {
            next: last.map(|row| PageToken(row.id.0.clone())),
            records,
            server_time: None,
        })
    }
}

#[async_trait]
impl Target for Folder {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written>> {
        writes.iter().map(|write| self.write_one(write)).collect()
    }
}
