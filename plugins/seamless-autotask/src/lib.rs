#![doc = include_str!("../README.md")]

mod budget;
mod client;
mod config;
mod countries;
mod entity;
mod error;
mod examine;
mod find;
mod gate;
mod metadata;
mod needed;
mod people;
mod plugin;
mod query;
mod read;
mod record;
mod rules;
mod sweep;
mod udf_in;
mod webhooks;
mod write;

pub use config::{AutotaskSettings, UdfIn};
pub use plugin::Autotask;
pub use webhooks::{Callout, CalloutState, Webhooks};
