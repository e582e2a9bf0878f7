//! What a worker does about an error: wait and try again, or give up.

use std::time::Duration;

use seamless_core::{Error, ErrorKind, Random, Result, Retry};

use super::RunMode;
use crate::books::Books;
use crate::random::OsRandom;

/// Counts the failures of one worker in a row.
pub(crate) struct Patience {
    mode: RunMode,
    limit: Duration,
    /// When the present row of failures began.
    since: Option<Duration>,
    tries: u32,
}

const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two tries of what only a person can put right.
const PAUSE: Duration = Duration::from_secs(120);
/// Longest wait a system may ask for.
const ASKED_WAIT_MAX: Duration = Duration::from_secs(3_700);

impl Patience {
    pub(crate) fn new(mode: RunMode, limit_secs: u64) -> Patience {
        Patience {
            mode,
            limit: Duration::from_secs(limit_secs),
            since: None,
            tries: 0,
        }
    }

    /// It worked. Returns whether it had failed before.
    pub(crate) fn worked(&mut self) -> bool {
        self.tries = 0;
        self.since.take().is_some()
    }

    /// How long to wait before the next try; the error itself when there is none.
    pub(crate) fn try_on(&mut self, books: &Books, worker: &str, error: Error) -> Result<Duration> {
        let now = books.clock.monotonic();
        let since = *self.since.get_or_insert(now);
        self.tries += 1;
        if error.kind == ErrorKind::Conflict {
            return Ok(with_jitter(WAIT_MIN));
        }
        let asked = match error.retry {
            Retry::Later { after } => after.unwrap_or_default(),
            Retry::Never => return self.pause(worker, error),
        };
        let patient = error.kind == ErrorKind::RateLimited || self.mode == RunMode::Forever;
        if !patient && now.saturating_sub(since) >= self.limit {
            tracing::error!(worker, tries = self.tries, %error, "gave up");
            return Err(error);
        }
        let wait = WAIT_MIN.saturating_mul(1 << self.tries.min(16)).min(WAIT_MAX);
        // Short patience needs short waits, or it would be one try.
        let wait = if patient { wait } else { wait.min(self.limit / 6) };
        tracing::warn!(worker, tries = self.tries, %error, "will be tried again");
        Ok(with_jitter(wait).max(asked.min(ASKED_WAIT_MAX)))
    }

    /// Waiting does not cure it. A host that runs for ever keeps the rest going, unless the whole host is concerned.
    fn pause(&self, worker: &str, error: Error) -> Result<Duration> {
        let whole_host = matches!(
            error.kind,
            ErrorKind::Storage | ErrorKind::Crypto | ErrorKind::Refused | ErrorKind::Config
        );
        if whole_host || self.mode == RunMode::Once {
            return Err(error);
        }
        tracing::error!(worker, %error, "paused until somebody puts it right");
        Ok(with_jitter(PAUSE))
    }
}

/// Whether the trouble is that of one system, so that syncs of others can go on.
pub(crate) fn of_one_system(error: &Error) -> bool {
    !matches!(
        error.kind,
        ErrorKind::Storage | ErrorKind::Crypto | ErrorKind::Refused | ErrorKind::Config | ErrorKind::Conflict
    )
}

/// Three quarters of the wait, and up to a half more: workers that failed together do not come back together.
fn with_jitter(wait: Duration) -> Duration {
    let mut byte = [0];
    OsRandom.fill(&mut byte);
    wait * 3 / 4 + wait * u32::from(byte[0]) / 512
}
