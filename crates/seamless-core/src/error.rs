//! The one error of every boundary: what went wrong, whether a retry can help, and whether the call took effect.

use std::fmt;
use std::time::Duration;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Decides the wording and the exit code; the pipeline decides by [`Retry`] and [`Effect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing, misspelt or contradictory.
    Config,
    /// Credentials are wrong, expired or locked.
    Auth,
    /// The credentials are right but lack a right.
    Permission,
    /// The record, route or entity does not exist.
    NotFound,
    /// The remote system refused the record as it is; `field` names the culprit where known.
    Invalid,
    /// An expected version did not hold: somebody else was faster.
    Conflict,
    /// The remote system asks us to slow down.
    RateLimited,
    /// Timeout, broken connection, server fault: the remote system did not answer properly.
    Unavailable,
    /// The peer broke its contract: unparsable body, endless paging, foreign next-page URL.
    Protocol,
    /// A bound of ours was reached: body, page, depth or message size.
    Limit,
    /// A sealed message or row does not open: wrong key, wrong tenant, truncated or altered.
    Crypto,
    /// The state store or the bus cannot do its work.
    Storage,
    /// Refused for safety: going on could write duplicates or overwrite edits; a person has to decide.
    Refused,
}

/// Can the same call succeed later without anybody changing anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: something has to be changed first.
    Never,
    /// Yes, no sooner than `after` where the peer said so.
    Later {
        /// The peer's own wish (`Retry-After`), if it sent one.
        after: Option<Duration>,
    },
}

/// Did the failed call change anything in the remote system? Only asked of writes; what a failed read says here is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Certainly not: it was never sent, or was refused.
    NotApplied,
    /// Certainly: it was applied although the answer is an error.
    Applied,
    /// Nobody knows: the answer was lost.
    Unknown,
}

/// An error with its class, its effect and the facts an operator needs. Never holds a secret or a record's content.
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether waiting helps.
    pub retry: Retry,
    /// Whether the call took effect.
    pub effect: Effect,
    /// The remote (native) field at fault, when the peer named one.
    pub field: Option<String>,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that a retry does not cure and that had no effect.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            retry: Retry::Never,
            effect: Effect::NotApplied,
            field: None,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }
    }

    /// A setting is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, message)
    }

    /// The peer did not answer properly; a later call may succeed. The effect is unknown until the caller says otherwise.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, message)
            .retry_later(None)
            .effect(Effect::Unknown)
    }

    /// A write's time had passed before it was sent ([`crate::Write::send_by`]); nothing was.
    pub fn late() -> Self {
        Error::unavailable("the call waited too long behind others and was not sent")
            .effect(Effect::NotApplied)
    }

    /// The peer refused the record.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    /// An expected version did not hold.
    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, message).retry_later(None)
    }

    /// The store or bus failed.
    pub fn storage(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Storage, message)
    }

    /// The peer broke its contract. A write may have been carried out all the same (a success whose body nobody can read): the effect is unknown
    /// until the caller says otherwise.
    pub fn protocol(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Protocol, message).effect(Effect::Unknown)
    }

    /// Marks the error as curable by waiting.
    pub fn retry_later(mut self, after: Option<Duration>) -> Self {
        self.retry = Retry::Later { after };
        self
    }

    /// Says whether the call took effect.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Names the native field at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds a fact (`"system"`, `"entity"`, `"record"`, `"file"`, …). Never a secret, never record content.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key, value.to_string()));
        self
    }

    /// Keeps the underlying error.
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The bare sentence, without context.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A fact added by [`Error::with`].
    pub fn context(&self, key: &str) -> Option<&str> {
        self.context
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str())
    }

    /// True when waiting can cure it.
    pub fn is_transient(&self) -> bool {
        matches!(self.retry, Retry::Later { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.context.is_empty() {
            let facts: Vec<String> = self.context.iter().map(|(k, v)| format!("{k}: {v}")).collect();
            write!(f, " ({})", facts.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{:?}: {self}", self.kind, self.retry, self.effect)?;
        if let Some(source) = &self.source {
            write!(f, " <- {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_whether_waiting_helps_and_whether_the_call_took_effect() {
        let cases = [
            (Error::config("x"), ErrorKind::Config, false, Effect::NotApplied),
            (
                Error::unavailable("x"),
                ErrorKind::Unavailable,
                true,
                Effect::Unknown,
            ),
            (Error::late(), ErrorKind::Unavailable, true, Effect::NotApplied),
            (Error::invalid("x"), ErrorKind::Invalid, false, Effect::NotApplied),
            (
                Error::conflict("x"),
                ErrorKind::Conflict,
                true,
                Effect::NotApplied,
            ),
            (Error::storage("x"), ErrorKind::Storage, false, Effect::NotApplied),
            (Error::protocol("x"), ErrorKind::Protocol, false, Effect::Unknown),
        ];
        for (error, kind, waiting_helps, effect) in cases {
            assert_eq!(
                (error.kind, error.is_transient(), error.effect),
                (kind, waiting_helps, effect),
                "{error:?}"
            );
        }
    }

    #[test]
    fn an_error_tells_its_facts_and_keeps_its_cause() {
        let cause = std::io::Error::other("the disk is full");
        let error = Error::storage("the row cannot be kept")
            .field("name")
            .with("system", "crm")
            .with("record", 7)
            .retry_later(Some(Duration::from_secs(3)))
            .because(cause);
        assert_eq!(
            error.to_string(),
            "the row cannot be kept (system: crm, record: 7)"
        );
        assert_eq!(error.message(), "the row cannot be kept");
        assert_eq!(
            (error.context("record"), error.context("file")),
            (Some("7"), None)
        );
        assert_eq!(error.field.as_deref(), Some("name"));
        assert_eq!(
            error.retry,
            Retry::Later {
                after: Some(Duration::from_secs(3))
            }
        );
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("the disk is full"));
        assert_eq!(Error::config("no facts").to_string(), "no facts");
    }
}
