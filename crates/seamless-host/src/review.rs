//! A person's word: which records belong together, whose value stands.

use std::collections::BTreeMap;
use std::path::Path;

use seamless_core::pipeline::{Decision, Engine, Imported, Link, RecordKey, Rows};
use seamless_core::{Error, ErrorKind, RecordId, Result, RowKey, Side, SyncId, Table};
use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::build::plan_syncs;
use crate::config::{Config, hint};
use crate::host::Plugins;

/// What a person says of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "word", deny_unknown_fields)]
pub enum Word {
    /// It and this record are the same.
    Link {
        /// `system:id` of the other system.
        other: String,
    },
    /// It is nobody's counterpart: create it on the other side.
    Create {},
    /// Leave it alone, for good.
    Ignore {},
    /// Forget what was said; look at it again.
    Again {},
    /// It and its counterpart are not the same.
    Unlink {},
    /// Where both sides changed a field: whose value stands.
    Take {
        /// The canonical field.
        field: String,
        /// The system.
        system: String,
    },
}

/// Largest file of links, in bytes.
const LINKS_BYTES_MAX: u64 = 256 << 20;
/// The columns of a file of links.
const COLUMNS: [&str; 3] = ["sync", "first", "second"];

impl Books {
    /// Notes a person's word; says what happens next.
    pub(crate) async fn decide(
        &self,
        engine: &Engine,
        entity: &str,
        record: &str,
        word: &Word,
    ) -> Result<String> {
        let (plan, key) = self.find_record(entity, record)?;
        let next = "the next run does it";
        match word {
            Word::Link { other } => {
                let (other_plan, other_key) = self.find_record(entity, other)?;
                if other_plan.id != plan.id || other_key.side == key.side {
                    let message = format!("{other} and {record} are not on the two sides of one sync");
                    return Err(Error::new(ErrorKind::Refused, message));
                }
                let other = other_key.id.clone();
                engine.decide(&key, Decision::Link { other }).await?;
                Ok(format!(
                    "{} and {} are to be linked; {next}",
                    self.shown(&key),
                    self.shown(&other_key)
                ))
            }
            Word::Create {} => {
                engine.decide(&key, Decision::Create).await?;
                Ok(format!(
                    "{} is to be created on the other side; {next}",
                    self.shown(&key)
                ))
            }
            Word::Ignore {} => {
                engine.decide(&key, Decision::Ignore).await?;
                Ok(format!("{} is left alone from now on", self.shown(&key)))
            }
            Word::Again {} => Ok(if engine.forget_decision(&key).await? {
                format!(
                    "what was decided about {} is forgotten; the next run looks at it",
                    self.shown(&key)
                )
            } else {
                format!("nothing had been decided about {}", self.shown(&key))
            }),
            Word::Unlink {} => {
                let other = engine.unlink(&key).await?;
                Ok(format!(
                    "{} and {} are no pair any more; both wait in review",
                    self.shown(&key),
                    self.shown(&other)
                ))
            }
            Word::Take { field, system } => {
                let side = plan.side_of(system).ok_or_else(|| {
                    let known: Vec<&str> = plan.systems.iter().map(|system| system.as_str()).collect();
                    let message = format!("the sync has no system '{system}'{}", hint(system, &known));
                    Error::new(ErrorKind::NotFound, message)
                })?;
                engine.answer(&key, field, side).await?;
                Ok(format!("{system}'s {field} stands; {next}"))
            }
        }
    }

    /// The counterpart of a record, as `system:id`.
    pub(crate) async fn linked_to(&self, record: &RecordKey) -> Result<Option<String>> {
        let key = record.row(Table::Link);
        let link: Option<Link> = self
            .row(&key)
            .await?
            .map(|row| Rows::plain(&key, &row))
            .transpose()?;
        Ok(link.map(|link| self.shown(&RecordKey::new(&record.sync, record.side.other(), &link.other))))
    }

    /// Links the pairs in a file.
    pub(crate) async fn import_links(
        &self,
        engine: &Engine,
        file: &Path,
    ) -> Result<BTreeMap<String, Imported>> {
        let mut pairs: BTreeMap<SyncId, Vec<(RecordId, RecordId)>> = BTreeMap::new();
        for (sync, first, second) in read_links(file, self)? {
            pairs.entry(sync).or_default().push((first, second));
        }
        let mut report = BTreeMap::new();
        for (sync, pairs) in pairs {
            let spec = engine.sync(&sync)?.clone();
            report.insert(sync.to_string(), engine.import_links(&spec, &pairs).await?);
        }
        Ok(report)
    }
}

fn read_links(file: &Path, books: &Books) -> Result<Vec<(SyncId, RecordId, RecordId)>> {
    let shown = file.display().to_string();
    let wrong = |line: u64, message: String| Error::config(message).with("file", &shown).with("line", line);
    let about =
        std::fs::metadata(file).map_err(|error| Error::config(format!("cannot read {shown}: {error}")))?;
    if about.len() > LINKS_BYTES_MAX {
        return Err(Error::config(format!(
            "{shown} is larger than {LINKS_BYTES_MAX} bytes"
        )));
    }
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(file)
        .map_err(|error| Error::config(format!("cannot read {shown}: {error}")))?;
    let head = reader.headers().map_err(|error| wrong(1, error.to_string()))?;
    if head.iter().ne(COLUMNS) {
        let message = "the first line must be `sync,first,second`: the sync's name, and the ids in its first and second system";
        return Err(wrong(1, message.to_owned()));
    }
    let known: Vec<&str> = books.plans.iter().map(|plan| plan.id.as_str()).collect();
    let mut links = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            wrong(line, format!("not three values: {error}"))
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |at: usize| row.get(at).unwrap_or_default();
        if !known.contains(&cell(0)) {
            let hint = hint(cell(0), &known);
            return Err(wrong(line, format!("there is no sync '{}'{hint}", cell(0))));
        }
        if cell(1).is_empty() || cell(2).is_empty() {
            return Err(wrong(line, "an id is missing".to_owned()));
        }
        links.push((cell(0).into(), cell(1).into(), cell(2).into()));
    }
    Ok(links)
}

/// Every pair as comma-separated values, in the form that `links import` reads. Opens the data folder: no host may be running.
pub async fn export_links(config: Config, plugins: &Plugins) -> Result<String> {
    let plans = std::sync::Arc::new(plan_syncs(&config, plugins)?);
    let books = Books::open(&config, plans).await?;
    let failed = |error: csv::Error| Error::storage(format!("links cannot be written: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(failed)?;
    for plan in books.plans.iter() {
        let prefix = format!("{}/{}/", plan.id, Side::A.letter());
        books
            .each(Table::Link, &prefix, |key: RowKey, row| {
                let link: Link = Rows::plain(&key, &row)?;
                let first = key.key.strip_prefix(&prefix).unwrap_or_default();
                writer
                    .write_record([plan.id.as_str(), first, link.other.as_str()])
                    .map_err(failed)?;
                Ok(true)
            })
            .await?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| Error::storage(format!("links cannot be written: {error}")))?;
    String::from_utf8(bytes).map_err(|_| Error::storage("an id is not text"))
}
