//! The one place where Autotask's errors become ours.
//!
//! HTTP 500 is what nearly every refusal comes as; only the text tells it from a fault. A refusal had no effect and waiting does not help;
//! a fault may have had one.

use std::time::Duration;

use seamless_core::{Effect, Error, ErrorKind, Timestamp};
use seamless_http::{Response, status_error};
use serde_json::Value as Json;

/// The hourly limit counts a rolling hour: capacity returns little by little.
const HOURLY_PAUSE: Duration = Duration::from_secs(60);

/// The error of an answer that is not a success. `now` is what a `Retry-After` date is reckoned from.
pub(crate) fn parse_error(response: &Response, now: Timestamp) -> Error {
    verdict(response, response.retry_after(now)).unwrap_or_else(|| status_error(response))
}

/// What the text says; `None` where the status says it all.
fn verdict(response: &Response, retry_after: Option<Duration>) -> Option<Error> {
    let status = response.status;
    let said = Said::read(&response.body);
    let lower = said.texts.join(" ").to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));

    if has(&["thread threshold"]) {
        return Some(slow_down(
            "autotask allows no more calls at once for this endpoint",
            retry_after,
        ));
    }
    if has(&["threshold"]) {
        let after = retry_after.or(Some(HOURLY_PAUSE));
        return Some(slow_down(
            "the tenant's hourly autotask request limit is reached",
            after,
        ));
    }
    if status == 429 {
        return Some(slow_down("autotask asks to slow down", retry_after));
    }
    if status == 401 {
        let text =
            "autotask refused the credentials: check user and secret, and whether the API user is locked";
        return Some(Error::new(ErrorKind::Auth, text).with("status", status));
    }
    let refusable = status == 500 || (400..500).contains(&status);
    if !refusable {
        return None;
    }
    if has(&[
        "zone information could not be determined",
        "user was not found",
        "user not found",
        "invalid username",
    ]) {
        return Some(Error::new(
            ErrorKind::Auth,
            "autotask does not know the API user: check setting 'username'",
        ));
    }
    if has(&["integrationcode", "integration code", "tracking identifier"]) {
        let text = "autotask refused the integration code: check setting 'integration_code'";
        return Some(Error::new(ErrorKind::Auth, text));
    }
    if has(&[
        "permission",
        "not authorized",
        "does not have access",
        "access denied",
    ]) {
        let text = format!(
            "the autotask API user lacks a right: {}",
            response.scrub(&said.sentence())
        );
        return Some(Error::new(ErrorKind::Permission, text));
    }
    if has(&["no matching records found"]) {
        return Some(Error::new(
            ErrorKind::NotFound,
            "the record does not exist in autotask",
        ));
    }
    let is_fault = said.texts.is_empty()
        || said.unexpected
        || has(&["unexpected error", "timeout", "deadlock", "try again"]);
    if status == 500 && is_fault {
        let mut error = Error::unavailable("autotask failed with an unexpected error").with("status", status);
        if let Some(id) = said.error_id {
            error = error.with("error_id", id);
        }
        return Some(error);
    }
    // Routing errors say `Message` or answer with a page; only `errors` is a verdict on the record.
    if said.texts.is_empty() || !said.is_verdict || matches!(status, 403..=405) {
        return None;
    }
    let error = Error::invalid(format!(
        "autotask refused the record: {}",
        response.scrub(&said.sentence())
    ));
    Some(match said.texts.iter().find_map(|text| field_at_fault(text)) {
        Some(field) => error.field(field),
        None => error,
    })
}

fn slow_down(message: &str, after: Option<Duration>) -> Error {
    Error::new(ErrorKind::RateLimited, message)
        .retry_later(after)
        .effect(Effect::NotApplied)
}

/// What a body says.
#[derive(Default)]
struct Said {
    texts: Vec<String>,
    /// `errors`, not `Message`.
    is_verdict: bool,
    /// Nothing but an error id: a fault without explanation.
    unexpected: bool,
    error_id: Option<String>,
}

impl Said {
    fn read(body: &[u8]) -> Said {
        let Ok(Json::Object(answer)) = serde_json::from_slice::<Json>(body) else {
            return Said::default();
        };
        let texts: Vec<String> = match answer.get("errors") {
            Some(Json::Array(errors)) => errors.iter().filter_map(Json::as_str).map(clean).collect(),
            Some(Json::String(error)) => vec![clean(error)],
            _ => Vec::new(),
        };
        let error_id = answer
            .get("errorId")
            .filter(|id| !id.is_null())
            .map(Json::to_string);
        let is_verdict = !texts.is_empty();
        let texts = match answer.get("Message").and_then(Json::as_str) {
            Some(message) if texts.is_empty() => vec![clean(message)],
            _ => texts,
        };
        let named = texts.iter().any(|text| field_at_fault(text).is_some());
        Said {
            unexpected: error_id.is_some() && !named,
            texts,
            is_verdict,
            error_id,
        }
    }

    /// The texts as one line, without what stands in quotes: servers quote values.
    fn sentence(&self) -> String {
        without_quoted(&self.texts.join("; "))
    }
}

/// Cuts the record number that most texts end with: a call holds one record.
fn clean(text: &str) -> String {
    let text = text.split("; on record number").next().unwrap_or(text);
    text.trim().trim_end_matches('.').to_owned()
}

fn without_quoted(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(open);
        kept.push_str(before);
        let quote = if quoted.starts_with('"') { '"' } else { '\'' };
        // An apostrophe stands within or behind a word.
        let is_apostrophe = quote == '\'' && before.ends_with(char::is_alphanumeric);
        match quoted[1..].find(quote) {
            Some(close) if !is_apostrophe => {
                kept.push_str(&format!("{quote}***{quote}"));
                rest = &quoted[close + 2..];
            }
            _ => {
                kept.push(quote);
                rest = &quoted[1..];
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// The field that a text names, by the few shapes that such texts have.
fn field_at_fault(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let after = |marker: &str| lower.find(marker).map(|at| &text[at + marker.len()..]);
    let named_after = [
        "missing required field:",
        "required field",
        "does not exist for",
        "on field:",
        "both a ",
        "both an ",
        "path '",
        "unable to find ",
    ];
    if let Some(rest) = named_after.iter().find_map(|marker| after(marker)) {
        // A user-defined field's name may hold blanks.
        let rest = match rest.to_ascii_lowercase().find(" in the ") {
            Some(end) if lower.starts_with("unable to find ") => &rest[..end],
            _ => rest
                .trim_start()
                .split([' ', '.', ',', '\'', ';'])
                .next()
                .unwrap_or_default(),
        };
        return Some(rest.trim().to_owned()).filter(|name| !name.is_empty());
    }
    let leads = [" is required", " must be less than", ": value ", " must be "];
    let end = leads.iter().find_map(|marker| lower.find(marker))?;
    Some(text[..end].trim().to_owned()).filter(|name| !name.is_empty() && !name.contains(' '))
}

#[cfg(test)]
mod tests {
    use seamless_core::Retry;

    use super::*;

    struct Expect {
        kind: ErrorKind,
        later: bool,
        effect: Effect,
        field: Option<&'static str>,
    }

    fn refused(field: &'static str) -> Expect {
        Expect {
            kind: ErrorKind::Invalid,
            later: false,
            effect: Effect::NotApplied,
            field: Some(field),
        }
    }

    fn of(kind: ErrorKind, later: bool, effect: Effect) -> Expect {
        Expect {
            kind,
            later,
            effect,
            field: None,
        }
    }

    fn errors(text: &str) -> String {
        serde_json::json!({ "errors": [text] }).to_string()
    }

    #[test]
    fn every_known_text_is_classified() {
        use Effect::{NotApplied, Unknown};
        use ErrorKind::*;
        let fault = || of(Unavailable, true, Unknown);
        let slow = || of(RateLimited, true, NotApplied);
        let threads = "The Autotask API thread threshold of 3 threads has been exceeded";
        let hourly =
            "thresholdOfExternalRequest: 10000; TimeframeOfLimitation: 60; numberOfExternalRequest: 10001;";
        let cases: Vec<(u16, String, Expect)> = vec![
            (
                500,
                errors("Value does not exist for the required field phone. ; on record number [1]."),
                refused("phone"),
            ),
            (
                500,
                errors("Missing Required Field: isOptional. ; on record number [1]."),
                refused("isOptional"),
            ),
            (
                500,
                errors("dueDateTime is required.; on record number [0]"),
                refused("dueDateTime"),
            ),
            (500, errors("queueID is required"), refused("queueID")),
            (
                500,
                errors("Picklist value [3] does not exist for priority. ; on record number [1]."),
                refused("priority"),
            ),
            (
                500,
                errors(
                    "Reference value on field: contactID of type: Contact does not exist or is invalid. ; on record number [1].",
                ),
                refused("contactID"),
            ),
            (
                500,
                errors("contactID: Value 12345 does not exist or is invalid"),
                refused("contactID"),
            ),
            (
                500,
                errors(
                    "Data violation: When assigning a Resource, you must assign both a assignedResourceID and assignedResourceRoleID.",
                ),
                refused("assignedResourceID"),
            ),
            (
                500,
                errors("name must be less than or equal to 50 characters"),
                refused("name"),
            ),
            (
                500,
                errors("Unable to find CRM ID in the Company Entity."),
                refused("CRM ID"),
            ),
            (400, errors("queueID is required"), refused("queueID")),
            (
                500,
                errors("Some verdict without a field"),
                of(Invalid, false, NotApplied),
            ),
            (
                500,
                errors(
                    "The logged in Resource does not have the adequate permissions to create this entity type.",
                ),
                of(Permission, false, NotApplied),
            ),
            (
                500,
                errors("Zone information could not be determined"),
                of(Auth, false, NotApplied),
            ),
            (
                500,
                errors("IntegrationCode is invalid."),
                of(Auth, false, NotApplied),
            ),
            (401, String::new(), of(Auth, false, NotApplied)),
            (
                500,
                errors("No matching records found for the id 1."),
                of(NotFound, false, NotApplied),
            ),
            (
                500,
                r#"{"errors":["An unexpected error has occurred. reference Error ID: 1166"],"errorId":1166}"#
                    .into(),
                fault(),
            ),
            (500, r#"{"errors":["Something odd"],"errorId":7}"#.into(), fault()),
            (500, r#"{"errorId":7}"#.into(), fault()),
            (500, "<html><title>Runtime Error</title></html>".into(), fault()),
            (500, String::new(), fault()),
            (502, errors("queueID is required"), fault()),
            (503, String::new(), fault()),
            (500, errors(threads), slow()),
            (429, errors(threads), slow()),
            (429, String::new(), slow()),
            (403, errors(hourly), slow()),
            (500, errors(hourly), slow()),
            (
                404,
                "<html><title>404</title></html>".into(),
                of(NotFound, false, NotApplied),
            ),
            (
                405,
                r#"{"Message":"The requested resource does not support http method 'GET'."}"#.into(),
                of(Protocol, false, NotApplied),
            ),
            (403, String::new(), of(Permission, false, NotApplied)),
            (409, String::new(), of(Conflict, true, NotApplied)),
        ];
        for (status, body, expect) in cases {
            let error = parse_error(&Response::from_parts(status, &[], body.as_str()), Timestamp(0));
            let got = (
                error.kind,
                error.is_transient(),
                error.effect,
                error.field.as_deref(),
            );
            assert_eq!(
                got,
                (expect.kind, expect.later, expect.effect, expect.field),
                "{status} {body}: {error:?}"
            );
        }
    }

    #[test]
    fn waits_are_the_servers_or_ours() {
        let wait = |headers: &[(&str, &str)], body: &str| match parse_error(
            &Response::from_parts(429, headers, body),
            Timestamp(0),
        )
        .retry
        {
            Retry::Later { after } => after,
            Retry::Never => None,
        };
        assert_eq!(
            wait(&[], &errors("request threshold exceeded")),
            Some(HOURLY_PAUSE)
        );
        assert_eq!(wait(&[("retry-after", "5")], "{}"), Some(Duration::from_secs(5)));
        assert_eq!(wait(&[], "{}"), None);
    }

    #[test]
    fn messages_drop_quoted_values() {
        let text = "Conversion of 'marker' failed, \"marker\" isn't a number";
        let error = parse_error(&Response::from_parts(500, &[], errors(text)), Timestamp(0));
        let shown = error.to_string();
        assert!(
            !shown.contains("marker") && shown.contains("isn't a number"),
            "{shown}"
        );
    }
}
