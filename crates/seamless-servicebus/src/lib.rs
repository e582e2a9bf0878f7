#![doc = include_str!("../README.md")]

mod access;
mod bus;
mod connection;
mod consumer;
mod dead;
mod failure;
mod lanes;
mod message;
mod requests;

pub use access::ConnectionString;
pub use bus::{ServiceBus, Settings};
