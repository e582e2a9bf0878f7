//! The operating system's randomness.

use seamless_core::Random;

/// The operating system's generator. Fails closed: a process that cannot get randomness ends before it seals anything with a guessable nonce.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            tracing::error!(%error, "the operating system gives no randomness; stopping at once");
            std::process::abort();
        }
    }
}
