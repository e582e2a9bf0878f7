//! A trial as text.

use std::fmt;

use seamless_core::{NativeRecord, Timestamp};

use super::{Shown, Step, Trial};

impl From<NativeRecord> for Shown {
    fn from(record: NativeRecord) -> Shown {
        let moment = |stamp: Option<seamless_core::Stamp>| stamp.map(|stamp| Timestamp(stamp.0).to_string());
        Shown {
            id: record.id.0,
            modified: moment(record.stamp),
            created: moment(record.created),
            version: record.version,
            fields: record
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            match step {
                Step::Exchange {
                    request,
                    headers,
                    body,
                    status,
                    answer_headers,
                    answer,
                } => {
                    writeln!(f, "→ {request}")?;
                    headers.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
                    body.iter().try_for_each(|body| indented(f, body))?;
                    writeln!(f, "← {status}")?;
                    answer_headers
                        .iter()
                        .try_for_each(|line| writeln!(f, "    {line}"))?;
                    indented(f, answer)?;
                }
                Step::Told(text) => writeln!(f, "  {text}")?,
            }
        }
        for record in &self.records {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
            writeln!(
                f,
                "record {}  modified {}  created {}  version {}",
                record.id,
                or_none(&record.modified),
                or_none(&record.created),
                or_none(&record.version)
            )?;
            for (name, value) in &record.fields {
                writeln!(f, "    {name} = {value}")?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "! {warning}")?;
        }
        match &self.failed {
            Some(failed) => writeln!(f, "✗ {failed}"),
            None => writeln!(f, "✓ done"),
        }
    }
}

fn indented(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(f, "    {line}"))
}
