//! Option maps: canonical option ↔ native option.

use serde::{Deserialize, Serialize};

use super::{FieldKind, Loss, kind};
use crate::contract::OptionInfo;
use crate::value::Value;

/// Canonical option ↔ native option, with fallbacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionMap {
    /// Pairs, as `["customer", 1]`. The first native value of a canonical option is the one that is written; further ones are only read.
    #[serde(with = "plain_pairs")]
    pub pairs: Vec<(String, Value)>,
    /// Canonical option that is written where the source's has no counterpart here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_fallback: Option<String>,
    /// Canonical option that an unknown native value is read as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_fallback: Option<String>,
    /// Canonical options of `pairs` that are read but never written: the write fallback stands in for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only: Vec<String>,
}

impl OptionMap {
    /// A map without fallbacks.
    pub fn of<N: Into<Value>>(pairs: impl IntoIterator<Item = (&'static str, N)>) -> OptionMap {
        OptionMap {
            pairs: pairs
                .into_iter()
                .map(|(option, native)| (option.to_owned(), native.into()))
                .collect(),
            ..OptionMap::default()
        }
    }

    /// Sets the canonical option written in place of one without counterpart.
    pub fn write_fallback(mut self, option: &str) -> OptionMap {
        self.write_fallback = Some(option.to_owned());
        self
    }

    /// Sets the canonical option that unknown native values are read as.
    pub fn read_fallback(mut self, option: &str) -> OptionMap {
        self.read_fallback = Some(option.to_owned());
        self
    }

    /// The same canonical options under a live system's own numbers, found by label (`In Progress` is `in_progress`), because numbers
    /// differ by tenant. Options whose label is not found keep their number; so do further native values that are only read.
    pub fn by_label(&self, live: &[OptionInfo]) -> OptionMap {
        let mut map = self.clone();
        for (option, native) in &mut map.pairs {
            let held_by_label = live
                .iter()
                .any(|info| plain(&info.value) == plain(native) && label_of(info) == *option);
            let found = live
                .iter()
                .filter(|info| label_of(info) == *option)
                .max_by_key(|info| info.active);
            if let Some(info) = found.filter(|_| !held_by_label) {
                // Metadata says `"5"` where records hold 5: the number keeps the type it had.
                *native = match (&*native, FieldKind::Int.convert(&info.value)) {
                    (Value::Int(_), Some(Value::Int(number))) => Value::Int(number),
                    _ => info.value.clone(),
                };
            }
        }
        map.pairs.dedup();
        map
    }

    pub(super) fn read(&self, native: &Value) -> Result<Value, String> {
        let Some(option) = FieldKind::Choice.convert(native) else {
            return Err(format!("{} where an option is expected", kind::describe(native)));
        };
        let Value::Text(option) = option else {
            return Ok(Value::Null);
        };
        let known = self
            .pairs
            .iter()
            .find(|(_, native)| plain(native) == option)
            .map(|(canonical, _)| canonical);
        match known.or(self.read_fallback.as_ref()) {
            Some(canonical) => Ok(Value::Text(canonical.clone())),
            None => Err(format!(
                "option '{}', which has no counterpart; add it to the field's options or set a read_fallback",
                clip(&option)
            )),
        }
    }

    pub(super) fn write(&self, canonical: &str) -> Result<(Value, Option<Loss>), String> {
        if let Some(native) = self.native(canonical).filter(|_| !self.is_read_only(canonical)) {
            return Ok((native.clone(), None));
        }
        if let Some(native) = self
            .write_fallback
            .as_deref()
            .and_then(|fallback| self.native(fallback))
        {
            return Ok((native.clone(), Some(Loss::Fallback)));
        }
        Err(match self.is_read_only(canonical) {
            true => format!(
                "option '{}' may not be written; set a write_fallback",
                clip(canonical)
            ),
            false => without_counterpart(canonical),
        })
    }

    /// The native value that is written for a canonical option.
    pub(super) fn native(&self, canonical: &str) -> Option<&Value> {
        self.pairs
            .iter()
            .find(|(option, _)| option == canonical)
            .map(|(_, native)| native)
    }

    fn is_read_only(&self, canonical: &str) -> bool {
        self.read_only.iter().any(|option| option == canonical)
    }
}

pub(super) fn without_counterpart(option: &str) -> String {
    format!(
        "option '{}' has no counterpart; add it to the field's options or set a write_fallback",
        clip(option)
    )
}

/// An option's stored value in the one form in which options are compared: metadata says `"1"` where records say `1`.
pub(super) fn plain(value: &Value) -> String {
    value.to_plain().unwrap_or_default().trim().to_owned()
}

/// A label as a canonical option is spelled: lower case words joined by underscores.
pub(super) fn label_of(info: &OptionInfo) -> String {
    let lower = info.label.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}

/// Options are names from a list; a field that turns out to hold prose must not fill a log with it.
pub(super) fn clip(option: &str) -> String {
    const OPTION_SHOWN_MAX: usize = 60;
    match option.char_indices().nth(OPTION_SHOWN_MAX) {
        Some((cut, _)) => format!("{}…", &option[..cut]),
        None => option.to_owned(),
    }
}

/// Scalars in configuration are written plainly (`1`, `"new"`, `true`) and not tagged with their type.
pub(super) mod plain_scalar {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::value::Value;

    pub(in crate::mapping) fn serialize<S: Serializer>(
        value: &Option<Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(super::to_scalar).serialize(serializer)
    }

    pub(in crate::mapping) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Value>, D::Error> {
        let json = Option::<serde_json::Value>::deserialize(deserializer)?;
        json.map(|json| super::from_scalar(&json).map_err(D::Error::custom))
            .transpose()
    }
}

mod plain_pairs {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::value::Value;

    pub(super) fn serialize<S: Serializer>(
        pairs: &[(String, Value)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            pairs
                .iter()
                .map(|(option, native)| (option, super::to_scalar(native))),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, Value)>, D::Error> {
        let pairs = Vec::<(String, serde_json::Value)>::deserialize(deserializer)?;
        let read = |(option, json)| {
            super::from_scalar(&json)
                .map(|native| (option, native))
                .map_err(D::Error::custom)
        };
        pairs.into_iter().map(read).collect()
    }
}

fn to_scalar(value: &Value) -> serde_json::Value {
    match value {
        // As text: no reader is tempted into a float, and formats without exact numbers can carry it.
        Value::Decimal(decimal) => decimal.normalize().to_string().into(),
        other => other.to_json(),
    }
}

fn from_scalar(json: &serde_json::Value) -> Result<Value, &'static str> {
    match Value::from_json(json) {
        Value::List(_) | Value::Map(_) => {
            Err("expected a plain value: a text, a number, true or false; dates as text")
        }
        scalar => Ok(scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(value: &str, label: &str, active: bool) -> OptionInfo {
        OptionInfo {
            value: value.into(),
            label: label.into(),
            active,
        }
    }

    #[test]
    fn reads_numbers_and_their_text_alike_and_writes_the_first() {
        let map = OptionMap::of([("open", 1), ("open", 7), ("closed", 5)]);
        for native in [Value::Int(7), Value::from(" 7 "), Value::Int(1)] {
            assert_eq!(map.read(&native).unwrap(), Value::from("open"));
        }
        assert_eq!(map.read(&Value::from("")).unwrap(), Value::Null);
        assert_eq!(map.write("open").unwrap(), (Value::Int(1), None));
        assert!(map.read(&Value::Int(9)).unwrap_err().contains("option '9'"));
        assert!(
            map.read(&Value::List(vec![Value::Int(1)]))
                .unwrap_err()
                .contains("a list where")
        );
        assert!(
            map.write("lost")
                .unwrap_err()
                .contains("option 'lost' has no counterpart")
        );
    }

    #[test]
    fn fallbacks_stand_in() {
        let mut map = OptionMap::of([("open", 1), ("won", 2)])
            .read_fallback("open")
            .write_fallback("open");
        assert_eq!(map.read(&Value::Int(9)).unwrap(), Value::from("open"));
        assert_eq!(map.write("lost").unwrap(), (Value::Int(1), Some(Loss::Fallback)));
        map.read_only = vec!["won".into()];
        assert_eq!(map.read(&Value::Int(2)).unwrap(), Value::from("won"));
        assert_eq!(map.write("won").unwrap(), (Value::Int(1), Some(Loss::Fallback)));
    }

    #[test]
    fn labels_find_a_tenants_own_numbers() {
        let map = OptionMap::of([("vendor", 6), ("in_person_onsite", 3), ("dead", 4), ("own", 99)]);
        let live = [
            live("6", "Cancelation", true),
            live("7", "Vendor", false),
            live("8", "vendor", true),
            live("3", "In-person / Onsite", true),
            live("4", "DEAD", false),
            live("5", "dead", true),
        ];
        let numbers: Vec<String> = map
            .by_label(&live)
            .pairs
            .iter()
            .map(|(_, native)| plain(native))
            .collect();
        assert_eq!(
            numbers,
            ["8", "3", "4", "99"],
            "an active label wins; a number that has the label stays; unknown stays"
        );
    }

    #[test]
    fn configuration_writes_options_plainly() {
        let text = r#"{"pairs":[["a",1],["b","x"],["c",true],["d","0.5"]]}"#;
        let map: OptionMap = serde_json::from_str(text).unwrap();
        assert_eq!(map.pairs[0].1, Value::Int(1));
        assert_eq!(serde_json::to_string(&map).unwrap(), text);
        assert!(serde_json::from_str::<OptionMap>(r#"{"pairs":[["a",[1]]]}"#).is_err());
    }

    #[test]
    fn prose_is_clipped() {
        assert_eq!(clip(&"ä".repeat(61)).chars().count(), 61);
        assert_eq!(clip("new"), "new");
    }
}
