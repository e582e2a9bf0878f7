//! A plan as a sealed file: it holds record content, so only the tenant's own keys open it.
//!
//! The magic line, then chunks: four bytes of length, big-endian, and a sealed row. The first chunk is the head, the others hold items in order. Each
//! is bound to the plan's random name, its place and the number of chunks, so that none can be dropped, moved or taken from another plan.

use serde::{Deserialize, Serialize};

use super::plan::{Plan, PlanItem};
use crate::contract::{Random, Table};
use crate::envelope::{RowSeal, hex};
use crate::error::{Error, Result};

const MAGIC: &[u8] = b"seamless plan 1\n";
/// Items in one chunk.
const CHUNK: usize = 500;
/// Largest sealed chunk, in bytes.
const CHUNK_BYTES_MAX: usize = 17 << 20;
/// Most chunks: ten million items.
const CHUNKS_MAX: usize = 20_000;
const NAME_BYTES: usize = 16;

/// The plan without its items.
#[derive(Serialize, Deserialize)]
struct Head {
    chunks: usize,
    plan: Plan,
}

/// The sealed bytes of a plan.
pub fn seal_plan(plan: &Plan, seal: &RowSeal, random: &dyn Random) -> Result<Vec<u8>> {
    let mut name = [0; NAME_BYTES];
    random.fill(&mut name);
    let chunks: Vec<&[PlanItem]> = plan.items.chunks(CHUNK).collect();
    let head = Head {
        chunks: chunks.len(),
        plan: Plan {
            items: Vec::new(),
            ..plan.clone()
        },
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&name);
    let mut add = |place: usize, of: usize, json: Vec<u8>| -> Result<()> {
        let sealed = seal.seal(Table::Meta, &chunk_key(&name, place, of), &json)?;
        let length = u32::try_from(sealed.len()).map_err(|_| damaged("a chunk is too large"))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&sealed);
        Ok(())
    };
    let json = |error: serde_json::Error| damaged("it cannot be written down").because(error);
    add(0, 0, serde_json::to_vec(&head).map_err(json)?)?;
    for (at, chunk) in chunks.iter().enumerate() {
        add(at + 1, chunks.len(), serde_json::to_vec(chunk).map_err(json)?)?;
    }
    Ok(bytes)
}

/// The plan in sealed bytes. Refuses what was altered, cut short, or made for another tenant.
pub fn open_plan(bytes: &[u8], seal: &RowSeal) -> Result<Plan> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("it is no plan of this version; make it with `seamless plan --out`"))?;
    let (name, mut rest) = rest
        .split_first_chunk::<NAME_BYTES>()
        .ok_or_else(|| damaged("it is cut short"))?;
    let mut next = |place: usize, of: usize| -> Result<Vec<u8>> {
        let (length, behind) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| damaged("it is cut short"))?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > CHUNK_BYTES_MAX || length > behind.len() {
            return Err(damaged("it is cut short"));
        }
        let (sealed, behind) = behind.split_at(length);
        rest = behind;
        seal.open(Table::Meta, &chunk_key(name, place, of), sealed)
    };
    let unreadable = |error: serde_json::Error| damaged("it was written by another version").because(error);
    let head: Head = serde_json::from_slice(&next(0, 0)?).map_err(unreadable)?;
    if head.chunks > CHUNKS_MAX {
        return Err(damaged("it has too many items"));
    }
    let mut plan = head.plan;
    for at in 0..head.chunks {
        let items: Vec<PlanItem> = serde_json::from_slice(&next(at + 1, head.chunks)?).map_err(unreadable)?;
        plan.items.extend(items);
    }
    if !rest.is_empty() {
        return Err(damaged("something was added to it"));
    }
    plan.born.sort();
    Ok(plan)
}

fn chunk_key(name: &[u8; NAME_BYTES], place: usize, of: usize) -> String {
    format!("plan/{}/{place}/{of}", hex(name))
}

fn damaged(what: &str) -> Error {
    Error::config(format!("the plan cannot be used: {what}"))
}
