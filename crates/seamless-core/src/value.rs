//! Values of record fields. Exact: no float anywhere, so that money and 64-bit ids survive unchanged.

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Fields by name or path, in a fixed order.
pub type Fields = BTreeMap<String, Value>;

/// A field's value, native or canonical.
///
/// `Debug` prints the type only: values are personal data and must not reach a log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Explicitly nothing. A field that the system did not send is absent from [`Fields`] instead.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// An exact decimal (money).
    Decimal(#[serde(with = "decimal_text")] Decimal),
    /// Text.
    Text(String),
    /// A calendar date without time or zone: never shifted.
    Date(Date),
    /// A moment, UTC.
    Time(Timestamp),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Text, or null for an empty string: systems hand out blanks as either.
    pub fn text(text: impl Into<String>) -> Value {
        let text = text.into();
        if text.is_empty() {
            Value::Null
        } else {
            Value::Text(text)
        }
    }

    /// Null, an empty text, or an empty list or object.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(map) => map.is_empty(),
            _ => false,
        }
    }

    /// The text of a [`Value::Text`].
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a [`Value::Int`].
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Scalar content as plain text (numbers in decimal, dates in ISO form); `None` for null, lists and objects.
    pub fn to_plain(&self) -> Option<String> {
        match self {
            Value::Null | Value::List(_) | Value::Map(_) => None,
            Value::Bool(b) => Some(b.to_string()),
            Value::Int(n) => Some(n.to_string()),
            Value::Decimal(d) => Some(d.normalize().to_string()),
            Value::Text(t) => Some(t.clone()),
            Value::Date(d) => Some(d.to_string()),
            Value::Time(t) => Some(t.to_string()),
        }
    }

    /// From JSON, exactly: whole numbers become [`Value::Int`], others [`Value::Decimal`]; a number that neither
    /// holds (over 28 digits) is kept as text.
    pub fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => number(&n.to_string()),
            serde_json::Value::String(s) => Value::Text(s.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Value::from_json).collect()),
            serde_json::Value::Object(map) => Value::Map(
                map.iter()
                    .map(|(k, v)| (k.clone(), Value::from_json(v)))
                    .collect(),
            ),
        }
    }

    /// To JSON; dates and moments become ISO strings, decimals keep every digit.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Decimal(d) => {
                serde_json::from_str(&d.to_string()).unwrap_or_else(|_| d.to_string().into())
            }
            Value::Text(t) => t.clone().into(),
            Value::Date(d) => d.to_string().into(),
            Value::Time(t) => t.to_string().into(),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(map) => map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect(),
        }
    }
}

fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::Int(whole);
    }
    let exact = text
        .parse::<Decimal>()
        .or_else(|_| Decimal::from_scientific(text));
    match exact {
        Ok(decimal) => Value::Decimal(decimal.normalize()),
        Err(_) => Value::Text(text.to_owned()),
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Null => "null",
            Value::Bool(_) => "bool(***)",
            Value::Int(_) => "int(***)",
            Value::Decimal(_) => "decimal(***)",
            Value::Text(_) => "text(***)",
            Value::Date(_) => "date(***)",
            Value::Time(_) => "time(***)",
            Value::List(_) => "list(***)",
            Value::Map(_) => "map(***)",
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

/// Reads a dotted path (`"udf.CRM ID"`, `"address.city"`): the exact key first, then object by object.
pub fn lookup<'a>(fields: &'a Fields, path: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(path) {
        return Some(value);
    }
    let mut dot = 0;
    while let Some(next) = path[dot..].find('.') {
        let (head, rest) = (&path[..dot + next], &path[dot + next + 1..]);
        if let Some(Value::Map(inner)) = fields.get(head) {
            return lookup(inner, rest);
        }
        dot += next + 1;
    }
    None
}

/// A calendar date. `Default` is the first day of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Date {
    year: i16,
    month: i8,
    day: i8,
}

impl Date {
    /// The day of a moment, in UTC.
    pub fn of(moment: Timestamp) -> Option<Date> {
        Date::parse(&moment.to_string())
    }

    /// Reads `yyyy-mm-dd`; a time part behind it is cut off, never converted.
    pub fn parse(text: &str) -> Option<Date> {
        let date: jiff::civil::Date = text.get(..10)?.parse().ok()?;
        Some(Date {
            year: date.year(),
            month: date.month(),
            day: date.day(),
        })
    }
}

impl Default for Date {
    fn default() -> Date {
        Date {
            year: 1970,
            month: 1,
            day: 1,
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

impl TryFrom<String> for Date {
    type Error = String;
    fn try_from(text: String) -> Result<Date, String> {
        Date::parse(&text).ok_or_else(|| format!("not a date: {text}"))
    }
}

/// A moment in UTC, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads RFC 3339; a missing offset means UTC.
    pub fn parse(text: &str) -> Option<Timestamp> {
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Some(Timestamp(stamp.as_microsecond()));
        }
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let stamp = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
        Some(Timestamp(stamp.as_microsecond()))
    }

    /// Reads an HTTP date (`Date` header).
    pub fn parse_http(text: &str) -> Option<Timestamp> {
        let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Timestamp(zoned.timestamp().as_microsecond()))
    }

    /// Milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// From milliseconds since 1970.
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.saturating_mul(1000))
    }

    /// Later by `duration`.
    pub fn plus(self, duration: std::time::Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Earlier by `duration`.
    pub fn minus(self, duration: std::time::Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Time since `earlier`; zero when it is not earlier.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with `Z`, milliseconds (microseconds only where there are any).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(stamp) if self.0 % 1000 == 0 => write!(f, "{stamp:.3}"),
            Ok(stamp) => write!(f, "{stamp:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// Decimals travel as text: JSON numbers would tempt a reader into floats.
mod decimal_text {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(decimal: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&decimal.normalize())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_exactly() {
        for text in [
            "9007199254740993",
            "0.1",
            "12345678901234567890.12",
            "1.50",
            "-0.005",
        ] {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            let back = Value::from_json(&json).to_json().to_string();
            let same: Decimal = back.parse().unwrap();
            assert_eq!(same, text.parse::<Decimal>().unwrap(), "{text}");
        }
    }

    #[test]
    fn missing_offset_is_utc_and_dates_do_not_move() {
        let a = Timestamp::parse("2016-03-30T13:10:35.563").unwrap();
        assert_eq!(a, Timestamp::parse("2016-03-30T13:10:35.563Z").unwrap());
        assert_eq!(a.to_string(), "2016-03-30T13:10:35.563Z");
        assert_eq!(
            Date::parse("2026-01-31T23:00:00Z").unwrap().to_string(),
            "2026-01-31"
        );
        assert_eq!(
            Timestamp::parse_http("Mon, 23 Nov 2026 12:00:00 GMT")
                .unwrap()
                .to_string(),
            "2026-11-23T12:00:00.000Z"
        );
    }

    #[test]
    fn paths_prefer_the_exact_key() {
        let mut fields = Fields::new();
        fields.insert(
            "a".into(),
            Value::Map(BTreeMap::from([("b.c".into(), Value::Int(1))])),
        );
        fields.insert("x.y".into(), Value::Int(2));
        assert_eq!(lookup(&fields, "a.b.c"), Some(&Value::Int(1)));
        assert_eq!(lookup(&fields, "x.y"), Some(&Value::Int(2)));
        assert_eq!(lookup(&fields, "a.z"), None);
        // A name with a dot may be an object, too; and the nearer one is asked first.
        let inner = |value| Value::Map(BTreeMap::from([("e".to_owned(), Value::Int(value))]));
        fields.insert("c.d".into(), inner(3));
        fields.insert("f".into(), inner(4));
        fields.insert("f.g".into(), inner(5));
        assert_eq!(lookup(&fields, "c.d.e"), Some(&Value::Int(3)));
        assert_eq!(lookup(&fields, "f.g.e"), None);
        assert_eq!(lookup(&fields, "f.e"), Some(&Value::Int(4)));
        assert_eq!(lookup(&fields, "x.y.z"), None);
    }

    #[test]
    fn moments_are_moved_exactly_and_never_leave_their_range() {
        use std::time::Duration;
        let (at, second) = (Timestamp(1_500_000), Duration::from_secs(1));
        assert_eq!(at.plus(second), Timestamp(2_500_000));
        assert_eq!(at.minus(second), Timestamp(500_000));
        assert_eq!(at.plus(second).since(at), second);
        assert_eq!(at.since(at.plus(second)), Duration::ZERO);
        for whole in [Duration::MAX, second] {
            assert_eq!(Timestamp(i64::MAX).plus(whole), Timestamp(i64::MAX));
            assert_eq!(Timestamp(i64::MIN).minus(whole), Timestamp(i64::MIN));
        }
        for (micros, millis) in [(0, 0), (1_999, 1), (2_000, 2), (-1, -1), (-1_000, -1)] {
            assert_eq!(Timestamp(micros).as_millis(), millis, "{micros}");
        }
        assert_eq!(Timestamp::from_millis(-7), Timestamp(-7_000));
        let shown = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_000, "1970-01-01T00:00:00.001Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (i64::MAX, "9223372036854775807us"),
        ];
        for (micros, text) in shown {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = 86_400_000_000;
        for (micros, text) in [
            (0, "1970-01-01"),
            (day - 1, "1970-01-01"),
            (day, "1970-01-02"),
            (-1, "1969-12-31"),
        ] {
            let date = Date::of(Timestamp(micros)).unwrap();
            assert_eq!(date.to_string(), text);
            assert_eq!(Date::parse(text), Some(date));
            assert_eq!(serde_json::to_string(&date).unwrap(), format!("\"{text}\""));
            assert_eq!(Date::try_from(text.to_owned()), Ok(date));
        }
        assert_eq!(Date::default().to_string(), "1970-01-01");
        assert_eq!(Date::of(Timestamp(i64::MAX)), None);
        assert_eq!(
            [
                Date::parse("2026-1-1"),
                Date::parse("2026-02-30"),
                Date::parse("ü")
            ],
            [None; 3]
        );
        assert!(Date::try_from("soon".to_owned()).unwrap_err().contains("soon"));
    }

    #[test]
    fn each_kind_of_value_says_what_it_holds() {
        let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
        let map = |value| Value::Map(BTreeMap::from([("a".to_owned(), value)]));
        let (date, time) = (Value::Date(Date::default()), Value::Time(Timestamp(0)));
        // The value, whether it is empty, its plain text, its json.
        let cases = [
            (Value::Null, true, None, "null"),
            (Value::text(""), true, None, "null"),
            (Value::from(""), true, Some(""), "\"\""),
            (Value::text(" "), false, Some(" "), "\" \""),
            (Value::Bool(false), false, Some("false"), "false"),
            (Value::from(true), false, Some("true"), "true"),
            (Value::from(0), false, Some("0"), "0"),
            (decimal("1.50"), false, Some("1.5"), "1.50"),
            (date, false, Some("1970-01-01"), "\"1970-01-01\""),
            (
                time,
                false,
                Some("1970-01-01T00:00:00.000Z"),
                "\"1970-01-01T00:00:00.000Z\"",
            ),
            (Value::List(vec![]), true, None, "[]"),
            (Value::List(vec![Value::Null]), false, None, "[null]"),
            (Value::Map(BTreeMap::new()), true, None, "{}"),
            (map(Value::Int(1)), false, None, "{\"a\":1}"),
        ];
        for (value, is_empty, plain, json) in cases {
            assert_eq!(value.is_empty(), is_empty, "{json}");
            assert_eq!(value.to_plain().as_deref(), plain, "{json}");
            assert_eq!(value.to_json().to_string(), json);
        }
        assert_eq!(
            (Value::Int(7).as_int(), Value::from("7").as_int()),
            (Some(7), None)
        );
        assert_eq!(
            (Value::from("7").as_text(), Value::Int(7).as_text()),
            (Some("7"), None)
        );
    }

    #[test]
    fn a_number_is_whole_or_decimal_and_text_where_it_has_too_many_digits() {
        let read = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap());
        for (text, kind) in [
            ("-9223372036854775808", "int(***)"),
            ("9223372036854775808", "decimal(***)"),
            ("1e2", "decimal(***)"),
            ("1e400", "text(***)"),
        ] {
            assert_eq!(format!("{:?}", read(text)), kind, "{text}");
        }
        assert!(read("1e2") == Value::Decimal(100.into()));
        assert_eq!(read("1e400").to_plain().as_deref(), Some("1e+400"));
    }
}
