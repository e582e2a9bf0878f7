//! Where a value came from, for fields whose owner list goes across several syncs (R4).
//!
//! Autotask holds what a CRM has written there. Another CRM's edit then meets the *first* CRM's value, not Autotask's, and the list has to be asked about
//! the two CRMs. Each pair therefore keeps who gave the value that it last wrote; it counts for as long as the record still holds that value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::Item;
use super::engine::Engine;
use super::merge::Half;
use super::spec::SyncSpec;
use super::state::{Link, Pair, RecordKey, Rows, pair_row_of};
use crate::contract::{RowKey, Side, Table};
use crate::error::Result;
use crate::mapping::Observed;
use crate::record::{RecordId, SystemId};

/// By side and field: the system that a value came from, where it is not the record's own.
pub type Origins = [BTreeMap<String, SystemId>; 2];

/// A record that another sync keeps in step, too.
struct Look<'a> {
    item: usize,
    side: Side,
    record: &'a Observed,
    sibling: Arc<SyncSpec>,
    key: RecordKey,
}

/// Where the values of the items' listed fields came from.
pub(super) async fn origins(engine: &Engine, items: &[Item]) -> Result<BTreeMap<usize, Origins>> {
    let mut looks = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if !item.open() || !item.sync.has_owner_lists() {
            continue;
        }
        let target = item.target.as_ref().map(|seen| &seen.observed);
        for (side, record) in [(item.side(), item.source.as_ref()), (item.other(), target)] {
            let Some(record) = record else { continue };
            for (sibling, at) in siblings(engine, &item.sync, side) {
                looks.push(Look {
                    item: index,
                    side,
                    key: RecordKey::new(&sibling.id, at, &record.id),
                    sibling,
                    record,
                });
            }
        }
    }
    let links: Vec<RowKey> = looks.iter().map(|look| look.key.row(Table::Link)).collect();
    let found = engine.store.get(&links).await?;
    let mut linked: Vec<(Look<'_>, RecordId)> = Vec::new();
    for ((look, key), row) in looks.into_iter().zip(&links).zip(found) {
        if let Some(row) = row {
            let link: Link = Rows::plain(key, &row)?;
            linked.push((look, link.other));
        }
    }
    let pairs: Vec<RowKey> = linked
        .iter()
        .map(|(look, other)| pair_row_of(&look.key, other))
        .collect();
    let found = engine.store.get(&pairs).await?;
    let mut origins: BTreeMap<usize, Origins> = BTreeMap::new();
    for (((look, _), key), row) in linked.iter().zip(&pairs).zip(found) {
        let Some(row) = row else { continue };
        let pair: Pair = engine.typed().sealed(key, &row)?;
        let own = &look.sibling.side(look.key.side).system;
        for (field, origin) in &pair.origins {
            let (Some(halves), Some(now)) = (pair.base.get(field), look.record.fields.get(field)) else {
                continue;
            };
            if origin != own && halves[look.key.side.index()] == Half::Known(now.clone()) {
                origins.entry(look.item).or_default()[look.side.index()]
                    .insert(field.clone(), origin.clone());
            }
        }
    }
    Ok(origins)
}

/// The other syncs that keep the same entity of a side's system in step, and the side that it is on there.
fn siblings(engine: &Engine, sync: &SyncSpec, side: Side) -> Vec<(Arc<SyncSpec>, Side)> {
    let system = &sync.side(side).system;
    let at = |other: &SyncSpec| {
        Side::BOTH
            .into_iter()
            .find(|at| other.side(*at).system == *system)
    };
    engine
        .syncs
        .values()
        .filter(|other| other.id != sync.id && other.model.name == sync.model.name)
        .filter_map(|other| Some((other.clone(), at(other)?)))
        .collect()
}
