//! Transforms and comparers.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::value::Value;

/// A text transform. Idempotent: applying it twice is applying it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Cuts white space at both ends.
    Trim,
    /// Lower case.
    Lowercase,
    /// Upper case.
    Uppercase,
    /// Keeps digits and a leading plus.
    PhoneDigits,
    /// Runs of white space, line breaks included, become one space.
    Collapse,
}

impl Transform {
    /// The transformed text.
    pub fn apply(self, text: &str) -> String {
        match self {
            Transform::Trim => text.trim().to_owned(),
            Transform::Lowercase => text.to_lowercase(),
            Transform::Uppercase => text.to_uppercase(),
            Transform::PhoneDigits => phone_digits(text),
            Transform::Collapse => text.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

fn phone_digits(text: &str) -> String {
    let digits = digits(text);
    if text.trim_start().starts_with('+') && !digits.is_empty() {
        format!("+{digits}")
    } else {
        digits
    }
}

/// Digits of any script: a number written in Arabic digits is a number too.
fn digits(text: &str) -> String {
    text.chars().filter(|c| c.is_numeric()).collect()
}

/// When two values count as the same although they are written differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// To the letter (trailing and leading white space apart).
    #[default]
    Exact,
    /// Upper and lower case alike (e-mail).
    IgnoreCase,
    /// Digits only (phone).
    PhoneDigits,
}

impl Compare {
    /// Whether two canonical values count as the same. An equivalence relation; null equals blank, and the whole number 1 the decimal 1.0.
    pub fn same(self, a: &Value, b: &Value) -> bool {
        match (a, b) {
            _ if is_blank(a) || is_blank(b) => is_blank(a) && is_blank(b),
            (Value::Text(a), Value::Text(b)) => self.key(a) == self.key(b),
            (Value::Int(whole), Value::Decimal(decimal)) | (Value::Decimal(decimal), Value::Int(whole)) => {
                Decimal::from(*whole) == *decimal
            }
            (a, b) => a == b,
        }
    }

    fn key(self, text: &str) -> Cow<'_, str> {
        let text = text.trim();
        match self {
            Compare::Exact => Cow::Borrowed(text),
            Compare::IgnoreCase => Cow::Owned(text.to_lowercase()),
            Compare::PhoneDigits => match digits(text) {
                // "n/a" and "unknown" are two different texts, not the same number.
                none if none.is_empty() => Cow::Borrowed(text),
                digits => Cow::Owned(digits),
            },
        }
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_empty() || value.as_text().is_some_and(|text| text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_idempotent() {
        let texts = [
            "",
            "  a  B\r\n c ",
            "+49 (30) 123-45",
            "n/a",
            "Straße ǅ İ ΑΣ",
            "٠١٢ 34",
            "tel +1",
            "\u{a0}x\u{a0}",
        ];
        use Transform::*;
        for transform in [Trim, Lowercase, Uppercase, PhoneDigits, Collapse] {
            for text in texts {
                let once = transform.apply(text);
                assert_eq!(transform.apply(&once), once, "{transform:?} of {text:?}");
            }
        }
        assert_eq!(PhoneDigits.apply(" +49 (30) 123-45"), "+493012345");
        assert_eq!(PhoneDigits.apply("tel +1"), "1");
        assert_eq!(Collapse.apply("  a  B\r\n c "), "a B c");
    }

    #[test]
    fn sameness() {
        use Compare::*;
        let text = |text: &str| Value::from(text);
        let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
        let cases: &[(Compare, Value, Value, bool)] = &[
            (Exact, text("a "), text("a"), true),
            (Exact, text("A"), text("a"), false),
            (Exact, Value::Null, text("  "), true),
            (Exact, Value::Null, Value::Int(0), false),
            (Exact, Value::Null, Value::Bool(false), false),
            (Exact, Value::Int(1), decimal("1.00"), true),
            (Exact, decimal("1.5"), Value::Int(1), false),
            (Exact, text("1"), Value::Int(1), false),
            (IgnoreCase, text("A@X.org"), text("a@x.ORG "), true),
            (IgnoreCase, text("ÄRGER"), text("ärger"), true),
            (IgnoreCase, text("a@x.org"), text("b@x.org"), false),
            (PhoneDigits, text("+1 (555) 01-02"), text("1 555 0102"), true),
            (PhoneDigits, text("555"), text("556"), false),
            (PhoneDigits, text("n/a"), text("unknown"), false),
            (PhoneDigits, text("n/a"), Value::Null, false),
        ];
        for (compare, a, b, same) in cases {
            let shown = (a.to_json(), b.to_json());
            assert_eq!(compare.same(a, b), *same, "{compare:?} {shown:?}");
            assert_eq!(
                compare.same(b, a),
                *same,
                "{compare:?} {shown:?} the other way round"
            );
        }
    }
}
