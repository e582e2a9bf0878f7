//! Checking a mapping by itself.

use std::collections::BTreeMap;

use super::options::plain;
use super::{FieldKind, FieldMapping, OptionMap, SideMapping, path, template};
use crate::value::Value;

impl SideMapping {
    /// Whether the mapping makes sense by itself; otherwise a sentence for each mistake.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        let mut written: BTreeMap<&str, &str> = BTreeMap::new();
        if self.entity.trim().is_empty() {
            mistakes.push("the mapping names no native entity".to_owned());
        }
        for (name, field) in &self.fields {
            mistakes.extend(
                field
                    .mistakes()
                    .into_iter()
                    .map(|mistake| format!("{name}: {mistake}")),
            );
            if field.default.is_some() && field.writable {
                mistakes.extend(
                    self.project_create(name, &Value::Null)
                        .err()
                        .map(|issue| format!("default: {}", issue.0)),
                );
            }
            if self.xref.as_deref() == Some(field.native.as_str()) {
                mistakes.push(format!(
                    "{name}: {} holds the cross-reference and cannot hold a field too",
                    field.native
                ));
            }
            if field.writable
                && let Some(other) = written.insert(&field.native, name)
            {
                mistakes.push(format!(
                    "{name} and {other} both write {}; make one of them read-only",
                    field.native
                ));
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }
}

impl FieldMapping {
    /// Text that the system keeps as text.
    pub(super) fn is_text(&self) -> bool {
        self.kind == FieldKind::Text && self.native_kind.is_none_or(|native| native == FieldKind::Text)
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut refuse = |wrong: bool, sentence: &str| {
            if wrong {
                mistakes.push(sentence.to_owned());
            }
        };
        let text = self.is_text();
        refuse(self.native.trim().is_empty(), "it names no native field");
        refuse(
            self.writable && template::is_template(&self.native),
            "its native path is a template, which cannot be written: set writable = false",
        );
        refuse(
            template::paths(&self.native).contains(&""),
            "its template names a field without a name: {}",
        );
        refuse(
            template::paths(&self.native).into_iter().any(path::is_too_far),
            "it names a position beyond 99 of a list; lists that long are no fields",
        );
        refuse(
            !text && !self.transforms.is_empty(),
            "transforms apply to text kept as text only",
        );
        refuse(
            !text && (self.max_length.is_some() || self.truncate),
            "max_length and truncate apply to text kept as text only",
        );
        refuse(self.max_length == Some(0), "max_length must be at least 1");
        refuse(
            self.options.is_some() && self.kind != FieldKind::Choice,
            "options need kind = \"choice\"",
        );
        refuse(
            self.options.is_some() && self.native_kind.is_some(),
            "native_kind has no meaning beside options",
        );
        refuse(
            self.required && !self.writable,
            "a required field must be writable",
        );
        refuse(
            self.default.is_some() && !self.writable,
            "a default needs a writable field",
        );
        if let Some(native) = self.native_kind
            && !self.kind.fits(native)
        {
            mistakes.push(format!(
                "{} cannot be kept in {native}; change native_kind",
                self.kind
            ));
        }
        mistakes.extend(self.options.iter().flat_map(OptionMap::mistakes));
        mistakes
    }
}

impl OptionMap {
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.pairs.is_empty() {
            mistakes.push("its options are empty".to_owned());
        }
        for (at, (option, native)) in self.pairs.iter().enumerate() {
            if option.trim() != option || option.is_empty() {
                mistakes.push(format!("option '{option}' is blank or has white space around it"));
            }
            if plain(native).is_empty() {
                mistakes.push(format!("option '{option}' has no native value"));
            }
            if self.pairs[..at]
                .iter()
                .any(|(earlier, value)| earlier == option && plain(value) == plain(native))
            {
                mistakes.push(format!(
                    "option '{option}' is listed twice with the same native value"
                ));
            }
        }
        let fallbacks = self
            .write_fallback
            .iter()
            .chain(&self.read_fallback)
            .chain(&self.read_only);
        for unknown in fallbacks.filter(|option| self.native(option).is_none()) {
            mistakes.push(format!(
                "'{unknown}' is named as fallback or read-only, but is none of its options"
            ));
        }
        for (option, native) in self
            .pairs
            .iter()
            .filter(|(option, _)| self.read_only.contains(option))
        {
            let shared = |(other, value): &&(String, Value)| {
                !self.read_only.contains(other) && plain(value) == plain(native)
            };
            if let Some((other, _)) = self.pairs.iter().find(shared) {
                mistakes.push(format!(
                    "read-only option '{option}' shares its native value with '{other}'"
                ));
            }
        }
        if self
            .write_fallback
            .as_ref()
            .is_some_and(|fallback| self.read_only.contains(fallback))
        {
            mistakes.push("its write_fallback is read-only".to_owned());
        }
        mistakes
    }
}
