//! A tenant with the published keys and a generator that can be repeated.

use std::sync::Arc;

use seamless_core::Random;
use seamless_core::envelope::Sealer;

use super::{Published, Vector};

/// Counts up: different with every call, the same in every run.
pub(crate) struct Counting(std::sync::atomic::AtomicU64);

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let number = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
            chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) fn counting() -> Arc<Counting> {
    Arc::new(Counting(1.into()))
}

pub(crate) struct Fixture {
    pub(crate) published: Published,
    pub(crate) sealer: Sealer,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let published = Published::read();
        let sealer = Sealer::new(published.keys(), counting(), published.identity()).unwrap();
        Fixture { published, sealer }
    }

    pub(crate) fn vector(&self, name: &str) -> &Vector {
        self.published
            .vectors
            .iter()
            .find(|vector| vector.name == name)
            .unwrap()
    }
}
