//! Exit codes: one table.

use std::process::ExitCode;

use seamless_core::ErrorKind;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failure = 1,
    /// The configuration is invalid.
    Config = 2,
    /// A remote check failed, or going on was refused for safety.
    Refused = 3,
    /// Done, but a person has to decide something.
    Attention = 4,
    /// A plan has changes.
    Pending = 6,
}

/// For `--help`.
pub(crate) const HELP: &str = "Exit codes:
  0  done
  1  failure
  2  configuration or command line invalid
  3  a remote check failed, or a refusal for safety
  4  done, but something is parked or in review (see `seamless status --parked`)
  6  changes pending";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The exit code of an error, its name in JSON, and what to do about it.
pub(crate) fn of(kind: ErrorKind) -> (Exit, &'static str, &'static str) {
    match kind {
        ErrorKind::Config => (
            Exit::Config,
            "config",
            "correct the configuration; `seamless check --offline` tells when it is right",
        ),
        ErrorKind::Auth => (
            Exit::Refused,
            "auth",
            "check that system's user and secret, then run `seamless check`",
        ),
        ErrorKind::Permission => (
            Exit::Refused,
            "permission",
            "give the API user the right it lacks, then run `seamless check`",
        ),
        ErrorKind::Unavailable => (
            Exit::Refused,
            "unavailable",
            "nothing is lost; run again when that system answers",
        ),
        ErrorKind::RateLimited => (Exit::Refused, "rate_limited", "nothing is lost; run again later"),
        ErrorKind::Protocol => (
            Exit::Refused,
            "protocol",
            "that system did not keep to its protocol; check its address and manifest",
        ),
        ErrorKind::Limit => (
            Exit::Refused,
            "limit",
            "something came that is larger than allowed; check that system's address and limits",
        ),
        ErrorKind::NotFound => (Exit::Refused, "not_found", "check the name, address or id"),
        ErrorKind::Refused => (
            Exit::Refused,
            "refused",
            "nothing was changed; do what the message says and run again",
        ),
        ErrorKind::Invalid => (
            Exit::Failure,
            "invalid",
            "see the system named; `seamless check` may tell more",
        ),
        ErrorKind::Conflict => (Exit::Failure, "conflict", "run again"),
        ErrorKind::Crypto => (
            Exit::Failure,
            "crypto",
            "use the keyset, tenant and environment that the data were written with",
        ),
        ErrorKind::Storage => (Exit::Failure, "storage", "check the disk and the data folder"),
        _ => (Exit::Failure, "other", "run again with --log debug"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        use ErrorKind::*;
        let table = [
            (2, vec![Config]),
            (
                3,
                vec![
                    Auth,
                    Permission,
                    Unavailable,
                    RateLimited,
                    Protocol,
                    Limit,
                    NotFound,
                    Refused,
                ],
            ),
            (1, vec![Invalid, Conflict, Crypto, Storage]),
        ];
        let mut names = std::collections::BTreeSet::new();
        for (code, kinds) in table {
            for kind in kinds {
                let (exit, name, advice) = of(kind);
                assert_eq!(exit as u8, code, "{kind:?}");
                assert!(!advice.is_empty());
                assert!(names.insert(name), "{name} stands for two kinds");
            }
        }
        assert!(!names.contains("other"));
    }

    #[test]
    fn help_tells_every_code() {
        for exit in [
            Exit::Done,
            Exit::Failure,
            Exit::Config,
            Exit::Refused,
            Exit::Attention,
            Exit::Pending,
        ] {
            let line = format!("\n  {}  ", exit as u8);
            assert!(HELP.contains(&line), "{exit:?}");
        }
    }
}
