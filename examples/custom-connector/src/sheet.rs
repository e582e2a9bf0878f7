//! One CSV file, read whole and written whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use seamless_core::{Effect, Error, ErrorKind, Fields, NativeRecord, RecordId, Result, Value};

/// Nobody keeps more in a file like this; whoever does needs another connector.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub(crate) struct Sheet {
    file: PathBuf,
    pub(crate) columns: Vec<String>,
    /// By id, which never changes: rows that are edited in the meantime stay where they are.
    pub(crate) rows: BTreeMap<u64, Fields>,
}

impl Sheet {
    pub(crate) fn read(folder: &Path, entity: &str) -> Result<Sheet> {
        let file = path(folder, entity)?;
        let broken = |what: String| Error::protocol(what).with("entity", entity);
        let mut text = Vec::new();
        File::open(&file)
            .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut text))
            .map_err(|error| unavailable("the file cannot be read", error).with("entity", entity))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::Limit, message).with("entity", entity));
        }
        // A file that is cut off would look like one from which rows have been deleted.
        if text.last() != Some(&b'\n') {
            return Err(broken("its last line is cut off".to_owned()));
        }
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let header = reader.headers().ok();
        let columns: Vec<String> =
            header.map_or(Vec::new(), |header| header.iter().map(str::to_owned).collect());
        let names: BTreeSet<&str> = columns.iter().map(String::as_str).collect();
        if names.len() != columns.len() || !names.contains("id") {
            return Err(broken(
                "its first line does not name each column once, id among them".to_owned(),
            ));
        }
        let mut rows = BTreeMap::new();
        for (row, number) in reader.deserialize::<BTreeMap<String, String>>().zip(1..) {
            let row = row.map_err(|_| broken(format!("row {number} has not one cell for each column")))?;
            let id = row.get("id").and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| broken(format!("row {number} has no id that is a whole number")))?;
            let fields = row.into_iter().filter(|(column, _)| column != "id");
            let fields = fields.map(|(column, cell)| (column, Value::text(cell))).collect();
            if rows.insert(id, fields).is_some() {
                return Err(broken(format!("row {number} has the id of an earlier one")));
            }
        }
        Ok(Sheet { file, columns, rows })
    }

    /// Puts the new file in the place of the old one, in one step: a reader sees the one or the other, whatever happens.
    pub(crate) fn save(&self) -> Result<()> {
        let draft = self.file.with_extension("csv.new");
        let write = || -> io::Result<()> {
            let mut writer = csv::Writer::from_writer(File::create(&draft)?);
            writer.write_record(&self.columns)?;
            for (id, fields) in &self.rows {
                let cell = |column: &String| match column.as_str() {
                    "id" => id.to_string(),
                    _ => fields.get(column).and_then(Value::to_plain).unwrap_or_default(),
                };
                writer.write_record(self.columns.iter().map(cell))?;
            }
            writer
                .into_inner()
                .map_err(csv::IntoInnerError::into_error)?
                .sync_all()?;
            fs::rename(&draft, &self.file)
        };
        write().map_err(|error| unavailable("the file cannot be written", error))
    }

    pub(crate) fn records_after(&self, after: Option<u64>) -> impl Iterator<Item = NativeRecord> {
        let rest = self.rows.range(after.map_or(0, |id| id.saturating_add(1))..);
        rest.filter_map(|(id, _)| self.record(*id))
    }

    pub(crate) fn record(&self, id: u64) -> Option<NativeRecord> {
        let fields = self.rows.get(&id)?.clone();
        Some(NativeRecord {
            id: RecordId(id.to_string()),
            stamp: None,
            created: None,
            version: None,
            fields,
        })
    }
}

/// An entity's name comes from the tenant's mapping; it is not to lead out of the folder.
fn path(folder: &Path, entity: &str) -> Result<PathBuf> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if entity.is_empty() || !entity.chars().all(plain) {
        return Err(
            Error::config("an entity is called with letters, digits, - and _ here").with("entity", entity),
        );
    }
    Ok(folder.join(format!("{entity}.csv")))
}

/// The disk does not do what it should. Nothing has been changed: the old file is there until the new one is complete.
pub(crate) fn unavailable(what: &str, error: io::Error) -> Error {
    Error::unavailable(what).effect(Effect::NotApplied).because(error)
}
