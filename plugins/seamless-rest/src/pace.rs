//! The pace that a system asks for in its answers: nothing is sent before the time it names.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seamless_core::{Clock, Effect, Error, ErrorKind, Result};
use seamless_http::Response;

use crate::manifest::Limits;

/// Longer pauses are not waited for in place: the call fails at once, and the engine comes back later.
const WAIT_MAX: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Numbers above this are moments since 1970, not seconds to wait.
const EPOCH_MIN: u64 = 100_000_000;
const EPOCH_MILLIS_MIN: u64 = 100_000_000_000;

/// Until when to hold back.
#[derive(Default)]
pub(crate) struct Pace {
    until: Mutex<Duration>,
}

impl Pace {
    /// Waits until the system takes calls again; fails without a call when that is too long, or later than `send_by`.
    pub(crate) async fn wait(&self, clock: &dyn Clock, send_by: Option<Duration>) -> Result<()> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = until.saturating_sub(clock.monotonic());
        if wait.is_zero() {
            return Ok(());
        }
        if wait > WAIT_MAX || send_by.is_some_and(|by| until > by) {
            return Err(Error::new(
                ErrorKind::RateLimited,
                "the system has asked to slow down; not sent",
            )
            .effect(Effect::NotApplied)
            .retry_later(Some(wait)));
        }
        clock.sleep(wait).await;
        Ok(())
    }

    /// Reads what an answer says about the pace.
    pub(crate) fn note(&self, limits: &Limits, response: &Response, clock: &dyn Clock) {
        if let Some(pause) = asked(limits, response) {
            let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = (*until).max(clock.monotonic() + pause.min(PAUSE_MAX));
        }
    }
}

/// The pause that an answer asks for.
pub(crate) fn asked(limits: &Limits, response: &Response) -> Option<Duration> {
    let number = |name: &Option<String>| -> Option<u64> {
        response
            .header(name.as_deref()?)?
            .trim()
            .split('.')
            .next()?
            .parse()
            .ok()
    };
    let server_now = || response.server_time.map(|time| time.as_millis().max(0) as u64);
    let reset = || match number(&limits.reset_header)? {
        millis if millis >= EPOCH_MILLIS_MIN => {
            Some(Duration::from_millis(millis.saturating_sub(server_now()?)))
        }
        secs if secs >= EPOCH_MIN => Some(Duration::from_millis(
            (secs * 1_000).saturating_sub(server_now()?),
        )),
        secs => Some(Duration::from_secs(secs)),
    };
    let is_out = number(&limits.remaining_header) == Some(0);
    let refused = response.status == 429;
    let retry_after = || response.retry_after(response.server_time.unwrap_or_default());
    let pauses = [
        number(&limits.pause_header).map(Duration::from_secs),
        (refused || response.status == 503).then(retry_after).flatten(),
        (is_out || refused).then(reset).flatten(),
    ];
    pauses.into_iter().flatten().max()
}
