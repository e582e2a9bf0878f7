//! The one place where Autotask's errors become ours.
//!
//! HTTP 500 is what nearly every refusal comes as; only the text tells it from a fault. A refusal had no effect and waiting does not help;
//! a fault may have had one. What each text means stands in [`texts`]; what the operator is told in [`Class::remedy`].

mod said;
#[cfg(test)]
mod tests;

use std::time::Duration;

use seamless_core::{Effect, Error, ErrorKind, Timestamp};
use seamless_http::{Response, status_error};

use said::Said;

/// The hourly limit counts a rolling hour: capacity returns little by little.
pub(crate) const HOURLY_PAUSE: Duration = Duration::from_secs(60);

/// Why the server wants fewer calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Too many at once for one endpoint.
    Threads,
    /// Too many within the hour, everybody's together.
    Hour,
}

/// The limit that an error of [`parse_error`] is about.
pub(crate) fn limit_of(error: &Error) -> Option<Limit> {
    match error.context("class") {
        Some("threads") => Some(Limit::Threads),
        Some("hour") => Some(Limit::Hour),
        _ => None,
    }
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Required,
    Picklist,
    Reference,
    Length,
    Pair,
    UnknownField,
    Type,
    Query,
    Immutable,
    Other,
}

/// Parts of texts, in lower case, and what they mean; the first one that fits counts.
fn texts() -> [(&'static str, Class); 22] {
    use Class::*;
    [
        ("must assign both", Pair),
        ("picklist value", Picklist),
        ("reference value on field", Reference),
        (": value ", Reference),
        ("does not exist or is invalid", Reference),
        ("value does not exist for the required", Required),
        ("missing required field", Required),
        ("is required", Required),
        ("must be less than or equal to", Length),
        ("maximum length", Length),
        ("too long", Length),
        ("unable to find", UnknownField),
        ("conversion failed", Type),
        ("error converting", Type),
        ("could not convert", Type),
        ("invalid json", Type),
        ("not a valid", Type),
        ("'or' conditions", Query),
        ("cannot be queried", Query),
        ("cannot be changed", Immutable),
        ("must be cleared before", Immutable),
        ("read-only", Immutable),
    ]
}

impl Class {
    /// Stands in the error's context, for logs and tests.
    fn name(self) -> &'static str {
        match self {
            Class::Required => "required",
            Class::Picklist => "picklist",
            Class::Reference => "reference",
            Class::Length => "length",
            Class::Pair => "pair",
            Class::UnknownField => "field",
            Class::Type => "type",
            Class::Query => "query",
            Class::Immutable => "immutable",
            Class::Other => "refused",
        }
    }

    /// What an operator can do about it.
    fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Class::Required => {
                "fill it in the other system, or configure a default for it; a category may require more fields than its entity does"
            }
            Class::Picklist => "map it to an active option of this field, see `seamless discover`",
            Class::Reference => {
                "the record it names must exist and be active, a contact must belong to the company or its parent, and an API-only user can own nothing"
            }
            Class::Length => "shorten it, or set truncate for this field",
            Class::Pair => {
                "set resource_roles or default_role_id in the system's settings, or a role in Autotask"
            }
            Class::UnknownField => {
                "the field is gone or was renamed in Autotask; correct the mapping, see `seamless discover`"
            }
            Class::Type => {
                "the mapping sends a value of another type than the field has; correct the mapping"
            }
            Class::Immutable => "Autotask keeps it as it is; change it there by hand if it must be changed",
            Class::Query | Class::Other => return None,
        })
    }
}

/// The error of an answer that is not a success. `now` is what a `Retry-After` date is reckoned from.
pub(crate) fn parse_error(response: &Response, now: Timestamp) -> Error {
    verdict(response, response.retry_after(now)).unwrap_or_else(|| by_status(response))
}

/// The status alone says it.
fn by_status(response: &Response) -> Error {
    let class = if response.body.trim_ascii_start().starts_with(b"<") {
        "html"
    } else {
        "routing"
    };
    match response.status {
        404 => Error::new(
            ErrorKind::NotFound,
            "autotask has no such record, or no such address for this call",
        )
        .with("status", 404)
        .with("class", class),
        405 => Error::protocol("autotask does not take this kind of call at this address")
            .effect(Effect::NotApplied)
            .with("status", 405)
            .with("class", class),
        _ => status_error(response),
    }
}

/// What the text says; `None` where the status says it all.
fn verdict(response: &Response, retry_after: Option<Duration>) -> Option<Error> {
    let status = response.status;
    let said = Said::read(&response.body);
    let lower = said.texts.join(" ").to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));

    if has(&["thread threshold", "itgenatr005"]) || (has(&["threads"]) && has(&["exceeded"])) {
        let text = "autotask allows no more calls at once for this endpoint";
        return Some(slow_down(text, retry_after).with("class", "threads"));
    }
    let is_limit = has(&["thresholdofexternalrequest"])
        || (has(&["threshold", "limit"]) && has(&["request", "api call"]) && has(&["exceed", "reached"]));
    if is_limit {
        let after = retry_after.or(Some(HOURLY_PAUSE));
        let text = "the tenant's hourly autotask request limit is reached";
        return Some(slow_down(text, after).with("class", "hour"));
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
            "the autotask API user lacks a right: {}; give its security level this right in Autotask",
            response.scrub(&said.sentence())
        );
        return Some(Error::new(ErrorKind::Permission, text).with("class", "permission"));
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
        let class = if response.body.trim_ascii_start().starts_with(b"<") {
            "html"
        } else {
            "unexpected"
        };
        let mut error = Error::unavailable("autotask failed with an unexpected error")
            .retry_later(retry_after)
            .with("status", status)
            .with("class", class);
        if let Some(id) = said.error_id {
            error = error.with("error_id", id);
        }
        return Some(error);
    }
    // Routing errors say `Message` or answer with a page; only `errors` is a verdict on the record.
    if said.texts.is_empty() || !said.is_verdict || matches!(status, 403..=405) {
        return None;
    }
    let class = texts()
        .into_iter()
        .find_map(|(part, class)| lower.contains(part).then_some(class))
        .unwrap_or(Class::Other);
    let mut text = format!(
        "autotask refused the record: {}",
        response.scrub(&said.sentence())
    );
    if let Some(remedy) = class.remedy() {
        text = format!("{text}; {remedy}");
    }
    let error = Error::invalid(text).with("class", class.name());
    Some(
        match said.texts.iter().find_map(|text| said::field_at_fault(text)) {
            Some(field) => error.field(field),
            None => error,
        },
    )
}

fn slow_down(message: &str, after: Option<Duration>) -> Error {
    Error::new(ErrorKind::RateLimited, message)
        .retry_later(after)
        .effect(Effect::NotApplied)
}
