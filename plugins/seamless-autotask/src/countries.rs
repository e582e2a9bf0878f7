//! Countries: a number of the tenant's own in records, an ISO code to everybody else. Read once, kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seamless_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value as Json};

use crate::client::{Client, in_entity, whole};

/// The world has about 250.
const COUNTRIES_MAX: usize = 2_000;
/// An unknown country makes us read the list again, but no more often than this.
const REREAD_AFTER: Duration = Duration::from_secs(3_600);

/// The list and when it was read.
#[derive(Default)]
pub(crate) struct Countries(tokio::sync::Mutex<Option<(Duration, Arc<CountryTable>)>>);

/// Both ways between ids and texts.
#[derive(Default)]
pub(crate) struct CountryTable {
    by_id: BTreeMap<i64, String>,
    by_text: BTreeMap<String, i64>,
}

impl Client {
    /// The countries. Read again when they do not suffice and were not read lately.
    pub(crate) async fn countries(
        &self,
        suffice: impl Fn(&CountryTable) -> bool,
    ) -> Result<Arc<CountryTable>> {
        // Held while asking, so that any number of callers ask once.
        let mut slot = self.countries.0.lock().await;
        let now = self.clock.monotonic();
        if let Some((read, table)) = &*slot
            && (suffice(table) || now < *read + REREAD_AFTER)
        {
            return Ok(table.clone());
        }
        let mut rows: Vec<Json> = Vec::new();
        let mut above = None;
        loop {
            let page = self
                .query("Countries", &[], above, self.settings.page_size)
                .await?;
            above = page.last_id;
            rows.extend(page.items.into_iter().map(Json::Object));
            if rows.len() > COUNTRIES_MAX {
                let text = format!("autotask has more than {COUNTRIES_MAX} countries");
                return Err(in_entity(Error::new(ErrorKind::Limit, text), "Countries"));
            }
            if !page.more {
                break;
            }
        }
        let table = Arc::new(CountryTable::from_rows(&rows));
        *slot = Some((now, table.clone()));
        Ok(table)
    }
}

impl CountryTable {
    pub(crate) fn from_rows(rows: &[Json]) -> CountryTable {
        let mut table = CountryTable::default();
        let rows = || rows.iter().filter_map(Json::as_object);
        let is_active = |row: &Map<String, Json>| row.get("isActive") != Some(&Json::Bool(false));
        // Active ones first: where two share a name, people mean the one that can be chosen.
        for row in rows()
            .filter(|row| is_active(row))
            .chain(rows().filter(|row| !is_active(row)))
        {
            let Some(id) = row.get("id").and_then(whole) else {
                continue;
            };
            let texts: Vec<&str> = ["countryCode", "displayName", "name"]
                .iter()
                .filter_map(|field| Some(row.get(*field)?.as_str()?.trim()).filter(|text| !text.is_empty()))
                .collect();
            let code = texts.first().map(|first| {
                if is_code(first) {
                    first.to_ascii_uppercase()
                } else {
                    first.to_string()
                }
            });
            if let Some(text) = code {
                table.by_id.entry(id).or_insert(text);
            }
            for text in texts {
                table.by_text.entry(text.to_lowercase()).or_insert(id);
            }
        }
        table
    }

    /// ISO code, else the display name.
    pub(crate) fn text(&self, id: i64) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// The id for a code or a name, in any case.
    pub(crate) fn id(&self, text: &str) -> Option<i64> {
        self.by_text.get(&text.trim().to_lowercase()).copied()
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_ways_by_code_or_name() {
        let table = CountryTable::from_rows(&[
            json!({"id": 1, "countryCode": "us", "displayName": "United States", "name": "USA", "isActive": true}),
            json!({"id": 2, "countryCode": null, "displayName": "Elbonia", "isActive": true}),
            json!({"id": 3, "countryCode": "US", "displayName": "United States (old)", "isActive": false}),
            json!({"id": "4", "countryCode": "DE", "name": "Deutschland"}),
        ]);
        assert_eq!(
            (table.text(1), table.text(2), table.text(3)),
            (Some("US"), Some("Elbonia"), Some("US"))
        );
        for (text, id) in [
            ("US", 1),
            ("united states", 1),
            ("usa", 1),
            (" Elbonia ", 2),
            ("DEUTSCHLAND", 4),
            ("de", 4),
        ] {
            assert_eq!(table.id(text), Some(id), "{text}");
        }
        assert_eq!(table.id("Atlantis"), None);
    }
}
