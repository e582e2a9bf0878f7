use std::fmt;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use seamless_core::{Effect, Error, Result, Timestamp};

const EXCERPT_CHARS_MAX: usize = 200;
/// Shorter values are not blanked out of excerpts: two letters occur in any sentence.
const SENT_CHARS_MIN: usize = 3;
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// An answer, whatever its status. `Debug` prints status and size only.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Decoded body, within the client's cap.
    pub body: Vec<u8>,
    /// The server's own clock (`Date` header).
    pub server_time: Option<Timestamp>,
    pub(crate) headers: HeaderMap,
    /// Of a call that changes something.
    pub(crate) writes: bool,
    /// What we sent, so that an excerpt does not echo it.
    pub(crate) sent: Option<serde_json::Value>,
    pub(crate) sent_query: Vec<(String, String)>,
}

impl Response {
    /// An answer made by hand, for table tests of a connector's error reading. Headers that no server could send are left out.
    pub fn from_parts(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
        let readable = headers.iter().filter_map(|(name, value)| {
            Some((
                HeaderName::try_from(*name).ok()?,
                HeaderValue::try_from(*value).ok()?,
            ))
        });
        Response::new(status, readable.collect(), body.into())
    }

    pub(crate) fn new(status: u16, headers: HeaderMap, body: Vec<u8>) -> Response {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let server_time = date.and_then(Timestamp::parse_http);
        Response {
            status,
            body,
            server_time,
            headers,
            writes: false,
            sent: None,
            sent_query: Vec::new(),
        }
    }

    /// A header's value, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every readable value of a header that may come several times (`Set-Cookie`).
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    }

    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON, at most 128 levels deep. Of a write that succeeded the effect is unknown when this fails: it has probably been made.
    pub fn json(&self) -> Result<serde_json::Value> {
        if self.is_html() {
            return Err(self.senseless("the server answered with an html page instead of json"));
        }
        if self.body.is_empty() {
            return Err(self.senseless("the server answered with an empty body instead of json"));
        }
        // Only the place is told: serde's own message can quote the body.
        serde_json::from_slice(&self.body).map_err(|e| {
            let place = format!(
                "the answer is not readable as json (line {}, column {})",
                e.line(),
                e.column()
            );
            self.senseless(place)
        })
    }

    /// The peer's wish for a pause, in seconds or as a date, held between one second and one hour.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        let wish = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            // The server's own clock, where it tells it, is what its date was reckoned from.
            Err(_) => Timestamp::parse_http(text)?.since(self.server_time.unwrap_or(now)),
        };
        Some(wish.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
    }

    /// A short, printable piece of the body for error messages: the title of an HTML page, else the beginning, without anything we sent.
    pub fn text_excerpt(&self) -> String {
        let head = &self.body[..self.body.len().min(16 * 1024)];
        let text = String::from_utf8_lossy(head);
        let text = if self.is_html() {
            html_title(&text).unwrap_or_else(|| "html page".to_owned())
        } else {
            text.into_owned()
        };
        self.scrub(&text)
    }

    /// Makes a text of the server's fit for an error message: printable, at most 200 characters, every value that we sent replaced by `***`.
    pub fn scrub(&self, text: &str) -> String {
        let mut values = Vec::new();
        if let Some(json) = &self.sent {
            leaves(json, &mut values);
        }
        values.extend(self.sent_query.iter().map(|(_, value)| value.clone()));
        // Longest first, so that a value that contains another one disappears as a whole.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mut clean = printable(text);
        for value in &values {
            let value = printable(value);
            if value.chars().count() >= SENT_CHARS_MIN {
                clean = replace_ignoring_case(&clean, &value);
            }
        }
        clean.chars().take(EXCERPT_CHARS_MAX).collect()
    }

    fn is_html(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.to_ascii_lowercase().contains("text/html"))
            || self.body.trim_ascii_start().first() == Some(&b'<')
    }

    /// An answer that cannot be read.
    fn senseless(&self, message: impl Into<String>) -> Error {
        let effect = if self.writes {
            Effect::Unknown
        } else {
            Effect::NotApplied
        };
        Error::protocol(message)
            .effect(effect)
            .with("status", self.status)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} ({} bytes)", self.status, self.body.len())
    }
}

/// White space collapsed, control characters gone.
fn printable(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn replace_ignoring_case(text: &str, value: &str) -> String {
    // ASCII lower case keeps every byte offset.
    let (haystack, needle) = (text.to_ascii_lowercase(), value.to_ascii_lowercase());
    let mut replaced = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = haystack[from..].find(&needle) {
        replaced.push_str(&text[from..from + at]);
        replaced.push_str("***");
        from += at + needle.len();
    }
    replaced.push_str(&text[from..]);
    replaced
}

fn leaves(json: &serde_json::Value, into: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Number(number) => into.push(number.to_string()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        serde_json::Value::Object(map) => map.values().for_each(|value| leaves(value, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) => {}
    }
}

fn html_title(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(text[start..end].trim().to_owned()).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_and_clamped() {
        let now = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        let cases = [
            ("30", Some(30)),
            ("0", Some(1)),
            ("999999", Some(3_600)),
            ("Mon, 23 Nov 2026 12:02:00 GMT", Some(120)),
            ("Mon, 23 Nov 2020 12:02:00 GMT", Some(1)),
            ("-5", None),
            ("soon", None),
        ];
        for (text, seconds) in cases {
            let got = Response::from_parts(429, &[("retry-after", text)], "").retry_after(now);
            assert_eq!(got, seconds.map(Duration::from_secs), "{text}");
        }
        let skewed = Response::from_parts(
            429,
            &[
                ("retry-after", "Mon, 23 Nov 2026 10:01:00 GMT"),
                ("date", "Mon, 23 Nov 2026 10:00:00 GMT"),
            ],
            "",
        );
        assert_eq!(
            skewed.retry_after(now),
            Some(Duration::from_secs(60)),
            "reckoned by the server's clock"
        );
    }

    #[test]
    fn excerpts_are_short_printable_and_do_not_echo() {
        let page = Response::from_parts(
            502,
            &[],
            "<html><head><TITLE>Bad\u{7} Gateway</TITLE></head><body>internals</body></html>",
        );
        assert_eq!(page.text_excerpt(), "Bad Gateway");
        let long = "x".repeat(5_000);
        assert_eq!(Response::from_parts(500, &[], long).text_excerpt().len(), 200);
        let mut echo = Response::from_parts(
            400,
            &[],
            "value \"Jane\\Doe\" or JANE@EXAMPLE.COM of person 424242 is bad",
        );
        echo.sent =
            Some(serde_json::json!({"email": "jane@example.com", "nested": [{"n": 424242}], "flag": "is"}));
        assert_eq!(
            echo.text_excerpt(),
            "value \"Jane\\Doe\" or *** of person *** is bad"
        );
    }

    #[test]
    fn json_errors_say_what_came_instead_and_quote_nothing() {
        let cases = [
            ("<!DOCTYPE html><p>marker</p>", "html page"),
            ("", "empty body"),
            ("{\"a\": marker}", "line 1, column"),
            (&"[".repeat(100_000), "line 1, column"),
        ];
        for (body, part) in cases {
            let error = Response::from_parts(200, &[], body).json().unwrap_err();
            assert_eq!(error.kind, seamless_core::ErrorKind::Protocol);
            assert!(error.to_string().contains(part), "{error}");
            assert!(!format!("{error:?}").contains("marker"), "{error:?}");
        }
    }
}
