//! How SQLite's errors become ours, and the latch that keeps a broken database from being used.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::ErrorCode;
use seamless_core::{Effect, Error, Result};

/// Why work on a connection stopped.
pub(crate) enum Stop {
    /// Our own decision (a conflict): this work is undone, the next one runs.
    Refused(Error),
    /// SQLite failed.
    Broken(rusqlite::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Broken(error)
    }
}

/// Whether the database can still be trusted. Fails once and for good: after a failed fsync nobody knows what is on the disk,
/// and asking again can wrongly succeed.
pub(crate) struct Health {
    file: PathBuf,
    failed: OnceLock<Failure>,
}

/// A failure of the whole database; unlike an [`Error`] it can be told to many.
#[derive(Clone)]
pub(crate) struct Failure {
    sentence: String,
    busy: bool,
}

impl Health {
    pub(crate) fn new(file: &Path) -> Health {
        Health {
            file: file.to_owned(),
            failed: OnceLock::new(),
        }
    }

    /// The first failure, from then on.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.failed.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Records a failure. Only "busy", which comes before anything is changed, leaves the database usable.
    pub(crate) fn fail(&self, error: &rusqlite::Error) -> Failure {
        let failure = Failure {
            sentence: describe(error, &self.file),
            busy: error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy),
        };
        if failure.busy {
            return failure;
        }
        tracing::error!(file = %self.file.display(), %error, "the database failed");
        self.failed.get_or_init(|| failure).clone()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let error = Error::storage(failure.sentence);
        if failure.busy {
            error.retry_later(None)
        } else {
            error.effect(Effect::Unknown)
        }
    }
}

/// What happened and what to do about it.
pub(crate) fn describe(error: &rusqlite::Error, file: &Path) -> String {
    let file = file.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(&file.to_string()),
        Some(ErrorCode::DatabaseBusy) => format!("another program holds {file}: close it"),
        Some(ErrorCode::DiskFull) => {
            format!(
                "no room to write {file}: make room on the disk, then start again; nothing that was reported as done is lost"
            )
        }
        Some(ErrorCode::SystemIoFailure) => {
            format!(
                "reading or writing {file} failed: check the disk, and whether it has room, before starting again"
            )
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            format!("cannot write {file}: check owner and rights of the file and its folder")
        }
        _ => format!("the database {file} failed ({error}); stopped before it could do harm"),
    }
}

/// The sentence for a damaged file.
pub(crate) fn damaged(file: &str) -> String {
    format!(
        "{file} is damaged: restore a backup, or move it away together with its -wal file and run `seamless links rebuild`; \
         it is never replaced by an empty one on its own"
    )
}
