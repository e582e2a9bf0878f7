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
    SourcePlugin, Target, TargetPlugin, Value, Write, WriteAction, Written, lookup,
};
use sheet::Sheet;

/// The plugin, kind `csv`. What `main` registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct CsvPlugin;

const INFO: PluginInfo = PluginInfo {
    kind: "csv",
    summary: "CSV files in a folder",
};
/// The contract's bound for one lookup.
const FOUND_MAX: usize = 50;

/// The `[systems.<name>]` table, without its `kind`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The folder, relative to the tenant's file (as the host does for every setting that ends in `_path`).
    folder_path: PathBuf,
}

impl Settings {
    fn parse(settings: &serde_json::Value) -> Result<Settings> {
        serde_json::from_value(settings.clone())
            .map_err(|error| Error::config(format!("the csv settings are not understood: {error}")))
    }
}

#[async_trait]
impl SourcePlugin for CsvPlugin {
    fn info(&self) -> PluginInfo {
        INFO
    }

    fn validate(&self, settings: &serde_json::Value) -> Result<()> {
        Settings::parse(settings).map(drop)
    }

    fn default_mapping(&self, _: &serde_json::Value, entity: &EntityName) -> Result<Option<SideMapping>> {
        let fields = [
            ("name", FieldMapping::text("name").required()),
            ("phone", FieldMapping::text("phone")),
            ("address.city", FieldMapping::text("city")),
        ];
        Ok((entity.as_str() == "account").then(|| SideMapping {
            entity: "customers".to_owned(),
            xref: Some("partner_id".to_owned()),
            fields: fields.map(|(field, mapping)| (field.to_owned(), mapping)).into(),
        }))
    }

    async fn open(&self, ctx: &OpenContext) -> Result<Arc<dyn Source>> {
        Ok(Folder::open(ctx)?)
    }
}

#[async_trait]
impl TargetPlugin for CsvPlugin {
    fn info(&self) -> PluginInfo {
        INFO
    }

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
                path: Settings::parse(&ctx.settings)?.folder_path,
                clock: ctx.clock.clone(),
                writing: Mutex::default(),
            })
        })
    }

    fn write_one(&self, write: &Write) -> Result<Written> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sheet = Sheet::read(&self.path, &write.entity)?;
        let (id, fields) = match &write.action {
            WriteAction::Create { fields } => (sheet.add(), fields),
            WriteAction::Update { current, fields } => (number(&current.id)?, fields),
            WriteAction::Delete { .. } => {
                return Err(Error::invalid("rows of a CSV file are not deleted by us"));
            }
        };
        for (field, value) in fields {
            sheet.set(id, field, value.to_plain().unwrap_or_default())?;
        }
        // The last look at the clock comes right before the deed.
        if self.clock.monotonic() > write.send_by {
            return Err(
                Error::new(ErrorKind::Unavailable, "too late to write; nothing was").retry_later(None),
            );
        }
        sheet.save(&self.path, &write.entity)?;
        Ok(Written {
            id: RecordId(id.to_string()),
        })
    }
}

fn number(id: &RecordId) -> Result<u64> {
    let no_row = |_| {
        Error::new(
            ErrorKind::NotFound,
            "ids are whole numbers here; there is no such row",
        )
    };
    id.as_str().parse().map_err(no_row)
}

fn fits(row: &NativeRecord, asked: &Lookup) -> bool {
    match asked {
        Lookup::AboveId(id) => number(&row.id).ok() > number(id).ok(),
        Lookup::Field { field, value } => {
            let lower =
                |value: Option<&Value>| value.and_then(Value::to_plain).map(|text| text.to_lowercase());
            !value.is_empty() && lower(lookup(&row.fields, field)) == lower(Some(value))
        }
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
        let described = |name: &String| FieldInfo {
            name: name.clone(),
            data_type: "text".to_owned(),
            length: None,
            required: false,
            read_only: false,
            options: None,
            reference: None,
        };
        Ok(EntityInfo {
            fields: Sheet::read(&self.path, entity)?.fields().map(described).collect(),
            can_create: true,
            can_update: true,
        })
    }

    async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let sheet = Sheet::read(&self.path, entity)?;
        Ok(ids
            .iter()
            .filter_map(|id| sheet.record(number(id).ok()?))
            .collect())
    }

    async fn find(&self, entity: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let rows: Vec<NativeRecord> = Sheet::read(&self.path, entity)?.records_after(None).collect();
        let found = |asked: &Lookup| {
            rows.iter()
                .filter(|row| fits(row, asked))
                .take(FOUND_MAX)
                .cloned()
                .collect()
        };
        Ok(lookups.iter().map(found).collect())
    }

    async fn ping(&self) -> Result<()> {
        let folder = std::fs::read_dir(&self.path);
        folder
            .map(drop)
            .map_err(|error| sheet::unavailable("the folder cannot be read", error))
    }
}

#[async_trait]
impl Source for Folder {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let after = request
            .after
            .as_ref()
            .map(|token| number(&RecordId(token.0.clone())))
            .transpose()?;
        let sheet = Sheet::read(&self.path, &request.entity)?;
        let mut records: Vec<NativeRecord> = sheet.records_after(after).take(request.limit + 1).collect();
        let more = records.len() > request.limit;
        records.truncate(request.limit);
        Ok(Page {
            next: records
                .last()
                .filter(|_| more)
                .map(|row| PageToken(row.id.0.clone())),
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
