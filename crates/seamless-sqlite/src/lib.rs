#![doc = include_str!("../README.md")]

mod bus;
mod database;
mod failure;
mod folder;
mod message;
mod schema;
mod store;
mod worker;

pub use database::Sqlite;
