//! The one place where AMQP's errors become ours.

use std::time::Duration;

use fe2o3_amqp::connection::OpenError;
use fe2o3_amqp::link::{
    DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
};
use fe2o3_amqp_types::definitions;
use seamless_core::{Effect, Error, ErrorKind};
use serde_amqp::Value;

/// What Service Bus asks a client to wait when it is busy and does not say how long.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Something that can be told apart by the condition that the broker names.
pub(crate) fn refused(what: &str, condition: &str, description: &str) -> Error {
    let at = |kind, text: &str| Error::new(kind, format!("service bus, {what}: {text}"));
    let error = match condition {
        "com.microsoft:server-busy" => {
            at(ErrorKind::RateLimited, "the namespace is busy").retry_later(Some(BUSY_WAIT))
        }
        "amqp:resource-limit-exceeded" => at(
            ErrorKind::RateLimited,
            "the quota is used up; receive messages or raise the quota",
        )
        .retry_later(Some(BUSY_WAIT)),
        "amqp:unauthorized-access" => at(ErrorKind::Auth, unauthorised(description)),
        "amqp:not-found" => at(
            ErrorKind::NotFound,
            "the topic or subscription does not exist; make it as docs/service-bus.md says",
        ),
        "com.microsoft:entity-disabled" => {
            at(ErrorKind::Unavailable, "the topic or subscription is disabled").retry_later(Some(BUSY_WAIT))
        }
        "amqp:link:message-size-exceeded" => at(ErrorKind::Limit, "the message is too large for the entity"),
        "amqp:not-allowed" | "amqp:not-implemented" => at(
            ErrorKind::Config,
            "the entity does not allow it; docs/service-bus.md says how it has to be set",
        ),
        _ => at(ErrorKind::Unavailable, "the broker could not do it")
            .retry_later(None)
            .effect(Effect::Unknown),
    };
    error
        .with("condition", condition)
        .with("answer", shortened(description))
}

/// Why a key or token is not accepted, as far as the broker says.
fn unauthorised(description: &str) -> &'static str {
    let text = description.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["expired"]) {
        "the token has expired; set the clock of this machine right, or renew the token"
    } else if says(&["claim", "right"]) {
        "the key lacks a right: a host needs Send and Listen, `seamless bus` needs Manage"
    } else if says(&["unknown key", "key name"]) {
        "the namespace has no key of that name; check SharedAccessKeyName"
    } else {
        "the key is not accepted; check SharedAccessKeyName and SharedAccessKey"
    }
}

/// The connection is gone, or never came to be.
pub(crate) fn broken(what: &str, reason: &(impl std::fmt::Debug + ?Sized)) -> Error {
    Error::unavailable(format!("service bus, {what}: the connection failed"))
        .with("reason", shortened(&format!("{reason:?}")))
}

/// No answer in time.
pub(crate) fn timed_out(what: &str) -> Error {
    Error::unavailable(format!("service bus, {what}: no answer in time"))
}

/// The broker answered with something that it cannot mean.
pub(crate) fn unreadable(what: &str) -> Error {
    Error::protocol(format!("service bus, {what}: the answer cannot be read"))
}

/// Whether the connection has to be made anew after this error.
pub(crate) fn needs_new_connection(error: &Error) -> bool {
    // Refusals of a message leave the links as they are.
    !matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Limit)
}

/// Whether the broker has said no to one thing, and everything else is as it was.
pub(crate) fn is_refusal(error: &Error) -> bool {
    error.effect == Effect::NotApplied && !needs_new_connection(error)
}

pub(crate) fn of_open(error: &OpenError) -> Error {
    match error {
        OpenError::SaslError { .. } => refused("connect", "amqp:unauthorized-access", "SASL"),
        other => broken("connect", other).effect(Effect::NotApplied),
    }
}

pub(crate) fn of_remote(what: &str, error: &definitions::Error) -> Error {
    refused(
        what,
        &condition(error),
        error.description.as_deref().unwrap_or_default(),
    )
}

pub(crate) fn of_sender_attach(what: &str, error: &SenderAttachError) -> Error {
    match error {
        SenderAttachError::RemoteClosedWithError(remote) => of_remote(what, remote),
        other => broken(what, other),
    }
}

pub(crate) fn of_receiver_attach(what: &str, error: &ReceiverAttachError) -> Error {
    match error {
        ReceiverAttachError::RemoteClosedWithError(remote) => of_remote(what, remote),
        other => broken(what, other),
    }
}

pub(crate) fn of_send(what: &str, error: &SendError) -> Error {
    match error {
        SendError::MessageSizeExceeded(_) => refused(
            what,
            "amqp:link:message-size-exceeded",
            "refused before it was sent",
        ),
        SendError::LinkStateError(
            LinkStateError::RemoteClosedWithError(remote) | LinkStateError::RemoteDetachedWithError(remote),
        )
        | SendError::Detached(
            DetachError::RemoteClosedWithError(remote) | DetachError::RemoteDetachedWithError(remote),
        ) => detached(what, remote),
        other => broken(what, other),
    }
}

pub(crate) fn of_detach(what: &str, error: &DetachError) -> Error {
    match error {
        DetachError::RemoteClosedWithError(remote) | DetachError::RemoteDetachedWithError(remote) => {
            detached(what, remote)
        }
        other => broken(what, other),
    }
}

pub(crate) fn of_receive(what: &str, error: &RecvError) -> Error {
    match error {
        RecvError::LinkStateError(
            LinkStateError::RemoteClosedWithError(remote) | LinkStateError::RemoteDetachedWithError(remote),
        ) => detached(what, remote),
        other => broken(what, other),
    }
}

/// A link that the broker took away: whatever the reason is called, what was under way may have happened.
fn detached(what: &str, remote: &definitions::Error) -> Error {
    of_remote(what, remote).effect(Effect::Unknown)
}

/// The name of the condition of an error.
pub(crate) fn condition(error: &definitions::Error) -> String {
    match serde_amqp::to_value(&error.condition) {
        Ok(Value::Symbol(symbol)) => symbol.0,
        _ => "unknown".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::definitions::AmqpError;
    use seamless_core::Retry;

    use super::*;

    #[test]
    fn each_condition_has_its_own_error() {
        let cases = [
            ("com.microsoft:server-busy", ErrorKind::RateLimited, true),
            ("amqp:resource-limit-exceeded", ErrorKind::RateLimited, true),
            ("amqp:unauthorized-access", ErrorKind::Auth, false),
            ("amqp:not-found", ErrorKind::NotFound, false),
            ("com.microsoft:entity-disabled", ErrorKind::Unavailable, true),
            ("amqp:link:message-size-exceeded", ErrorKind::Limit, false),
            ("amqp:link:detach-forced", ErrorKind::Unavailable, true),
            ("com.microsoft:timeout", ErrorKind::Unavailable, true),
        ];
        for (condition, kind, waits) in cases {
            let error = refused("send", condition, "why");
            assert_eq!(error.kind, kind, "{condition}");
            assert_eq!(matches!(error.retry, Retry::Later { .. }), waits, "{condition}");
        }
    }

    #[test]
    fn conditions_have_their_wire_name() {
        let error = definitions::Error::new(AmqpError::NotFound, None, None);
        assert_eq!(condition(&error), "amqp:not-found");
    }
}
