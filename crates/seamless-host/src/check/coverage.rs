//! What the mappings would do to records that are there: counted on a sample, nothing written.

use seamless_core::mapping::{FieldKind, SideMapping};
use seamless_core::pipeline::System;
use seamless_core::{Date, ListRequest, NativeRecord, Result, Side};
use serde::Serialize;

use crate::build::SyncPlan;

/// Records of each entity that are read when nobody says how many.
pub const SAMPLE_DEFAULT: usize = 500;

/// One direction of a sync, counted.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// The sync.
    pub sync: String,
    /// The system that was read.
    pub from: String,
    /// The system that would be written.
    pub to: String,
    /// Records looked at.
    pub records: usize,
    /// There are more than that.
    pub more: bool,
    /// Records that the scope of the sync leaves out; not counted in the fields.
    pub out_of_scope: usize,
    /// Fields that flow this way.
    pub fields: Vec<FieldCoverage>,
}

/// A field, counted. Values are nowhere in it.
#[derive(Clone, Debug, Serialize)]
pub struct FieldCoverage {
    /// Canonical name.
    pub field: String,
    /// Native path where it is read.
    pub read: String,
    /// Native path where it is written.
    pub written: String,
    /// Records that have a value.
    pub filled: usize,
    /// Values that would arrive changed (cut, fallback, transformed).
    pub changed: usize,
    /// Values that cannot be read here or written there, with no default: they would wait.
    pub refused: usize,
}

/// Reads up to `sample` records of a side and counts what becomes of their fields.
pub(super) async fn coverage(
    plan: &SyncPlan,
    from: Side,
    mappings: &[SideMapping; 2],
    system: &System,
    sample: usize,
    today: Date,
) -> Result<Coverage> {
    let (source, target) = (&mappings[from.index()], &mappings[from.other().index()]);
    let (records, more) = read(system, &source.entity, sample).await?;
    let names: Vec<&String> = target
        .fields
        .keys()
        .filter(|name| source.fields.contains_key(*name) && target.fields[*name].writable)
        .filter(|name| plan.flows(name, from))
        .collect();
    let mut coverage = Coverage {
        sync: plan.id.to_string(),
        from: plan.systems[from.index()].to_string(),
        to: plan.systems[from.other().index()].to_string(),
        records: records.len(),
        more,
        out_of_scope: 0,
        fields: names
            .iter()
            .map(|name| FieldCoverage {
                field: (*name).clone(),
                read: source.fields[*name].native.clone(),
                written: target.fields[*name].native.clone(),
                filled: 0,
                changed: 0,
                refused: 0,
            })
            .collect(),
    };
    for record in &records {
        let observed = source.observe(record);
        if !plan.scope(from).iter().all(|rule| rule.holds(&observed)) {
            coverage.out_of_scope += 1;
            continue;
        }
        for count in &mut coverage.fields {
            let Some(value) = observed.fields.get(&count.field) else {
                count.filled += 1;
                count.refused += 1;
                continue;
            };
            count.filled += usize::from(!value.is_empty());
            // The other side's ids are not known before the records are linked.
            if target.fields[&count.field].kind == FieldKind::Reference {
                continue;
            }
            let computed = value
                .is_empty()
                .then(|| target.computed_default(&count.field, &observed.fields, today));
            let value = computed.as_ref().and_then(Option::as_ref).unwrap_or(value);
            match target.project_create(&count.field, value) {
                Err(_) => count.refused += 1,
                Ok(projection) => {
                    count.changed += usize::from(computed.is_none() && projection.lossy.is_some());
                }
            }
        }
    }
    Ok(coverage)
}

/// The first records of a list, and whether there are more.
async fn read(system: &System, entity: &str, sample: usize) -> Result<(Vec<NativeRecord>, bool)> {
    let mut records = Vec::new();
    let mut after = None;
    // Every page but an empty one brings a record nearer to the sample.
    for _ in 0..=sample {
        let wanted = sample.saturating_sub(records.len());
        if wanted == 0 {
            break;
        }
        let request = ListRequest {
            entity: entity.to_owned(),
            since: None,
            after,
            limit: wanted.min(SAMPLE_DEFAULT),
        };
        let page = system.source.list(&request).await?;
        records.extend(page.records);
        if page.next.is_none() {
            let more = records.len() > sample;
            records.truncate(sample);
            return Ok((records, more));
        }
        after = page.next;
    }
    records.truncate(sample);
    Ok((records, true))
}
