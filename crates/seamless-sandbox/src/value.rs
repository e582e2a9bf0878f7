//! Typed field values, and their JSON forms in either system.

use jiff::{Timestamp, civil, tz};
use serde_json::{Number, Value as Json};

use crate::schema::Kind;

/// One stored value. Times are milliseconds since the epoch; decimals keep their literal text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Num(Box<str>),
    Text(Box<str>),
    Time(i64),
}

/// Which system's spelling of times and dates to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// SQL-style: up to three digits, trailing zeros dropped, `Z`.
    Autotask,
    /// As above without an offset: both spellings occur in recorded replies.
    AutotaskBare,
    /// RFC 3339 with three digits.
    Crm,
}

impl Value {
    pub(crate) fn text(s: &str) -> Self {
        Self::Text(s.into())
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Null or a blank string: both systems return either for "nothing".
    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(s) => s.trim().is_empty(),
            _ => false,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Bool(b) => Some(i64::from(*b)),
            _ => None,
        }
    }

    pub(crate) fn as_time(&self) -> Option<i64> {
        if let Self::Time(t) = self { Some(*t) } else { None }
    }

    /// The text of a string value, "" for anything else.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Text(s) | Self::Num(s) => s,
            _ => "",
        }
    }

    /// Equality with blanks alike and decimals by their number.
    pub(crate) fn same(&self, other: &Self) -> bool {
        if self.is_blank() && other.is_blank() {
            return true;
        }
        match (self, other) {
            (Self::Num(a), Self::Num(b)) => a == b || a.parse::<f64>().ok() == b.parse::<f64>().ok(),
            (Self::Num(a), Self::Int(b)) | (Self::Int(b), Self::Num(a)) => {
                a.parse::<f64>().ok() == Some(*b as f64)
            }
            (a, b) => a == b,
        }
    }

    /// Whether a write of `other` leaves the stored value as it is, byte for byte.
    pub(crate) fn identical(&self, other: &Self) -> bool {
        self == other || (self.is_blank() && other.is_blank()) || {
            !matches!((self, other), (Self::Text(_), Self::Text(_))) && self.same(other)
        }
    }

    pub(crate) fn to_json(&self, kind: Kind, style: Style) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(b) => Json::Bool(*b),
            Self::Int(n) => Json::from(*n),
            Self::Num(s) => s.parse::<Number>().map_or(Json::Null, Json::Number),
            Self::Text(s) => Json::from(&**s),
            Self::Time(t) => Json::from(match (kind, style) {
                (Kind::Date, Style::Crm) => format_date(*t),
                (Kind::Date, _) => format!("{}T00:00:00.000Z", format_date(*t)),
                _ => format_time(*t, style),
            }),
        }
    }

    /// Reads a value for a field of `kind` the way a person's form would: anything readable is taken.
    pub(crate) fn lenient(kind: Kind, json: &Json) -> Self {
        match Self::strict(kind, json) {
            Ok(value) => value,
            Err(_) => match (kind, json) {
                (Kind::Bool, Json::Number(n)) => Self::Bool(n.as_i64() != Some(0)),
                (Kind::Bool, Json::String(s)) => Self::Bool(s.eq_ignore_ascii_case("true") || s == "1"),
                (k, Json::Bool(b)) if k.is_integer() => Self::Int(i64::from(*b)),
                (_, Json::String(s)) => Self::text(s),
                (_, other) => Self::text(&other.to_string()),
            },
        }
    }

    /// Reads a value for a field of `kind`, or says what is wrong with it.
    pub(crate) fn strict(kind: Kind, json: &Json) -> Result<Self, String> {
        let wrong = || {
            Err(format!(
                "Error converting value {json} to type '{}'.",
                kind.clr_name()
            ))
        };
        match (kind, json) {
            (_, Json::Null) => Ok(Self::Null),
            (Kind::Bool, Json::Bool(b)) => Ok(Self::Bool(*b)),
            (k, Json::Number(n)) if k.is_integer() => n.as_i64().map_or_else(wrong, |n| Ok(Self::Int(n))),
            (k, Json::String(s)) if k.is_integer() => {
                s.trim().parse().map_or_else(|_| wrong(), |n| Ok(Self::Int(n)))
            }
            (Kind::Dec | Kind::Double, Json::Number(n)) => Ok(Self::Num(n.to_string().into())),
            (Kind::Dec | Kind::Double, Json::String(s)) => s
                .trim()
                .parse::<Number>()
                .map_or_else(|_| wrong(), |n| Ok(Self::Num(n.to_string().into()))),
            (Kind::Text, Json::String(s)) => Ok(Self::text(s)),
            (Kind::Text, Json::Number(n)) => Ok(Self::text(&n.to_string())),
            (Kind::Time, Json::String(s)) => parse_time(s).map_or_else(wrong, |t| Ok(Self::Time(t))),
            (Kind::Date, Json::String(s)) => {
                // The date is taken as sent, whatever offset stands behind it.
                let day = s.get(..10).and_then(|d| d.parse::<civil::Date>().ok());
                day.map_or_else(wrong, |d| Ok(Self::Time(date_ms(d))))
            }
            _ => wrong(),
        }
    }
}

fn date_ms(date: civil::Date) -> i64 {
    tz::Offset::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .map_or(0, Timestamp::as_millisecond)
}

/// Reads RFC 3339, or the same without an offset (which means UTC), or a bare date.
pub(crate) fn parse_time(s: &str) -> Option<i64> {
    let s = s.trim();
    if let Ok(ts) = s.parse::<Timestamp>() {
        return Some(ts.as_millisecond());
    }
    if let Ok(dt) = s.parse::<civil::DateTime>() {
        return tz::Offset::UTC
            .to_timestamp(dt)
            .ok()
            .map(Timestamp::as_millisecond);
    }
    s.parse::<civil::Date>().ok().map(date_ms)
}

fn civil_of(ms: i64) -> civil::DateTime {
    tz::Offset::UTC.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn format_date(ms: i64) -> String {
    let d = civil_of(ms);
    format!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day())
}

/// A time in the spelling of the given system.
pub(crate) fn format_time(ms: i64, style: Style) -> String {
    let d = civil_of(ms);
    let mut out = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        d.year(),
        d.month(),
        d.day(),
        d.hour(),
        d.minute(),
        d.second()
    );
    let milli = d.millisecond();
    if style == Style::Crm {
        out.push_str(&format!(".{milli:03}Z"));
        return out;
    }
    if milli != 0 {
        out.push_str(format!(".{milli:03}").trim_end_matches('0'));
    }
    if style == Style::Autotask {
        out.push('Z');
    }
    out
}

/// The `Date` header's form.
pub(crate) fn http_date(ms: i64) -> String {
    let secs = ms.div_euclid(1000);
    let ts = Timestamp::from_second(secs).unwrap_or(Timestamp::UNIX_EPOCH);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&ts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_as_each_system_does() {
        let ms = parse_time("2016-03-30T13:10:35.840Z").unwrap();
        assert_eq!(parse_time("2016-03-30T13:10:35.84"), Some(ms));
        assert_eq!(format_time(ms, Style::Autotask), "2016-03-30T13:10:35.84Z");
        assert_eq!(format_time(ms, Style::AutotaskBare), "2016-03-30T13:10:35.84");
        assert_eq!(format_time(ms, Style::Crm), "2016-03-30T13:10:35.840Z");
        assert_eq!(http_date(ms), "Wed, 30 Mar 2016 13:10:35 GMT");
    }

    #[test]
    fn dates_are_never_shifted() {
        let json = Json::from("2026-05-01T23:30:00-05:00");
        let value = Value::strict(Kind::Date, &json).unwrap();
        assert_eq!(
            value.to_json(Kind::Date, Style::Autotask),
            "2026-05-01T00:00:00.000Z"
        );
        assert_eq!(value.to_json(Kind::Date, Style::Crm), "2026-05-01");
    }
}
