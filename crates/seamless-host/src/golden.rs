//! `test`: golden pairs of a tenant's mapping. A case is a file with a record as one system gives it and what the other system is to be sent;
//! it goes through the very merge that a run uses. No call is made and no key is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seamless_core::mapping::{Loss, Observed, SideMapping};
use seamless_core::pipeline::{Base, Half, Merge, MergeInput, Mistakes, Resolved, SyncSpec, Timings, merge};
use seamless_core::{Capabilities, Date, Error, Fields, NativeRecord, RecordId, Result, Side, Value};
use serde::{Deserialize, Serialize};

use crate::build::{SyncPlan, plan_syncs};
use crate::config::{Config, hint};
use crate::host::Plugins;

/// Largest case file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most case files of a folder.
const FILES_MAX: usize = 10_000;

type Json = BTreeMap<String, serde_json::Value>;

/// A case as it stands in its file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// The sync.
    sync: String,
    /// The system that the change comes from.
    from: String,
    /// The record there, as its API gives it: native fields, user-defined ones under `udf`.
    record: Json,
    /// The record as it was when both were last in step. Only with `there`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Json>,
    /// The other system's record, when there is one already; otherwise a new one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    there: Option<Json>,
    /// The other system's record as it was when both were last in step. Only with `before`; as `there` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    there_before: Option<Json>,
    /// Canonical reference field → id of the record on the other side that it is linked to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    links: BTreeMap<String, String>,
    /// The day of the run (UTC), where a default asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    today: Option<String>,
    /// Expected: what the record reads as, fields without a value left out. Not compared when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canonical: Option<Json>,
    /// Expected: native fields sent to the other system.
    #[serde(default)]
    writes: Json,
    /// Expected: fields that arrive changed, and how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lossy: BTreeMap<String, Loss>,
    /// Expected: fields that cannot be read or written, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    waits: BTreeMap<String, String>,
    /// Expected: why no record is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parked: Option<String>,
}

/// What became of a case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// Its file.
    pub file: PathBuf,
    /// What it shows.
    pub about: Option<String>,
    /// What is not as expected, a line each; empty when the case passed.
    pub differences: Vec<String>,
    /// The file now says what comes out.
    pub accepted: bool,
}

/// Runs the cases of these files, or of all `*.json` in these folders. With `accept`, files that differ are rewritten to expect what came out.
pub fn run_cases(
    config: &Config,
    plugins: &Plugins,
    places: &[PathBuf],
    accept: bool,
) -> Result<Vec<CaseResult>> {
    plugins.validate(config)?;
    let plans = plan_syncs(config, plugins)?;
    let mut results = Vec::new();
    for file in case_files(places)? {
        let named = |error: Error| error.with("file", file.display());
        let mut case = read(&file)?;
        let actual = case.outcome(&plans).map_err(named)?;
        let differences = case.differences(&actual);
        let accepted = accept && !differences.is_empty();
        if accepted {
            case.expect(actual);
            write(&file, &case)?;
        }
        results.push(CaseResult {
            file,
            about: case.about,
            differences,
            accepted,
        });
    }
    Ok(results)
}

/// What comes out.
struct Outcome {
    canonical: Json,
    writes: Json,
    lossy: BTreeMap<String, Loss>,
    waits: BTreeMap<String, String>,
    parked: Option<String>,
}

impl Case {
    fn outcome(&self, plans: &[SyncPlan]) -> Result<Outcome> {
        let plan = plans.iter().find(|plan| plan.id.as_str() == self.sync);
        let plan = plan.ok_or_else(|| {
            let known: Vec<&str> = plans.iter().map(|plan| plan.id.as_str()).collect();
            wrong(
                "sync",
                format!("there is no sync '{}'{}", self.sync, hint(&self.sync, &known)),
            )
        })?;
        let side = plan.side_of(&self.from).ok_or_else(|| {
            let known: Vec<&str> = plan.systems.iter().map(|system| system.as_str()).collect();
            wrong(
                "from",
                format!(
                    "the sync has no system '{}'{}",
                    self.from,
                    hint(&self.from, &known)
                ),
            )
        })?;
        if self.there.is_none() && (self.before.is_some() || self.there_before.is_some()) {
            return Err(wrong(
                "before",
                "a record that was in step has another one there: add `there`",
            ));
        }
        if self.there_before.is_some() && self.before.is_none() {
            return Err(wrong(
                "there_before",
                "say what was in step on this side too: add `before`",
            ));
        }
        let spec = plan.spec([Capabilities::default(), Capabilities::default()], None, true);
        let (here, there) = (&spec.side(side).mapping, &spec.side(side.other()).mapping);
        let source = observe(here, &self.record);
        let target = self.there.as_ref().map(|record| observe(there, record));
        let base = self.before.as_ref().map(|before| {
            let was_there = self.there_before.as_ref().or(self.there.as_ref());
            base_of(
                side,
                &observe(here, before),
                was_there.map(|record| observe(there, record)),
            )
        });
        let references = self.references(&spec, &source)?;
        let today = self.today.as_deref().unwrap_or("1970-01-01");
        let today = Date::parse(today)
            .ok_or_else(|| wrong("today", format!("'{today}' is no day; write it as 2026-01-31")))?;
        let merged = merge(&MergeInput {
            sync: &spec,
            side,
            source: &source,
            target: target.as_ref(),
            base: base.as_ref(),
            references: &references,
            seen: [None, None],
            unexplained: &Default::default(),
            held: &BTreeMap::new(),
            answers: &BTreeMap::new(),
            origins: &Default::default(),
            newest_guard: Timings::default().newest_guard,
            today,
            mistakes: Mistakes::default(),
        });
        Ok(outcome(&source, merged, target.is_none().then_some(there)))
    }

    fn references(&self, spec: &SyncSpec, source: &Observed) -> Result<BTreeMap<String, Resolved>> {
        let mut resolved = BTreeMap::new();
        let mut named: BTreeMap<&str, &String> = self
            .links
            .iter()
            .map(|(field, id)| (field.as_str(), id))
            .collect();
        for (name, field) in &spec.model.fields {
            let Some(id) = source.fields.get(name).filter(|_| field.reference.is_some()) else {
                continue;
            };
            let counterpart = named.remove(name.as_str());
            let held = id.to_plain().filter(|id| !id.is_empty()).map(RecordId::from);
            let found = match (held, counterpart) {
                (None, _) => Resolved::Nothing,
                (Some(_), Some(there)) => Resolved::Counterpart(RecordId::from(there.as_str())),
                (Some(id), None) => Resolved::Unlinked(id),
            };
            resolved.insert(name.clone(), found);
        }
        match named.keys().next() {
            None => Ok(resolved),
            Some(field) => Err(wrong("links", format!("'{field}' is no reference of this sync"))),
        }
    }

    fn differences(&self, actual: &Outcome) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(canonical) = &self.canonical {
            compare("reads", canonical, &actual.canonical, &mut lines);
        }
        compare("writes", &self.writes, &actual.writes, &mut lines);
        compare("lossy", &json(&self.lossy), &json(&actual.lossy), &mut lines);
        compare("waits", &json(&self.waits), &json(&actual.waits), &mut lines);
        if self.parked != actual.parked {
            let shown = |parked: &Option<String>| parked.clone().unwrap_or_else(|| "nothing".to_owned());
            lines.push(format!(
                "parked: expected {}, got {}",
                shown(&self.parked),
                shown(&actual.parked)
            ));
        }
        lines
    }

    fn expect(&mut self, actual: Outcome) {
        self.canonical = Some(actual.canonical);
        self.writes = actual.writes;
        self.lossy = actual.lossy;
        self.waits = actual.waits;
        self.parked = actual.parked;
    }
}

fn outcome(source: &Observed, merged: Merge, created_in: Option<&SideMapping>) -> Outcome {
    let parked = match (&merged.waits_for, created_in) {
        (Some((field, id)), _) => Some(format!("waits for {field} {id}, which has no counterpart yet")),
        (None, Some(there)) => merged.refuses_create(there),
        (None, None) => None,
    };
    let filled = source.fields.iter().filter(|(_, value)| !value.is_empty());
    let mut waits = source.broken.clone();
    waits.extend(merged.blocked);
    waits.extend(merged.pending.iter().map(|(field, id)| {
        (
            field.clone(),
            format!("waits for {id}, which has no counterpart yet"),
        )
    }));
    let writes = if parked.is_some() {
        BTreeMap::new()
    } else {
        merged.writes
    };
    Outcome {
        canonical: filled
            .map(|(name, value)| (name.clone(), value.to_json()))
            .collect(),
        lossy: writes
            .iter()
            .filter_map(|(name, write)| Some((name.clone(), write.loss?)))
            .collect(),
        writes: writes
            .into_values()
            .map(|write| (write.path, write.native.to_json()))
            .collect(),
        waits,
        parked,
    }
}

fn base_of(side: Side, source: &Observed, target: Option<Observed>) -> Base {
    let target = target.map(|target| target.fields).unwrap_or_default();
    let mut base = Base::new();
    for (name, here) in &source.fields {
        let Some(there) = target.get(name) else { continue };
        let halves = [here, there].map(|value| Half::Known(value.clone()));
        let [here, there] = halves;
        base.insert(
            name.clone(),
            if side == Side::A {
                [here, there]
            } else {
                [there, here]
            },
        );
    }
    base
}

fn observe(mapping: &SideMapping, record: &Json) -> Observed {
    let fields: Fields = record
        .iter()
        .map(|(name, value)| (name.clone(), Value::from_json(value)))
        .collect();
    mapping.observe(&NativeRecord {
        id: RecordId::from("case"),
        stamp: None,
        created: None,
        version: None,
        fields,
    })
}

fn compare(what: &str, expected: &Json, actual: &Json, lines: &mut Vec<String>) {
    let mut names: Vec<&String> = expected.keys().chain(actual.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let plain = |side: &Json| side.get(name).map(|value| Value::from_json(value).to_json());
        let (wanted, got) = (plain(expected), plain(actual));
        if wanted != got {
            let shown = |value: Option<serde_json::Value>| {
                value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
            };
            lines.push(format!(
                "{what} {name}: expected {}, got {}",
                shown(wanted),
                shown(got)
            ));
        }
    }
}

fn json<T: Serialize>(map: &BTreeMap<String, T>) -> Json {
    map.iter()
        .filter_map(|(name, value)| Some((name.clone(), serde_json::to_value(value).ok()?)))
        .collect()
}

fn wrong(key: &str, message: impl Into<String>) -> Error {
    Error::config(message.into()).with("key", key)
}

/// The files themselves, and those of the folders in the order of their names.
fn case_files(places: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for place in places {
        if !place.is_dir() {
            files.push(place.clone());
            continue;
        }
        let failed =
            |error: std::io::Error| Error::config(format!("cannot look into {}: {error}", place.display()));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(place).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                found.push(path);
            }
        }
        found.sort();
        files.extend(found);
    }
    if files.len() > FILES_MAX {
        return Err(Error::config(format!(
            "{} case files are more than {FILES_MAX}; name fewer",
            files.len()
        )));
    }
    Ok(files)
}

fn read(file: &Path) -> Result<Case> {
    let shown = file.display();
    let failed = |error: std::io::Error| Error::config(format!("cannot read {shown}: {error}"));
    let bytes = std::fs::metadata(file).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Error::config(format!(
            "{shown} has {bytes} bytes; a case has at most {FILE_BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| {
        Error::config(format!("not a mapping case: {error}"))
            .with("file", shown)
            .with("line", error.line())
            .with("column", error.column())
    })
}

/// The old file stays until the new one is complete.
fn write(file: &Path, case: &Case) -> Result<()> {
    let shown = file.display();
    let text = serde_json::to_string_pretty(case)
        .map_err(|error| Error::config(format!("cannot write {shown}: {error}")))?;
    let part = file.with_extension("json.part");
    std::fs::write(&part, text + "\n")
        .and_then(|()| std::fs::rename(&part, file))
        .map_err(|error| Error::config(format!("cannot write {shown}: {error}")))
}
