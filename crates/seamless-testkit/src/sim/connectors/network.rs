//! The network between the connectors and the simulated systems: every way takes time, and any of them can be cut short by a crash.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{Network, WireAnswer, WireCall};
use seamless_sandbox::{Offline, OfflineCall, OfflineLanding, OfflineOutcome};

use crate::sim::executor::{EPOCH, Sim};

/// The two systems on virtual time.
#[derive(Clone)]
pub(super) struct Wire {
    sim: Sim,
    offline: Arc<Offline>,
    /// Writes whose senders have given them up, and when they land.
    landings: Arc<Mutex<Vec<(Duration, OfflineLanding)>>>,
}

impl Wire {
    pub(super) fn new(sim: Sim, offline: Offline) -> Wire {
        Wire {
            sim,
            offline: Arc::new(offline),
            landings: Arc::default(),
        }
    }

    /// The systems as they are now.
    pub(super) fn systems(&self) -> &Offline {
        self.offline.set_now(now_ms(&self.sim));
        &self.offline
    }

    /// Lands what is due; whether more is under way.
    pub(super) fn land(&self) -> bool {
        let now = self.sim.now();
        let mut landings = self.landings.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(due) = landings.iter().position(|(at, _)| *at <= now) {
            let (_, landing) = landings.remove(due);
            self.sim.note(|| "a ghost write lands".to_owned());
            self.systems();
            landing.land();
        }
        !landings.is_empty()
    }
}

/// Milliseconds since 1970 on the servers' clocks.
pub(super) fn now_ms(sim: &Sim) -> i64 {
    EPOCH / 1_000 + i64::try_from(sim.now().as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Network for Wire {
    async fn connect(&self, url: &str) -> bool {
        self.sim.pause().await;
        self.systems().is_there(url)
    }

    async fn exchange(&self, call: WireCall) -> Option<WireAnswer> {
        self.sim.pause().await;
        let told = self.sim.traced().then(|| {
            let body = String::from_utf8_lossy(&call.body);
            format!("{} {} {body}", call.method, call.url)
        });
        let arrived = self.systems().arrive(OfflineCall {
            method: call.method,
            url: call.url,
            headers: call.headers,
            body: call.body,
        })?;
        if !arrived.delay().is_zero() {
            self.sim.wait(arrived.delay()).await;
        }
        self.systems();
        let outcome = arrived.carry_out();
        if let Some(told) = told {
            self.sim.note(|| format!("{told} -> {}", shown(&outcome)));
        }
        let answer = match outcome {
            OfflineOutcome::Answer(status, headers, body) => Some(WireAnswer {
                status,
                headers,
                body,
            }),
            OfflineOutcome::Cut => None,
            OfflineOutcome::Ghost(landing, after) => {
                let mut landings = self.landings.lock().unwrap_or_else(PoisonError::into_inner);
                landings.push((self.sim.now() + after, landing));
                None
            }
        };
        self.sim.pause().await;
        answer
    }
}

fn shown(outcome: &OfflineOutcome) -> String {
    match outcome {
        OfflineOutcome::Answer(status, _, body) => {
            let body: String = String::from_utf8_lossy(body).chars().take(300).collect();
            format!("{status} {body}")
        }
        OfflineOutcome::Cut => "cut".to_owned(),
        OfflineOutcome::Ghost(_, after) => format!("cut, lands after {after:?}"),
    }
}
