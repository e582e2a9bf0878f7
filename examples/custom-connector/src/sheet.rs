//! One CSV file, read whole and written whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use seamless_core::{Effect, Error, ErrorKind, NativeRecord, RecordId, Result, Value};

/// Nobody keeps more in a file like this; whoever does needs another connector.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub(crate) struct Sheet {
    columns: Vec<String>,
    id_column: usize,
    rows: BTreeMap<u64, Vec<String>>,
}

impl Sheet {
    pub(crate) fn read(folder: &Path, entity: &str) -> Result<Sheet> {
        let file = File::open(path(folder, entity)?)
            .map_err(|error| unavailable("the file cannot be opened", error).with("entity", entity))?;
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|error| unavailable("the file cannot be read", error).with("entity", entity))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::Limit, message).with("entity", entity));
        }
        // A file that is cut off would look like one from which rows have been deleted.
        if text.last() != Some(&b'\n') {
            return Err(Error::protocol("the file does not end with a line's end").with("entity", entity));
        }
        let broken = |line: u64, why: &str| {
            Error::protocol(format!("line {line} cannot be read: {why}")).with("entity", entity)
        };
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let header = reader
            .headers()
            .map_err(|_| broken(1, "it is no list of columns"))?;
        let columns: Vec<String> = header.iter().map(str::to_owned).collect();
        let id_column = columns.iter().position(|column| column == "id");
        let id_column = id_column.ok_or_else(|| broken(1, "no column is called id"))?;
        let mut rows = BTreeMap::new();
        for row in reader.records() {
            let row = row.map_err(|error| {
                broken(
                    error.position().map_or(0, csv::Position::line),
                    "it has not one cell for each column",
                )
            })?;
            let line = row.position().map_or(0, csv::Position::line);
            let id = row[id_column]
                .parse()
                .map_err(|_| broken(line, "its id is no whole number"))?;
            if rows.insert(id, row.iter().map(str::to_owned).collect()).is_some() {
                return Err(broken(line, "an earlier row has the same id"));
            }
        }
        Ok(Sheet {
            columns,
            id_column,
            rows,
        })
    }

    /// Puts the new file in the place of the old one, in one step: a reader sees the one or the other, whatever happens.
    pub(crate) fn save(&self, folder: &Path, entity: &str) -> Result<()> {
        let file = path(folder, entity)?;
        let draft = file.with_extension("csv.new");
        let write = || -> std::io::Result<()> {
            let mut writer = csv::Writer::from_writer(File::create(&draft)?);
            writer.write_record(&self.columns)?;
            for row in self.rows.values() {
                writer.write_record(row)?;
            }
            writer
                .into_inner()
                .map_err(csv::IntoInnerError::into_error)?
                .sync_all()?;
            fs::rename(&draft, &file)
        };
        write().map_err(|error| unavailable("the file cannot be written", error).with("entity", entity))
    }

    /// A new empty row.
    pub(crate) fn add(&mut self) -> u64 {
        let id = self.rows.keys().last().map_or(1, |last| last + 1);
        let mut row = vec![String::new(); self.columns.len()];
        row[self.id_column] = id.to_string();
        self.rows.insert(id, row);
        id
    }

    pub(crate) fn set(&mut self, id: u64, field: &str, text: String) -> Result<()> {
        let column = self.columns.iter().position(|column| column == field);
        let column = column.filter(|column| *column != self.id_column);
        let column = column
            .ok_or_else(|| Error::invalid(format!("no column can be written as {field}")).field(field))?;
        let no_row = || Error::new(ErrorKind::NotFound, "there is no such row").with("record", id);
        self.rows.get_mut(&id).ok_or_else(no_row)?[column] = text;
        Ok(())
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &String> {
        self.columns.iter().filter(|column| *column != "id")
    }

    pub(crate) fn record(&self, id: u64) -> Option<NativeRecord> {
        let cells = self.columns.iter().zip(self.rows.get(&id)?);
        let value = |cell: &String| {
            if cell.is_empty() {
                Value::Null
            } else {
                Value::text(cell)
            }
        };
        Some(NativeRecord {
            id: RecordId(id.to_string()),
            stamp: None,
            created: None,
            version: None,
            fields: cells
                .map(|(column, cell)| (column.clone(), value(cell)))
                .collect(),
        })
    }

    /// By id, which never changes: rows that are edited in the meantime stay where they are.
    pub(crate) fn records_after(&self, after: Option<u64>) -> impl Iterator<Item = NativeRecord> {
        let rest = self.rows.range(after.map_or(0, |id| id.saturating_add(1))..);
        rest.filter_map(|(id, _)| self.record(*id))
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
pub(crate) fn unavailable(what: &str, error: std::io::Error) -> Error {
    Error::unavailable(what).effect(Effect::NotApplied).because(error)
}
