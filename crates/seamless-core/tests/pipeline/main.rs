//! The engine over two small systems in memory, where one certain order of events is what matters.
#![allow(clippy::unwrap_used, reason = "a poisoned lock fails the test")]

mod held;
mod mapping;
mod rare;
mod reconcile;
mod set_aside;
mod shelf;
mod told;
