//! What the two mappings of a sync do to each other's values. Makes no call.

use seamless_core::mapping::{FieldKind, SideMapping};
use seamless_core::{Side, Value};

use super::{Level, Report};
use crate::build::SyncPlan;

/// Options named in one sentence.
const OPTIONS_SHOWN_MAX: usize = 8;

/// Looks at every field that flows, in each of its directions.
pub(super) fn check(report: &mut Report, plan: &SyncPlan, mappings: &[SideMapping; 2]) {
    for from in Side::BOTH {
        let pair = Pair {
            plan,
            from,
            source: &mappings[from.index()],
            target: &mappings[from.other().index()],
        };
        pair.needed(report);
        for name in pair.flowing() {
            pair.options(report, name);
            pair.kinds(report, name);
        }
    }
}

/// One direction of a sync.
struct Pair<'a> {
    plan: &'a SyncPlan,
    from: Side,
    source: &'a SideMapping,
    target: &'a SideMapping,
}

impl Pair<'_> {
    fn about(&self) -> String {
        let name = |side: Side| &self.plan.systems[side.index()];
        format!(
            "sync {}, {} to {}",
            self.plan.id,
            name(self.from),
            name(self.from.other())
        )
    }

    /// Fields that are read here and written there.
    fn flowing(&self) -> impl Iterator<Item = &str> {
        self.target
            .fields
            .iter()
            .filter(|(name, field)| {
                field.writable && self.source.fields.contains_key(*name) && self.plan.flows(name, self.from)
            })
            .map(|(name, _)| name.as_str())
    }

    /// What a create there cannot do without.
    fn needed(&self, report: &mut Report) {
        if !self.plan.direction.flows_from(self.from) {
            return;
        }
        let flowing: Vec<&str> = self.flowing().collect();
        for (name, field) in &self.target.fields {
            let is_given = field.default.is_some() || !field.default_from.is_empty();
            if field.required && !is_given && !flowing.contains(&name.as_str()) {
                let sentence = format!(
                    "{name} is required for a create in {} and never comes from here: every new record would be set aside; map it, or set a default",
                    self.target.entity
                );
                report.add(Level::Error, self.about(), sentence);
            }
        }
    }

    /// Every option that can be read here has something to be written there.
    fn options(&self, report: &mut Report, name: &str) {
        let Some(options) = &self.source.fields[name].options else {
            return;
        };
        let (mut refused, mut changed) = (Vec::new(), Vec::new());
        let mut readable: Vec<&str> = options.pairs.iter().map(|(option, _)| option.as_str()).collect();
        readable.extend(options.read_fallback.as_deref());
        readable.sort_unstable();
        readable.dedup();
        for option in readable {
            match self.target.project(name, &Value::from(option)) {
                Err(_) => refused.push(format!("'{option}'")),
                Ok(written) if written.lossy.is_some() => {
                    let reads_as = written.predicted.to_plain().unwrap_or_default();
                    changed.push(format!("'{option}' as '{reads_as}'"));
                }
                Ok(_) => {}
            }
        }
        let entity = &self.target.entity;
        if !refused.is_empty() {
            let sentence = format!(
                "{name}: {} cannot be written in {entity}; such values will wait: add them to the options of {name}, or set a write_fallback",
                listed(&refused)
            );
            report.add(Level::Warning, self.about(), sentence);
        }
        if !changed.is_empty() {
            let sentence = format!(
                "{name}: {entity} keeps {}; what is here stays as it is until a person changes it there",
                listed(&changed)
            );
            report.add(Level::Note, self.about(), sentence);
        }
    }

    /// Types that hold less there than here.
    fn kinds(&self, report: &mut Report, name: &str) {
        let (here, there) = (&self.source.fields[name], &self.target.fields[name]);
        if there.options.is_some() || here.options.is_some() {
            return;
        }
        let loses = match (here.kind, there.native_kind.unwrap_or(there.kind)) {
            (FieldKind::Time, FieldKind::Date) => "the time of day",
            (FieldKind::Decimal, FieldKind::Int) => "what stands behind the decimal point",
            _ if !there.transforms.is_empty() && here.transforms != there.transforms => {
                "its original spelling"
            }
            _ => return,
        };
        let sentence = format!(
            "{name} loses {loses} in {}; what is here stays as it is until a person changes it there",
            self.target.entity
        );
        report.add(Level::Note, self.about(), sentence);
    }
}

fn listed(options: &[String]) -> String {
    let more = options.len().saturating_sub(OPTIONS_SHOWN_MAX);
    let shown = options[..options.len() - more].join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}
