//! Answers: what a response means, and the records in it.

use std::time::Duration;

use seamless_core::{Effect, Error, ErrorKind, NativeRecord, RecordId, Result, Value};
use seamless_http::{Response, status_error};
use serde_json::Value as Json;

use crate::json_path::{dig, plain};
use crate::manifest::{AnswerFormat, Entity, Errors, Meaning, PageKind, Paging, Rule};
use crate::xml;

/// A response with its JSON (or XML read as such), if it has one.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Null for an empty body.
    pub(crate) json: Json,
    format: AnswerFormat,
}

/// What fails while something is read, or before a write is sent, has changed nothing.
pub(crate) fn changed_nothing(error: Error) -> Error {
    error.effect(Effect::NotApplied)
}

/// Which side of the contract an answer belongs to: decides the effect of a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    /// Makes a record: the answer names it.
    Create,
    /// Changes a record: the status alone confirms.
    Change,
}

impl Answer {
    /// Judges a response: success, or the error it stands for. `may_quote`: what the system says may be repeated, because
    /// everything that we sent can be blanked out of it.
    pub(crate) fn judge(
        errors: &Errors,
        format: AnswerFormat,
        purpose: Purpose,
        may_quote: bool,
        response: Response,
    ) -> Result<Answer> {
        let parsed = if response.body.trim_ascii().is_empty() {
            Ok(Json::Null)
        } else if format == AnswerFormat::Xml && response.body.trim_ascii_start().first() == Some(&b'<') {
            xml::read(&response.body)
                .map_err(|problem| Error::protocol(problem).with("status", response.status))
        } else {
            response.json()
        };
        let json = parsed.as_ref().unwrap_or(&Json::Null);
        let meaning = errors
            .rules
            .iter()
            .find(|rule| rule.holds(&response, json))
            .map(|rule| rule.means);
        let error = match meaning.or_else(|| by_status(response.status)) {
            Some(Meaning::Done) => match parsed {
                Ok(json) => {
                    return Ok(Answer {
                        response,
                        json,
                        format,
                    });
                }
                // "OK" in plain text says as much as an empty answer. A page does not: it may be a sign-in form.
                Err(_) if purpose == Purpose::Change && !looks_like_a_page(&response) => {
                    return Ok(Answer {
                        response,
                        json: Json::Null,
                        format,
                    });
                }
                // A success that cannot be read: a write has probably been made.
                Err(error) if purpose != Purpose::Read => error.effect(Effect::Unknown).retry_later(None),
                Err(error) => error,
            },
            meaning => {
                let error =
                    meaning.map_or_else(|| status_error(&response), |meaning| meaning.error(&response));
                errors.explain(error, may_quote, &response, json)
            }
        };
        Err(if purpose == Purpose::Read {
            changed_nothing(error)
        } else {
            error
        })
    }

    /// What an answer is taken for, and why: for people who write the manifest.
    pub(crate) fn reason(errors: &Errors, format: AnswerFormat, response: &Response) -> String {
        let json = match format {
            AnswerFormat::Xml => xml::read(&response.body).unwrap_or_default(),
            AnswerFormat::Json => serde_json::from_slice(&response.body).unwrap_or_default(),
        };
        let rule = errors.rules.iter().position(|rule| rule.holds(response, &json));
        match rule {
            Some(index) => {
                let means = format!("{:?}", errors.rules[index].means).to_lowercase();
                format!("errors.rules.{index} holds: {means}")
            }
            None => {
                let means = by_status(response.status).map_or_else(
                    || "failed".to_owned(),
                    |means| format!("{means:?}").to_lowercase(),
                );
                format!("status {} means: {means}", response.status)
            }
        }
    }

    /// The rows at a path; null and an empty body are no rows.
    pub(crate) fn rows(&self, path: &str) -> Result<&[Json]> {
        // An XML list of one looks like a single element, and one of none like nothing.
        let is_xml = self.format == AnswerFormat::Xml;
        let around = || path.rsplit_once('.').map_or("", |(around, _)| around);
        match dig(&self.json, path) {
            Some(Json::Array(rows)) => Ok(rows),
            Some(Json::Null) => Ok(&[]),
            _ if self.json.is_null() => Ok(&[]),
            Some(one) if is_xml => Ok(std::slice::from_ref(one)),
            None if is_xml && dig(&self.json, around()).is_some() => Ok(&[]),
            Some(_) => Err(Error::protocol(format!("the answer has no list at '{path}'"))),
            None => Err(Error::protocol(format!("the answer has nothing at '{path}'"))),
        }
    }

    /// The cursor or URL of the next page.
    pub(crate) fn next(&self, paging: &Paging) -> Option<Json> {
        if paging.kind == PageKind::LinkHeader {
            let rel = paging.rel.as_deref().unwrap_or("next");
            return link(self.response.header("link")?, rel).map(Json::from);
        }
        if self.is_last(paging) {
            return None;
        }
        if let Some(name) = &paging.next_header {
            let next = self.response.header(name).map(str::trim);
            return next.filter(|next| !next.is_empty()).map(Json::from);
        }
        let next = dig(&self.json, paging.next.as_deref()?)?;
        match plain(next) {
            Some(text) if !text.is_empty() && *next != Json::Bool(false) => Some(next.clone()),
            _ => None,
        }
    }

    /// True when the server says that no page follows.
    pub(crate) fn is_last(&self, paging: &Paging) -> bool {
        let more = paging.more.as_deref().and_then(|path| dig(&self.json, path));
        more.and_then(plain)
            .is_some_and(|more| matches!(more.to_ascii_lowercase().as_str(), "false" | "0" | "no"))
    }

    /// The total number of rows.
    pub(crate) fn total(&self, paging: &Paging) -> Option<u64> {
        self.number(&paging.total, &paging.total_header)
    }

    /// The number of the last page.
    pub(crate) fn pages(&self, paging: &Paging) -> Option<u64> {
        self.number(&paging.pages, &paging.pages_header)
    }

    fn number(&self, path: &Option<String>, header: &Option<String>) -> Option<u64> {
        let body = path
            .as_deref()
            .and_then(|path| dig(&self.json, path))
            .and_then(plain);
        let header = || self.response.header(header.as_deref()?).map(str::to_owned);
        body.or_else(header)?.trim().parse().ok()
    }
}

fn looks_like_a_page(response: &Response) -> bool {
    let kind = response
        .header("content-type")
        .unwrap_or_default()
        .to_ascii_lowercase();
    kind.contains("html") || response.body.trim_ascii_start().first() == Some(&b'<')
}

impl Rule {
    fn holds(&self, response: &Response, json: &Json) -> bool {
        if !self.status.is_empty() && !self.status.contains(&response.status) {
            return false;
        }
        let subject = if let Some(header) = &self.header {
            response.header(header).map(str::to_owned)
        } else if let Some(path) = &self.path {
            match dig(json, path) {
                None | Some(Json::Null) => None,
                Some(found) => Some(plain(found).unwrap_or_else(|| found.to_string())),
            }
        } else if self.text {
            Some(String::from_utf8_lossy(&response.body).into_owned())
        } else {
            return true;
        };
        let subject = subject.map(|text| text.to_lowercase());
        let is_there = subject.is_some();
        let text = subject.unwrap_or_default();
        self.exists.is_none_or(|exists| exists == is_there)
            && (self.equals.is_empty()
                || (is_there && self.equals.iter().any(|wanted| wanted.to_lowercase() == text)))
            && self
                .contains
                .as_ref()
                .is_none_or(|part| is_there && text.contains(&part.to_lowercase()))
    }
}

fn by_status(status: u16) -> Option<Meaning> {
    Some(match status {
        200..300 => Meaning::Done,
        400 | 422 => Meaning::Refused,
        401 => Meaning::Unauthorized,
        403 => Meaning::Forbidden,
        404 | 410 => Meaning::Missing,
        409 => Meaning::Duplicate,
        412 | 428 => Meaning::Conflict,
        429 => Meaning::Throttled,
        _ => return None,
    })
}

impl Meaning {
    fn error(self, response: &Response) -> Error {
        let after: Option<Duration> = response.retry_after(response.server_time.unwrap_or_default());
        let error = match self {
            Meaning::Done | Meaning::Refused => Error::invalid("the system refused the call"),
            Meaning::Duplicate => Error::conflict("the system has such a record already"),
            Meaning::Conflict => Error::conflict("the record was changed by somebody else meanwhile"),
            Meaning::Missing => Error::new(ErrorKind::NotFound, "the system knows no such record or path"),
            Meaning::Throttled => {
                Error::new(ErrorKind::RateLimited, "the system asks to slow down").retry_later(after)
            }
            Meaning::Unauthorized | Meaning::SessionExpired => {
                Error::new(ErrorKind::Auth, "the system refused the credentials")
            }
            Meaning::Forbidden => Error::new(
                ErrorKind::Permission,
                "the credentials lack the right for this call",
            ),
            Meaning::Fault => Error::unavailable("the system failed").retry_later(after),
        };
        error.with("status", response.status)
    }
}

impl Errors {
    /// Adds what the system says about it, without anything that we sent.
    fn explain(&self, error: Error, may_quote: bool, response: &Response, json: &Json) -> Error {
        let said = |path: &Option<String>| {
            let text = plain(dig(json, path.as_deref()?)?)?;
            Some(response.scrub(&text)).filter(|text| !text.is_empty())
        };
        let error = match said(&self.code) {
            Some(code) => error.with("code", code),
            None => error,
        };
        let by_field = self.by_field(json);
        let of_field = || Some(response.scrub(by_field.as_ref()?.1.as_ref()?));
        let message = said(&self.message).or_else(of_field);
        let error = match message.filter(|text| may_quote && !text.is_empty()) {
            Some(message) => error.with("it says", message),
            None => error,
        };
        match said(&self.field).or_else(|| Some(response.scrub(by_field.as_ref()?.0))) {
            Some(field) => error.field(field),
            None => error,
        }
    }

    /// The first field at fault and what is said of it.
    fn by_field<'a>(&self, json: &'a Json) -> Option<(&'a str, Option<String>)> {
        let path = self.by_field.as_deref()?;
        let fields = dig(json, path)?.as_object()?;
        // In the whole body texts are about the answer itself: {"detail": "not found"}.
        let is_field =
            |value: &Json| value.is_array() || value.is_object() || (value.is_string() && !path.is_empty());
        let (field, said) = fields.iter().find(|(_, value)| is_field(value))?;
        let said = match said {
            Json::Array(sentences) => sentences.first().and_then(plain),
            Json::Object(about) => about.get("message").and_then(plain),
            sentence => plain(sentence),
        };
        Some((field, said))
    }
}

impl Entity {
    /// A row as a record. The error does not say which row: the caller knows.
    pub(crate) fn record(&self, row: &Json, version_header: Option<&str>) -> Result<NativeRecord> {
        let Json::Object(map) = row else {
            return Err(Error::protocol("a record is not an object"));
        };
        let id = dig(row, &self.id).and_then(plain).filter(|id| !id.is_empty());
        let Some(id) = id else {
            return Err(Error::protocol(format!(
                "a record has no '{}', which is its id",
                self.id
            )));
        };
        let stamp = |path: &Option<String>| {
            let Some(path) = path else { return Ok(None) };
            let value = dig(row, path).map_or(Value::Null, Value::from_json);
            self.stamp_format.read(&value, &self.zone()).map_err(|problem| {
                let message = format!("'{path}' of record {id} {problem}; see stamp_format");
                Error::protocol(message).field(path.clone())
            })
        };
        let version = self.version.as_ref().and_then(|path| plain(dig(row, path)?));
        Ok(NativeRecord {
            stamp: stamp(&self.modified)?,
            created: stamp(&self.created)?,
            version: version.or_else(|| version_header.map(str::to_owned)),
            fields: map
                .iter()
                .map(|(key, value)| (key.clone(), Value::from_json(value)))
                .collect(),
            id: RecordId(id),
        })
    }
}

/// The target of a relation in a `Link` header (RFC 8288).
fn link(header: &str, rel: &str) -> Option<String> {
    let mut rest = header;
    while let Some(open) = rest.find('<') {
        let close = open + rest[open..].find('>')?;
        let target = &rest[open + 1..close];
        // Parameters reach to the next target; a comma inside quotes does not end them, but `<` only occurs in targets.
        let end = rest[close..].find('<').map_or(rest.len(), |next| close + next);
        let is_wanted = rest[close + 1..end].split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return false;
            };
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .split_whitespace()
                    .any(|word| word.eq_ignore_ascii_case(rel))
        });
        if is_wanted {
            return Some(target.to_owned());
        }
        rest = &rest[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_headers_are_read_by_relation() {
        let header = r#"<https://a/x?page=1>; rel="prev", <https://a/x?page=3>; title="a, b"; rel="next last", </z>; rel=first"#;
        assert_eq!(link(header, "next").as_deref(), Some("https://a/x?page=3"));
        assert_eq!(link(header, "prev").as_deref(), Some("https://a/x?page=1"));
        assert_eq!(link(header, "first").as_deref(), Some("/z"));
        assert_eq!(link(header, "other"), None);
        assert_eq!(link("<broken", "next"), None);
    }
}
