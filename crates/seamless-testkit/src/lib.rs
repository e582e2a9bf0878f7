//! Conformance suites, deterministic simulation and fakes

pub mod conformance;
pub mod sim;
