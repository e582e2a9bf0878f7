#![doc = include_str!("../README.md")]

mod answer;
mod auth;
mod body;
mod call;
mod connector;
mod describe;
mod events;
mod examine;
mod find;
mod jinja;
mod json_path;
mod listing;
pub mod manifest;
mod openapi;
mod pace;
mod page;
mod plugin;
mod read;
mod rows;
mod settings;
mod shape;
mod slots;
mod stamp;
mod template;
mod trial;
mod webhook;
mod write;
mod xml;

pub use manifest::{Manifest, manifest_schema};
pub use openapi::draft;
pub use plugin::Rest;
pub use settings::Settings;
pub use stamp::StampFormat;
pub use trial::{Operation, Shown, Step, Trial, try_operation};

/// The manifest of the sandbox's CRM (`seamless sandbox`, `seamless demo`).
pub const SANDBOX_CRM: &str = include_str!("../manifests/sandbox-crm.toml");
