//! What can be found out about a system by reading it: does it look at filters, does it keep the time of day?

use std::time::Duration;

use seamless_core::{ErrorKind, ListRequest, Lookup, NativeRecord, Remark, Result, Stamp};

use crate::connector::Connector;
use crate::manifest::Entity;

/// A value that no record has: whoever finds something by it does not look at the filter.
pub(crate) const NOWHERE: &str = "no-such-value-7f3a";
/// Records looked at.
const SAMPLE: usize = 20;
const DAY: Duration = Duration::from_secs(86_400);

impl Connector {
    /// Whatever would make a sync of these entities go wrong, though their manifest reads well.
    pub(crate) async fn examine(&self, entities: &[String]) -> Result<Vec<Remark>> {
        let mut remarks = Vec::new();
        for name in entities {
            let Some(entity) = self.manifest.entities.get(name) else {
                continue;
            };
            let mut request = ListRequest {
                entity: name.clone(),
                since: None,
                after: None,
                limit: SAMPLE,
            };
            let records = self.list(&request).await?.records;
            remarks.extend(self.odd_stamps(entity, &records).into_iter().map(|odd| Remark {
                sentence: format!("{name}: {}", odd.sentence),
                ..odd
            }));
            if entity.is_incremental() && !records.is_empty() {
                request.since = Some(Stamp::from(self.now().plus(DAY + DAY)));
                let changed = match self.list(&request).await {
                    Ok(page) => page.records,
                    // It refuses a moment in the future, so it looks at it.
                    Err(error) if error.kind == ErrorKind::Invalid => Vec::new(),
                    Err(error) => return Err(error),
                };
                if !changed.is_empty() {
                    let sentence = format!(
                        "{name}: asked for what will be changed after tomorrow, it returns records: 'since' is ignored or read in another form, and every poll reads everything"
                    );
                    remarks.push(Remark {
                        wrong: false,
                        sentence,
                    });
                }
            }
            remarks.extend(self.ignored_filter(name, entity).await?);
        }
        Ok(remarks)
    }

    /// What is odd about stamps of records; they decide what a poll sees.
    pub(crate) fn odd_stamps(&self, entity: &Entity, records: &[NativeRecord]) -> Vec<Remark> {
        let Some(path) = &entity.modified else {
            return Vec::new();
        };
        let mut odd = Vec::new();
        let stamps: Vec<i64> = records
            .iter()
            .filter_map(|record| record.stamp)
            .map(|stamp| stamp.0)
            .collect();
        if stamps.len() < records.len() {
            let missing = records.len() - stamps.len();
            odd.push(Remark {
                // A few are a nuisance of that system's; with none at all the path is wrong.
                wrong: stamps.is_empty(),
                sentence: format!("{missing} of {} records have nothing at '{path}'", records.len()),
            });
        }
        let zone = entity.zone();
        let is_midnight = |stamp: &i64| {
            let local = jiff::Timestamp::from_microsecond(*stamp).map(|at| zone.to_datetime(at).time());
            local.is_ok_and(|time| time == jiff::civil::Time::midnight())
        };
        let said = self.granularity(entity);
        if stamps.len() > 1 && said < DAY && stamps.iter().all(is_midnight) {
            let sentence = format!(
                "'{path}' is midnight in every record: if the system keeps no time of day, write stamp_format = \"date\" or granularity_ms = 86400000, else changes are missed"
            );
            odd.push(Remark {
                wrong: true,
                sentence,
            });
        }
        odd
    }

    async fn ignored_filter(&self, name: &str, entity: &Entity) -> Result<Option<Remark>> {
        let Some(find) = entity.find.as_ref().filter(|find| !find.scan) else {
            return Ok(None);
        };
        let references = entity.map.values().filter_map(|section| section.xref.as_ref());
        let Some(field) = references.chain(&find.fields).next() else {
            return Ok(None);
        };
        let lookup = Lookup::Field {
            field: field.clone(),
            value: NOWHERE.into(),
        };
        match self.find(name, &[lookup]).await {
            // A system may refuse a text where it keeps a number; only an answer to the wrong question tells.
            Err(error) if error.kind == ErrorKind::Protocol => Ok(Some(Remark {
                wrong: true,
                sentence: format!("{name}: {}", error.message()),
            })),
            _ => Ok(None),
        }
    }
}
