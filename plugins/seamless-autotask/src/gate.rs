//! What every call has to pass before it goes out: a free slot of its endpoint, no hold, and the budget.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seamless_core::{Clock, Error, ErrorKind, Priority, Result, Usage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::{Admission, Budget};

/// A hold that is over so soon is waited for; a longer one is told to the pipeline, which has other things to do.
const WAITED_FOR: Duration = Duration::from_secs(3);
/// How long an endpoint is left alone after "too many threads", when the server does not say: its slots free a little after the answers.
pub(crate) const THREADS_PAUSE: Duration = Duration::from_secs(1);

/// The endpoint that tells the total of calls. Asking it is never refused by the budget: only it can say that there is room again.
pub(crate) const THRESHOLD: &str = "ThresholdInformation";

/// What a call is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose<'a> {
    /// The endpoint whose threads it counts under.
    pub(crate) endpoint: &'a str,
    /// Another one under which it may count: child addresses count under their parent's name, by what clients have seen.
    pub(crate) also: Option<&'a str>,
    pub(crate) priority: Priority,
    pub(crate) writes: bool,
}

impl<'a> Purpose<'a> {
    /// A reading call for what people have just done.
    pub(crate) fn read(endpoint: &'a str) -> Purpose<'a> {
        Purpose {
            endpoint,
            also: None,
            priority: Priority::Live,
            writes: false,
        }
    }
}

pub(crate) struct Gate {
    clock: Arc<dyn Clock>,
    concurrency: usize,
    slots: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    holds: Mutex<Holds>,
    budget: Mutex<Budget>,
    at_most: Mutex<Priority>,
}

/// Until when nothing is sent, on the monotonic clock.
#[derive(Default)]
struct Holds {
    all: Option<Duration>,
    endpoints: BTreeMap<String, Duration>,
}

/// Held while a call is under way.
pub(crate) struct Pass {
    _slots: Vec<OwnedSemaphorePermit>,
}

impl Gate {
    pub(crate) fn new(clock: Arc<dyn Clock>, concurrency: usize, hourly_limit: u64) -> Gate {
        Gate {
            clock,
            concurrency,
            slots: Mutex::default(),
            holds: Mutex::default(),
            budget: Mutex::new(Budget::new(hourly_limit)),
            at_most: Mutex::default(),
        }
    }

    /// Waits for a slot, then asks whether the call may be made *now*: what was learned while it waited counts. Errors had no effect.
    pub(crate) async fn enter(&self, purpose: Purpose<'_>) -> Result<Pass> {
        // Always in the same order, so that two calls never wait for each other.
        let mut endpoints: Vec<&str> = [Some(purpose.endpoint), purpose.also]
            .into_iter()
            .flatten()
            .collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        let mut slots = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            let slot = self.slots(endpoint).acquire_owned().await;
            slots.push(slot.map_err(|_| Error::unavailable("the autotask client is closed"))?);
        }
        let priority = purpose.priority.max(*lock(&self.at_most));
        self.wait_for_holds(&endpoints, purpose.writes).await?;
        if purpose.endpoint == THRESHOLD {
            lock(&self.budget).count(self.clock.monotonic());
            return Ok(Pass { _slots: slots });
        }
        let admission = lock(&self.budget).admit(self.clock.monotonic(), priority, purpose.writes);
        match admission {
            Admission::After(wait) if wait.is_zero() => {}
            Admission::After(wait) => {
                self.clock.sleep(wait).await;
                self.wait_for_holds(&endpoints, purpose.writes).await?;
            }
            Admission::Full(again) => {
                let text = "the hourly autotask budget of this kind of call is used up; not sent, so that other integrations and live changes \
                            still get through";
                return Err(Error::new(ErrorKind::RateLimited, text).retry_later(Some(again)));
            }
        }
        lock(&self.budget).count(self.clock.monotonic());
        Ok(Pass { _slots: slots })
    }

    /// The server asks for a pause: of one endpoint, or of everything.
    pub(crate) fn hold(&self, endpoint: Option<&str>, pause: Duration) {
        let until = self.clock.monotonic() + pause;
        let mut holds = lock(&self.holds);
        match endpoint {
            Some(endpoint) => {
                let slot = holds.endpoints.entry(endpoint.to_owned()).or_default();
                *slot = until.max(*slot);
            }
            None => holds.all = Some(holds.all.map_or(until, |known| known.max(until))),
        }
    }

    /// Whether it is time to ask for the total of calls.
    pub(crate) fn asks_for_total(&self) -> bool {
        lock(&self.budget).asks(self.clock.monotonic())
    }

    /// Whether the budget is thought to be full on the strength of an old answer.
    pub(crate) fn may_be_wrong(&self) -> bool {
        lock(&self.budget).is_stale(self.clock.monotonic())
    }

    pub(crate) fn told(&self, total: u64, limit: Option<u64>, window: Option<Duration>) {
        lock(&self.budget).told(self.clock.monotonic(), total, limit, window);
    }

    pub(crate) fn exhausted(&self) {
        lock(&self.budget).exhausted(self.clock.monotonic());
    }

    pub(crate) fn set_priority(&self, priority: Priority) {
        *lock(&self.at_most) = priority;
    }

    pub(crate) fn usage(&self) -> Usage {
        let now = self.clock.monotonic();
        let held = lock(&self.holds).all.and_then(|until| until.checked_sub(now));
        Usage {
            held: held.filter(|held| !held.is_zero()),
            ..lock(&self.budget).usage(now)
        }
    }

    async fn wait_for_holds(&self, endpoints: &[&str], writes: bool) -> Result<()> {
        loop {
            let now = self.clock.monotonic();
            let left = lock(&self.holds).left(now, endpoints);
            if left.is_zero() {
                return Ok(());
            }
            // A write has been read for a moment ago; waiting would make it stale.
            if writes || left > WAITED_FOR {
                let text = "autotask asked for a pause that is not over yet; not sent";
                return Err(Error::new(ErrorKind::RateLimited, text).retry_later(Some(left)));
            }
            self.clock.sleep(left).await;
        }
    }

    fn slots(&self, endpoint: &str) -> Arc<Semaphore> {
        let mut slots = lock(&self.slots);
        slots
            .entry(endpoint.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.concurrency)))
            .clone()
    }
}

impl Holds {
    fn left(&mut self, now: Duration, endpoints: &[&str]) -> Duration {
        self.all = self.all.filter(|until| *until > now);
        self.endpoints.retain(|_, until| *until > now);
        let own = endpoints
            .iter()
            .filter_map(|endpoint| self.endpoints.get(*endpoint));
        let until = own.chain(self.all.as_ref()).max().copied();
        until.unwrap_or(now).saturating_sub(now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
