//! The small tables of the file.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use seamless_core::pipeline::Timings;
use serde::Deserialize;

/// `[keys]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysTable {
    /// `file` or `env`.
    pub(super) provider: KeyProviderKind,
    /// For `file`: the keyset, a file with mode 0600 made by `seamless keys generate`.
    pub(super) path: Option<PathBuf>,
    /// For `env`: the environment variable that holds the keyset.
    pub(super) variable: Option<String>,
}

/// Where a keyset comes from.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyProviderKind {
    /// A 0600 file.
    File,
    /// An environment variable.
    Env,
}

/// `[run]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunTable {
    /// Seconds between two polls of an entity. Default 30.
    pub(crate) poll_interval_secs: u64,
    /// Workers that apply changes to one system, 1 to 8. Default 1: it takes many records at once, a second one mostly costs memory.
    pub(crate) apply_workers: usize,
    /// Seconds after which a running host looks again at what it has set aside: records whose cause may be gone, and fields that wait alone (what the
    /// other side refused is tried again). `run --once` looks at those fields when that time has passed since the last look. Default 21600. Each look
    /// reads those records.
    pub(crate) look_again_secs: u64,
    /// Hours between two reconciliations of a running host: a slow pass over every record of every entity, for what change stamps do not show.
    /// Default 24; 0 for none.
    pub(crate) reconcile_hours: u64,
    /// `run --once` gives up on a system that has not answered properly for this many seconds. Default 30.
    pub(crate) patience_secs: u64,
}

impl Default for RunTable {
    fn default() -> RunTable {
        RunTable {
            poll_interval_secs: 30,
            apply_workers: 1,
            look_again_secs: 21_600,
            reconcile_hours: 24,
            patience_secs: 30,
        }
    }
}

/// `[http]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpTable {
    /// Address and port on which a running host answers: `127.0.0.1:8088`. It serves `/healthz`, `/readyz`, `/metrics`, and takes the systems' events at
    /// `/webhooks/<system>`. It speaks plain HTTP: put a server with TLS before it, and let only `/webhooks/` through from outside.
    #[schemars(with = "String")]
    pub(crate) listen: std::net::SocketAddr,
}

/// `[timings]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TimingsTable {
    /// Oldest read of a record that may still be written upon, where the system cannot compare and set. Default 2000.
    pub(super) stale_read_max_ms: Option<u64>,
    /// A write must be sent within this time of its intent. Default 10000.
    pub(super) send_within_ms: Option<u64>,
    /// A claim nobody renewed for this long is free. Default 30000.
    pub(super) claim_lease_ms: Option<u64>,
    /// First wait of a deferred message. Default 200.
    pub(super) defer_min_ms: Option<u64>,
    /// Longest wait of a deferred message. Default 60000.
    pub(super) defer_max_ms: Option<u64>,
    /// Policy `newest`: edits in the two systems that are closer than this, in milliseconds, count as made at once. Default 10000.
    pub(super) newest_guard_ms: Option<u64>,
}

impl TimingsTable {
    pub(super) fn over(&self, base: Timings) -> Timings {
        let or = |own: Option<u64>, base: Duration| own.map_or(base, Duration::from_millis);
        Timings {
            stale_read_max: or(self.stale_read_max_ms, base.stale_read_max),
            send_within: or(self.send_within_ms, base.send_within),
            claim_lease: or(self.claim_lease_ms, base.claim_lease),
            defer_min: or(self.defer_min_ms, base.defer_min),
            defer_max: or(self.defer_max_ms, base.defer_max),
            newest_guard: or(self.newest_guard_ms, base.newest_guard),
        }
    }
}
