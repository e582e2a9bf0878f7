//! Stamps: how a system writes moments, both ways. Reading never guesses: what does not have the declared form is an error.

use std::borrow::Cow;
use std::time::Duration;

use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use seamless_core::{Stamp, Timestamp, Value};
use serde::{Deserialize, Deserializer, de};

/// How a moment is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StampFormat {
    /// `2026-11-23T12:00:00.000Z`; without an offset in the entity's `stamp_utc_offset`.
    #[default]
    Rfc3339,
    /// Seconds since 1970, number or text, with or without a fraction.
    EpochSecs,
    /// Milliseconds since 1970, number or text.
    EpochMillis,
    /// `2026-11-23`: loses the time of day.
    Date,
    /// A strftime pattern (`%Y-%m-%d %H:%M:%S`).
    Pattern(String),
}

const NAMES: &[&str] = &["rfc3339", "epoch_secs", "epoch_millis", "date"];

impl<'de> Deserialize<'de> for StampFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StampFormat, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "rfc3339" => StampFormat::Rfc3339,
            "epoch_secs" => StampFormat::EpochSecs,
            "epoch_millis" => StampFormat::EpochMillis,
            "date" => StampFormat::Date,
            pattern if pattern.contains('%') => StampFormat::Pattern(text),
            other => return Err(de::Error::unknown_variant(other, NAMES)),
        })
    }
}

impl JsonSchema for StampFormat {
    fn schema_name() -> Cow<'static, str> {
        "StampFormat".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "rfc3339, epoch_secs, epoch_millis, date, or a strftime pattern",
            "anyOf": [{ "enum": NAMES }, { "pattern": "%" }]
        })
    }
}

impl StampFormat {
    /// The smallest step that the form can express.
    pub(crate) fn unit(&self) -> Duration {
        match self {
            StampFormat::EpochSecs => Duration::from_secs(1),
            StampFormat::Date => Duration::from_secs(86_400),
            StampFormat::Rfc3339 | StampFormat::EpochMillis => Duration::from_millis(1),
            StampFormat::Pattern(pattern) if !has_time_of_day(pattern) => Duration::from_secs(86_400),
            StampFormat::Pattern(pattern) if has_fraction(pattern) => Duration::from_millis(1),
            StampFormat::Pattern(_) => Duration::from_secs(1),
        }
    }

    /// Written as a number in JSON.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, StampFormat::EpochSecs | StampFormat::EpochMillis)
    }

    /// Reads a stamp. Null and blank are no stamp.
    pub(crate) fn read(&self, value: &Value, zone: &TimeZone) -> Result<Option<Stamp>, String> {
        if value.is_empty() {
            return Ok(None);
        }
        let plain = value
            .to_plain()
            .ok_or_else(|| format!("is not {}", self.describe()))?;
        let time = match self {
            StampFormat::Rfc3339 => rfc3339(&plain, zone),
            StampFormat::EpochSecs => epoch(&plain, 1_000_000),
            StampFormat::EpochMillis => epoch(&plain, 1_000),
            StampFormat::Date => civil(&format!("{plain}T00:00:00"), zone),
            StampFormat::Pattern(pattern) => by_pattern(pattern, &plain, zone),
        };
        match time {
            Some(time) => Ok(Some(time.into())),
            None => Err(format!("is not {}", self.describe())),
        }
    }

    /// Writes a moment, never later than it is: what the form cannot express is cut off.
    pub(crate) fn write(&self, time: Timestamp, zone: &TimeZone) -> String {
        match self {
            StampFormat::Rfc3339 => Timestamp::from_millis(time.as_millis()).to_string(),
            StampFormat::EpochSecs => time.0.div_euclid(1_000_000).to_string(),
            StampFormat::EpochMillis => time.as_millis().to_string(),
            StampFormat::Date => local(time, zone).map_or_else(String::new, |at| at.date().to_string()),
            StampFormat::Pattern(pattern) => jiff::Timestamp::from_microsecond(time.0)
                .ok()
                .and_then(|at| strtime::format(pattern, &at.to_zoned_datetime(zone.clone())).ok())
                .unwrap_or_default(),
        }
    }

    /// True when the form can be written and read again; a pattern may be nonsense.
    pub(crate) fn round_trips(&self) -> bool {
        let noon = Timestamp::from_millis(1_700_000_000_000);
        let text = self.write(noon, &TimeZone::UTC);
        matches!(self.read(&Value::Text(text), &TimeZone::UTC), Ok(Some(stamp)) if stamp.0 <= noon.0)
    }

    fn describe(&self) -> String {
        match self {
            StampFormat::Rfc3339 => "an RFC 3339 time".into(),
            StampFormat::EpochSecs => "a number of seconds since 1970".into(),
            StampFormat::EpochMillis => "a number of milliseconds since 1970".into(),
            StampFormat::Date => "a date (yyyy-mm-dd)".into(),
            StampFormat::Pattern(pattern) => format!("of the form '{pattern}'"),
        }
    }
}

/// A zone by its name in the IANA database (`Europe/Berlin`).
pub(crate) fn parse_zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// Reads `+02:00`, `-0530` or `Z`.
pub(crate) fn parse_offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    strtime::parse("%z", text)
        .or_else(|_| strtime::parse("%:z", text))
        .ok()?
        .offset()
}

fn has_time_of_day(pattern: &str) -> bool {
    ["%H", "%I", "%T", "%R", "%s", "%k", "%l"]
        .iter()
        .any(|directive| pattern.contains(directive))
}

fn has_fraction(pattern: &str) -> bool {
    pattern.contains('f') && (pattern.contains("%f") || pattern.contains("%.") || pattern.contains("%3f"))
}

fn rfc3339(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    match text.parse::<jiff::Timestamp>() {
        Ok(stamp) => Some(Timestamp(stamp.as_microsecond())),
        Err(_) => civil(text, zone),
    }
}

fn civil(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let at: jiff::civil::DateTime = text.parse().ok()?;
    moment(at, zone)
}

/// An hour that the clock shows twice is taken for the earlier one: a poll then asks for too much rather than too little.
fn moment(at: jiff::civil::DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let moment = zone.to_ambiguous_timestamp(at).earlier().ok()?;
    Some(Timestamp(moment.as_microsecond()))
}

fn local(time: Timestamp, zone: &TimeZone) -> Option<jiff::civil::DateTime> {
    Some(zone.to_datetime(jiff::Timestamp::from_microsecond(time.0).ok()?))
}

fn by_pattern(pattern: &str, text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let parsed = strtime::parse(pattern, text).ok()?;
    if let Ok(stamp) = parsed.to_timestamp() {
        return Some(Timestamp(stamp.as_microsecond()));
    }
    let at = parsed
        .to_datetime()
        .or_else(|_| parsed.to_date().map(|date| date.at(0, 0, 0, 0)))
        .ok()?;
    moment(at, zone)
}

/// Whole and fractional epoch numbers, exactly: `1700000000.25` seconds is no float.
fn epoch(text: &str, micros_per_unit: i64) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let mut micros = whole.checked_mul(micros_per_unit)?;
    let mut step = micros_per_unit;
    for digit in fraction.chars() {
        step /= 10;
        micros = micros.checked_add(step * i64::from(digit.to_digit(10)?))?;
    }
    Some(Timestamp(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> StampFormat {
        serde_json::from_value(serde_json::Value::String(text.into())).unwrap()
    }

    #[test]
    fn stamps_are_read_in_the_declared_form_only() {
        let plus2 = TimeZone::fixed(parse_offset("+02:00").unwrap());
        let cases: &[(&str, Value, &str)] = &[
            (
                "rfc3339",
                "2026-11-23T12:00:00Z".into(),
                "2026-11-23T12:00:00.000Z",
            ),
            (
                "rfc3339",
                "2026-11-23T12:00:00.123456+05:30".into(),
                "2026-11-23T06:30:00.123456Z",
            ),
            (
                "rfc3339",
                "2026-11-23T12:00:00".into(),
                "2026-11-23T10:00:00.000Z",
            ),
            (
                "epoch_secs",
                Value::Int(1_700_000_000),
                "2023-11-14T22:13:20.000Z",
            ),
            ("epoch_secs", "1700000000.25".into(), "2023-11-14T22:13:20.250Z"),
            (
                "epoch_millis",
                Value::Int(1_700_000_000_123),
                "2023-11-14T22:13:20.123Z",
            ),
            ("date", "2026-11-23".into(), "2026-11-22T22:00:00.000Z"),
            (
                "%d/%m/%Y %H:%M",
                "23/11/2026 12:00".into(),
                "2026-11-23T10:00:00.000Z",
            ),
            (
                "%Y-%m-%dT%H:%M:%S%z",
                "2026-11-23T12:00:00+0100".into(),
                "2026-11-23T11:00:00.000Z",
            ),
        ];
        for (form, value, expected) in cases {
            let stamp = format(form).read(value, &plus2).unwrap().unwrap();
            assert_eq!(Timestamp(stamp.0).to_string(), *expected, "{form}");
        }
        for (form, value) in [
            ("rfc3339", "yesterday"),
            ("epoch_secs", "2026-11-23"),
            ("date", "23.11.2026"),
        ] {
            assert!(
                format(form).read(&value.into(), &TimeZone::UTC).is_err(),
                "{form}"
            );
        }
        assert_eq!(format("rfc3339").read(&Value::Null, &TimeZone::UTC), Ok(None));
        assert_eq!(format("rfc3339").read(&"".into(), &TimeZone::UTC), Ok(None));
    }

    #[test]
    fn writing_cuts_off_and_never_rounds_up() {
        let time = Timestamp(1_700_000_000_999_999);
        let plus2 = TimeZone::fixed(parse_offset("+02:00").unwrap());
        let cases = [
            ("rfc3339", "2023-11-14T22:13:20.999Z"),
            ("epoch_secs", "1700000000"),
            ("epoch_millis", "1700000000999"),
            ("date", "2023-11-15"),
            ("%Y-%m-%d %H:%M:%S", "2023-11-15 00:13:20"),
        ];
        for (form, expected) in cases {
            assert_eq!(format(form).write(time, &plus2), expected, "{form}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_back_is_noticed() {
        assert!(format("%Y-%m-%d %H:%M:%S").round_trips());
        assert!(format("%d.%m.%Y").round_trips());
        assert!(!format("%H:%M").round_trips());
        assert!(!format("%Q nonsense").round_trips());
    }

    #[test]
    fn units_follow_the_form() {
        assert_eq!(format("date").unit().as_secs(), 86_400);
        assert_eq!(format("%d.%m.%Y").unit().as_secs(), 86_400);
        assert_eq!(format("%d.%m.%Y %H:%M:%S").unit().as_secs(), 1);
        assert_eq!(format("rfc3339").unit().as_millis(), 1);
    }

    #[test]
    fn a_zone_changes_its_offset_with_the_season() {
        let berlin = parse_zone("Europe/Berlin").unwrap();
        let format = format("%Y-%m-%d %H:%M:%S");
        for (local, utc) in [
            ("2026-07-01 12:00:00", "2026-07-01T10:00:00.000Z"),
            ("2026-12-01 12:00:00", "2026-12-01T11:00:00.000Z"),
            // Shown twice, in the night in which the clock is set back.
            ("2026-10-25 02:30:00", "2026-10-25T00:30:00.000Z"),
        ] {
            let stamp = format.read(&local.into(), &berlin).unwrap().unwrap();
            assert_eq!(Timestamp(stamp.0).to_string(), utc);
            assert_eq!(format.write(Timestamp(stamp.0), &berlin), local);
        }
        assert!(parse_zone("Europe/Nowhere").is_none());
    }
}
