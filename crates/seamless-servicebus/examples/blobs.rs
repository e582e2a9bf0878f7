//! Keeps, reads, lists and removes bodies in a container of Azure Blob Storage: its URL with a shared access signature is in the environment
//! variable `BLOB_CONTAINER`. `examples/azurite/run.sh` runs it against Microsoft's own emulator.
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{BlobStore, Clock, Secret, Timestamp};
use seamless_servicebus::AzureBlobs;
use tokio::time::Instant;

struct Machine(Instant);

#[async_trait]
impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = Secret::new(std::env::var("BLOB_CONTAINER")?);
    let blobs = AzureBlobs::new(&url, Vec::new(), Arc::new(Machine(Instant::now())))?;
    let body: Vec<u8> = (0..3_u32 << 20).map(|number| number.to_le_bytes()[0]).collect();
    let names: Vec<String> = (0..3).map(|number| format!("crm-events/body-{number}")).collect();
    for name in &names {
        blobs.put(name, body.clone()).await?;
    }
    let read = blobs.get(&names[0], body.len()).await?;
    expect("a body reads back as it was", read.as_ref() == Some(&body))?;
    let too_large = blobs.get(&names[0], 100).await;
    expect("a body above the limit is refused", too_large.is_err())?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = Duration::from_secs(1);
    expect(
        "old bodies are listed",
        blobs.list("crm-events", second, 10).await? == names,
    )?;
    let hour = Duration::from_secs(3_600);
    expect(
        "young ones are not",
        blobs.list("crm-events", hour, 10).await?.is_empty(),
    )?;
    expect(
        "nor those of others",
        blobs.list("crm", second, 10).await?.is_empty(),
    )?;
    for name in &names {
        blobs.delete(name).await?;
        blobs.delete(name).await?;
    }
    expect(
        "what is removed is gone",
        blobs.get(&names[0], 10).await?.is_none(),
    )?;
    let wrong = Secret::new(format!("{}x", url.expose()));
    let wrong = AzureBlobs::new(&wrong, Vec::new(), Arc::new(Machine(Instant::now())))?;
    let error = wrong.put(&names[0], Vec::new()).await;
    expect("a wrong signature opens nothing", error.is_err())?;
    Ok(())
}

fn expect(what: &str, is_so: bool) -> Result<(), Box<dyn Error>> {
    println!("{}  {what}", if is_so { "ok    " } else { "FAILED" });
    if is_so { Ok(()) } else { Err(what.into()) }
}
