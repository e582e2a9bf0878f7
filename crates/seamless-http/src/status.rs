use seamless_core::{Effect, Error, ErrorKind, Timestamp};

use crate::Response;

/// The generic reading of a status that is not a success. Connectors that know their vendor's bodies look at those first.
pub fn status_error(response: &Response) -> Error {
    let after = response.retry_after(response.server_time.unwrap_or(Timestamp(0)));
    let error = match response.status {
        401 => Error::new(ErrorKind::Auth, "the credentials were refused"),
        403 => Error::new(
            ErrorKind::Permission,
            "the credentials lack the right for this call",
        ),
        404 | 410 => Error::new(ErrorKind::NotFound, "the record or route does not exist"),
        400 | 422 => Error::invalid("the server refused the record or the question"),
        409 | 412 => Error::conflict("the record was changed by somebody else, or exists already"),
        413 => Error::new(ErrorKind::Limit, "the server refused the call as too large"),
        429 => Error::new(ErrorKind::RateLimited, "the server asks to slow down").retry_later(after),
        408 => Error::unavailable("the server waited too long for the call"),
        425 => Error::unavailable("the server asks to send the call again").effect(Effect::NotApplied),
        301 | 307 | 308 => redirected().effect(Effect::NotApplied),
        // Can be the answer to a write that has been made (303: "see the new record there").
        300..400 => redirected(),
        400..500 => Error::protocol("the server gave an unexpected status").effect(Effect::NotApplied),
        500.. => Error::unavailable("the server failed").retry_later(after),
        _ => Error::protocol("the server gave an unexpected status"),
    };
    error.with("status", response.status)
}

fn redirected() -> Error {
    Error::protocol("the server redirects, which is not followed; check the configured url")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seamless_core::Retry;

    use super::*;

    #[test]
    fn statuses_are_classified() {
        use Effect::{NotApplied, Unknown};
        let cases = [
            (401, ErrorKind::Auth, false, NotApplied),
            (403, ErrorKind::Permission, false, NotApplied),
            (404, ErrorKind::NotFound, false, NotApplied),
            (410, ErrorKind::NotFound, false, NotApplied),
            (400, ErrorKind::Invalid, false, NotApplied),
            (422, ErrorKind::Invalid, false, NotApplied),
            (409, ErrorKind::Conflict, true, NotApplied),
            (412, ErrorKind::Conflict, true, NotApplied),
            (413, ErrorKind::Limit, false, NotApplied),
            (429, ErrorKind::RateLimited, true, NotApplied),
            (408, ErrorKind::Unavailable, true, Unknown),
            (301, ErrorKind::Protocol, false, NotApplied),
            (303, ErrorKind::Protocol, false, Unknown),
            (405, ErrorKind::Protocol, false, NotApplied),
            (500, ErrorKind::Unavailable, true, Unknown),
            (503, ErrorKind::Unavailable, true, Unknown),
        ];
        for (status, kind, later, effect) in cases {
            let error = status_error(&Response::from_parts(status, &[], "body"));
            assert_eq!(
                (error.kind, error.is_transient(), error.effect),
                (kind, later, effect),
                "{status}"
            );
        }
        for status in [429, 503] {
            let error = status_error(&Response::from_parts(status, &[("retry-after", "7")], ""));
            assert_eq!(
                error.retry,
                Retry::Later {
                    after: Some(Duration::from_secs(7))
                }
            );
        }
    }
}
