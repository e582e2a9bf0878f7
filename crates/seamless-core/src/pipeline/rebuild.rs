//! Rebuilding links after the state was lost: only pairs in which *both* records name each other are believed.

use std::collections::BTreeMap;

use super::apply::wake_ops;
use super::engine::Engine;
use super::spec::SyncSpec;
use super::state::{Link, Pair, RecordKey, Rows, pair_row};
use crate::contract::{Expect, ListRequest, Op, Side, Table};
use crate::error::{Error, Result};
use crate::record::RecordId;

/// What a rebuild found in one sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Records read on each side.
    pub read: [u64; 2],
    /// Pairs linked.
    pub linked: u64,
    /// Pairs that were linked already.
    pub kept: u64,
    /// Records that name a counterpart which does not name them; they are looked at again as unlinked records.
    pub one_sided: u64,
}

/// Pages of one list: far above what a real system holds, so that an endless one ends.
const PAGES_MAX: u32 = 100_000;

impl Engine {
    /// Links every pair in which both records carry each other's id. The base stays empty, so the first-merge rules decide on differences (R4).
    /// Changes nothing in the remote systems. Safe to repeat.
    pub async fn rebuild_links(&self) -> Result<BTreeMap<String, Rebuilt>> {
        let mut report = BTreeMap::new();
        for sync in self.syncs.values() {
            report.insert(sync.id.to_string(), self.rebuild(sync).await?);
        }
        self.store.commit(self.mark_used().await?).await?;
        Ok(report)
    }

    async fn rebuild(&self, sync: &SyncSpec) -> Result<Rebuilt> {
        let (a, read_a) = self.cross_references(sync, Side::A).await?;
        let (b, read_b) = self.cross_references(sync, Side::B).await?;
        let mut rebuilt = Rebuilt {
            read: [read_a, read_b],
            ..Rebuilt::default()
        };
        for (a_id, names) in &a {
            if b.get(names) != Some(a_id) {
                rebuilt.one_sided += 1;
                continue;
            }
            if self.link_pair(sync, a_id, names).await? {
                rebuilt.linked += 1;
            } else {
                rebuilt.kept += 1;
            }
        }
        rebuilt.one_sided += b
            .iter()
            .filter(|(b_id, names)| a.get(*names) != Some(*b_id))
            .count() as u64;
        Ok(rebuilt)
    }

    /// Every record's cross-reference on one side: ids only, nothing else is kept in memory.
    async fn cross_references(
        &self,
        sync: &SyncSpec,
        side: Side,
    ) -> Result<(BTreeMap<RecordId, RecordId>, u64)> {
        let spec = sync.side(side);
        let source = &self.system(sync, side)?.source;
        let mut found = BTreeMap::new();
        let (mut read, mut after) = (0, None);
        for _ in 0..PAGES_MAX {
            let request = ListRequest {
                entity: spec.mapping.entity.clone(),
                since: None,
                after: after.take(),
                limit: 500,
            };
            let page = source.list(&request).await?;
            read += page.records.len() as u64;
            for native in &page.records {
                let observed = spec.observe(native);
                found.extend(observed.xref.map(|xref| (observed.id, RecordId(xref))));
            }
            if page.next.is_none() {
                return Ok((found, read));
            }
            after = page.next;
        }
        Err(Error::protocol("the list never ends")
            .with("system", &spec.system)
            .with("entity", &spec.mapping.entity))
    }

    /// False when one of the two is linked already.
    async fn link_pair(&self, sync: &SyncSpec, a: &RecordId, b: &RecordId) -> Result<bool> {
        let key_a = RecordKey::new(&sync.id, Side::A, a);
        let key_b = RecordKey::new(&sync.id, Side::B, b);
        let rows = self
            .store
            .get(&[key_a.row(Table::Link), key_b.row(Table::Link)])
            .await?;
        if rows.iter().any(Option::is_some) {
            return Ok(false);
        }
        let pair = Pair {
            mapping: [sync.sides[0].mapping_version(), sync.sides[1].mapping_version()],
            ..Pair::default()
        };
        let mut ops: Vec<Op> = vec![
            Rows::put_plain(key_a.row(Table::Link), Expect::Absent, &Link { other: b.clone() })?,
            Rows::put_plain(key_b.row(Table::Link), Expect::Absent, &Link { other: a.clone() })?,
            self.typed()
                .put_sealed(pair_row(&sync.id, a, b), Expect::Any, &pair)?,
        ];
        // A store from a backup may know who waits for them.
        ops.extend(wake_ops(self, &[key_a, key_b]).await?.into_values().flatten());
        self.store.commit(ops).await?;
        Ok(true)
    }
}
