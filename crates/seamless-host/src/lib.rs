//! From a tenant's configuration to a running host. Integrators link this crate, register their connectors and write a short `main`:
//!
//! ```no_run
//! # use std::path::Path;
//! # use seamless_core::{MappingDefaults, Registry, Result, pipeline::EntityModel};
//! # use seamless_host::{Config, Host, Plugins, RunMode, RunOptions, Silent};
//! # async fn example(registry: Registry, models: Vec<EntityModel>, defaults: MappingDefaults) -> Result<()> {
//! let plugins = Plugins { registry, models, defaults };           // Registry::default().connector(MyCrm) …
//! let config = Config::load(Path::new("tenant.toml"))?;           // or Config::parse(text, file)
//! let host = Host::open(config, plugins).await?;
//! let options = RunOptions { mode: RunMode::Once, accept_first_merge: false };
//! let summary = host.run(options, &Silent, std::future::pending()).await?;
//! println!("{} created, {} set aside", summary.counter("created"), summary.parked);
//! let why = host.explain("account", "autotask:17").await?;
//! println!("{}", why.summary);
//! # Ok(())
//! # }
//! ```
//!
//! [`check`] looks at a configuration and its systems without changing anything, [`conform`] whether a live system keeps what its connector declares; [`ask`] answers `status`, `explain` and `parked` through the
//! socket of a running host, or from the data folder when none is running.
//!
//! The crate knows no connector: which there are is the caller's business.

mod blobs;
mod books;
mod build;
mod bus;
mod check;
mod clock;
mod config;
mod conformance;
mod connect;
mod drift;
mod events;
mod golden;
mod host;
mod http;
pub mod keys;
mod known;
mod live;
mod plan;
mod random;
mod reconcile;
mod review;
mod run;
mod secret;
mod socket;
mod view;

pub use blobs::FolderBlobs;
pub use bus::{apply_bus, plan_bus};
pub use check::{Coverage, FieldCoverage, Finding, Level, Reach, Report, SAMPLE_DEFAULT, check};
pub use clock::SystemClock;
pub use config::{Config, config_schema};
pub use conformance::{Badge, Declared, Outcome, Probe, Tried, conform};
pub use connect::{Assembled, assemble};
pub use golden::{CaseResult, run_cases};
pub use host::{Host, Plugins};
pub use live::{Discovered, LiveField, LiveSide, describe_live, discover};
pub use plan::{Applied, RefusedItem, load_plan, save_plan, tell_plan};
pub use random::OsRandom;
pub use reconcile::{DriftLine, DriftValues, LISTED_MAX, Reconciled};
pub use review::{Word, export_links};
pub use run::{Phase, Progress, RunMode, RunOptions, RunSummary, Silent, Snapshot};
pub use socket::{Answer, Question, Trouble, ask, ask_watched};
pub use view::{
    CursorStatus, DeadLetterView, Decision, DecisionField, Explanation, FieldOf, FieldState, Look,
    ParkedRecord, PlanCost, PlanCounts, PlanField, PlanLine, PlanView, QueueStatus, ReviewView, Status,
    SyncStatus,
};
