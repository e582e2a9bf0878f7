//! Virtual time and a seeded scheduler for futures that wait only by [`Sim::pause`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{Clock, Timestamp};

use super::rng::Rng;

/// Where virtual time starts on everybody's wall clock, in microseconds since 1970.
pub(super) const EPOCH: i64 = 1_700_000_000_000_000;

/// The shared state of a run: time, chance, trace.
#[derive(Clone)]
pub(super) struct Sim(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) hash: u64,
    pub(super) trace: Option<Vec<String>>,
    pub(super) stalls: u64,
    pub(super) stall: Duration,
    pub(super) calm: bool,
    /// When the task that is being polled wants to be polled again; a task that waits for another one says nothing.
    wake: Option<Duration>,
    step: u64,
}

/// After so long a task that waits for another one is polled again.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

impl Sim {
    pub(super) fn new(seed: u64, stalls: u64, stall: Duration, keep_trace: bool) -> Sim {
        Sim(Arc::new(Mutex::new(State {
            now: Duration::from_secs(1),
            rng: Rng::new(seed),
            hash: 0xcbf2_9ce4_8422_2325,
            trace: keep_trace.then(Vec::new),
            stalls,
            stall,
            calm: false,
            wake: None,
            step: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.state().now
    }

    /// Notes what happened, where a trace is kept.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.trace.is_none() {
            return;
        }
        let (now, line) = (state.now, line());
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{:>9.3} {line}", now.as_secs_f64()));
        }
    }

    /// Whether a trace is kept.
    #[cfg(feature = "sandbox")]
    pub(super) fn traced(&self) -> bool {
        self.state().trace.is_some()
    }

    /// An await point: takes a little time, now and then a lot.
    pub(super) fn pause(&self) -> Pause {
        let mut state = self.state();
        let stalls = state.stalls;
        let long = !state.calm && state.rng.per_mille(stalls);
        let length = if long {
            state.stall
        } else {
            Duration::from_micros(state.rng.between(50, 2_000))
        };
        drop(state);
        self.wait(length)
    }

    pub(super) fn wait(&self, length: Duration) -> Pause {
        Pause {
            sim: self.clone(),
            until: self.now() + length,
        }
    }
}

/// Waits for a virtual moment.
pub(super) struct Pause {
    sim: Sim,
    until: Duration,
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.sim.state();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        state.wake = Some(self.until);
        // The executor does not listen; a set of futures polls only those that were woken.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl Clock for Sim {
    fn now(&self) -> Timestamp {
        Timestamp(EPOCH + self.state().now.as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.state().now
    }

    async fn sleep(&self, duration: Duration) {
        self.wait(duration).await;
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks of all hosts.
pub(super) struct Executor {
    sim: Sim,
    tasks: Vec<Slot>,
    /// When each of them is due.
    wakes: Vec<Duration>,
    /// Places of the tasks that are due in a step.
    due: Vec<usize>,
}

struct Slot {
    host: usize,
    task: Task,
}

impl Executor {
    pub(super) fn new(sim: Sim) -> Executor {
        Executor {
            sim,
            tasks: Vec::new(),
            wakes: Vec::new(),
            due: Vec::new(),
        }
    }

    pub(super) fn spawn(&mut self, host: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(Slot {
            host,
            task: Box::pin(task),
        });
        self.wakes.push(Duration::ZERO);
    }

    /// Drops every task of a host where it stands.
    pub(super) fn kill(&mut self, host: usize) {
        let mut slots = self.tasks.iter();
        self.wakes
            .retain(|_| slots.next().is_some_and(|slot| slot.host != host));
        self.tasks.retain(|slot| slot.host != host);
    }

    /// Polls one task that is due, chosen by chance; moves time when none is due. False when there are no tasks.
    pub(super) fn step(&mut self) -> bool {
        let Some(soonest) = self.wakes.iter().copied().min() else {
            return false;
        };
        let chosen = {
            let mut state = self.sim.state();
            state.now = state.now.max(soonest);
            state.step += 1;
            state.wake = None;
            let now = state.now;
            self.due.clear();
            let due = self.wakes.iter().enumerate().filter(|(_, wake)| **wake <= now);
            self.due.extend(due.map(|(at, _)| at));
            let pick = state.rng.below(self.due.len() as u64) as usize;
            let chosen = self.due[pick];
            // Who ran when is the whole run: the rest follows from the seed.
            let mixed = state.hash ^ now.as_nanos() as u64 ^ (chosen as u64) << 48;
            state.hash = mixed.wrapping_mul(0x0100_0000_01b3);
            chosen
        };
        let done = self.tasks[chosen]
            .task
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        if done {
            self.tasks.remove(chosen);
            self.wakes.remove(chosen);
        } else {
            let state = self.sim.state();
            self.wakes[chosen] = state.wake.unwrap_or(state.now + LOOK_AGAIN);
        }
        true
    }

    pub(super) fn steps(&self) -> u64 {
        self.sim.state().step
    }
}
