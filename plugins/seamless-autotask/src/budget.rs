//! The hourly budget: 10,000 calls of a rolling hour, shared with software that we cannot see.
//!
//! We count our own calls, and ask Autotask now and then how many there were in all; the difference is other people's. Autotask
//! adds latency from half of the limit on and cuts everybody off at its end: we slow down before the first and stop before the second.

use std::collections::VecDeque;
use std::time::Duration;

use seamless_core::{Priority, Usage};

/// Calls are counted in slices of time: exact enough, and small however many there are.
const SLICE: Duration = Duration::from_secs(10);
/// Between two questions for the total, at least; unless many calls were made.
const ASK_EVERY: Duration = Duration::from_secs(600);
/// Own calls after which the total is asked again: two per cent of the limit.
const ASK_SHARE_PERCENT: u64 = 2;
/// At least so many calls, where that share of a small limit is less.
const ASK_CALLS_MIN: u64 = 25;
/// Own calls before the first question: fewer than a start makes. Others may have used up the hour already.
const FIRST_ASK: u64 = 12;
/// How often to look whether there is room again, when nothing says how long it takes: other people's calls leave the hour slowly.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The state of the budget. Pure: time comes from outside.
pub(crate) struct Budget {
    limit: u64,
    window: Duration,
    slices: VecDeque<(Duration, u64)>,
    /// Calls of everybody else, by the last answer.
    others: u64,
    asked_at: Option<Duration>,
    calls_since_asked: u64,
}

/// What the budget says about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go, after waiting this long.
    After(Duration),
    /// Not now; look again after this long.
    Full(Duration),
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Budget {
        Budget {
            limit,
            window: Duration::from_secs(3_600),
            slices: VecDeque::new(),
            others: 0,
            asked_at: None,
            calls_since_asked: 0,
        }
    }

    /// Whether a call of this priority may be made now. A write is never slowed down, only refused: it was read for a moment ago.
    pub(crate) fn admit(&mut self, now: Duration, priority: Priority, writes: bool) -> Admission {
        let used = self.used(now);
        let ceiling = self.limit * ceiling_percent(priority) / 100;
        if used >= ceiling {
            return Admission::Full(self.until_below(now, ceiling));
        }
        let from = self.limit * Usage::FULL_SPEED_PERCENT / 100;
        if writes || used <= from {
            return Admission::After(Duration::ZERO);
        }
        let done = (used - from) as u32 * 1_000 / (ceiling - from).max(1) as u32;
        Admission::After(slowest(priority) * done / 1_000)
    }

    /// A call goes out.
    pub(crate) fn count(&mut self, now: Duration) {
        self.calls_since_asked += 1;
        match self.slices.back_mut() {
            Some((start, calls)) if now.saturating_sub(*start) < SLICE => *calls += 1,
            _ => self.slices.push_back((now, 1)),
        }
        self.forget(now);
    }

    /// Whether it is time to ask Autotask for the total. Says so once: whoever is told asks.
    pub(crate) fn asks(&mut self, now: Duration) -> bool {
        let due = match self.asked_at {
            None => self.calls_since_asked >= FIRST_ASK,
            // The closer to the end, the less is left for a wrong guess.
            Some(at) => {
                let scarce = self.used(now) * 100 >= self.limit * Usage::FULL_SPEED_PERCENT;
                let share = (self.limit * ASK_SHARE_PERCENT / 100).max(ASK_CALLS_MIN);
                let calls = if scarce { share / 2 } else { share };
                self.calls_since_asked >= calls.max(1)
                    || (self.calls_since_asked > 0 && now.saturating_sub(at) >= ASK_EVERY)
            }
        };
        if due {
            self.asked(now);
        }
        due
    }

    /// Whether the budget may look fuller than it is, because other people's calls were counted a while ago. Says so once.
    pub(crate) fn is_stale(&mut self, now: Duration) -> bool {
        let stale = self.others > 0
            && self
                .asked_at
                .is_none_or(|at| now.saturating_sub(at) >= LOOK_AGAIN);
        if stale {
            self.asked(now);
        }
        stale
    }

    /// Autotask was asked, whatever it answered.
    fn asked(&mut self, now: Duration) {
        self.asked_at = Some(now);
        self.calls_since_asked = 0;
    }

    /// Autotask's own count. Its limit counts where it is lower than the configured one.
    pub(crate) fn told(&mut self, now: Duration, total: u64, limit: Option<u64>, window: Option<Duration>) {
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            self.limit = self.limit.min(limit);
        }
        if let Some(window) = window.filter(|window| !window.is_zero()) {
            self.window = window;
        }
        self.others = total.saturating_sub(self.own(now));
        self.asked(now);
    }

    /// Autotask says that the limit is reached, whatever we thought.
    pub(crate) fn exhausted(&mut self, now: Duration) {
        self.others = self.limit.saturating_sub(self.own(now));
        self.asked(now);
    }

    pub(crate) fn usage(&mut self, now: Duration) -> Usage {
        Usage {
            limit: self.limit,
            window: self.window,
            used: self.used(now),
            own: self.own(now),
            held: None,
        }
    }

    fn used(&mut self, now: Duration) -> u64 {
        self.own(now) + self.others
    }

    fn own(&mut self, now: Duration) -> u64 {
        self.forget(now);
        self.slices.iter().map(|(_, calls)| calls).sum()
    }

    fn forget(&mut self, now: Duration) {
        // A slice is forgotten when its youngest call has left the window.
        while self
            .slices
            .front()
            .is_some_and(|(start, _)| now.saturating_sub(*start) >= self.window + SLICE)
        {
            self.slices.pop_front();
        }
    }

    /// When enough of our own calls will have left the window; other people's may leave sooner.
    fn until_below(&self, now: Duration, ceiling: u64) -> Duration {
        let own: u64 = self.slices.iter().map(|(_, calls)| calls).sum();
        let mut surplus = (own + self.others + 1).saturating_sub(ceiling);
        for (start, calls) in &self.slices {
            surplus = surplus.saturating_sub(*calls);
            if surplus == 0 {
                let wait = (*start + self.window + SLICE).saturating_sub(now);
                return wait.clamp(Duration::from_secs(1), LOOK_AGAIN);
            }
        }
        LOOK_AGAIN
    }
}

/// How far each priority may fill the hour. The rest belongs to those before it, and the last part to everybody else.
fn ceiling_percent(priority: Priority) -> u64 {
    match priority {
        Priority::Live => 95,
        Priority::Poll => 85,
        Priority::Backfill => 70,
        Priority::Plan => Usage::BULK_PERCENT,
        // From here on the vendor makes everybody wait.
        Priority::Reconcile => 50,
    }
}

/// The wait before a call when its ceiling is nearly reached.
fn slowest(priority: Priority) -> Duration {
    match priority {
        Priority::Live => Duration::from_millis(500),
        Priority::Poll => Duration::from_secs(2),
        Priority::Backfill | Priority::Plan | Priority::Reconcile => Duration::from_secs(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10_000);

    fn filled(calls: u64) -> Budget {
        let mut budget = Budget::new(1_000);
        for _ in 0..calls {
            budget.count(NOW);
        }
        budget
    }

    #[test]
    fn each_priority_slows_down_and_ends_where_it_should() {
        use Admission::{After, Full};
        use Priority::*;
        let free = After(Duration::ZERO);
        for (used, live, poll, backfill, plan, reconcile) in [
            (0, true, true, true, true, true),
            (499, true, true, true, true, true),
            (500, true, true, true, true, false),
            (600, true, true, true, false, false),
            (700, true, true, false, false, false),
            (850, true, false, false, false, false),
            (950, false, false, false, false, false),
        ] {
            let mut budget = filled(used);
            for (priority, admitted) in [
                (Live, live),
                (Poll, poll),
                (Backfill, backfill),
                (Plan, plan),
                (Reconcile, reconcile),
            ] {
                let got = budget.admit(NOW, priority, false);
                assert_eq!(matches!(got, After(_)), admitted, "{used} {priority:?}");
                if used <= 400 {
                    assert_eq!(got, free);
                } else if let After(wait) = got {
                    assert!(!wait.is_zero(), "the vendor slows down at 500: {used}");
                }
                if admitted {
                    assert_eq!(
                        budget.admit(NOW, priority, true),
                        free,
                        "a write waits for nothing"
                    );
                }
            }
        }
        assert_eq!(
            filled(950).admit(NOW + Duration::from_secs(3_580), Live, true),
            Full(Duration::from_secs(30)),
            "until the calls leave the window"
        );
        assert_eq!(
            filled(950).admit(NOW + Duration::from_secs(3_611), Live, true),
            free
        );
    }

    #[test]
    fn other_peoples_calls_count() {
        let mut budget = filled(100);
        budget.told(NOW, 980, Some(1_000), None);
        assert_eq!(budget.usage(NOW).used, 980);
        assert!(matches!(
            budget.admit(NOW, Priority::Live, true),
            Admission::Full(_)
        ));
        budget.told(NOW, 150, Some(500), Some(Duration::from_secs(60)));
        let usage = budget.usage(NOW);
        assert_eq!((usage.used, usage.own, usage.limit), (150, 100, 500));
        budget.exhausted(NOW);
        assert!(matches!(
            budget.admit(NOW, Priority::Live, true),
            Admission::Full(_)
        ));
        assert!(!budget.is_stale(NOW), "it has just been told");
        assert!(
            budget.is_stale(NOW + LOOK_AGAIN),
            "or it would stay full for ever"
        );
        assert!(!budget.is_stale(NOW + LOOK_AGAIN), "one question is enough");
    }

    #[test]
    fn the_total_is_asked_for_sparingly() {
        let mut budget = Budget::new(10_000);
        let mut asked = 0;
        for _ in 0..1_150 {
            budget.count(NOW);
            asked += u32::from(budget.asks(NOW));
        }
        assert_eq!(asked, 6, "at 12, and then every 200");
        assert!(!budget.asks(NOW + ASK_EVERY / 2));
        assert!(budget.asks(NOW + ASK_EVERY), "now and then");
        assert!(
            !budget.asks(NOW + ASK_EVERY * 2),
            "but not while nothing is called"
        );
    }
}
