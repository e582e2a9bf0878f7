//! Lists of changes, and records by id.

use std::collections::BTreeSet;

use futures::StreamExt;
use seamless_core::{
    Error, ErrorKind, ListRequest, NativeRecord, Page, PageToken, Priority, RecordId, Result, Timestamp,
};
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, whole};
use crate::entity::Entity;
use crate::query::{Query, Rows};

/// Values that one `in` may hold.
pub(crate) const IN_VALUES_MAX: usize = 500;

impl Client {
    /// One page, ascending by id. The token is the last id, so that a list can be resumed at any time.
    pub(crate) async fn list(&self, request: &ListRequest) -> Result<Page> {
        let entity = Entity::named(&request.entity)?;
        if entity.stamp.is_none() {
            return self.sweep(entity, request).await;
        }
        let above = above_of(request, entity)?;
        let mut conditions = Vec::new();
        if let (Some(since), Some(stamp)) = (request.since, entity.stamp) {
            let since = Timestamp(since.0).to_string();
            // A new row may have no change stamp yet.
            conditions.push(json!({"op": "or", "items": [
                {"op": "gte", "field": stamp, "value": since},
                {"op": "gte", "field": "createDate", "value": since},
            ]}));
        }
        let rows_max = request.limit.clamp(1, self.settings.page_size);
        let page = self
            .ask(&Query {
                entity: entity.name,
                conditions: &conditions,
                above,
                rows_max,
                include: None,
                priority: match request.since {
                    Some(_) => Priority::Poll,
                    None => Priority::Backfill,
                },
            })
            .await?;
        self.page_of(entity, page).await
    }

    /// A page of all records, whatever their stamps say, at the lowest priority. It leaves no trace in the sweeps of entities without stamps.
    pub(crate) async fn survey(&self, request: &ListRequest) -> Result<Page> {
        let entity = Entity::named(&request.entity)?;
        let include = self.included(entity);
        let page = self
            .ask(&Query {
                entity: entity.name,
                conditions: &[],
                above: above_of(request, entity)?,
                rows_max: request.limit.clamp(1, self.settings.page_size),
                include: include.as_deref(),
                priority: Priority::Reconcile,
            })
            .await?;
        self.page_of(entity, page).await
    }

    async fn page_of(&self, entity: &'static Entity, page: Rows) -> Result<Page> {
        let next = page
            .last_id
            .filter(|_| page.more)
            .map(|id| PageToken(id.to_string()));
        let records = self.records(entity, page.items).await?;
        Ok(Page {
            records,
            next,
            server_time: page.server_time,
        })
    }

    /// The records with these ids. One goes by its own URL; many go by `in`, and what that does not show is asked for one by one, because
    /// searches may lag behind writes.
    pub(crate) async fn fetch(&self, entity: &str, ids: &[RecordId]) -> Result<Vec<NativeRecord>> {
        let entity = Entity::named(entity)?;
        // An id that is no number cannot exist here.
        let ids: BTreeSet<i64> = ids.iter().filter_map(|id| id.as_str().parse().ok()).collect();
        let mut missing = ids.clone();
        let mut items = Vec::new();
        if ids.len() > 1 {
            let ids: Vec<i64> = ids.iter().copied().collect();
            for asked in ids.chunks(IN_VALUES_MAX.min(self.settings.page_size)) {
                let condition = json!({"op": "in", "field": "id", "value": asked});
                let page = self.query(entity.name, &[condition], None, asked.len()).await?;
                for item in page.items {
                    let id = item.get("id").and_then(whole).unwrap_or(-1);
                    if asked.binary_search(&id).is_err() {
                        return Err(ignored_filter(entity));
                    }
                    missing.remove(&id);
                    items.push(item);
                }
            }
        }
        let singles: Vec<_> = missing.into_iter().map(|id| self.item(entity, id)).collect();
        let mut singles = futures::stream::iter(singles).buffered(self.settings.concurrency_per_endpoint);
        while let Some(item) = singles.next().await {
            items.extend(item?);
        }
        self.records(entity, items).await
    }

    /// `{id}`: a missing one is `null` on some entities, 404 on others.
    async fn item(&self, entity: &Entity, id: i64) -> Result<Option<Map<String, Json>>> {
        let mut answer = match self.get(entity.name, &format!("{}/{id}", entity.name)).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            answer => answer.map_err(|e| in_entity(e, entity.name))?,
        };
        let item = match answer.get_mut("items") {
            // Some routes answer in the shape of a query.
            Some(Json::Array(items)) => items.pop().unwrap_or(Json::Null),
            _ => answer["item"].take(),
        };
        match item {
            Json::Null => Ok(None),
            Json::Object(item) if item.get("id").and_then(whole) == Some(id) => Ok(Some(item)),
            _ => Err(in_entity(
                Error::protocol("autotask answered with another record than the one asked for"),
                entity.name,
            )),
        }
    }
}

/// The token is the last id of the page before.
fn above_of(request: &ListRequest, entity: &Entity) -> Result<Option<i64>> {
    let Some(PageToken(token)) = &request.after else {
        return Ok(None);
    };
    token.parse().map(Some).map_err(|_| {
        in_entity(
            Error::protocol("the page token is not an id; start the poll again"),
            entity.name,
        )
    })
}

/// The server answered a question that was not asked.
pub(crate) fn ignored_filter(entity: &Entity) -> Error {
    let text = "autotask returned records that do not match the question; it seems to ignore the filter";
    in_entity(Error::protocol(text), entity.name)
}
