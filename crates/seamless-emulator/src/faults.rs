//! Trouble on demand.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
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
    busy_links: AtomicUsize,
    patient: AtomicBool,
    swallow: AtomicUsize,
    slow_micros: AtomicU64,
    /// Blows that a connection has not met yet.
    coming: AtomicI64,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            blows: broadcast::Sender::new(16),
            busy: AtomicUsize::new(0),
            busy_links: AtomicUsize::new(0),
            patient: AtomicBool::new(false),
            swallow: AtomicUsize::new(0),
            slow_micros: AtomicU64::new(0),
            coming: AtomicI64::new(0),
        }
    }
}

impl Faults {
    pub(crate) fn strike(&self, blow: Blow) {
        // Nobody listens when nobody is connected.
        let met = self.blows.send(blow).unwrap_or(0);
        self.coming
            .fetch_add(i64::try_from(met).unwrap_or(0), Ordering::SeqCst);
    }

    /// A connection has met a blow.
    pub(crate) fn met(&self) {
        self.coming.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until every connection has met what struck it, for a second at most: one that just went meets nothing.
    pub(crate) async fn landed(&self) {
        for _ in 0..1_000 {
            if self.coming.load(Ordering::SeqCst) <= 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.coming.store(0, Ordering::SeqCst);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Blow> {
        self.blows.subscribe()
    }

    pub(crate) fn set_busy(&self, sends: usize) {
        self.busy.store(sends, Ordering::SeqCst);
    }

    pub(crate) fn set_busy_links(&self, times: usize) {
        self.busy_links.store(times, Ordering::SeqCst);
    }

    pub(crate) fn set_patient(&self) {
        self.patient.store(true, Ordering::SeqCst);
    }

    /// Whether whoever asks for a session waits for it, however short a wait was asked for.
    pub(crate) fn is_patient(&self) -> bool {
        self.patient.load(Ordering::SeqCst)
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

    /// Whether this attach or request is answered `server-busy`.
    pub(crate) fn is_busy_link(&self) -> bool {
        take_one(&self.busy_links)
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
