//! Writes: one record, made here, changed, and taken away again.

use std::time::Duration;

use seamless_core::mapping::{FieldKind, FieldMapping, Projection};
use seamless_core::{
    Effect, Error, ErrorKind, ExternalKey, Fields, NativeRecord, Random, RecordId, Result, Stamp, Value,
    Write, WriteAction, Written,
};

use super::ground::{Ground, plain};
use super::{LeftBehind, Seen, Stop, Tried, ensure, told};
use crate::random::OsRandom;

/// A write may wait this long before it is sent.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long a new record is waited for in searches and lists.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// Fields that are changed in turn, until the system takes one.
const FIELDS_TRIED_MAX: usize = 4;
/// How far two clocks may be apart.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(300);

/// The cases, and the records that are still there.
pub(super) async fn cases(ground: &Ground<'_>) -> Result<(Vec<Tried>, Vec<LeftBehind>)> {
    let mut trial = Trial::new(ground);
    let outcome = trial.run().await;
    // Whatever went wrong: what was made is taken away.
    let left_behind = trial.take_away().await;
    Ok((outcome?, left_behind))
}

struct Trial<'a> {
    ground: &'a Ground<'a>,
    /// In every text written, so that people know where the record comes from.
    mark: String,
    made: Vec<RecordId>,
}

impl<'a> Trial<'a> {
    fn new(ground: &'a Ground<'a>) -> Trial<'a> {
        let mut bytes = [0; 4];
        OsRandom.fill(&mut bytes);
        Trial {
            ground,
            mark: format!("{:08x}", u32::from_be_bytes(bytes)),
            made: Vec::new(),
        }
    }

    async fn run(&mut self) -> Result<Vec<Tried>> {
        let mut cases = Vec::new();
        let mut record = None;
        cases.push(told("a create arrives", self.create(&mut record).await)?);
        let Some(record) = record else { return Ok(cases) };
        cases.push(told("a create is found", self.is_found().await)?);
        cases.push(told("a create is listed", self.is_listed(&record).await)?);
        cases.push(told("a key is taken once", self.second_key().await)?);
        cases.push(told(
            "an update changes what was sent",
            self.update(&record).await,
        )?);
        cases.push(told("an old version is refused", self.stale(&record).await)?);
        Ok(cases)
    }

    async fn create(&mut self, record: &mut Option<NativeRecord>) -> Seen {
        if !self.ground.is_written() {
            return Err(Stop::NotShown("the sync writes nothing here".to_owned()));
        }
        let fields = self.fields()?;
        let sent = self.ground.clock.now();
        let id = match self
            .write(WriteAction::Create {
                fields: fields.clone(),
            })
            .await
        {
            Ok(written) => written.id,
            Err(error) if error.effect == Effect::NotApplied => {
                let sentence = format!(
                    "the system does not take the record that was to be tried: {}",
                    error.message()
                );
                return Err(Stop::NotShown(sentence));
            }
            Err(error) => {
                return Err(Stop::Broken(format!(
                    "whether the record was made is not known ({}); look for '{}' in it",
                    error.message(),
                    self.mark
                )));
            }
        };
        self.made.push(id.clone());
        let Some(read) = self.ground.fetch(std::slice::from_ref(&id)).await?.pop() else {
            return Err(Stop::Broken(
                "a record that was just created cannot be read by its id".to_owned(),
            ));
        };
        let other: Vec<&str> = fields
            .iter()
            .filter(|(path, value)| plain(&read, path) != value.to_plain())
            .map(|(path, _)| path.as_str())
            .collect();
        ensure!(
            other.is_empty(),
            "created, but {} did not arrive as sent: unknown to the system, or written otherwise",
            other.join(", ")
        );
        if let Some(stamp) = read.stamp {
            let stamp = seamless_core::Timestamp(stamp.0);
            let apart = stamp.since(sent).max(sent.since(stamp));
            let grain = self.ground.capabilities.cursor_granularity;
            ensure!(
                apart <= CLOCKS_APART_MAX + grain,
                "its stamp is {} minutes from now: the zone of the stamps is read wrong, or a clock is",
                apart.as_secs() / 60
            );
        }
        *record = Some(read);
        Ok(format!("{} fields are read back as they were sent", fields.len()))
    }

    /// By its cross-reference, within the time that the system is said to need.
    async fn is_found(&self) -> Seen {
        let ground = self.ground;
        let Some(field) = self.reference() else {
            return Err(Stop::NotShown("no cross-reference can be relied on".to_owned()));
        };
        let from = ground.clock.monotonic();
        let patience = ground.capabilities.search_lag_max.min(PATIENCE_MAX);
        loop {
            let found = ground.find(field, &[self.key()]).await?;
            let waited = ground.clock.monotonic().saturating_sub(from);
            if found.iter().any(|found| !found.is_empty()) {
                return Ok(format!("by {field}, after {:.1} s", waited.as_secs_f32()));
            }
            ensure!(
                waited < patience,
                "not by {field} after {} s; the search may lag by {} s (search_lag_secs)",
                waited.as_secs(),
                ground.capabilities.search_lag_max.as_secs()
            );
            ground.clock.sleep(PAUSE).await;
        }
    }

    async fn is_listed(&self, record: &NativeRecord) -> Seen {
        let ground = self.ground;
        let Some(since) = record.stamp.filter(|_| ground.capabilities.incremental) else {
            return Err(Stop::NotShown("changes cannot be asked for".to_owned()));
        };
        self.until_listed(&record.id, since).await?;
        Ok("since its own stamp".to_owned())
    }

    async fn until_listed(&self, id: &RecordId, since: Stamp) -> Result<(), Stop> {
        let ground = self.ground;
        let from = ground.clock.monotonic();
        let patience = ground.capabilities.cursor_overlap.min(PATIENCE_MAX);
        loop {
            if ground.since(since).await?.iter().any(|listed| listed.id == *id) {
                return Ok(());
            }
            ensure!(
                ground.clock.monotonic().saturating_sub(from) < patience,
                "the record is not in the list since its own stamp, even after the overlap"
            );
            ground.clock.sleep(PAUSE).await;
        }
    }

    async fn second_key(&mut self) -> Seen {
        if self.ground.capabilities.external_key != ExternalKey::Unique {
            return Err(Stop::NotShown(
                "the cross-reference is not said to be unique".to_owned(),
            ));
        }
        let fields = self.fields()?;
        match self.write(WriteAction::Create { fields }).await {
            Ok(written) => {
                self.made.push(written.id);
                Err(Stop::Broken(
                    "two records took the key that is said to be unique".to_owned(),
                ))
            }
            Err(error) if error.effect == Effect::NotApplied => {
                Ok("a second record with it is refused".to_owned())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, record: &NativeRecord) -> Seen {
        let ground = self.ground;
        // Stamps tell apart only what is further away than their grain.
        let grain = ground.capabilities.cursor_granularity;
        if grain <= Duration::from_secs(2) {
            ground.clock.sleep(grain).await;
        }
        let before = self.now(record).await?;
        let (name, field) = self.changed(&before).await?;
        let sent = self.projected(name, &Value::Text(self.lively()))?;
        let after = self.now(record).await?;
        let holds = ground.mapping().observe(&after).fields.get(name) == Some(&sent.predicted);
        ensure!(
            holds,
            "the update was confirmed, but {} does not hold what was sent: does the system say 200 and mean no (errors.rules), or not know the field?",
            field.native
        );
        let differing = ground.differing(&before, &after);
        let others: Vec<&str> = differing
            .iter()
            .map(String::as_str)
            .filter(|other| *other != name)
            .collect();
        ensure!(
            others.is_empty(),
            "an update of {name} changed {} as well: does the system take whole records only (update.partial)?",
            others.join(", ")
        );
        let Some(stamp) = after.stamp.filter(|_| ground.capabilities.incremental) else {
            return Ok(format!("{name}, with signs of all kinds, and nothing else"));
        };
        ensure!(
            before.stamp != after.stamp || grain > Duration::from_secs(2),
            "an update does not move the stamp of the record: changes would be missed (modified)"
        );
        self.until_listed(&after.id, stamp).await?;
        Ok(format!(
            "{name}, with signs of all kinds, and nothing else; the stamp moves, and the record is listed since then"
        ))
    }

    /// Changes the first field that the system lets us change to what a text may hold; an address or a number may be looked at closely.
    async fn changed(&self, before: &NativeRecord) -> Result<(&'a str, &'a FieldMapping), Stop> {
        let mut last = Stop::NotShown("no text field that may be changed is mapped".to_owned());
        for (name, field) in self.changeable().take(FIELDS_TRIED_MAX) {
            let value = self.projected(name, &Value::Text(self.lively()))?.native;
            match self.change(before, &field.native, value).await {
                Ok(()) => return Ok((name, field)),
                Err(error) if error.kind == ErrorKind::Invalid => {
                    last = Stop::Broken(format!("an update of {name} is refused: {}", error.message()));
                }
                Err(error) => return Err(Stop::Broken(format!("an update fails: {}", error.message()))),
            }
        }
        Err(last)
    }

    async fn stale(&self, record: &NativeRecord) -> Seen {
        if !self.ground.capabilities.compare_and_set {
            return Err(Stop::NotShown("no compare-and-set is declared".to_owned()));
        }
        let Some((name, field)) = self.changeable().next() else {
            return Err(Stop::NotShown(
                "no text field that may be changed is mapped".to_owned(),
            ));
        };
        let value = self.projected(name, &"too late".into())?.native;
        ensure!(
            self.now(record).await?.version != record.version,
            "an update does not change the version of the record"
        );
        match self.change(record, &field.native, value).await {
            Err(error) if error.kind == ErrorKind::Conflict => Ok("told as somebody else's change".to_owned()),
            Err(error) => Err(Stop::Broken(format!(
                "an update with an old version is told as {:?} and not as a conflict: {}",
                error.kind,
                error.message()
            ))),
            Ok(()) => Err(Stop::Broken(
                "an update with an old version goes through: edits of others would be overwritten (version_header)".to_owned(),
            )),
        }
    }

    async fn now(&self, record: &NativeRecord) -> Result<NativeRecord, Stop> {
        let read = self.ground.fetch(std::slice::from_ref(&record.id)).await?.pop();
        read.ok_or_else(|| Stop::Broken("the new record has disappeared".to_owned()))
    }

    async fn change(&self, current: &NativeRecord, path: &str, value: Value) -> Result<()> {
        let action = WriteAction::Update {
            current: Box::new(current.clone()),
            fields: [(path.to_owned(), value)].into(),
        };
        self.write(action).await.map(drop)
    }

    /// One write. It is made again only where the system turned it away unseen.
    async fn write(&self, action: WriteAction) -> Result<Written> {
        let ground = self.ground;
        ground
            .patiently(async || {
                let write = Write {
                    entity: ground.entity().to_owned(),
                    action: action.clone(),
                    send_by: ground.clock.monotonic() + SEND_WITHIN,
                };
                let outcome = ground.target().write(&[write]).await.pop();
                outcome
                    .unwrap_or_else(|| Err(Error::protocol("a write has no outcome").effect(Effect::Unknown)))
            })
            .await
    }

    /// The fewest fields that a record needs, with the cross-reference.
    fn fields(&self) -> Result<Fields, Stop> {
        let mapping = self.ground.mapping();
        let mut fields = Fields::new();
        for (name, field) in mapping
            .fields
            .iter()
            .filter(|(_, field)| field.required && field.writable)
        {
            let value = self.value(name, field)?;
            fields.insert(field.native.clone(), self.projected(name, &value)?.native);
        }
        if let Some(path) = self.reference() {
            fields.insert(path.to_owned(), self.key());
        }
        if fields.is_empty() {
            return Err(Stop::NotShown(
                "no field is required, so nothing is known to make a record of".to_owned(),
            ));
        }
        Ok(fields)
    }

    /// Texts of our own; everything else as another record has it.
    fn value(&self, name: &str, field: &FieldMapping) -> Result<Value, Stop> {
        let others = self
            .ground
            .sample
            .iter()
            .map(|record| self.ground.mapping().observe(record));
        let other = others
            .filter_map(|other| other.fields.get(name).cloned())
            .find(|value| !value.is_empty());
        if field.kind == FieldKind::Text {
            let is_address = other
                .as_ref()
                .and_then(Value::as_text)
                .is_some_and(|text| text.contains('@'));
            let text = if is_address {
                format!("seamless-check-{}@example.com", self.mark)
            } else {
                format!("Seamless check {}", self.mark)
            };
            return Ok(Value::Text(text));
        }
        other.or_else(|| field.default.clone()).ok_or_else(|| {
            Stop::NotShown(format!(
                "a record needs {name}, and no other record has one to take it from"
            ))
        })
    }

    fn projected(&self, name: &str, value: &Value) -> Result<Projection, Stop> {
        let projection = self.ground.mapping().project_create(name, value);
        projection.map_err(|issue| Stop::NotShown(issue.0))
    }

    /// Text fields that may be changed and that nobody searches.
    fn changeable(&self) -> impl Iterator<Item = (&'a str, &'a FieldMapping)> {
        let searched = self.ground.searched();
        let length = self.lively().chars().count();
        let may = move |field: &FieldMapping| {
            field.kind == FieldKind::Text
                && field.native_kind.is_none()
                && field.options.is_none()
                && field.transforms.is_empty()
                && field.writable
                && field.updatable
                && field.max_length.is_none_or(|max| max >= length)
                && !field.native.contains(['[', '{'])
                && !searched.contains(field.native.as_str())
        };
        let fields = self.ground.mapping().fields.iter();
        fields
            .filter(move |(_, field)| may(field))
            .map(|(name, field)| (name.as_str(), field))
    }

    /// What a text may hold.
    fn lively(&self) -> String {
        format!("Zoë & \"Søn\" <{}>", &self.mark[..4])
    }

    fn reference(&self) -> Option<&'a str> {
        let has_one = self.ground.capabilities.external_key != ExternalKey::None;
        self.ground.mapping().xref.as_deref().filter(|_| has_one)
    }

    fn key(&self) -> Value {
        Value::Text(format!("seamless-check-{}", self.mark))
    }

    /// Takes away what was made; what cannot be taken away is told.
    async fn take_away(&self) -> Vec<LeftBehind> {
        let mut left = Vec::new();
        for id in &self.made {
            if let Err(error) = self.write(WriteAction::Delete { id: id.clone() }).await {
                left.push(LeftBehind {
                    id: id.to_string(),
                    reason: error.to_string(),
                });
            }
        }
        left
    }
}
