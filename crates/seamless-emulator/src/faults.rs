//! Trouble on demand.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;

/// What every connection has to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Close the socket without a word.
    Kill,
    /// Detach every link, as the service does with idle ones.
    Detach,
}

pub(crate) struct Faults {
    blows: broadcast::Sender<Blow>,
    busy: AtomicUsize,
    swallow: AtomicUsize,
    slow_micros: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            blows: broadcast::Sender::new(16),
            busy: AtomicUsize::new(0),
            swallow: AtomicUsize::new(0),
            slow_micros: AtomicU64::new(0),
        }
    }
}

impl Faults {
    pub(crate) fn strike(&self, blow: Blow) {
        // Nobody listens when nobody is connected.
        drop(self.blows.send(blow));
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Blow> {
        self.blows.subscribe()
    }

    pub(crate) fn set_busy(&self, sends: usize) {
        self.busy.store(sends, Ordering::SeqCst);
    }

    pub(crate) fn set_swallow(&self, sends: usize) {
        self.swallow.store(sends, Ordering::SeqCst);
    }

    pub(crate) fn set_slow(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.slow_micros.store(micros, Ordering::SeqCst);
    }

    /// Whether this send is answered `server-busy`.
    pub(crate) fn is_busy(&self) -> bool {
        take_one(&self.busy)
    }

    /// Whether this send is kept but never answered.
    pub(crate) fn swallows(&self) -> bool {
        take_one(&self.swallow)
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_micros(self.slow_micros.load(Ordering::SeqCst))
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}
