//! Lists: pages of changes. One entity may be read from several lists, and each of them once for every parent; where a poll
//! stands in all of that is its [`Place`].

use seamless_core::{Error, ErrorKind, ListRequest, Page, PageToken, RecordId, Result, Stamp, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::connector::Connector;
use crate::json_path::{dig, plain};
use crate::manifest::{Entity, List};
use crate::page::Walk;
use crate::rows::{Native, Rows};

const TOKEN_BYTES_MAX: usize = 1024;
/// Lists of parents read for one page at most, so that a page comes to an end.
const PARENTS_A_PAGE_MAX: usize = 50;

/// Where a poll stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    /// Which of the entity's lists.
    part: usize,
    /// Which parent, where they are read by parent.
    parents: Option<ParentPlace>,
    /// Where in that list; `None` at its start.
    walk: Option<Walk>,
}

/// Where the list of parents stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ParentPlace {
    walk: Walk,
    /// The parent under way; `None` for the first of the page.
    at: Option<String>,
}

/// One page of one list.
struct Piece {
    rows: Vec<Json>,
    next: Option<Walk>,
    server_time: Option<Timestamp>,
}

impl Connector {
    /// One page of changes.
    pub(crate) async fn list(&self, request: &ListRequest) -> Result<Page> {
        let native = self.native(&request.entity)?;
        let since = request.since.map(|Stamp(micros)| Timestamp(micros));
        let lists = native.entity.lists(since.is_some());
        let limit = request.limit.max(1);
        let mut place = request.after.as_ref().and_then(Place::resume).unwrap_or(Place {
            part: 0,
            parents: None,
            walk: None,
        });
        let mut server_time = None;
        // Pages without rows are not worth a return; the walks themselves bound how many there can be.
        loop {
            let Some(list) = lists.get(place.part) else {
                return Ok(Page {
                    records: Vec::new(),
                    next: None,
                    server_time,
                });
            };
            let (piece, next) = if list.names("parent") {
                self.below_parents(native, list, since, limit, place.clone())
                    .await?
            } else {
                let piece = self
                    .piece(native, list, since, limit, place.walk.clone(), None)
                    .await?;
                let next = piece.next.clone().map(|walk| Place {
                    walk: Some(walk),
                    ..place.clone()
                });
                (piece, next)
            };
            server_time = server_time.or(piece.server_time);
            let next = next.or_else(|| {
                (place.part + 1 < lists.len()).then_some(Place {
                    part: place.part + 1,
                    parents: None,
                    walk: None,
                })
            });
            if piece.rows.is_empty()
                && let Some(next) = next
            {
                place = next;
                continue;
            }
            if piece.rows.is_empty() {
                self.confirm_empty().await?;
            }
            let next = next
                .map(|place| place.token())
                .transpose()
                .map_err(|error| self.named(native, error))?;
            let records = if list.stubs {
                let ids: Vec<RecordId> = self
                    .ids(native, &piece.rows, 0)?
                    .into_iter()
                    .map(RecordId)
                    .collect();
                self.fetch(native.name, &ids).await?
            } else {
                self.records(native, &piece.rows)?
            };
            return Ok(Page {
                records,
                next,
                server_time,
            });
        }
    }

    /// A page of one list, cut to the limit.
    async fn piece(
        &self,
        native: Native<'_>,
        list: &List,
        since: Option<Timestamp>,
        limit: usize,
        walk: Option<Walk>,
        parent: Option<&str>,
    ) -> Result<Piece> {
        let call = list
            .call(native.entity, since, parent, self.manifest.system.format)
            .map_err(|error| self.named(native, error))?;
        let rows = Rows {
            call,
            place: list.place(parent),
            paging: &list.page,
        };
        let start = || Walk::start(&list.page, limit.min(self.manifest.limits.page_size));
        let walk = walk.unwrap_or_else(start);
        let page = self.rows_page(native, &rows, walk.clone()).await?;
        let (mut rows, mut next) = (page.rows, page.next);
        if rows.len() > limit {
            // More than asked for: the rest is read again from the same page.
            rows.truncate(limit);
            let last = rows
                .last()
                .and_then(|row| dig(row, &native.entity.id))
                .and_then(plain);
            next = Some(walk.behind(last.unwrap_or_default()));
        }
        Ok(Piece {
            rows,
            next,
            server_time: page.server_time,
        })
    }

    /// Pages of a list that is read once for each parent: as many as the limit has room for.
    async fn below_parents(
        &self,
        native: Native<'_>,
        list: &List,
        since: Option<Timestamp>,
        limit: usize,
        place: Place,
    ) -> Result<(Piece, Option<Place>)> {
        let above = native.entity.parent.as_ref().ok_or_else(|| {
            self.named(
                native,
                Error::config("the list names {parent}, but the entity has no 'parent'"),
            )
        })?;
        let above = self.native(&above.entity)?;
        let parents = &above.entity.list;
        let call = parents
            .call(above.entity, None, None, self.manifest.system.format)
            .map_err(|error| self.named(above, error))?;
        let parent_rows = Rows {
            call,
            place: parents.place(None),
            paging: &parents.page,
        };
        let at = place.parents.unwrap_or_else(|| ParentPlace {
            walk: Walk::start(&parents.page, self.manifest.limits.page_size),
            at: None,
        });
        let page = self.rows_page(above, &parent_rows, at.walk.clone()).await?;
        let ids = self.ids(above, &page.rows, 0)?;
        // A parent that is gone meanwhile: its page is read from the start, so that records come twice rather than never.
        let from = at
            .at
            .as_ref()
            .and_then(|at| ids.iter().position(|id| id == at))
            .unwrap_or(0);
        let mut walk = if at.at.as_ref() == ids.get(from) {
            place.walk
        } else {
            None
        };
        let mut piece = Piece {
            rows: Vec::new(),
            next: None,
            server_time: page.server_time,
        };
        let here = |id: &String, walk| Place {
            part: place.part,
            parents: Some(ParentPlace {
                walk: at.walk.clone(),
                at: Some(id.clone()),
            }),
            walk,
        };
        for (index, id) in ids.iter().enumerate().skip(from) {
            let room = limit - piece.rows.len();
            let is_full = !piece.rows.is_empty() && room < self.manifest.limits.page_size.min(limit);
            if is_full || index - from >= PARENTS_A_PAGE_MAX {
                return Ok((piece, Some(here(id, walk))));
            }
            let child = self.piece(native, list, since, room, walk.take(), Some(id)).await;
            let child = match child {
                Ok(child) => child,
                // Removed since its page was read: so are its children.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            piece.rows.extend(child.rows);
            if let Some(next) = child.next {
                return Ok((piece, Some(here(id, Some(next)))));
            }
        }
        let next = page.next.map(|walk| Place {
            part: place.part,
            parents: Some(ParentPlace { walk, at: None }),
            walk: None,
        });
        Ok((piece, next))
    }
}

impl Entity {
    /// The lists that a poll reads, one after the other.
    fn lists(&self, is_incremental: bool) -> Vec<&List> {
        if is_incremental && !self.changes.is_empty() {
            return self.changes.iter().collect();
        }
        std::iter::once(&self.list).chain(&self.more_lists).collect()
    }

    /// True when the server can be asked for changes only.
    pub(crate) fn is_incremental(&self) -> bool {
        !self.changes.is_empty() || self.list.asks_since()
    }
}

impl Place {
    /// Reads a token. One that an older version wrote starts the poll again: records may come twice, none is lost.
    fn resume(token: &PageToken) -> Option<Place> {
        let place: Place = serde_json::from_str(&token.0).ok()?;
        let parents = place.parents.as_ref().map(|parents| &parents.walk);
        let mut walks = place.walk.iter().chain(parents);
        walks.all(Walk::is_ours).then_some(place)
    }

    fn token(&self) -> Result<PageToken> {
        let text = serde_json::to_string(self).map_err(|error| {
            Error::protocol("the place in the list cannot be written down").because(error)
        })?;
        if text.len() > TOKEN_BYTES_MAX {
            let message =
                "the server's cursor or next url is longer than 800 bytes; use another way of paging";
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(PageToken(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::Paging;
    use crate::page::PageAnswer;

    #[test]
    fn a_place_survives_its_token_and_a_cursor_too_long_for_it_is_a_limit() {
        let paging: Paging =
            serde_json::from_value(json!({ "kind": "cursor", "query": "c", "next": "next" })).unwrap();
        let token = |cursor: String| {
            let answer = PageAnswer {
                ids: vec!["1".into()],
                next: Some(cursor.into()),
                ..Default::default()
            };
            let step = Walk::start(&paging, 10).advance(&paging, &[answer]).unwrap();
            let place = Place {
                part: 1,
                parents: None,
                walk: step.next,
            };
            (place.token(), place)
        };
        let (short, place) = token("abc".into());
        assert_eq!(Place::resume(&short.unwrap()), Some(place));
        assert_eq!(token("x".repeat(2_000)).0.unwrap_err().kind, ErrorKind::Limit);
    }
}
