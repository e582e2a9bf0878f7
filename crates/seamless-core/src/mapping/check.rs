//! Checking a mapping against a live system before the first write.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::options::{clip, label_of, plain};
use super::{FieldMapping, OptionMap, SideMapping, path, template};
use crate::contract::{EntityInfo, FieldInfo, OptionInfo, UsedFields};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing: a declared loss.
    Note,
    /// Some records will be set aside.
    Warning,
    /// The field cannot work.
    Error,
}

/// Something wrong between a mapping and the live system it describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappingProblem {
    /// The canonical field; the native one where no canonical field is mapped to it; `xref` for the cross-reference.
    pub field: String,
    /// What is wrong and what to do.
    pub sentence: String,
    /// How bad it is.
    pub severity: Severity,
}

impl SideMapping {
    /// Compares the mapping with what the live system says of itself. A system that cannot describe itself raises no problem.
    pub fn check(&self, live: &EntityInfo) -> Vec<MappingProblem> {
        if live.fields.is_empty() {
            return Vec::new();
        }
        let mut report = Report {
            entity: &self.entity,
            problems: Vec::new(),
        };
        if let Some(xref) = &self.xref {
            report.cross_reference(xref, live);
        }
        for (name, field) in &self.fields {
            for path in template::paths(&field.native) {
                match find(live, path) {
                    Some(info) => report.field(name, field, info),
                    None if live.fields.iter().any(|info| is_inside(path, &info.name)) => {}
                    None => {
                        let hint = suggestion(path, live);
                        let sentence = format!("{} has no field {path}{hint}", self.entity);
                        report.add(name, Severity::Error, sentence);
                    }
                }
            }
        }
        for info in live.fields.iter().filter(|info| info.required && !info.read_only) {
            report.required(info, &self.fields);
        }
        report.problems
    }

    /// Every native field that is read or written.
    pub fn used(&self) -> UsedFields {
        let mapped = self.fields.values();
        let paths = mapped.flat_map(|field| template::paths(&field.native));
        UsedFields {
            mapped: paths.map(|path| path::field_of(path).to_owned()).collect(),
            xrefs: self.xref.iter().cloned().collect(),
        }
    }

    /// The same, the cross-reference among them.
    pub fn native_paths(&self) -> BTreeSet<String> {
        self.used().all()
    }

    /// The mapping with every text limit as short as the live system's own.
    pub fn with_live(&self, live: &EntityInfo) -> SideMapping {
        self.adjusted(live, |field, info| {
            if field.is_text()
                && let Some(length) = live_length(info)
            {
                field.max_length = Some(field.max_length.map_or(length, |own| own.min(length)));
            }
        })
    }

    /// The mapping with its options under the live system's own numbers, found by label: for default mappings and for `init --live`,
    /// not for options that a person wrote down.
    pub fn with_live_options(&self, live: &EntityInfo) -> SideMapping {
        self.adjusted(live, |field, info| {
            if let (Some(options), Some(listed)) = (&mut field.options, &info.options) {
                *options = options.by_label(listed);
            }
        })
    }

    fn adjusted(&self, live: &EntityInfo, adjust: impl Fn(&mut FieldMapping, &FieldInfo)) -> SideMapping {
        let mut mapping = self.clone();
        for field in mapping.fields.values_mut() {
            if let Some(info) = find(live, &field.native) {
                adjust(field, info);
            }
        }
        mapping
    }
}

struct Report<'a> {
    entity: &'a str,
    problems: Vec<MappingProblem>,
}

impl Report<'_> {
    fn add(&mut self, field: &str, severity: Severity, sentence: String) {
        self.problems.push(MappingProblem {
            field: field.to_owned(),
            sentence,
            severity,
        });
    }

    fn cross_reference(&mut self, xref: &str, live: &EntityInfo) {
        let entity = self.entity;
        match find(live, xref) {
            None => {
                let hint = suggestion(xref, live);
                let sentence = format!(
                    "{entity} has no field {xref} for the cross-reference{hint}; create it there or name another"
                );
                self.add("xref", Severity::Error, sentence);
            }
            Some(info) if info.read_only => {
                let sentence = format!(
                    "{xref} in {entity} is read-only and cannot hold the cross-reference; name another field"
                );
                self.add("xref", Severity::Error, sentence);
            }
            Some(_) => {}
        }
    }

    fn field(&mut self, name: &str, field: &FieldMapping, info: &FieldInfo) {
        let entity = self.entity;
        if field.writable && field.updatable && info.read_only {
            let sentence = format!(
                "{} in {entity} is read-only; set writable = false for {name}",
                info.name
            );
            self.add(name, Severity::Error, sentence);
        }
        if let (Some(own), Some(length)) = (field.max_length, live_length(info))
            && own > length
        {
            let sentence = format!(
                "{} in {entity} takes {length} characters, the mapping allows {own}; {length} applies",
                info.name
            );
            self.add(name, Severity::Note, sentence);
        }
        if field.truncate {
            self.add(
                name,
                Severity::Note,
                format!("texts too long for {} in {entity} are cut", info.name),
            );
        }
        if let (Some(options), Some(listed)) = (&field.options, &info.options) {
            self.options(name, field, options, info, listed);
        }
    }

    fn options(
        &mut self,
        name: &str,
        field: &FieldMapping,
        options: &OptionMap,
        info: &FieldInfo,
        listed: &[OptionInfo],
    ) {
        let (entity, native_name) = (self.entity, &info.name);
        for (option, native) in &options.pairs {
            let number = clip(&plain(native));
            let Some(found) = listed.iter().find(|info| plain(&info.value) == plain(native)) else {
                let sentence = format!(
                    "{native_name} in {entity} has no option {number}, mapped to '{option}'; it has {}",
                    labels(listed)
                );
                self.add(name, Severity::Warning, sentence);
                continue;
            };
            if let Some(namesake) = listed.iter().find(|info| label_of(info) == *option)
                && label_of(found) != *option
                && namesake.active
            {
                let sentence = format!(
                    "{native_name} in {entity}: option {number} is '{}' there, but mapped to '{option}'; '{}' is {}",
                    found.label,
                    namesake.label,
                    plain(&namesake.value)
                );
                self.add(name, Severity::Warning, sentence);
            }
            let is_written = field.writable && options.native(option) == Some(native);
            if is_written && !found.active {
                let sentence = format!(
                    "{native_name} in {entity}: option {number} ('{option}') is inactive and will be refused; map another"
                );
                self.add(name, Severity::Warning, sentence);
            }
        }
        let is_mapped = |info: &OptionInfo| {
            options
                .pairs
                .iter()
                .any(|(_, native)| plain(native) == plain(&info.value))
        };
        for unmapped in listed.iter().filter(|info| !is_mapped(info)) {
            let number = plain(&unmapped.value);
            let (severity, what) = match &options.read_fallback {
                Some(fallback) => (Severity::Note, format!("is read as '{fallback}'")),
                None => (
                    Severity::Warning,
                    "has no counterpart; add it to the options or set a read_fallback".to_owned(),
                ),
            };
            self.add(
                name,
                severity,
                format!(
                    "{native_name} in {entity}: option {number} ('{}') {what}",
                    unmapped.label
                ),
            );
        }
    }

    fn required(&mut self, info: &FieldInfo, fields: &BTreeMap<String, FieldMapping>) {
        let entity = self.entity;
        let writer = fields
            .iter()
            .find(|(_, field)| field.native == info.name && field.writable);
        match writer {
            Some((_, field)) if field.required || field.default.is_some() => {}
            Some((name, _)) => {
                let sentence = format!(
                    "{} in {entity} is required for a create; set required or a default for {name}",
                    info.name
                );
                self.add(name, Severity::Warning, sentence);
            }
            None => {
                let sentence = format!(
                    "{} in {entity} is required for a create, but not mapped; unless the connector supplies it, creates will be refused",
                    info.name
                );
                self.add(&info.name, Severity::Warning, sentence);
            }
        }
    }
}

fn find<'a>(live: &'a EntityInfo, native: &str) -> Option<&'a FieldInfo> {
    live.fields.iter().find(|info| info.name == native)
}

/// `address.city` lives inside an object field `address`, `phones[0]` in a list `phones`, that the system does not describe further.
fn is_inside(native: &str, object: &str) -> bool {
    native
        .strip_prefix(object)
        .is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// Some systems say 0 for fields that have no length.
fn live_length(info: &FieldInfo) -> Option<usize> {
    info.length.filter(|length| *length > 0)
}

fn labels(listed: &[OptionInfo]) -> String {
    const LABELS_SHOWN_MAX: usize = 12;
    let active = listed.iter().filter(|info| info.active);
    let shown: Vec<String> = active
        .take(LABELS_SHOWN_MAX)
        .map(|info| format!("{} '{}'", plain(&info.value), info.label))
        .collect();
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

fn suggestion(native: &str, live: &EntityInfo) -> String {
    let wanted = native.to_lowercase();
    let nearest = live
        .fields
        .iter()
        .map(|info| (distance(&wanted, &info.name.to_lowercase()), &info.name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= wanted.chars().count() / 3 => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

/// Edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
