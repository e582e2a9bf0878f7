#![doc = include_str!("../README.md")]

mod access;
mod blobs;
mod bus;
mod connection;
mod consumer;
mod dead;
mod failure;
#[cfg(feature = "https")]
mod https;
mod identity;
mod lanes;
mod manage;
mod message;
mod notes;
mod requests;
mod rest;
mod verify;

pub use access::{ConnectionString, certificates};
pub use blobs::AzureBlobs;
pub use bus::{ServiceBus, Settings, Transport};
#[cfg(feature = "https")]
pub use https::ServiceBusHttps;
pub use identity::Identity;
pub use manage::{Blueprint, BusPlan, Provisioner, Step};
