//! The connector against scripted servers on loopback, and the manifest reader against mistakes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod auth;
mod gallery;
mod in_step;
mod lists;
mod manifests;
mod mistakes;
mod reading;
mod sandbox_crm;
mod shapes;
mod support;
mod traps;
mod trial;
mod webhooks;
mod writing;
