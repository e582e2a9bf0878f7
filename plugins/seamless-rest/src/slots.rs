//! What the placeholders of one reading request stand for.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::json_path::plain;
use crate::template::{Filling, fill, fill_json, sole};

/// What placeholders of one call stand for.
pub(crate) struct Slots<'a> {
    pub(crate) ones: Vec<(&'static str, Json)>,
    pub(crate) many: Option<(&'static str, Vec<Json>)>,
    /// Puts the list into one parameter.
    pub(crate) join: Option<&'a str>,
    pub(crate) escape: Option<&'a dyn Fn(&str) -> String>,
}

impl Slots<'_> {
    pub(crate) fn new() -> Self {
        Slots {
            ones: Vec::new(),
            many: None,
            join: None,
            escape: None,
        }
    }

    /// A parameter that is the list and nothing else is repeated, unless it is to be joined.
    pub(crate) fn query(&self, query: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut filled = Vec::new();
        for (name, value) in query {
            let name = fill(name, &|slot| self.plain(slot));
            match (sole(value), &self.many) {
                (Some(slot), Some((list, items))) if slot == *list && self.join.is_none() => {
                    let items = items.iter().filter_map(plain);
                    filled.extend(items.map(|value| (name.clone(), value)));
                }
                (Some(slot), many) if many.as_ref().is_none_or(|(list, _)| slot != *list) => {
                    // What is not known here stays as it is written: a text in braces.
                    filled.push((name, self.plain(slot).unwrap_or_else(|| value.clone())));
                }
                _ => filled.push((name, fill(value, &|slot| self.inline(slot)))),
            }
        }
        filled
    }

    pub(crate) fn json(&self, body: &Json) -> Json {
        let filling = |slot: &str| {
            if let Some((list, items)) = &self.many
                && slot == *list
            {
                return Some(Filling::Many(items.clone()));
            }
            self.one(slot).map(|value| Filling::One(value.clone()))
        };
        fill_json(body, &filling, &|slot| self.inline(slot))
    }

    /// The same as variables of a template.
    pub(crate) fn context(&self) -> Map<String, Json> {
        let ones = self
            .ones
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let many = self
            .many
            .iter()
            .map(|(name, items)| ((*name).to_owned(), Json::Array(items.clone())));
        ones.chain(many).collect()
    }

    fn one(&self, slot: &str) -> Option<&Json> {
        let (_, value) = self.ones.iter().find(|(name, _)| *name == slot)?;
        Some(value)
    }

    /// A single value as it is.
    pub(crate) fn plain(&self, slot: &str) -> Option<String> {
        plain(self.one(slot)?)
    }

    /// A placeholder within other text. The field's name comes from the manifest and is not escaped.
    fn inline(&self, slot: &str) -> Option<String> {
        let escaped = |text: String| match self.escape {
            Some(escape) => escape(&text),
            None => text,
        };
        if let Some((list, items)) = &self.many
            && slot == *list
        {
            let texts: Vec<String> = items.iter().filter_map(plain).map(escaped).collect();
            return Some(texts.join(self.join.unwrap_or(",")));
        }
        let text = self.plain(slot)?;
        Some(if slot == "field" { text } else { escaped(text) })
    }
}
