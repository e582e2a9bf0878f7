//! Queries: always by POST, always paged by id, never believed.

use seamless_core::{Error, Priority, Result, Timestamp};
use seamless_http::Request;
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, read_only, whole};
use crate::gate::Purpose;

/// A question for one page of records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query<'a> {
    /// The collection.
    pub(crate) entity: &'a str,
    /// All of them hold.
    pub(crate) conditions: &'a [Json],
    /// Only ids above this one.
    pub(crate) above: Option<i64>,
    pub(crate) rows_max: usize,
    /// Only these fields; all of them where nothing is said.
    pub(crate) include: Option<&'a [String]>,
    pub(crate) priority: Priority,
}

/// A page of a query, ascending by id.
pub(crate) struct Rows {
    pub(crate) items: Vec<Map<String, Json>>,
    pub(crate) last_id: Option<i64>,
    /// There may be more behind `last_id`.
    pub(crate) more: bool,
    pub(crate) server_time: Option<Timestamp>,
}

impl Client {
    /// One page of records that satisfy all conditions, with ids above `above`, for what people have just done.
    pub(crate) async fn query(
        &self,
        entity: &str,
        conditions: &[Json],
        above: Option<i64>,
        rows_max: usize,
    ) -> Result<Rows> {
        self.ask(&Query {
            entity,
            conditions,
            above,
            rows_max,
            ..Query::default()
        })
        .await
    }

    /// One page of records.
    ///
    /// Always by POST: a GET's length is limited. `nextPageUrl` is not followed: paging by id survives restarts, and no server-side
    /// page memory runs out. The rows are checked to be what paging by id needs.
    pub(crate) async fn ask(&self, query: &Query<'_>) -> Result<Rows> {
        let Query {
            entity,
            above,
            rows_max,
            ..
        } = *query;
        let mut items = query.conditions.to_vec();
        match above {
            Some(id) => items.push(json!({"op": "gt", "field": "id", "value": id})),
            // A filter is mandatory, and id 0 exists: the tenant's own company.
            None if items.is_empty() => items.push(json!({"op": "gte", "field": "id", "value": 0})),
            None => {}
        }
        let mut body = json!({"filter": [{"op": "and", "items": items}], "MaxRecords": rows_max});
        if let Some(include) = query.include {
            body["IncludeFields"] = json!(include);
        }
        let path = format!("{entity}/query");
        let purpose = Purpose {
            priority: query.priority,
            ..Purpose::read(entity)
        };
        let response = self
            .call(purpose, || Request::post(&path).json(&body))
            .await
            .map_err(|e| in_entity(read_only(e), entity))?;
        let mut answer = response.json().map_err(|e| in_entity(e, entity))?;
        let Json::Array(rows) = answer["items"].take() else {
            return Err(in_entity(
                Error::protocol("autotask answered a query without 'items'"),
                entity,
            ));
        };
        let mut page = Rows {
            items: Vec::new(),
            last_id: above,
            more: false,
            server_time: response.server_time,
        };
        if rows.len() > rows_max {
            return Err(in_entity(
                Error::protocol("autotask sent more rows than a page may hold"),
                entity,
            ));
        }
        for row in rows {
            let Json::Object(item) = row else {
                return Err(in_entity(
                    Error::protocol("autotask sent a row that is not an object"),
                    entity,
                ));
            };
            let id = item.get("id").and_then(whole);
            if id.is_none() || id <= page.last_id {
                let text = "autotask sent rows that do not ascend by id from where the page starts; paging would not end";
                return Err(in_entity(Error::protocol(text), entity));
            }
            page.last_id = id;
            page.items.push(item);
        }
        // A server that caps pages below what was asked tells by its link; a full page may be followed by more in any case.
        let next_url = answer["pageDetails"]["nextPageUrl"].as_str();
        page.more = !page.items.is_empty() && (page.items.len() == rows_max || next_url.is_some());
        if let Some(url) = next_url {
            self.warn_of_foreign_page(url).await;
        }
        tracing::debug!(entity, rows = page.items.len(), more = page.more, "autotask page");
        Ok(page)
    }
}
