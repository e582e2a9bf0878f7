//! What a change of a mapping means for what is stored (R3): halves written under the old one are read again under the new one, and are no edits.

use std::sync::Arc;

use super::apply::Item;
use super::engine::Engine;
use super::ledger::Reason;
use super::merge::{Half, Unseen};
use super::mistakes::Mistake;
use super::state::{Pair, Rows, cursor_row};
use crate::contract::{Expect, Op, RowKey, Side, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::SideMapping;
use crate::record::{NativeRecord, SyncId};

fn mapping_row(sync: &SyncId, side: Side, version: u64) -> RowKey {
    RowKey::new(
        Table::Meta,
        format!("mapping/{sync}/{}/{version:016x}", side.letter()),
    )
}

fn current_row(sync: &SyncId, side: Side) -> RowKey {
    RowKey::new(Table::Meta, format!("mapping-now/{sync}/{}", side.letter()))
}

fn scope_row(sync: &SyncId) -> RowKey {
    RowKey::new(Table::Meta, format!("scope/{sync}"))
}

impl Engine {
    /// At the start of a host: keeps the mappings in force, and where one has changed has everything read again that it concerns. Returns the syncs
    /// with changed mappings. Safe to repeat; reads and writes the store only.
    pub async fn settle_in(&self) -> Result<Vec<SyncId>> {
        let mut changed = Vec::new();
        for sync in self.syncs.values() {
            let mut ops = Vec::new();
            let mut differs = false;
            for side in Side::BOTH {
                let spec = sync.side(side);
                let version = spec.mapping_version();
                let key = current_row(&sync.id, side);
                let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
                let known: Option<u64> = row.map(|row| Rows::plain(&key, &row)).transpose()?;
                if known == Some(version) {
                    continue;
                }
                ops.push(Rows::put_plain(
                    mapping_row(&sync.id, side, version),
                    Expect::Any,
                    &spec.mapping,
                )?);
                ops.push(Rows::put_plain(key, Expect::Any, &version)?);
                differs |= known.is_some();
                // A field that is new, or read differently, may differ in any record: all of them are read once. And a sync that joins others has heard
                // of nothing that they have read.
                ops.push(Op::Delete {
                    key: cursor_row(&spec.system, &spec.mapping.entity),
                    expect: Expect::Any,
                });
            }
            ops.extend(self.scope_ops(sync).await?);
            if differs {
                changed.push(sync.id.clone());
                self.look_again_at_held(&sync.id).await?;
            }
            // Last: after a crash in between, everything is done again.
            if !ops.is_empty() {
                self.store.commit(ops).await?;
            }
        }
        Ok(changed)
    }

    /// A changed scope has what was left out looked at again.
    async fn scope_ops(&self, sync: &super::SyncSpec) -> Result<Vec<Op>> {
        let key = scope_row(&sync.id);
        let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
        let now = serde_json::to_vec(&sync.scope).map_err(|error| {
            Error::new(ErrorKind::Storage, "a scope cannot be written down").because(error)
        })?;
        let known = row.map(|row| row.value);
        if known.as_deref() == Some(&now) {
            return Ok(Vec::new());
        }
        if known.is_some() {
            self.look_again(&[Reason::OutOfScope, Reason::SkippedReference])
                .await?;
        }
        Ok(vec![Op::Put {
            key,
            expect: Expect::Any,
            value: now,
        }])
    }

    /// Puts the halves of a pair that were written under an older mapping into the words of the one in force. What has not been edited since is no
    /// change; what has been is dirty, whatever it reads like now.
    pub(super) async fn follow_mapping(&self, item: &mut Item) -> Result<()> {
        if !item.under_older_mapping() || self.mistakes.has(Mistake::OlderMappingIgnored) {
            return Ok(());
        }
        for side in Side::BOTH {
            let version = item.pair.mapping[side.index()];
            if version == item.sync.side(side).mapping_version() {
                continue;
            }
            let native = if side == item.side() {
                item.source_native.as_ref()
            } else {
                item.target.as_ref().map(|seen| &seen.native)
            };
            let (Some(native), Some(old)) =
                (native.cloned(), self.mapping(&item.sync.id, side, version).await?)
            else {
                continue;
            };
            let now = item.sync.side(side).mapping.clone();
            reread(&mut item.pair, side, &native, &old, &now);
        }
        Ok(())
    }

    /// A mapping that was in force once.
    pub(super) async fn mapping(
        &self,
        sync: &SyncId,
        side: Side,
        version: u64,
    ) -> Result<Option<Arc<SideMapping>>> {
        let key = mapping_row(sync, side, version);
        let row = self.store.get(std::slice::from_ref(&key)).await?.remove(0);
        row.map(|row| Rows::plain(&key, &row).map(Arc::new)).transpose()
    }
}

fn reread(pair: &mut Pair, side: Side, native: &NativeRecord, old: &SideMapping, now: &SideMapping) {
    let (then, current) = (old.observe(native), now.observe(native));
    for (name, halves) in &mut pair.base {
        let (Some(old_field), Some(new_field)) = (old.fields.get(name), now.fields.get(name)) else {
            continue;
        };
        if old_field == new_field {
            continue;
        }
        let in_new_words = |half: &Half| translated(half, side, name, old, now);
        let is_there = !then.absent.contains(name);
        let half = match &halves[side.index()] {
            Half::Known(settled) if is_there => match current.fields.get(name) {
                Some(value) if then.fields.get(name) == Some(settled) => Half::Known(value.clone()),
                _ => Half::Cleared,
            },
            // Nothing to compare it with.
            half => in_new_words(half),
        };
        halves[side.index()] = half;
        if let Half::Unseen(write) = &mut halves[side.other().index()]
            && let Some(settled) = &mut write.settled
        {
            settled[side.index()] = in_new_words(&settled[side.index()]);
        }
    }
}

/// A half that was written under one mapping, in the words of another. Cleared where they have no word for it.
fn translated(half: &Half, side: Side, name: &str, old: &SideMapping, now: &SideMapping) -> Half {
    let in_new_words = match half {
        Half::Known(value) => old.translate(name, value, now).map(Half::Known),
        Half::Cleared => None,
        Half::Unseen(write) => {
            translated_write(write, side, name, old, now).map(|write| Half::Unseen(Box::new(write)))
        }
    };
    in_new_words.unwrap_or(Half::Cleared)
}

fn translated_write(
    write: &Unseen,
    side: Side,
    name: &str,
    old: &SideMapping,
    now: &SideMapping,
) -> Option<Unseen> {
    let mut write = write.clone();
    write.sent = old.translate(name, &write.sent, now)?;
    if let Some(before) = &mut write.before {
        *before = old.translate(name, before, now)?;
    }
    if let Some(settled) = &mut write.settled {
        settled[side.index()] = translated(&settled[side.index()], side, name, old, now);
    }
    Some(write)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::mapping::{FieldMapping, OptionMap};
    use crate::value::{Fields, Value};

    fn mapping(options: OptionMap) -> SideMapping {
        SideMapping {
            entity: "t".into(),
            xref: None,
            fields: BTreeMap::from([
                ("kind".into(), FieldMapping::choice("kind", options)),
                ("name".into(), FieldMapping::text("name")),
            ]),
        }
    }

    fn half(pair: &Pair, name: &str) -> Option<String> {
        match &pair.base[name][0] {
            Half::Known(value) => value.to_plain(),
            Half::Cleared | Half::Unseen(_) => None,
        }
    }

    #[test]
    fn a_half_of_an_older_mapping_is_read_again_and_an_edit_stays_an_edit() {
        let old = mapping(OptionMap::of([("open", 1), ("shut", 2)]));
        let new = mapping(OptionMap::of([("active", 1), ("closed", 2)]));
        let native = |kind| NativeRecord {
            id: "1".into(),
            stamp: None,
            created: None,
            version: None,
            fields: Fields::from([("kind".into(), Value::Int(kind)), ("name".into(), "x".into())]),
        };
        let settled = |kind: &str, name: &str| Pair {
            base: BTreeMap::from([
                (
                    "kind".into(),
                    [Half::Known(kind.into()), Half::Known(kind.into())],
                ),
                (
                    "name".into(),
                    [Half::Known(name.into()), Half::Known(name.into())],
                ),
            ]),
            ..Pair::default()
        };
        let mut pair = settled("open", "x");
        reread(&mut pair, Side::A, &native(1), &old, &new);
        assert_eq!(half(&pair, "kind").as_deref(), Some("active"), "nobody edited it");
        assert!(
            !pair.base["kind"][1].is_dirty(&"open".into()),
            "the other side has its own mapping"
        );

        let mut pair = settled("open", "y");
        reread(&mut pair, Side::A, &native(2), &old, &new);
        assert_eq!(
            half(&pair, "kind"),
            None,
            "edited before the mapping changed: dirty"
        );
        assert_eq!(
            half(&pair, "name").as_deref(),
            Some("y"),
            "its mapping is the same: compared as ever"
        );
    }
    #[test]
    fn a_half_of_a_field_that_is_not_in_the_record_is_translated() {
        let old = mapping(OptionMap::of([("open", 1), ("shut", 2)]));
        let new = mapping(OptionMap::of([("active", 1)]));
        let native = NativeRecord {
            id: "1".into(),
            stamp: None,
            created: None,
            version: None,
            fields: Fields::from([("name".into(), "x".into())]),
        };
        let with = |half: Half| Pair {
            base: BTreeMap::from([("kind".into(), [half, Half::Known("other words".into())])]),
            ..Pair::default()
        };
        for (settled, expected) in [("open", Some("active")), ("shut", None)] {
            let mut pair = with(Half::Known(settled.into()));
            reread(&mut pair, Side::A, &native, &old, &new);
            assert_eq!(half(&pair, "kind").as_deref(), expected, "{settled}");
        }
        let unseen = |sent: &str, before: &str, settled: &str| {
            Half::Unseen(Box::new(Unseen {
                sent: sent.into(),
                before: Some(before.into()),
                settled: Some([Half::Known(settled.into()), Half::Known("x".into())]),
            }))
        };
        let mut pair = with(unseen("open", "open", "open"));
        reread(&mut pair, Side::A, &native, &old, &new);
        assert!(pair.base["kind"][0] == unseen("active", "active", "active"));

        // The other side keeps a write of its own that nobody could see: this side's half before it is in this side's words.
        let write = Unseen {
            sent: "b".into(),
            before: Some("a".into()),
            settled: Some([Half::Known("open".into()), Half::Known("a".into())]),
        };
        let mut pair = with(Half::Known("open".into()));
        if let Some(halves) = pair.base.get_mut("kind") {
            halves[1] = Half::Unseen(Box::new(write));
        }
        reread(&mut pair, Side::A, &native, &old, &new);
        let Half::Unseen(write) = &pair.base["kind"][1] else {
            panic!("it stays");
        };
        let settled = [Half::Known("active".into()), Half::Known("a".into())];
        assert!(write.settled == Some(settled) && write.sent == "b".into());
    }
}
