//! A clock that stands still until a test moves it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{Clock, Timestamp};

/// A [`Clock`] moved by hand; sleepers wake when it passes their moment.
#[derive(Default)]
pub struct TestClock {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    next_sleeper: u64,
    /// By moment, then by arrival, so that they wake in order.
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

/// What `now()` shows when the clock starts: 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000_000);

impl TestClock {
    /// A clock that stands still. It has left zero, so that a test can speak of a moment before now.
    pub fn new() -> Arc<TestClock> {
        let clock = TestClock::default();
        clock.advance(Duration::from_secs(1));
        Arc::new(clock)
    }

    /// Moves the clock and wakes whom it passes.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.now += by;
        state.wake_due();
    }

    /// Moves the clock to the first sleeper's moment and wakes it; false when nobody sleeps.
    pub fn advance_to_next_sleeper(&self) -> bool {
        let mut state = self.state();
        let Some((moment, _)) = state.sleepers.keys().next().copied() else {
            return false;
        };
        state.now = state.now.max(moment);
        state.wake_due();
        true
    }

    /// Runs a future to its end, moving the clock from sleeper to sleeper as long as it waits for time.
    pub async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            self.advance_to_next_sleeper();
            // It may wait for a thread of the implementation instead: look again.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_due(&mut self) {
        let later = self.sleepers.split_off(&(self.now + Duration::from_nanos(1), 0));
        for waker in std::mem::replace(&mut self.sleepers, later).into_values() {
            waker.wake();
        }
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        START.plus(self.state().now)
    }

    fn monotonic(&self) -> Duration {
        self.state().now
    }

    async fn sleep(&self, duration: Duration) {
        let (moment, number) = {
            let mut state = self.state();
            state.next_sleeper += 1;
            (state.now.saturating_add(duration), state.next_sleeper)
        };
        // A dropped sleep must not hold the clock back.
        let _awake = Awake {
            clock: self,
            place: (moment, number),
        };
        poll_fn(|context| {
            let mut state = self.state();
            if state.now >= moment {
                return Poll::Ready(());
            }
            state.sleepers.insert((moment, number), context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

struct Awake<'a> {
    clock: &'a TestClock,
    place: (Duration, u64),
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.place);
    }
}
