//! Queues in front of the wire: calls at once for each endpoint, calls a second for the client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seamless_core::{Clock, Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Endpoint keys are entity or route names; more than this means that a key was made from data.
const ENDPOINTS_MAX: usize = 1_000;

pub(crate) struct Limits {
    concurrency: usize,
    endpoints: Mutex<HashMap<String, Arc<Semaphore>>>,
    bucket: Option<Bucket>,
}

impl Limits {
    pub(crate) fn new(concurrency: usize, requests_per_second: Option<f64>) -> Limits {
        Limits {
            concurrency,
            endpoints: Mutex::new(HashMap::new()),
            bucket: requests_per_second.map(|rate| Bucket::new(rate, Duration::ZERO)),
        }
    }

    /// Waits for a slot of the endpoint, then for the rate. The slot is held until the permit is dropped.
    pub(crate) async fn enter(
        &self,
        endpoint: &str,
        clock: &dyn Clock,
        send_by: Option<Duration>,
    ) -> Result<OwnedSemaphorePermit> {
        let slots = self.slots(endpoint)?;
        let permit = slots
            .acquire_owned()
            .await
            .map_err(|_| Error::unavailable("the http client is closed"))?;
        if let Some(bucket) = &self.bucket {
            let wait = bucket.take(clock.monotonic(), send_by).ok_or_else(Error::late)?;
            if !wait.is_zero() {
                clock.sleep(wait).await;
            }
        }
        if send_by.is_some_and(|by| clock.monotonic() > by) {
            return Err(Error::late());
        }
        Ok(permit)
    }

    fn slots(&self, endpoint: &str) -> Result<Arc<Semaphore>> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = endpoints.get(endpoint) {
            return Ok(slots.clone());
        }
        if endpoints.len() >= ENDPOINTS_MAX {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("more than {ENDPOINTS_MAX} endpoint keys on one client"),
            ));
        }
        let slots = Arc::new(Semaphore::new(self.concurrency));
        endpoints.insert(endpoint.to_owned(), slots.clone());
        Ok(slots)
    }
}

/// Token bucket, kept as the time when the next token is due: no timer needs to fill it.
struct Bucket {
    interval: Duration,
    burst: Duration,
    due: Mutex<Duration>,
}

impl Bucket {
    fn new(rate: f64, now: Duration) -> Bucket {
        // Guarded by validation; the clamp keeps a tiny rate from overflowing Duration.
        let interval = Duration::from_secs_f64((1.0 / rate).clamp(1e-6, 86_400.0));
        Bucket {
            interval,
            burst: Duration::from_secs(1).max(interval),
            due: Mutex::new(now),
        }
    }

    /// Takes a token and tells how long to wait for it; `None`, and no token, when it would come too late.
    fn take(&self, now: Duration, send_by: Option<Duration>) -> Option<Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let full = (now + self.interval).saturating_sub(self.burst);
        let token_at = (*due).max(full);
        if send_by.is_some_and(|by| token_at > by) {
            return None;
        }
        *due = token_at + self.interval;
        Some(token_at.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_allows_a_burst_then_the_rate() {
        let start = Duration::from_secs(100);
        let bucket = Bucket::new(4.0, start);
        let later = start + Duration::from_secs(10);
        let waits: Vec<u128> = (0..6)
            .filter_map(|_| bucket.take(later, None))
            .map(|w| w.as_millis())
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500]);
    }

    #[test]
    fn bucket_gives_no_token_that_would_come_too_late() {
        let bucket = Bucket::new(1.0, Duration::ZERO);
        let now = Duration::from_secs(5);
        assert_eq!(bucket.take(now, Some(now)), Some(Duration::ZERO));
        assert_eq!(bucket.take(now, Some(now)), None);
        assert_eq!(
            bucket.take(now, None),
            Some(Duration::from_secs(1)),
            "the refused call took no token"
        );
    }
}
