//! Trying one operation of a manifest against the live server: what was sent, what came back, what was made of it and why. A tool
//! for writing manifests: it shows record content, and never a secret.

mod show;
mod trace;

use std::collections::BTreeMap;
use std::time::Duration;

use seamless_core::{
    Error, ErrorKind, Fields, ListRequest, Lookup, NativeRecord, OpenContext, RecordId, Result, Timestamp,
    Value, Write, WriteAction, lookup,
};
use serde::Serialize;
use serde_json::Value as Json;

use crate::connector::Connector;
use crate::examine::NOWHERE;
pub use trace::Step;
pub(crate) use trace::Trace;

/// Pages of a list that are read.
const PAGES_MAX: usize = 3;
/// Records shown.
const SHOWN_MAX: usize = 5;
/// Records asked for per page, so that even a small system shows whether it pages.
const PAGE_SIZE: usize = 5;
const SEND_WITHIN: Duration = Duration::from_secs(60);

/// What to try.
#[derive(Clone, Debug)]
pub enum Operation {
    /// One harmless call.
    Ping,
    /// The first pages of a list, all records or what has changed since.
    List {
        /// From when on.
        since: Option<Timestamp>,
    },
    /// Records by id.
    Get {
        /// Their ids.
        ids: Vec<RecordId>,
    },
    /// Records by the value of a field.
    Find {
        /// Native path.
        field: String,
        /// Values.
        values: Vec<Value>,
    },
    /// A new record; read back afterwards.
    Create {
        /// Native fields.
        fields: Fields,
    },
    /// A change; read back afterwards.
    Update {
        /// The record.
        id: RecordId,
        /// Native fields.
        fields: Fields,
    },
    /// Removes a record.
    Delete {
        /// The record.
        id: RecordId,
    },
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Trial {
    /// Calls, and what was made of them, in order.
    pub steps: Vec<Step>,
    /// Records that came out of it.
    pub records: Vec<Shown>,
    /// Whatever looks wrong, though the operation was made.
    pub warnings: Vec<String>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// A record as the mappings see it.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// When it was changed.
    pub modified: Option<String>,
    /// When it was created.
    pub created: Option<String>,
    /// Its version, for compare-and-set.
    pub version: Option<String>,
    /// Every field.
    pub fields: BTreeMap<String, Json>,
}

/// Tries an operation. `Err` when the settings, the manifest or the entity are wrong; what goes wrong at the server is in the trial.
pub async fn try_operation(ctx: &OpenContext, entity: &str, operation: &Operation) -> Result<Trial> {
    let connector = Connector::open_traced(ctx)?;
    connector.entity(entity)?;
    let mut trial = Trial {
        steps: Vec::new(),
        records: Vec::new(),
        warnings: Vec::new(),
        failed: None,
    };
    let outcome = match operation {
        Operation::Ping => connector.ping().await,
        Operation::List { since } => trial.list(&connector, entity, *since).await,
        Operation::Get { ids } => trial.get(&connector, entity, ids).await,
        Operation::Find { field, values } => trial.find(&connector, entity, field, values).await,
        Operation::Create { fields } => trial.create(&connector, entity, fields).await,
        Operation::Update { id, fields } => trial.update(&connector, entity, id, fields).await,
        Operation::Delete { id } => {
            let action = WriteAction::Delete { id: id.clone() };
            connector
                .write_one(&write(&connector, entity, action))
                .await
                .map(drop)
        }
    };
    if let Err(error) = outcome {
        let effect = format!("{:?}", error.effect);
        let field = error
            .field
            .as_ref()
            .map(|field| format!("; field: {field}"))
            .unwrap_or_default();
        trial.failed = Some(format!("{error}{field}; effect: {effect}"));
    }
    if let Some(trace) = &connector.trace {
        trial.failed = trial.failed.map(|text| trace.clean(&text));
        trial.steps = trace.steps();
    }
    Ok(trial)
}

impl Trial {
    async fn list(&mut self, connector: &Connector, entity: &str, since: Option<Timestamp>) -> Result<()> {
        let mut request = ListRequest {
            entity: entity.to_owned(),
            since: since.map(Into::into),
            after: None,
            limit: PAGE_SIZE,
        };
        let mut records = Vec::new();
        let mut is_whole = false;
        for _ in 0..PAGES_MAX {
            let page = connector.list(&request).await?;
            records.extend(page.records);
            match page.next {
                Some(next) => request.after = Some(next),
                None => {
                    is_whole = true;
                    break;
                }
            }
        }
        connector.tell(|| {
            let rest = if is_whole {
                "that is the end of the list"
            } else {
                "the list goes on; not read further here"
            };
            format!("{} records; {rest}", records.len())
        });
        self.look_at_stamps(connector, entity, since, &records)?;
        self.show(records);
        Ok(())
    }

    async fn get(&mut self, connector: &Connector, entity: &str, ids: &[RecordId]) -> Result<()> {
        let records = connector.fetch(entity, ids).await?;
        for id in ids
            .iter()
            .filter(|id| !records.iter().any(|record| record.id == **id))
        {
            connector.tell(|| format!("there is no record {id}"));
        }
        self.show(records);
        Ok(())
    }

    async fn find(
        &mut self,
        connector: &Connector,
        entity: &str,
        field: &str,
        values: &[Value],
    ) -> Result<()> {
        let lookups = |values: &[Value]| -> Vec<Lookup> {
            let lookup = |value: &Value| Lookup::Field {
                field: field.to_owned(),
                value: value.clone(),
            };
            values.iter().map(lookup).collect()
        };
        let found = connector.find(entity, &lookups(values)).await?;
        for (value, records) in values.iter().zip(&found) {
            let value = value.to_plain().unwrap_or_default();
            connector.tell(|| {
                format!(
                    "'{field}' = '{value}': {} record(s) really have it",
                    records.len()
                )
            });
        }
        self.show(found.into_iter().flatten().collect());
        connector.tell(|| format!("once more, with a value that no record has ('{NOWHERE}'):"));
        let none = connector.find(entity, &lookups(&[NOWHERE.into()])).await?;
        if none.iter().any(|records| !records.is_empty()) {
            self.warnings
                .push(format!("a record has '{field}' = '{NOWHERE}'"));
        }
        Ok(())
    }

    async fn create(&mut self, connector: &Connector, entity: &str, fields: &Fields) -> Result<()> {
        let action = WriteAction::Create {
            fields: fields.clone(),
        };
        let written = connector.write_one(&write(connector, entity, action)).await?;
        connector.tell(|| format!("created as record {}; read back:", written.id));
        self.read_back(connector, entity, &written.id, fields).await?;
        Ok(())
    }

    async fn update(
        &mut self,
        connector: &Connector,
        entity: &str,
        id: &RecordId,
        fields: &Fields,
    ) -> Result<()> {
        connector.tell(|| "reads the record first, as the engine does before every write:".to_owned());
        let current = connector.fetch(entity, std::slice::from_ref(id)).await?.pop();
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no record {id}"));
        let current = current.ok_or_else(missing)?;
        let action = WriteAction::Update {
            current: Box::new(current.clone()),
            fields: fields.clone(),
        };
        connector.write_one(&write(connector, entity, action)).await?;
        connector.tell(|| "written; read back:".to_owned());
        let Some(now) = self.read_back(connector, entity, id, fields).await? else {
            return Ok(());
        };
        let spec = connector.entity(entity)?;
        if let Some(path) = &spec.modified
            && now.stamp.is_some()
            && now.stamp == current.stamp
        {
            let unit = connector.capabilities(entity).cursor_granularity;
            self.warnings.push(format!(
                "'{path}' is the same as before: a poll would not see this change (unless it is less than {} s since the last one)",
                unit.as_secs_f32()
            ));
        }
        if current.version.is_some() && now.version == current.version {
            self.warnings.push(
                "the version is the same as before: compare-and-set could not notice this change".into(),
            );
        }
        let unsent = current
            .fields
            .iter()
            .filter(|(name, value)| !is_sent(fields, name) && !value.is_empty());
        for (name, _) in unsent.filter(|(name, _)| now.fields.get(*name).is_none_or(Value::is_empty)) {
            self.warnings.push(format!(
                "'{name}' was not sent and is empty now: this system takes whole records; see update.partial"
            ));
        }
        Ok(())
    }

    async fn read_back(
        &mut self,
        connector: &Connector,
        entity: &str,
        id: &RecordId,
        sent: &Fields,
    ) -> Result<Option<NativeRecord>> {
        let Some(record) = connector.fetch(entity, std::slice::from_ref(id)).await?.pop() else {
            self.warnings.push(format!(
                "record {id} cannot be read back: is the id the right one? see create.id"
            ));
            return Ok(None);
        };
        for (path, value) in sent {
            let held = lookup(&record.fields, path).unwrap_or(&Value::Null);
            if held == value || held.to_plain() == value.to_plain() {
                continue;
            }
            self.warnings.push(if held.is_empty() {
                format!("'{path}' was sent but did not arrive: the system dropped it without a word, or keeps it elsewhere (see write_as)")
            } else {
                format!("'{path}' came back otherwise than it was sent: a transform or native_kind may be needed")
            });
        }
        self.show(vec![record.clone()]);
        Ok(Some(record))
    }

    /// Stamps decide what a poll sees, so what looks odd about them is said.
    fn look_at_stamps(
        &mut self,
        connector: &Connector,
        entity: &str,
        since: Option<Timestamp>,
        records: &[NativeRecord],
    ) -> Result<()> {
        let spec = connector.entity(entity)?;
        if spec.modified.is_none() {
            self.warnings
                .push("the entity has no 'modified': every poll reads everything and compares it".to_owned());
            return Ok(());
        }
        let odd = connector.odd_stamps(spec, records);
        self.warnings
            .extend(odd.into_iter().map(|remark| remark.sentence));
        let stamps = records.iter().filter_map(|record| record.stamp);
        if let Some(since) = since
            && spec.is_incremental()
        {
            let unit = connector.capabilities(entity).cursor_granularity.as_micros() as i64;
            let early = stamps.filter(|stamp| stamp.0 + unit < since.0).count();
            if early > 0 {
                self.warnings.push(format!(
                    "{early} of {} records were changed before that moment: the system ignores the filter, or reads the moment in another form or zone",
                    records.len()
                ));
            }
        }
        Ok(())
    }

    fn show(&mut self, records: Vec<NativeRecord>) {
        let room = SHOWN_MAX.saturating_sub(self.records.len());
        self.records
            .extend(records.into_iter().take(room).map(Shown::from));
    }
}

fn write(connector: &Connector, entity: &str, action: WriteAction) -> Write {
    Write {
        entity: entity.to_owned(),
        action,
        send_by: connector.monotonic() + SEND_WITHIN,
    }
}

fn is_sent(fields: &Fields, name: &str) -> bool {
    fields
        .keys()
        .any(|path| path == name || path.split('.').next() == Some(name))
}
