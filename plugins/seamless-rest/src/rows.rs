//! Rows of a list, page by page: what `list`, `find` and `above` have in common.

use seamless_core::{Effect, Error, ErrorKind, NativeRecord, Result, Timestamp};
use serde_json::Value as Json;

use crate::answer::Answer;
use crate::call::Call;
use crate::connector::Connector;
use crate::json_path::{dig, plain, put};
use crate::manifest::{Above, Entity, Find, GetMany, List, PageKind, Paging};
use crate::page::{PageAnswer, Walk};

/// This many wrong rows, and more wrong than right ones, mean that the server did not look at the filter.
pub(crate) const WRONG_ROWS_MAX: usize = 20;

/// A native entity and its name.
#[derive(Clone, Copy)]
pub(crate) struct Native<'a> {
    pub(crate) name: &'a str,
    pub(crate) entity: &'a Entity,
}

/// A list that goes on over pages: what to ask and where the rows are.
pub(crate) struct Rows<'a> {
    pub(crate) call: Call,
    pub(crate) place: RowsPlace<'a>,
    pub(crate) paging: &'a Paging,
}

/// Where rows are in an answer.
#[derive(Clone, Copy)]
pub(crate) struct RowsPlace<'a> {
    pub(crate) items: &'a str,
    /// Path of the record inside each row.
    pub(crate) row: &'a str,
    /// "Not found", or no list at all, means that there are none.
    pub(crate) missing_is_empty: bool,
    /// A row may be the id itself.
    pub(crate) stubs: bool,
    /// The parent that they were asked for.
    pub(crate) parent: Option<&'a str>,
}

/// One page of it.
pub(crate) struct RowsPage {
    pub(crate) rows: Vec<Json>,
    pub(crate) next: Option<Walk>,
    pub(crate) server_time: Option<Timestamp>,
}

impl PageAnswer {
    /// What was found in it, for people.
    fn told(&self, rows: &Rows<'_>, count: usize) -> String {
        let place = match rows.place.items {
            "" => "the body itself is the list",
            items => &format!("the list is at '{items}'"),
        };
        let mut told = format!("{place}: {count} row(s)");
        if let Some(next) = &self.next {
            told += &format!("; the next page is at {next}");
        } else if matches!(
            rows.paging.kind,
            PageKind::Cursor | PageKind::NextUrl | PageKind::LinkHeader
        ) {
            told += "; no next page is named";
        }
        if let Some(total) = self.total {
            told += &format!("; {total} in all");
        }
        if self.is_last {
            told += "; it says that nothing follows";
        }
        told
    }
}

impl List {
    /// Where the rows of one parent's list are.
    pub(crate) fn place<'a>(&'a self, parent: Option<&'a str>) -> RowsPlace<'a> {
        RowsPlace {
            items: &self.items,
            row: &self.row,
            missing_is_empty: self.missing_is_empty,
            stubs: self.stubs,
            parent,
        }
    }
}

impl Find {
    /// Where the rows found are.
    pub(crate) fn place(&self) -> RowsPlace<'_> {
        RowsPlace {
            items: &self.items,
            row: &self.row,
            missing_is_empty: self.missing_is_empty,
            stubs: self.stubs,
            parent: None,
        }
    }
}

impl GetMany {
    /// Where the rows of a batch are.
    pub(crate) fn place(&self) -> RowsPlace<'_> {
        RowsPlace {
            items: &self.items,
            row: &self.row,
            missing_is_empty: self.missing_is_empty,
            stubs: false,
            parent: None,
        }
    }
}

impl Above {
    /// Where the rows with higher ids are.
    pub(crate) fn place(&self) -> RowsPlace<'_> {
        RowsPlace {
            items: &self.items,
            row: &self.row,
            missing_is_empty: self.missing_is_empty,
            stubs: false,
            parent: None,
        }
    }
}

impl Connector {
    pub(crate) fn native<'a>(&'a self, name: &'a str) -> Result<Native<'a>> {
        Ok(Native {
            name,
            entity: self.entity(name)?,
        })
    }

    /// Adds what every error of a call should say.
    pub(crate) fn named(&self, native: Native<'_>, error: Error) -> Error {
        error.with("system", &self.system).with("entity", native.name)
    }

    pub(crate) fn ignored(&self, native: Native<'_>, field: &str) -> Error {
        let message = format!(
            "the server seems to ignore the filter by '{field}': it returns records that do not match"
        );
        self.named(native, Error::protocol(message).field(field))
            .effect(Effect::NotApplied)
    }

    pub(crate) async fn rows_page(
        &self,
        native: Native<'_>,
        rows: &Rows<'_>,
        walk: Walk,
    ) -> Result<RowsPage> {
        let paging = rows.paging;
        let (mut answers, mut pages, mut server_time) = (Vec::new(), Vec::new(), None);
        for ask in walk.asks(paging) {
            let call = rows.call.clone().page(paging, &ask, walk.size);
            let answer = match self.read(native.name, call, None).await {
                Ok(answer) => answer,
                // Past the last page some servers say "no such page", and some say "not found" of an empty list.
                Err(error)
                    if error.kind == ErrorKind::NotFound
                        && (rows.place.missing_is_empty
                            || (paging.kind.is_counted() && !walk.at_start())) =>
                {
                    answers.push(PageAnswer::default());
                    pages.push(Vec::new());
                    continue;
                }
                Err(error) => return Err(error),
            };
            server_time = server_time.or(answer.response.server_time);
            let page = self.rows_of(native, &answer, rows.place)?;
            let told = self.page_answer(native, rows, &answer, &page)?;
            self.tell(|| told.told(rows, page.len()));
            answers.push(told);
            pages.push(page);
        }
        let step = walk
            .clone()
            .advance(paging, &answers)
            .map_err(|error| self.named(native, error))?;
        let joined: Vec<Json> = pages.into_iter().rev().flatten().skip(step.skip).collect();
        let fresh = match walk.through() {
            // The first part of this page was handed out before.
            Some(last) => {
                let ids = self.ids(native, &joined, step.skip)?;
                let seen = ids.iter().rposition(|id| id == last).map_or(0, |at| at + 1);
                joined.into_iter().skip(seen).collect()
            }
            None => joined,
        };
        Ok(RowsPage {
            rows: fresh,
            next: step.next,
            server_time,
        })
    }

    /// The records of an answer, shaped.
    pub(crate) fn rows_of(
        &self,
        native: Native<'_>,
        answer: &Answer,
        place: RowsPlace<'_>,
    ) -> Result<Vec<Json>> {
        if place.missing_is_empty && dig(&answer.json, place.items).is_none() {
            return Ok(Vec::new());
        }
        let rows = answer
            .rows(place.items)
            .map_err(|error| self.named(native, error))?;
        let shaped = |(index, row): (usize, &Json)| {
            let position = |error: Error| self.named(native, error.with("position", index + 1));
            if place.stubs && (row.is_string() || row.is_number()) {
                let mut stub = Json::Object(Default::default());
                put(&mut stub, &native.entity.id, row.clone());
                return native.entity.shaped(&stub, "", place.parent).map_err(position);
            }
            native
                .entity
                .shaped(row, place.row, place.parent)
                .map_err(position)
        };
        rows.iter().enumerate().map(shaped).collect()
    }

    fn page_answer(
        &self,
        native: Native<'_>,
        rows: &Rows<'_>,
        answer: &Answer,
        page: &[Json],
    ) -> Result<PageAnswer> {
        let paging = rows.paging;
        let mut next = answer.next(paging);
        if matches!(paging.kind, PageKind::NextUrl | PageKind::LinkHeader)
            && let Some(url) = next.as_ref().and_then(plain)
        {
            next = Some(
                self.next_url(&rows.call.path, &url, paging.ignore_host)
                    .map_err(|error| self.named(native, error))?
                    .into(),
            );
        }
        let key = |field: &String| {
            page.iter()
                .map(|row| dig(row, field).cloned().unwrap_or(Json::Null))
                .collect()
        };
        Ok(PageAnswer {
            ids: self.ids(native, page, 0)?,
            keys: paging.field.as_ref().map(key).unwrap_or_default(),
            next,
            total: answer.total(paging),
            pages: answer.pages(paging),
            is_last: answer.is_last(paging),
        })
    }

    pub(crate) fn ids(&self, native: Native<'_>, rows: &[Json], before: usize) -> Result<Vec<String>> {
        let path = &native.entity.id;
        let id = |(index, row): (usize, &Json)| {
            dig(row, path)
                .and_then(plain)
                .filter(|id| !id.is_empty())
                .ok_or_else(|| {
                    let message = format!(
                        "record {} of the answer has no '{path}', which is its id",
                        before + index + 1
                    );
                    self.named(native, Error::protocol(message))
                })
        };
        rows.iter().enumerate().map(id).collect()
    }

    pub(crate) fn records(&self, native: Native<'_>, rows: &[Json]) -> Result<Vec<NativeRecord>> {
        let record = |(index, row)| {
            let position = |error: Error| self.named(native, error.with("position", index + 1));
            native.entity.record(row, None).map_err(position)
        };
        rows.iter().enumerate().map(record).collect()
    }
}
