//! What a connector can say about its system beyond records: how much of it may be used, and what an operator should know.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What calls are for. The order is the order of precedence: when calls run short, the last ones wait first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Writes of edits that people have just made, and the reads for them.
    #[default]
    Live,
    /// Looking for changes.
    Poll,
    /// First loads and sweeps.
    Backfill,
    /// Looking at what would happen.
    Plan,
    /// Looking for what change stamps have missed: there is no hurry at all.
    Reconcile,
}

/// How the call budget of a system stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Calls that the system allows within `window`, everybody's together.
    pub limit: u64,
    /// The rolling window that the limit is for.
    pub window: Duration,
    /// Calls of everybody within the last window, as far as known.
    pub used: u64,
    /// Of them, ours.
    pub own: u64,
    /// Until when no call is made, from now on: the system asked for it, or the budget is used up.
    pub held: Option<Duration>,
}

/// What some calls would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// The calls.
    pub calls: u64,
    /// How long they take, at the pace at which such calls are made.
    pub time: Duration,
    /// What they leave of the window's limit for everything else, in percent.
    pub leaves_percent: u8,
}

impl Usage {
    /// Share of the limit up to which calls are made at full speed. Above it they are spread.
    pub const FULL_SPEED_PERCENT: u64 = 40;
    /// Share of the limit that bulk work may use within a window.
    pub const BULK_PERCENT: u64 = 60;
    /// Calls a second at full speed: two at once, about a fifth of a second each.
    const CALLS_A_SECOND: u64 = 10;

    /// What that many calls of bulk work (a first load, a sweep, applying a plan) would cost from now on.
    pub fn forecast(&self, calls: u64) -> Forecast {
        let share = |percent: u64| self.limit * percent / 100;
        let quick = calls.min(share(Self::FULL_SPEED_PERCENT).saturating_sub(self.used));
        let spread = calls - quick;
        // What goes beyond is spread so that a whole window holds its share.
        let slow = self.window.as_secs() * spread / share(Self::BULK_PERCENT).max(1);
        let window_calls = calls.min(share(Self::BULK_PERCENT));
        let taken = (self.used + window_calls) * 100 / self.limit.max(1);
        Forecast {
            calls,
            time: Duration::from_secs((quick / Self::CALLS_A_SECOND).max(u64::from(calls > 0)) + slow),
            leaves_percent: 100u64.saturating_sub(taken) as u8,
        }
    }
}

impl std::fmt::Display for Forecast {
    /// `4,100 calls, 41 min, leaves 60 % for live changes`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secs = self.time.as_secs();
        let time = if secs < 90 {
            format!("{secs} s")
        } else {
            format!("{} min", secs.div_ceil(60))
        };
        write!(
            f,
            "{} calls, {time}, leaves {} % for live changes",
            grouped(self.calls),
            self.leaves_percent
        )
    }
}

/// A number as people write it: `4,100`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An option list whose entries depend on what another field holds (sub-issue types on issue types).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependentOptions {
    /// The field with the list.
    pub field: String,
    /// The field it depends on.
    pub parent: String,
    /// Option of the list → the option of the parent field that it belongs to, both as the records hold them.
    pub parents: BTreeMap<String, String>,
}

/// Something that an operator should know before records are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Work would go wrong; not merely worth knowing.
    pub wrong: bool,
    /// What was found, and what to do about it.
    pub sentence: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(used: u64) -> Usage {
        Usage {
            limit: 10_000,
            window: Duration::from_secs(3_600),
            used,
            own: 0,
            held: None,
        }
    }

    #[test]
    fn a_forecast_is_quick_at_first_and_then_spread() {
        let few = usage(0).forecast(100);
        assert_eq!((few.time.as_secs(), few.leaves_percent), (10, 99));
        assert_eq!(usage(0).forecast(0).time, Duration::ZERO);
        let many = usage(4_000).forecast(4_100);
        assert_eq!((many.time.as_secs() / 60, many.leaves_percent), (41, 19));
        assert_eq!(
            usage(0).forecast(4_000).to_string(),
            "4,000 calls, 7 min, leaves 60 % for live changes"
        );
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let huge = usage(0).forecast(1_000_000);
        assert!(
            huge.time > Duration::from_secs(160 * 3_600) && huge.leaves_percent == 40,
            "{huge}"
        );
    }

    #[test]
    fn what_calls_cost_follows_from_what_was_used_already() {
        // Used, calls → seconds, what is left of the limit.
        for (used, calls, secs, leaves) in [
            (0, 1, 1, 100),
            (0, 4_000, 400, 60),
            // 3,000 at full speed, 2,000 spread over a third of an hour.
            (1_000, 5_000, 300 + 1_200, 40),
            (4_000, 6_000, 1 + 3_600, 0),
            (4_000, 1, 1, 60),
            (9_000, 60, 36 + 1, 10),
            (20_000, 0, 0, 0),
        ] {
            let forecast = usage(used).forecast(calls);
            assert_eq!(
                (forecast.calls, forecast.time.as_secs(), forecast.leaves_percent),
                (calls, secs, leaves),
                "{calls} calls after {used}"
            );
        }
        let shown = |secs| {
            let time = Duration::from_secs(secs);
            let forecast = Forecast {
                calls: 1,
                time,
                leaves_percent: 5,
            };
            forecast.to_string()
        };
        assert_eq!(shown(89), "1 calls, 89 s, leaves 5 % for live changes");
        assert_eq!(shown(90), "1 calls, 2 min, leaves 5 % for live changes");
        let unknown = Usage { limit: 0, ..usage(0) };
        assert_eq!(
            unknown.forecast(1).time,
            Duration::from_secs(3_601),
            "no limit is no division by zero"
        );
    }
}
