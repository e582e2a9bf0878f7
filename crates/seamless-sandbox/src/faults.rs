//! Faults: what goes wrong, when, and for which calls.

use serde::{Deserialize, Serialize};

use crate::System;
use crate::rng::Rng;

/// Which kind of call a fault is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Reads and writes.
    #[default]
    Any,
    /// Reads only (queries by POST are reads).
    Reads,
    /// Writes only.
    Writes,
}

/// One fault: it strikes the next `next` matching calls, and any matching call with `probability`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Chance for each matching call, 0 to 1.
    pub probability: f64,
    /// Strike this many matching calls for certain; counts down.
    pub next: u32,
    /// Only calls of this system.
    pub system: Option<System>,
    /// Only reads or only writes.
    pub on: On,
    /// Only calls with this HTTP method.
    pub method: Option<String>,
    /// Only calls whose path contains this text (any case).
    pub path: Option<String>,
    /// Delay in milliseconds, where the fault has one.
    pub delay_ms: u64,
    /// `Retry-After` in seconds, where the fault has one; 0 leaves the header out.
    pub retry_after_secs: u64,
    /// Size of the body in bytes, for `huge_body`.
    pub bytes: u64,
}

impl Fault {
    /// Strikes each matching call with probability `p`.
    pub fn chance(p: f64) -> Self {
        Self {
            probability: p,
            ..Self::default()
        }
    }

    /// Strikes the next `n` matching calls.
    pub fn next(n: u32) -> Self {
        Self {
            next: n,
            ..Self::default()
        }
    }

    /// The same fault for one system only.
    #[must_use]
    pub fn of(mut self, system: System) -> Self {
        self.system = Some(system);
        self
    }

    /// The same fault for paths that contain `path`.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The same fault with a delay.
    #[must_use]
    pub fn delay(mut self, ms: u64) -> Self {
        self.delay_ms = ms;
        self
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        (self.next > 0 || self.probability > 0.0)
            && self.system.is_none_or(|s| s == call.system)
            && match self.on {
                On::Any => true,
                On::Reads => !call.write,
                On::Writes => call.write,
            }
            && self
                .method
                .as_deref()
                .is_none_or(|m| m.eq_ignore_ascii_case(call.method))
            && self
                .path
                .as_deref()
                .is_none_or(|p| call.path.to_lowercase().contains(&p.to_lowercase()))
    }

    /// Decides whether this call is struck; counts `next` down.
    pub(crate) fn strikes(&mut self, rng: &mut Rng, call: &Call<'_>) -> bool {
        if !self.matches(call) {
            return false;
        }
        if self.next > 0 {
            self.next -= 1;
            return true;
        }
        rng.chance(self.probability)
    }
}

/// The call a fault is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) system: System,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) write: bool,
}

/// All faults. Each is off by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The write is applied, then the connection is cut with no reply.
    pub lost_answer: Fault,
    /// The connection is cut at once; the write is applied `delay_ms` later.
    pub ghost_write: Fault,
    /// HTTP 500 "unexpected error" with an error id; nothing is applied.
    pub error_500: Fault,
    /// The same reply, but a write has been applied.
    pub error_500_applied: Fault,
    /// HTTP 503 with an HTML page (and `Retry-After` if set).
    pub unavailable: Fault,
    /// HTTP 429 (and `Retry-After` if set).
    pub throttled: Fault,
    /// The reply is late by `delay_ms`.
    pub latency: Fault,
    /// A freshly created record or a fresh cross-reference is not found by queries for `delay_ms`.
    pub search_lag: Fault,
    /// A person's edit becomes visible to queries `delay_ms` later, with its earlier stamp.
    pub late_stamps: Fault,
    /// Autotask moves the tenant: the old base path answers 401, zoneInformation names the new one.
    pub zone_moved: Fault,
    /// A complete HTTP reply whose JSON stops half-way.
    pub truncated_body: Fault,
    /// The connection is cut in the middle of the reply.
    pub cut_body: Fault,
    /// A reply of `bytes` bytes (64 MiB if 0).
    pub huge_body: Fault,
    /// Paging that never ends: the same page again and again.
    pub endless_paging: Fault,
    /// The next page's URL points to another host (Autotask only).
    pub foreign_next_page: Fault,
    /// Searches by value answer with every record there is (up to a page).
    pub ignored_filter: Fault,
    /// A workflow rule takes an API's update of an existing record back at once; the answer is a 200 all the same (method `RULE`, path `/Tickets`).
    pub undone_write: Fault,
    /// An event of Autotask is never sent: a gap in its numbers (method `HOOK`, path `/Companies`).
    pub hook_lost: Fault,
    /// An event is sent twice.
    pub hook_repeated: Fault,
    /// An event is sent `delay_ms` later, behind those that follow it.
    pub hook_late: Fault,
    /// An event is signed with another secret (method `SEND`, path the receiver's URL).
    pub hook_forged: Fault,
    /// Half of an event is sent.
    pub hook_truncated: Fault,
    /// Autotask fields that somebody has removed: its metadata do not know them any more, and records come without those that were user-defined.
    pub missing_fields: Vec<String>,
    /// Fields that somebody has removed from the CRM: records come without them, and writes that name them are refused.
    pub crm_missing_fields: Vec<String>,
    /// Autotask refuses connections.
    pub autotask_dead: bool,
    /// The CRM refuses connections.
    pub crm_dead: bool,
}

impl Faults {
    /// Whether somebody has removed the field.
    pub(crate) fn has_lost(&self, system: System, field: &str) -> bool {
        let lost = match system {
            System::Autotask => &self.missing_fields,
            System::Crm => &self.crm_missing_fields,
        };
        lost.iter().any(|lost| lost.eq_ignore_ascii_case(field))
    }

    pub(crate) fn dead(&self, system: System) -> bool {
        match system {
            System::Autotask => self.autotask_dead,
            System::Crm => self.crm_dead,
        }
    }
}
