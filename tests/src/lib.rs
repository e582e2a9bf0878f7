//! What the end-to-end tests share: the real binary as a child process, a tenant folder of its own for each test, and the sandbox's systems in
//! the test's own process, so that people's edits, faults and the truth are one call away.
//!
//! **The binary.** Cargo tells integration tests the path of their own package's binaries only, and these tests live outside the package
//! `seamless`. `cargo test --workspace` builds the binary anyway, next to the tests (`target/<profile>/seamless`), because that package has an
//! integration test of its own. [`binary`] takes it from there, and runs `cargo build` once if it is missing or older than a source file: then
//! `cargo test -p seamless-tests` alone never tests yesterday's program.

mod binary;
pub mod fuzz;
pub mod kill;
mod process;
mod rng;
pub mod simulated;
mod world;

pub use binary::{binary, workspace};
pub use process::{Ended, Running};
pub use rng::Rng;
pub use world::{World, number, text};
