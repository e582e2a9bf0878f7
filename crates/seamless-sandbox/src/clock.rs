//! The sandbox's clocks: one for stamps and `Date` headers, one (which may run fast) for the hourly limit.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time and limit time of one sandbox.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    epoch_ms: i64,
    /// Stands still until it is set again.
    set_ms: Option<i64>,
    advanced_ms: i64,
    speed: f64,
    /// Limit time at the moment the speed was last changed, and the real elapsed time then.
    limit_base_ms: f64,
    limit_base_at: Duration,
}

// The sandbox stands outside the product: it plays a remote server, whose clock is its own.
#[allow(clippy::disallowed_methods)]
fn real_now() -> (Instant, i64) {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64);
    (Instant::now(), ms)
}

// Same reason as above.
#[allow(clippy::disallowed_methods)]
fn elapsed(since: Instant) -> Duration {
    Instant::now().duration_since(since)
}

impl Clock {
    pub(crate) fn new(speed: f64) -> Self {
        let (started, epoch_ms) = real_now();
        Self {
            started,
            epoch_ms,
            set_ms: None,
            advanced_ms: 0,
            speed: sane(speed),
            limit_base_ms: 0.0,
            limit_base_at: Duration::ZERO,
        }
    }

    /// A clock that somebody else moves.
    pub(crate) fn held(now_ms: i64) -> Self {
        Self {
            epoch_ms: now_ms,
            set_ms: Some(now_ms),
            ..Self::new(1.0)
        }
    }

    /// Moves a held clock; it never goes back.
    pub(crate) fn set(&mut self, now_ms: i64) {
        self.set_ms = self.set_ms.map(|before| before.max(now_ms));
    }

    /// Time since the start, unless somebody else moves the clock.
    fn elapsed(&self) -> Duration {
        match self.set_ms {
            Some(now) => Duration::from_millis(now.abs_diff(self.epoch_ms)),
            None => elapsed(self.started),
        }
    }

    /// Milliseconds since the epoch as the simulated servers see them.
    pub(crate) fn now_ms(&self) -> i64 {
        self.epoch_ms + self.elapsed().as_millis() as i64 + self.advanced_ms
    }

    /// Milliseconds on the clock of the hourly limit.
    pub(crate) fn limit_ms(&self) -> f64 {
        let real = self.elapsed().saturating_sub(self.limit_base_at).as_secs_f64() * 1000.0;
        self.limit_base_ms + real * self.speed + self.advanced_ms as f64
    }

    pub(crate) fn speed(&self) -> f64 {
        self.speed
    }

    pub(crate) fn set_speed(&mut self, speed: f64) {
        self.limit_base_ms = self.limit_ms() - self.advanced_ms as f64;
        self.limit_base_at = self.elapsed();
        self.speed = sane(speed);
    }

    pub(crate) fn advance(&mut self, secs: f64) {
        self.advanced_ms += (secs.max(0.0) * 1000.0) as i64;
    }
}

fn sane(speed: f64) -> f64 {
    if speed.is_finite() && speed > 0.0 {
        speed
    } else {
        1.0
    }
}
