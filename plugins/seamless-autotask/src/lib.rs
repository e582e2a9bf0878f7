#![doc = include_str!("../README.md")]

mod client;
mod config;
mod countries;
mod entity;
mod error;
mod find;
mod metadata;
mod plugin;
mod read;
mod record;
mod udf_in;
mod write;

pub use config::{AutotaskSettings, UdfIn};
pub use plugin::Autotask;
