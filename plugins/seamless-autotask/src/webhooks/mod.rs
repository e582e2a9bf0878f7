//! Webhooks: setting them up in Autotask, and reading what they send. Polling stays the truth; an event is a hint to look now.

pub(crate) mod event;
mod setup;

pub use setup::{Callout, CalloutState, Webhooks};
