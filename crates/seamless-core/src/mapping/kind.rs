//! Conversions between value types: exact, or refused.

use std::fmt;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::FieldKind;
use crate::value::{Date, Timestamp, Value};

impl FieldKind {
    /// The value in this type, without any loss but that of a date's or a moment's other half. Blank is `Null`; `None` means "not such a value".
    ///
    /// Used in both directions, so that what is written is read back by the very code that predicted it.
    pub(super) fn convert(self, value: &Value) -> Option<Value> {
        use FieldKind as K;
        Some(match (self, value) {
            (_, Value::Text(text)) => return self.parse(text.trim()),
            (_, empty) if empty.is_empty() => Value::Null,
            (_, Value::Null | Value::List(_) | Value::Map(_)) => return None,
            (K::Text | K::Choice, scalar) => Value::Text(scalar.to_plain()?),
            (K::Reference, Value::Int(_) | Value::Decimal(_)) => Value::Text(value.to_plain()?),
            (K::Int, Value::Int(number)) => Value::Int(*number),
            (K::Int, Value::Decimal(number)) => Value::Int(whole(*number)?),
            (K::Int, Value::Bool(truth)) => Value::Int((*truth).into()),
            (K::Decimal, Value::Int(number)) => Value::Decimal((*number).into()),
            (K::Decimal, Value::Decimal(number)) => Value::Decimal(number.normalize()),
            (K::Bool, Value::Bool(truth)) => Value::Bool(*truth),
            (K::Bool, Value::Int(_) | Value::Decimal(_)) => return self.parse(&value.to_plain()?),
            (K::Date, Value::Date(date)) => Value::Date(*date),
            (K::Date, Value::Time(time)) => Value::Date(Date::parse(&time.to_string())?),
            // Outside the calendar's range a moment has no ISO form and could not be read back.
            (K::Time, Value::Time(time)) => {
                jiff::Timestamp::from_microsecond(time.0).ok()?;
                Value::Time(*time)
            }
            (K::Time, Value::Date(date)) => Value::Time(Timestamp::parse(&format!("{date}T00:00:00Z"))?),
            (K::Reference | K::Decimal | K::Int | K::Bool | K::Date | K::Time, _) => return None,
        })
    }

    /// From trimmed text.
    fn parse(self, text: &str) -> Option<Value> {
        if text.is_empty() {
            return Some(Value::Null);
        }
        Some(match self {
            FieldKind::Text | FieldKind::Choice | FieldKind::Reference => Value::Text(text.to_owned()),
            FieldKind::Int => Value::Int(text.parse().ok().or_else(|| whole(decimal(text)?))?),
            FieldKind::Decimal => Value::Decimal(decimal(text)?.normalize()),
            FieldKind::Bool => Value::Bool(match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => true,
                "false" | "0" | "no" => false,
                _ => return None,
            }),
            // The date as written, whatever zone stands behind it: a calendar day is never shifted.
            FieldKind::Date => {
                let time_part = text.get(10..)?;
                if !(time_part.is_empty() || time_part.starts_with(['T', 't', ' '])) {
                    return None;
                }
                Value::Date(Date::parse(text)?)
            }
            FieldKind::Time => Value::Time(Timestamp::parse(text)?),
        })
    }

    /// Whether values of this canonical type can live in a native field of that type.
    pub(super) fn fits(self, native: FieldKind) -> bool {
        use FieldKind as K;
        match self {
            K::Text | K::Choice => !matches!(native, K::Choice | K::Reference),
            K::Int => matches!(native, K::Int | K::Decimal | K::Text),
            K::Decimal => matches!(native, K::Decimal | K::Int | K::Text),
            K::Bool => matches!(native, K::Bool | K::Int | K::Text),
            K::Date | K::Time => matches!(native, K::Date | K::Time | K::Text),
            K::Reference => matches!(native, K::Int | K::Text),
        }
    }
}

impl fmt::Display for FieldKind {
    /// With its article, for sentences.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldKind::Text => "a text",
            FieldKind::Int => "a whole number",
            FieldKind::Decimal => "a number",
            FieldKind::Bool => "a truth value",
            FieldKind::Date => "a date",
            FieldKind::Time => "a time",
            FieldKind::Choice => "an option",
            FieldKind::Reference => "a record id",
        })
    }
}

/// Names what a value is, without its content.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Int(_) => "a whole number",
        Value::Decimal(_) => "a decimal number",
        Value::Text(_) => "a text",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::List(_) => "a list",
        Value::Map(_) => "an object",
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    // `from_str_exact` refuses what it would have to round, but takes `1_000`.
    if text.contains('_') {
        None
    } else {
        Decimal::from_str_exact(text).ok()
    }
}

fn whole(number: Decimal) -> Option<i64> {
    if number.is_integer() {
        number.to_i64()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(kind: FieldKind, value: impl Into<Value>) -> Option<serde_json::Value> {
        kind.convert(&value.into()).map(|converted| converted.to_json())
    }

    fn json(text: &str) -> Option<serde_json::Value> {
        Some(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn conversions_are_exact_or_refused() {
        use FieldKind::*;
        let cases: &[(FieldKind, &str, Option<&str>)] = &[
            (Int, "42", Some("42")),
            (Int, "25.0000", Some("25")),
            (Int, "1.5", None),
            (Int, "seven", None),
            (Int, "9007199254740993", Some("9007199254740993")),
            (Decimal, "0.10", Some("0.1")),
            (Decimal, "1_000", None),
            (Decimal, "0.12345678901234567890123456789012", None),
            (Bool, "TRUE", Some("true")),
            (Bool, "0", Some("false")),
            (Bool, "maybe", None),
            (Date, "2026-01-31T23:30:00-05:00", Some("\"2026-01-31\"")),
            (Date, "2026-02-30", None),
            (Date, "2026-01-31x", None),
            (
                Time,
                "2026-01-31T10:00:00+02:00",
                Some("\"2026-01-31T08:00:00.000Z\""),
            ),
            (Time, "2026-01-31", Some("\"2026-01-31T00:00:00.000Z\"")),
            (Time, "yesterday", None),
            (Text, "  x  ", Some("\"x\"")),
            (Text, " \t\n ", Some("null")),
            (Int, "   ", Some("null")),
            (Reference, " 0 ", Some("\"0\"")),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(plain(*kind, *text), expected.and_then(json), "{text:?} as {kind}");
        }
    }

    #[test]
    fn numbers_and_truths_change_clothes() {
        assert_eq!(plain(FieldKind::Bool, 1), json("true"));
        assert_eq!(plain(FieldKind::Bool, 2), None);
        assert_eq!(plain(FieldKind::Int, true), json("1"));
        assert_eq!(plain(FieldKind::Text, 7), json("\"7\""));
        assert_eq!(
            plain(FieldKind::Reference, 0),
            json("\"0\""),
            "company 0 is a real record"
        );
        assert_eq!(plain(FieldKind::Reference, true), None);
        assert_eq!(plain(FieldKind::Text, Value::List(vec![1.into()])), None);
        assert_eq!(plain(FieldKind::Text, Value::List(vec![])), json("null"));
    }

    #[test]
    fn a_type_lives_where_it_can_be_told_again() {
        use FieldKind::*;
        let all = [Text, Int, Decimal, Bool, Date, Time, Choice, Reference];
        let anything_plain = &[Text, Int, Decimal, Bool, Date, Time][..];
        for (kind, natives) in [
            (Text, anything_plain),
            (Choice, anything_plain),
            (Int, &[Text, Int, Decimal]),
            (Decimal, &[Text, Int, Decimal]),
            (Bool, &[Text, Int, Bool]),
            (Date, &[Text, Date, Time]),
            (Time, &[Text, Date, Time]),
            (Reference, &[Text, Int]),
        ] {
            let fitting: Vec<FieldKind> = all.into_iter().filter(|native| kind.fits(*native)).collect();
            assert_eq!(fitting, natives, "{kind}");
        }
    }

    #[test]
    fn every_value_in_every_type() {
        use FieldKind::*;
        let number = |text: &str| Value::Decimal(text.parse().unwrap());
        let values = [
            Value::Bool(true),
            Value::Int(7),
            number("7.0"),
            number("7.5"),
            Value::Date(crate::value::Date::default()),
            Value::Time(Timestamp(0)),
        ];
        let (day, moment) = ("\"1970-01-01\"", "\"1970-01-01T00:00:00.000Z\"");
        let text = [
            Some("\"true\""),
            Some("\"7\""),
            Some("\"7\""),
            Some("\"7.5\""),
            Some(day),
            Some(moment),
        ];
        for (kind, expected) in [
            (Text, text),
            (Choice, text),
            (
                Reference,
                [None, Some("\"7\""), Some("\"7\""), Some("\"7.5\""), None, None],
            ),
            (Int, [Some("1"), Some("7"), Some("7"), None, None, None]),
            (Decimal, [None, Some("7"), Some("7"), Some("7.5"), None, None]),
            (Bool, [Some("true"), None, None, None, None, None]),
            (Date, [None, None, None, None, Some(day), Some(day)]),
            (Time, [None, None, None, None, Some(moment), Some(moment)]),
        ] {
            for (value, expected) in values.iter().zip(expected) {
                assert_eq!(
                    plain(kind, value.clone()),
                    expected.and_then(json),
                    "{} as {kind}",
                    describe(value)
                );
            }
            for full in [
                Value::List(vec![1.into()]),
                Value::Map([("a".to_owned(), 1.into())].into()),
            ] {
                assert_eq!(plain(kind, full), None, "{kind}");
            }
            for empty in [Value::Null, Value::List(vec![]), Value::Map(Default::default())] {
                assert_eq!(plain(kind, empty), json("null"), "{kind}");
            }
        }
        assert_eq!(
            plain(Time, Value::Time(Timestamp(i64::MAX))),
            None,
            "outside the calendar"
        );
    }
}
