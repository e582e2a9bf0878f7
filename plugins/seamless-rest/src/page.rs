//! Paging, without I/O: what to ask for next, and what an answer means for the way ahead.
//!
//! A [`Walk`] is the whole state between two pages; it travels as the page token. Offset and page number are unsafe by nature
//! (a row deleted on an earlier page moves a later one over the edge), so pages overlap by a row: the last row seen must turn
//! up again, else the walk steps back until it does.

use seamless_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::json_path::plain;
use crate::manifest::{PageKind, Paging};

/// Longer lists are taken for endless ones.
const PAGES_MAX: u32 = 100_000;
/// Empty pages that announce a next one, in a row.
const EMPTY_PAGES_MAX: u8 = 3;
/// The very same page in a row; once can happen when its rows changed meanwhile and moved on.
const SAME_PAGES_MAX: u8 = 2;
/// Steps back because rows moved, in one list.
const STEPS_BACK_MAX: u8 = 40;
/// Larger than any page.
const SIZE_MAX: usize = 100_000;
/// Rows and page numbers beyond this are nobody's.
const COUNT_MAX: u64 = 1 << 53;

/// Where a list stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Walk {
    pages: u32,
    /// Page size; constant for a list, because page numbers mean nothing without it.
    pub(crate) size: usize,
    at: At,
    empties: u8,
    same: u8,
    last: u64,
    mark: u64,
    /// Of this page, rows up to this id were handed out already.
    through: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum At {
    Start,
    /// Offset or page number.
    Count(Count),
    /// Cursor or key to send.
    Value(Json),
    /// Path and query of the next page.
    Url(String),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    /// Offset or page number to ask for.
    next: u64,
    /// Id of the last row seen.
    anchor: Option<String>,
    /// How far the last step back went.
    back: u64,
    /// Rows read so far (pages) or rows before the next one (offsets).
    seen: u64,
    steps_back: u8,
}

/// One request of a page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    /// Send this as the paging parameter (nothing on the first page of a cursor).
    Value(Option<Json>),
    /// Read this URL.
    Url(String),
}

/// What one answer holds, as far as paging is concerned.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageAnswer {
    /// Ids of its rows.
    pub(crate) ids: Vec<String>,
    /// Values of the keyset field, one a row.
    pub(crate) keys: Vec<Json>,
    /// Cursor, or path and query of the next URL; `None` when the server says that this is the end.
    pub(crate) next: Option<Json>,
    /// Total number of rows, where it says so.
    pub(crate) total: Option<u64>,
    /// Number of the last page (or how many there are), where it says so.
    pub(crate) pages: Option<u64>,
    /// The server says that nothing follows.
    pub(crate) is_last: bool,
}

/// The way ahead.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    /// Rows of the joined answers (earlier page first) that were seen before.
    pub(crate) skip: usize,
    /// The next page; `None` at the end.
    pub(crate) next: Option<Walk>,
}

impl Walk {
    /// The start of a list.
    pub(crate) fn start(paging: &Paging, size: usize) -> Walk {
        let overlaps = matches!(paging.kind, PageKind::Offset) && !paging.stable;
        // An overlapping page of one row could never get ahead.
        let size = if overlaps { size.max(2) } else { size.max(1) };
        Walk {
            pages: 0,
            size,
            at: At::Start,
            empties: 0,
            same: 0,
            last: 0,
            mark: 0,
            through: None,
        }
    }

    /// Nothing in it is further than a list of ours gets: from a damaged store anything may come back.
    pub(crate) fn is_ours(&self) -> bool {
        let counted = match &self.at {
            At::Count(count) => {
                count.next.max(count.back).max(count.seen) <= COUNT_MAX && count.steps_back <= STEPS_BACK_MAX
            }
            _ => true,
        };
        counted
            && self.pages <= PAGES_MAX
            && (1..=SIZE_MAX).contains(&self.size)
            && self.empties <= EMPTY_PAGES_MAX
            && self.same <= SAME_PAGES_MAX
    }

    /// True on the first page.
    pub(crate) fn at_start(&self) -> bool {
        self.at == At::Start
    }

    /// The same page once more, behind the row with this id.
    pub(crate) fn behind(&self, id: String) -> Walk {
        Walk {
            through: Some(id),
            ..self.clone()
        }
    }

    /// The last row of this page that was handed out already.
    pub(crate) fn through(&self) -> Option<&str> {
        self.through.as_deref()
    }

    /// The requests of this page, in the order in which they must be made; answers are joined in reverse order.
    pub(crate) fn asks(&self, paging: &Paging) -> Vec<Ask> {
        let first = first_count(paging);
        match &self.at {
            At::Start => match paging.kind {
                PageKind::Offset | PageKind::Page => vec![Ask::Value(Some(first.into()))],
                _ => vec![Ask::Value(None)],
            },
            // The later page first: a row that moves to the earlier page in between is then seen at least once.
            At::Count(Count {
                next,
                anchor: Some(_),
                ..
            }) if paging.kind == PageKind::Page && *next > first => {
                vec![
                    Ask::Value(Some((*next).into())),
                    Ask::Value(Some((*next - 1).into())),
                ]
            }
            At::Count(count) => vec![Ask::Value(Some(count.next.into()))],
            At::Value(value) => vec![Ask::Value(Some(value.clone()))],
            At::Url(url) => vec![Ask::Url(url.clone())],
        }
    }

    /// What follows from the answers to [`Walk::asks`].
    pub(crate) fn advance(mut self, paging: &Paging, answers: &[PageAnswer]) -> Result<Step> {
        self.pages += 1;
        self.through = None;
        if self.pages > PAGES_MAX {
            return Err(Error::protocol(format!(
                "the list did not end within {PAGES_MAX} pages"
            )));
        }
        match paging.kind {
            PageKind::None => Ok(Step { skip: 0, next: None }),
            PageKind::Offset | PageKind::Page => self.count(paging, answers),
            PageKind::Cursor | PageKind::NextUrl | PageKind::LinkHeader => {
                let next = answers[0].next.clone();
                let at = next.map(|next| match (paging.kind, next) {
                    (PageKind::Cursor, cursor) => At::Value(cursor),
                    (_, url) => At::Url(plain(&url).unwrap_or_default()),
                });
                self.follow(at, &answers[0].ids)
            }
            PageKind::Keyset => {
                let at = self.after_key(paging, &answers[0])?;
                self.follow(at, &answers[0].ids)
            }
        }
    }

    /// Goes on to where the server points, unless it leads round in circles.
    fn follow(mut self, at: Option<At>, ids: &[String]) -> Result<Step> {
        let Some(at) = at else {
            return Ok(Step { skip: 0, next: None });
        };
        if at == self.at {
            return Err(Error::protocol(
                "the list is endless: its next page is the page just read",
            ));
        }
        self.empties = if ids.is_empty() { self.empties + 1 } else { 0 };
        if self.empties > EMPTY_PAGES_MAX {
            let message = format!(
                "the list is endless: {} empty pages in a row name a next one",
                self.empties
            );
            return Err(Error::protocol(message));
        }
        let rows = hash(ids);
        self.same = if !ids.is_empty() && rows == self.last {
            self.same + 1
        } else {
            0
        };
        if self.same >= SAME_PAGES_MAX {
            return Err(Error::protocol(
                "the list is endless: the server repeats the same page",
            ));
        }
        self.last = rows;
        // A circle of any length: compare with a mark that moves up at every power of two.
        let here = hash(&[format!("{at:?}")]);
        if here == self.mark {
            return Err(Error::protocol(
                "the list is endless: its pages lead round in a circle",
            ));
        }
        if self.pages.is_power_of_two() {
            self.mark = here;
        }
        self.at = at;
        Ok(Step {
            skip: 0,
            next: Some(self),
        })
    }

    fn after_key(&self, paging: &Paging, answer: &PageAnswer) -> Result<Option<At>> {
        let field = paging.field.as_deref().unwrap_or_default();
        let Some(last) = answer.keys.last() else {
            return Ok(None);
        };
        if answer.keys.iter().any(|key| plain(key).is_none()) {
            return Err(Error::protocol(format!(
                "a row has no '{field}', so that nobody knows where to go on"
            )));
        }
        let numbers: Vec<i64> = answer.keys.iter().filter_map(Json::as_i64).collect();
        let (order, wrong): (&str, fn(&[i64]) -> bool) = if paging.descending {
            ("descending", |pair| pair[0] < pair[1])
        } else {
            ("ascending", |pair| pair[0] > pair[1])
        };
        if numbers.windows(2).any(wrong) {
            let message =
                format!("rows are not in {order} order of '{field}'; ask for that order in list.query");
            return Err(Error::protocol(message));
        }
        let is_short = answer.keys.len() < self.size;
        if answer.is_last || (is_short && paging.short_page_ends) {
            return Ok(None);
        }
        let at = At::Value(last.clone());
        if paging.inclusive && at == self.at {
            if is_short {
                return Ok(None);
            }
            let message = format!(
                "more than {} records share one '{field}'; raise limits.page_size",
                self.size
            );
            return Err(Error::protocol(message));
        }
        Ok(Some(at))
    }

    fn count(mut self, paging: &Paging, answers: &[PageAnswer]) -> Result<Step> {
        let first = first_count(paging);
        let is_page = paging.kind == PageKind::Page;
        let here = match &self.at {
            At::Count(count) => count.clone(),
            _ => Count {
                next: first,
                ..Count::default()
            },
        };
        let newest = &answers[0].ids;
        let same = newest.len() > 1 && hash(newest) == self.last;
        if same && (!is_page || (self.pages == 2 && newest.len() >= self.size)) {
            let name = paging
                .query
                .as_deref()
                .or(paging.body.as_deref())
                .unwrap_or_default();
            return Err(Error::protocol(format!(
                "the list is endless: the server repeats the same page and seems to ignore '{name}'"
            )));
        }
        let joined: Vec<&String> = answers.iter().rev().flat_map(|answer| &answer.ids).collect();
        let found = here
            .anchor
            .as_ref()
            .and_then(|anchor| joined.iter().rposition(|id| *id == anchor));
        if here.anchor.is_some() && found.is_none() && here.next > first {
            return self.step_back(paging, here, joined.len());
        }
        let skip = found.map_or(0, |at| at + 1);
        let rows = newest.len() as u64;
        // Page numbers say nothing about rows where the server shortens pages, so those are counted.
        let seen = if is_page {
            here.seen + rows
        } else {
            here.next - first + rows
        };
        let seen_all = answers[0].total.is_some_and(|total| seen >= total);
        let short = paging.short_page_ends && newest.len() < self.size;
        // The last page is `pages` when they are counted from 1, and one less when from 0.
        let reached = answers[0]
            .pages
            .is_some_and(|pages| here.next + 1 >= pages.saturating_add(first));
        // `same`: past its last page a server may answer with the last page again.
        if skip == joined.len() || seen_all || short || same || reached || answers[0].is_last {
            return Ok(Step { skip, next: None });
        }
        let next = match (is_page, paging.stable) {
            (true, _) => here.next + 1,
            (false, true) => here.next + rows,
            (false, false) => here.next + rows - 1,
        };
        let anchor = if paging.stable {
            None
        } else {
            joined.last().map(|id| (*id).clone())
        };
        self.last = hash(newest);
        self.at = At::Count(Count {
            next,
            anchor,
            back: 0,
            seen,
            steps_back: here.steps_back,
        });
        Ok(Step {
            skip,
            next: Some(self),
        })
    }

    /// The last row seen is gone from where it was: rows moved. Goes back, twice as far each time, until it turns up.
    fn step_back(mut self, paging: &Paging, here: Count, skip: usize) -> Result<Step> {
        if here.steps_back >= STEPS_BACK_MAX {
            let message = format!(
                "rows moved {STEPS_BACK_MAX} times while the list was read; page by cursor or keyset instead"
            );
            return Err(Error::protocol(message).retry_later(None));
        }
        let first = first_count(paging);
        let least = if paging.kind == PageKind::Page {
            1
        } else {
            self.size as u64
        };
        let back = (here.back * 2).max(least);
        let next = here.next.saturating_sub(back).max(first);
        // From the very start everything is read again, whatever became of the anchor.
        let anchor = if next == first { None } else { here.anchor };
        self.last = 0;
        // Rows come twice now, so they cannot be counted against the total any more.
        self.at = At::Count(Count {
            next,
            anchor,
            back,
            seen: 0,
            steps_back: here.steps_back + 1,
        });
        Ok(Step {
            skip,
            next: Some(self),
        })
    }
}

fn first_count(paging: &Paging) -> u64 {
    match paging.kind {
        PageKind::Page => paging.first.unwrap_or(1),
        _ => paging.first.unwrap_or(0),
    }
}

/// FNV-1a, with a separator: tells pages apart, proves nothing.
fn hash(texts: &[String]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in texts.iter().flat_map(|text| text.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
