//! Autotask's two limits: requests per rolling hour, and concurrent calls per endpoint.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// The window of the hourly limit.
pub(crate) const WINDOW_MINUTES: u32 = 60;

/// What the hourly limit says about a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Admission {
    /// Go on after so many milliseconds on the limit's clock.
    Go(u64),
    /// Refused until usage drops.
    Refused,
}

/// Counters of the limits.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    window: VecDeque<f64>,
    running: HashMap<(String, String), u32>,
    /// Highest concurrency ever admitted, by endpoint.
    pub(crate) peaks: BTreeMap<String, u32>,
}

impl Limits {
    /// Requests within the window that ends now.
    pub(crate) fn used(&mut self, now_ms: f64) -> u32 {
        let start = now_ms - f64::from(WINDOW_MINUTES) * 60_000.0;
        while self.window.front().is_some_and(|t| *t <= start) {
            self.window.pop_front();
        }
        self.window.len() as u32
    }

    /// Counts a call: free below half of the limit, then slower, then refused.
    pub(crate) fn admit(&mut self, now_ms: f64, limit: u32) -> Admission {
        let used = self.used(now_ms);
        if used >= limit {
            return Admission::Refused;
        }
        self.window.push_back(now_ms);
        let share = f64::from(used + 1) / f64::from(limit.max(1));
        Admission::Go(match share {
            s if s >= 0.75 => 1000,
            s if s >= 0.5 => 500,
            _ => 0,
        })
    }

    /// Takes a thread slot, if one is free.
    pub(crate) fn enter(&mut self, code: &str, endpoint: &str, max: u32) -> bool {
        let slot = self
            .running
            .entry((code.to_owned(), endpoint.to_owned()))
            .or_default();
        if *slot >= max {
            return false;
        }
        *slot += 1;
        let peak = self.peaks.entry(endpoint.to_owned()).or_default();
        *peak = (*peak).max(*slot);
        true
    }

    /// Gives a thread slot back.
    pub(crate) fn leave(&mut self, code: &str, endpoint: &str) {
        let key = (code.to_owned(), endpoint.to_owned());
        if let Some(slot) = self.running.get_mut(&key) {
            *slot = slot.saturating_sub(1);
            if *slot == 0 {
                self.running.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_has_tiers_and_an_end() {
        let mut limits = Limits::default();
        let got: Vec<Admission> = (0..5).map(|i| limits.admit(f64::from(i), 4)).collect();
        use Admission::{Go, Refused};
        assert_eq!(got, [Go(0), Go(500), Go(1000), Go(1000), Refused]);
        assert_eq!(
            limits.admit(3_600_000.5, 4),
            Go(1000),
            "the first one has left the window"
        );
    }
}
