//! References by another name than an id (R10): a ticket that knows only its contact's e-mail address.

use std::collections::BTreeMap;

use super::Applier;
use super::item::Item;
use crate::contract::{Lookup, Side};
use crate::error::Result;
use crate::mapping::Observed;
use crate::pipeline::engine::Engine;
use crate::pipeline::spec::{NamedBy, SyncSpec};
use crate::record::SyncId;
use crate::value::Value;

/// What a source asks for: its item, its field, how it names the record.
struct Asked {
    index: usize,
    field: String,
    named_by: NamedBy,
    parent: std::sync::Arc<SyncSpec>,
    /// The parent sync's side that is the source's system.
    side: Side,
    value: Value,
}

/// Fills in references that the sources of open items name otherwise. One record that fits is meant; with none or several the field waits, and says so.
pub(super) async fn resolve(applier: &Applier, items: &mut [Item]) -> Result<()> {
    let engine = &*applier.engine;
    let mut groups: BTreeMap<(SyncId, bool, String), Vec<Asked>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.open()) {
        for asked in asked_by(engine, item, index) {
            let key = (
                asked.parent.id.clone(),
                asked.side == Side::A,
                asked.named_by.equals.clone(),
            );
            groups.entry(key).or_default().push(asked);
        }
    }
    for group in groups.into_values() {
        let Some(first) = group.first() else { continue };
        let (parent, side) = (first.parent.clone(), first.side);
        let spec = parent.side(side);
        let Some(path) = spec
            .mapping
            .fields
            .get(&first.named_by.equals)
            .map(|field| field.native.clone())
        else {
            continue;
        };
        let lookups: Vec<Lookup> = group
            .iter()
            .map(|asked| Lookup::Field {
                field: path.clone(),
                value: asked.value.clone(),
            })
            .collect();
        let found = engine
            .system(&parent, side)?
            .target
            .find(&spec.mapping.entity, &lookups)
            .await?;
        for (asked, records) in group.iter().zip(found) {
            let records = records.iter().map(|native| spec.observe(native));
            let item = &mut items[asked.index];
            let Some(mut source) = item.source.take() else {
                continue;
            };
            item.raw_content = Some(item.content(engine, &source));
            let fits: Vec<Observed> = records.filter(|record| asked.means(&source, record)).collect();
            if let [one] = fits.as_slice() {
                source
                    .fields
                    .insert(asked.field.clone(), Value::Text(one.id.0.clone()));
            } else {
                // Not knowing who is meant is no reason to empty the field there.
                source.fields.remove(&asked.field);
                let why = format!(
                    "{} record(s) there have the {} that it is named by",
                    fits.len(),
                    asked.named_by.equals
                );
                source.broken.insert(asked.field.clone(), why);
            }
            item.source = Some(source);
        }
    }
    Ok(())
}

fn asked_by(engine: &Engine, item: &Item, index: usize) -> Vec<Asked> {
    let Some(source) = &item.source else {
        return Vec::new();
    };
    let mut asked = Vec::new();
    for (field, spec) in &item.sync.model.fields {
        let Some(reference) = &spec.reference else {
            continue;
        };
        let Some(named_by) = &reference.named_by else {
            continue;
        };
        let empty = source.fields.get(field).is_some_and(Value::is_empty);
        let value = source
            .fields
            .get(&named_by.field)
            .filter(|value| !value.is_empty());
        let (true, Some(value)) = (empty, value) else {
            continue;
        };
        let Some((parent, swapped)) = engine.sync_of(&reference.entity, &item.sync) else {
            continue;
        };
        let side = if swapped { item.side().other() } else { item.side() };
        asked.push(Asked {
            index,
            field: field.clone(),
            named_by: named_by.clone(),
            parent,
            side,
            value: value.clone(),
        });
    }
    asked
}

impl Asked {
    fn means(&self, source: &Observed, record: &Observed) -> bool {
        let plain = |record: &Observed, field: &str| record.fields.get(field).and_then(Value::to_plain);
        let same_name = {
            let theirs = record.fields.get(&self.named_by.equals);
            let theirs = theirs.and_then(|value| self.named_by.normalise.apply(value));
            theirs.is_some() && theirs == self.named_by.normalise.apply(&self.value)
        };
        let within = self.named_by.within.as_deref();
        let same_place = within.is_none_or(|field| {
            let own = plain(source, field);
            own.is_some() && own == plain(record, field)
        });
        same_name && same_place
    }
}
