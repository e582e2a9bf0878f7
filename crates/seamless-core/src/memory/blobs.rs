//! [`BlobStore`] in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::contract::{BlobStore, Clock};
use crate::error::{Error, ErrorKind, Result};

/// Bodies in memory, for tests.
pub struct MemoryBlobs {
    clock: Arc<dyn Clock>,
    held: Mutex<BTreeMap<String, (Vec<u8>, Duration)>>,
}

impl MemoryBlobs {
    /// Nothing in it; ages go by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> MemoryBlobs {
        MemoryBlobs {
            clock,
            held: Mutex::default(),
        }
    }

    /// Every name.
    pub fn names(&self) -> Vec<String> {
        self.held().keys().cloned().collect()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Vec<u8>, Duration)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, name: &str, body: Vec<u8>) -> Result<()> {
        let now = self.clock.monotonic();
        self.held().insert(name.to_owned(), (body, now));
        Ok(())
    }

    async fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let found = self.held().get(name).map(|(body, _)| body.clone());
        if found.as_ref().is_some_and(|body| body.len() > bytes_max) {
            return Err(Error::new(ErrorKind::Limit, "a body is larger than allowed"));
        }
        Ok(found)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.held().remove(name);
        Ok(())
    }

    async fn list(&self, folder: &str, age: Duration, max: usize) -> Result<Vec<String>> {
        let now = self.clock.monotonic();
        let prefix = format!("{folder}/");
        let held = self.held();
        let old = held
            .iter()
            .filter(|(name, (_, since))| name.starts_with(&prefix) && now.saturating_sub(*since) > age);
        Ok(old.take(max).map(|(name, _)| name.clone()).collect())
    }
}
