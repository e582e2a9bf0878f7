//! Events that systems send. An event is a nudge: its record is looked at a little sooner. Polling stays the truth, so whatever is lost here is found
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use seamless_core::pipeline::Engine;
use seamless_core::{ErrorKind, Nudge, RecordId, Result, SystemId, WebhookCall};

/// Largest event, in bytes.
const BODY_MAX: usize = 1 << 20;
/// Longest time for a body.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// Records that wait to be looked at. More events are put off (503): their senders come again, and polling finds them anyway.
const WAITING_MAX: usize = 10_000;
/// Records handed on at once.
const BATCH: usize = 500;

/// Where events wait: each record once, however often it is named.
pub(crate) struct Desk {
    engine: Arc<Engine>,
    waiting: Mutex<BTreeSet<(SystemId, String, RecordId)>>,
}

impl Desk {
    pub(crate) fn new(engine: Arc<Engine>) -> Desk {
        Desk {
            engine,
            waiting: Mutex::new(BTreeSet::new()),
        }
    }

    /// Verifies an event and keeps what it names. Waits for nothing: senders give up after seconds.
    fn take(&self, system: &str, call: &WebhookCall) -> StatusCode {
        let id = SystemId::from(system);
        let Some(known) = self.engine.systems.get(&id) else {
            return StatusCode::NOT_FOUND;
        };
        let nudges = match known.source.verify_webhook(call) {
            Ok(nudges) => nudges,
            Err(error) => {
                if error.kind == ErrorKind::Conflict {
                    // A repetition: its first arrival has been heard.
                    return StatusCode::OK;
                }
                tracing::warn!(system, %error, "an event was refused");
                return match error.kind {
                    ErrorKind::Auth => StatusCode::UNAUTHORIZED,
                    ErrorKind::Config => StatusCode::NOT_FOUND,
                    _ => StatusCode::BAD_REQUEST,
                };
            }
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + nudges.len() > WAITING_MAX {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        waiting.extend(
            nudges
                .into_iter()
                .map(|nudge| (id.clone(), nudge.entity, nudge.id)),
        );
        StatusCode::OK
    }

    /// Has what waits looked at. Returns whether there was anything. Cancel safe: what is lost is found by polling.
    pub(crate) async fn clear(&self) -> Result<bool> {
        let mut by_system: BTreeMap<SystemId, Vec<Nudge>> = BTreeMap::new();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..BATCH {
                let Some((system, entity, id)) = waiting.pop_first() else {
                    break;
                };
                by_system.entry(system).or_default().push(Nudge { entity, id });
            }
        }
        for (system, nudges) in &by_system {
            self.engine.nudge(system, nudges).await?;
        }
        Ok(!by_system.is_empty())
    }
}

/// `POST /webhooks/<system>`.
pub(super) async fn take(
    State(desk): State<Arc<Desk>>,
    Path(system): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let Ok(read) = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_MAX)).await else {
        return StatusCode::REQUEST_TIMEOUT;
    };
    let Ok(body) = read else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let headers = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let call = WebhookCall {
        headers,
        body: body.to_vec(),
    };
    desk.take(&system, &call)
}
