#![doc = include_str!("../README.md")]

mod admin;
mod at;
mod call;
mod calls;
mod clock;
mod config;
mod crm;
mod faults;
mod limits;
mod net;
mod offline;
mod plan;
mod rng;
mod schema;
mod seed;
mod server;
mod store;
mod truth;
mod value;
mod wire;
mod world;

use serde::{Deserialize, Serialize};

pub use at::hooks::HookForm;
pub use config::{Config, UdfIn};
pub use faults::{Fault, Faults, On};
pub use offline::{Offline, OfflineArrived, OfflineCall, OfflineLanding, OfflineOutcome};
pub use server::Sandbox;

/// One of the two simulated systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// The Autotask simulator.
    Autotask,
    /// The small CRM.
    Crm,
}

impl System {
    /// The system on the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Autotask => Self::Crm,
            Self::Crm => Self::Autotask,
        }
    }
}

/// An entity. The last four exist in Autotask only and are read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// `Companies` / `accounts`.
    Account = 0,
    /// `Contacts` / `contacts`.
    Contact = 1,
    /// `Tickets` / `tickets`.
    Ticket = 2,
    /// `Opportunities` / `opportunities`.
    Opportunity = 3,
    /// `Countries`.
    Country = 4,
    /// `Resources`.
    Resource = 5,
    /// `Roles`.
    Role = 6,
    /// `ResourceServiceDeskRoles`.
    ServiceDeskRole = 7,
}

impl Entity {
    /// The entities which both systems have.
    pub const SYNCED: [Self; 4] = [Self::Account, Self::Contact, Self::Ticket, Self::Opportunity];
}
