//! Who is spoken for among the records that a search brought.

use std::collections::{BTreeMap, BTreeSet};

use super::find::Findings;
use super::item::Item;
use crate::contract::{RowKey, Side, Table};
use crate::error::Result;
use crate::pipeline::Engine;
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::spec::SyncSpec;
use crate::pipeline::state::{ClaimHolder, Decision, Link, Parked, RecordKey, Rows};
use crate::record::RecordId;

/// Which of the records found are linked already, or under an open intent.
pub(super) struct Taken {
    pub(super) linked: BTreeMap<RecordKey, RecordId>,
    pub(super) intended: BTreeSet<RecordKey>,
    /// Set aside after a lost create: nobody's candidate, unless a person has written the cross-reference.
    pub(super) aside: BTreeMap<RecordKey, Parked>,
    /// Set aside by a person: nobody's candidate at all.
    pub(super) apart: BTreeSet<RecordKey>,
}

impl Taken {
    pub(super) async fn load(
        engine: &Engine,
        sync: &SyncSpec,
        side: Side,
        items: &[Item],
        indexes: &[usize],
        findings: &[Findings],
    ) -> Result<Taken> {
        let mut keys: BTreeSet<RecordKey> = BTreeSet::new();
        for (index, found) in indexes.iter().zip(findings) {
            keys.insert(items[*index].key.clone());
            // Whom it names, there or not.
            let named = items[*index]
                .source
                .as_ref()
                .and_then(|source| source.xref.as_deref());
            keys.extend(named.map(|id| RecordKey::new(&sync.id, side.other(), &RecordId::from(id))));
            if let Some(Decision::Link { other }) = &items[*index].decision {
                keys.insert(RecordKey::new(&sync.id, side.other(), other));
            }
            let there = found
                .naming_us
                .iter()
                .chain(&found.named)
                .chain(found.rules.iter().flat_map(|(there, _)| there));
            keys.extend(there.map(|record| RecordKey::new(&sync.id, side.other(), &record.id)));
            let twins = found.rules.iter().flat_map(|(_, twins)| twins);
            keys.extend(twins.map(|record| RecordKey::new(&sync.id, side, &record.id)));
        }
        let keys: Vec<RecordKey> = keys.into_iter().collect();
        let mut rows: Vec<RowKey> = keys.iter().map(|key| key.row(Table::Link)).collect();
        let claim = |key: &RecordKey| RowKey::new(Table::Claim, engine.record_claim(sync, key.side, &key.id));
        rows.extend(keys.iter().map(claim));
        rows.extend(keys.iter().map(|key| key.row(Table::Parked)));
        let found = engine.store.get(&rows).await?;
        let mut taken = Taken {
            linked: BTreeMap::new(),
            intended: BTreeSet::new(),
            aside: BTreeMap::new(),
            apart: BTreeSet::new(),
        };
        for (at, key) in keys.iter().enumerate() {
            if let Some(row) = &found[at] {
                let link: Link = Rows::plain(&rows[at], row)?;
                taken.linked.insert(key.clone(), link.other);
            }
            let at = at + keys.len();
            if let Some(row) = &found[at]
                && let ClaimHolder::Intent(_) = Rows::plain(&rows[at], row)?
                && !engine.mistakes.has(Mistake::OpenIntentNoClaim)
            {
                taken.intended.insert(key.clone());
            }
            let at = at + keys.len();
            if let Some(row) = &found[at] {
                let parked: Parked = engine.typed().sealed(&rows[at], row)?;
                if parked.reason.awaits_person() {
                    taken.aside.insert(key.clone(), parked);
                } else if parked.reason.is_apart() {
                    taken.apart.insert(key.clone());
                }
            }
        }
        Ok(taken)
    }

    /// Cannot be linked now.
    pub(super) fn busy(&self, key: &RecordKey) -> bool {
        self.linked.contains_key(key) || self.intended.contains(key) || self.apart.contains(key)
    }

    /// Is no candidate of a match rule.
    pub(super) fn has(&self, key: &RecordKey) -> bool {
        self.busy(key) || self.aside.contains_key(key)
    }
}
