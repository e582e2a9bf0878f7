//! The in-memory store keeps the contract it is the reference of.

use std::sync::Arc;

use async_trait::async_trait;
use seamless_core::StateStore;
use seamless_core::memory::MemoryStore;
use seamless_testkit::conformance::store::{StoreFactory, run};

struct Memory;

#[async_trait]
impl StoreFactory for Memory {
    async fn fresh(&self) -> Arc<dyn StateStore> {
        Arc::new(MemoryStore::new())
    }

    async fn reopen(&self) -> Option<Arc<dyn StateStore>> {
        None
    }
}

#[tokio::test]
async fn memory_store_conforms() {
    assert_eq!(run(&Memory).await, Ok(()));
}
