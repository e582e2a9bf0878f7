//! Counters: what happened since the host started.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of one host, since its start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Count,)*
        }

        impl Counters {
            /// All of them by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }
        }
    };
}

counters! {
    /// Records read by pollers.
    read,
    /// Records published.
    published,
    /// Records dropped at intake because nothing is new.
    unchanged,
    /// Records created.
    created,
    /// Records updated.
    updated,
    /// Pairs linked.
    linked,
    /// Conflicts decided.
    conflicts,
    /// Records set aside for a person.
    parked,
    /// Records set aside for their parent.
    waiting,
    /// Calls with unknown outcome.
    unknown,
    /// Ids written back.
    written_back,
    /// Messages and hints deferred.
    deferred,
    /// Messages applied.
    applied,
    /// Events seen.
    events,
    /// Events told, by subscriber.
    events_told,
    /// Edits that came between our read and our write (R7's open window), as far as seen at read-back.
    open_window,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
