//! What a sandbox is started with.

use serde::{Deserialize, Serialize};

use crate::at::hooks::HookForm;
use crate::faults::Faults;

/// What the Autotask side answers to an `in` filter on a user-defined field (not established for the real one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UdfIn {
    /// HTTP 500 with an error text.
    #[default]
    Unsupported,
    /// It works as on an ordinary field.
    Works,
    /// HTTP 200 with no rows.
    NoRows,
}

/// Settings of a sandbox. `Default` is a small messy tenant on free ports without faults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of the data and of every random decision.
    pub seed: u64,
    /// Accounts plus contacts, counted over both systems.
    pub records: usize,
    /// Port of the Autotask simulator; 0 for any free one.
    pub autotask_port: u16,
    /// Port of the CRM; 0 for any free one.
    pub crm_port: u16,
    /// Port of the admin interface; 0 for any free one.
    pub admin_port: u16,
    /// Sandbox seconds per real second, for the hourly limit's window and its added latency only.
    pub clock_speed: f64,
    /// Faults from the start; they can be replaced through the admin interface.
    pub faults: Faults,
    /// Whether the data are messy (shared e-mails, twins, blanks, over-long values and so on).
    pub mess: bool,
    /// Number of tickets seeded in Autotask, on the seeded accounts.
    pub tickets: usize,
    /// Number of opportunities seeded in Autotask.
    pub opportunities: usize,
    /// Number of tickets seeded in the CRM, on its accounts.
    pub crm_tickets: usize,
    /// Number of opportunities seeded in the CRM.
    pub crm_opportunities: usize,
    /// Autotask API user.
    pub autotask_user: String,
    /// Autotask API secret.
    pub autotask_secret: String,
    /// Autotask integration code (tracking identifier).
    pub integration_code: String,
    /// Bearer token of the CRM.
    pub crm_token: String,
    /// Name of the user-defined field that holds the CRM's id; `None` simulates a tenant without it.
    pub udf: Option<String>,
    /// More user-defined fields on accounts, contacts, tickets and opportunities, e.g. `["Shop ID"]` for a second CRM.
    pub more_udfs: Vec<String>,
    /// Entities which lack the field although the others have it, e.g. `["Contact"]`.
    pub udf_missing_on: Vec<String>,
    /// How `in` on a user-defined field behaves.
    pub udf_in: UdfIn,
    /// Whether a write of user-defined fields alone moves the tracked-modified stamp.
    pub udf_moves_stamp: bool,
    /// Whether an edit of an opportunity moves its `lastActivity` (not established for the real service).
    pub opportunity_edits_move_activity: bool,
    /// Over which form of their bodies Autotask's events are signed.
    pub hook_form: HookForm,
    /// Events of one entity that Autotask sends in an hour; more are not sent.
    pub hook_events_an_hour: u32,
    /// Autotask requests per rolling hour.
    pub hourly_limit: u32,
    /// HTTP status of a call beyond the hourly limit (not established for the real service).
    pub over_limit_status: u16,
    /// Concurrent Autotask calls per integration code and endpoint.
    pub threads_max: u32,
    /// Wrong secrets in a row after which the Autotask user is locked (401 for the right one too).
    pub lock_after: Option<u32>,
    /// Length limit of first and last names in Autotask: 20 or 50, sources disagree.
    pub contact_name_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            records: 1000,
            autotask_port: 0,
            crm_port: 0,
            admin_port: 0,
            clock_speed: 1.0,
            faults: Faults::default(),
            mess: true,
            tickets: 0,
            opportunities: 0,
            crm_tickets: 0,
            crm_opportunities: 0,
            autotask_user: "integration@example.test".into(),
            autotask_secret: "sandbox-secret".into(),
            integration_code: "SANDBOX".into(),
            crm_token: "sandbox-token".into(),
            udf: Some("CRM ID".into()),
            more_udfs: Vec::new(),
            udf_missing_on: Vec::new(),
            udf_in: UdfIn::default(),
            udf_moves_stamp: true,
            opportunity_edits_move_activity: true,
            hook_form: HookForm::default(),
            hook_events_an_hour: 1_500,
            hourly_limit: 10_000,
            over_limit_status: 429,
            threads_max: 3,
            lock_after: None,
            contact_name_max: 50,
        }
    }
}
