//! Finding: records by the value of a field, and records with later ids. Answers are compared again: servers ignore filters
//! that they do not know, and return everything.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use seamless_core::{Error, ErrorKind, ListRequest, Lookup, NativeRecord, RecordId, Result, Value, lookup};
use serde_json::Value as Json;

use crate::connector::Connector;
use crate::manifest::{Above, Find, PageKind};
use crate::page::Walk;
use crate::rows::{Native, Rows, WRONG_ROWS_MAX};

/// Records returned for one lookup.
const FOUND_MAX: usize = 50;
/// Records returned for one `AboveId`.
const ABOVE_MAX: usize = 1_000;
/// Stubs without the searched field that are read in full for one search; more of them mean that the filter was ignored.
const STUBS_MAX: usize = 200;
/// Rows read for one search before it is called too wide.
const SEARCH_ROWS_MAX: usize = 20_000;

impl Connector {
    /// For each lookup, the records that really have the value.
    pub(crate) async fn find(&self, name: &str, lookups: &[Lookup]) -> Result<Vec<Vec<NativeRecord>>> {
        let native = self.native(name)?;
        let mut found: Vec<Vec<NativeRecord>> = lookups.iter().map(|_| Vec::new()).collect();
        let mut by_field: BTreeMap<&str, Vec<(usize, &Value)>> = BTreeMap::new();
        for (index, lookup) in lookups.iter().enumerate() {
            match lookup {
                Lookup::Field { field, value } => by_field.entry(field).or_default().push((index, value)),
                Lookup::AboveId(id) => found[index] = self.above(native, id).await?,
            }
        }
        if by_field.is_empty() {
            return Ok(found);
        }
        let missing = || Error::config("the manifest describes no 'find' for this entity");
        let find = native
            .entity
            .find
            .as_ref()
            .ok_or_else(|| self.named(native, missing()))?;
        if let Some(field) = by_field
            .keys()
            .find(|field| !find.fields.is_empty() && !find.fields.iter().any(|known| known == *field))
        {
            let message = format!(
                "'{field}' cannot be searched; the manifest's find.fields has: {}",
                find.fields.join(", ")
            );
            return Err(self.named(native, Error::config(message)));
        }
        if find.scan {
            return self.scan(native, find, &by_field, found).await;
        }
        let batches = by_field.iter().flat_map(|(field, wanted)| {
            wanted
                .chunks(find.values_max)
                .map(|batch| self.search(native, find, field, batch))
        });
        for (index, record) in try_join_all(batches).await?.into_iter().flatten() {
            if found[index].len() < FOUND_MAX {
                found[index].push(record);
            }
        }
        Ok(found)
    }

    async fn search(
        &self,
        native: Native<'_>,
        find: &Find,
        field: &str,
        wanted: &[(usize, &Value)],
    ) -> Result<Vec<(usize, NativeRecord)>> {
        let values: Vec<Json> = wanted.iter().map(|(_, value)| value.to_json()).collect();
        let call = find
            .call(field, &values, self.manifest.system.format)
            .map_err(|error| self.named(native, error))?;
        let rows = Rows {
            call,
            place: find.place(),
            paging: &find.page,
        };
        let mut walk = Walk::start(&find.page, self.manifest.limits.page_size);
        let (mut found, mut read, mut wrong) = (Vec::new(), 0, 0);
        loop {
            let page = self.rows_page(native, &rows, walk).await?;
            read += page.rows.len();
            for record in self.records(native, &page.rows)? {
                let held = lookup(&record.fields, field);
                // A stub without the field says nothing yet: the whole record will.
                if find.stubs && held.is_none() && found.len() < STUBS_MAX {
                    found.extend(wanted.first().map(|(index, _)| (*index, record)));
                    continue;
                }
                let held = held.and_then(Value::to_plain).unwrap_or_default();
                let mut matches = wanted.iter().filter(|(_, value)| equal(&held, value)).peekable();
                wrong += usize::from(matches.peek().is_none());
                found.extend(matches.map(|(index, _)| (*index, record.clone())));
            }
            let full_page = self.manifest.limits.page_size.min(WRONG_ROWS_MAX);
            if !find.near_matches && wrong >= full_page && wrong * 2 > read {
                return Err(self.ignored(native, field));
            }
            match page.next {
                Some(next) if read < SEARCH_ROWS_MAX => walk = next,
                Some(_) => {
                    let message = format!("a search by '{field}' does not end within {SEARCH_ROWS_MAX} rows");
                    return Err(self.named(native, Error::new(ErrorKind::Limit, message)));
                }
                None => break,
            }
        }
        // An answer as long as a page may be the first page of a longer one: fewer values at once make it shorter.
        if find.page.kind == PageKind::None && wanted.len() > 1 && read >= self.manifest.limits.page_size {
            let (front, back) = wanted.split_at(wanted.len() / 2);
            let halves = [front, back].map(|half| self.search(native, find, field, half));
            return Ok(Box::pin(try_join_all(halves))
                .await?
                .into_iter()
                .flatten()
                .collect());
        }
        if find.stubs {
            self.unstub(native, field, wanted, found).await
        } else {
            Ok(found)
        }
    }

    /// Reads the whole list and compares here: for servers that cannot search.
    async fn scan(
        &self,
        native: Native<'_>,
        find: &Find,
        by_field: &BTreeMap<&str, Vec<(usize, &Value)>>,
        mut found: Vec<Vec<NativeRecord>>,
    ) -> Result<Vec<Vec<NativeRecord>>> {
        let mut request = ListRequest {
            entity: native.name.to_owned(),
            since: None,
            after: None,
            limit: self.manifest.limits.page_size,
        };
        let mut read = 0;
        let mut seen = BTreeSet::new();
        loop {
            let page = self.list(&request).await?;
            read += page.records.len();
            // Pages that overlap bring a record twice.
            for record in page
                .records
                .into_iter()
                .filter(|record| seen.insert(record.id.clone()))
            {
                for (field, wanted) in by_field {
                    let held = lookup(&record.fields, field)
                        .and_then(Value::to_plain)
                        .unwrap_or_default();
                    for (index, _) in wanted.iter().filter(|(_, value)| equal(&held, value)) {
                        if found[*index].len() < FOUND_MAX {
                            found[*index].push(record.clone());
                        }
                    }
                }
            }
            match page.next {
                Some(next) if read < find.rows_max.unwrap_or(SEARCH_ROWS_MAX) => request.after = Some(next),
                Some(_) => {
                    let message = format!(
                        "more than {read} records would have to be read for one search, because the system cannot search; raise find.rows_max"
                    );
                    return Err(self.named(native, Error::new(ErrorKind::Limit, message)));
                }
                None => return Ok(found),
            }
        }
    }

    /// Reads found stubs in full, and compares again.
    async fn unstub(
        &self,
        native: Native<'_>,
        field: &str,
        wanted: &[(usize, &Value)],
        found: Vec<(usize, NativeRecord)>,
    ) -> Result<Vec<(usize, NativeRecord)>> {
        let mut ids: Vec<RecordId> = found.into_iter().map(|(_, record)| record.id).collect();
        ids.sort();
        ids.dedup();
        let mut full = Vec::new();
        for record in self.fetch(native.name, &ids).await? {
            let held = lookup(&record.fields, field)
                .and_then(Value::to_plain)
                .unwrap_or_default();
            full.extend(
                wanted
                    .iter()
                    .filter(|(_, value)| equal(&held, value))
                    .map(|(index, _)| (*index, record.clone())),
            );
        }
        Ok(full)
    }

    async fn above(&self, native: Native<'_>, floor: &RecordId) -> Result<Vec<NativeRecord>> {
        let missing = || Error::config("the manifest describes no 'above' for this entity");
        let above: &Above = native
            .entity
            .above
            .as_ref()
            .ok_or_else(|| self.named(native, missing()))?;
        let number = |id: &RecordId| {
            let message =
                || format!("id {id} is no whole number, but the manifest says that ids ascend ('above')");
            id.as_str()
                .parse::<i64>()
                .map_err(|_| self.named(native, Error::protocol(message())))
        };
        let floor_number = number(floor)?;
        let rows = Rows {
            call: above
                .call(floor.as_str())
                .map_err(|error| self.named(native, error))?,
            place: above.place(),
            paging: &above.page,
        };
        let mut walk = Walk::start(&above.page, self.manifest.limits.page_size);
        let (mut found, mut wrong) = (BTreeMap::new(), 0);
        loop {
            let page = self.rows_page(native, &rows, walk).await?;
            for record in self.records(native, &page.rows)? {
                let id = number(&record.id)?;
                if id > floor_number {
                    found.insert(id, record);
                } else {
                    wrong += 1;
                }
            }
            if wrong >= self.manifest.limits.page_size.min(WRONG_ROWS_MAX) && wrong > found.len() {
                return Err(self.ignored(native, &native.entity.id));
            }
            match page.next {
                Some(next) if found.len() < ABOVE_MAX => walk = next,
                _ => return Ok(found.into_values().take(ABOVE_MAX).collect()),
            }
        }
    }
}

/// Equal as text, upper and lower case alike, in every alphabet: what the server found must not be thrown away here.
fn equal(held: &str, wanted: &Value) -> bool {
    wanted
        .to_plain()
        .is_some_and(|wanted| !wanted.is_empty() && wanted.to_lowercase() == held.to_lowercase())
}
