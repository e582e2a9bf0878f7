//! Asking for changes only, and going on over pages.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::stamp::StampFormat;

/// How to ask for records changed or created at or after a moment. One of `query`, `body`, or `{since}` in the path.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Query parameter.
    #[serde(default)]
    pub query: Option<String>,
    /// Path in the JSON body.
    #[serde(default)]
    pub body: Option<String>,
    /// How the moment is written; default: as the entity's stamps.
    #[serde(default)]
    pub format: Option<StampFormat>,
    /// Text around the moment (`"updated_at >= {since} or created_at >= {since}"`).
    #[serde(default)]
    pub template: Option<String>,
    /// The server returns only what is strictly later: one unit less is asked for.
    #[serde(default)]
    pub exclusive: bool,
}

/// How a long answer is read in pages.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// `none`, `offset`, `page`, `cursor`, `next_url`, `link_header` or `keyset`.
    pub kind: PageKind,
    /// Query parameter that says where to go on. `offset`, `page`: or `{page}` (and `{size}`) anywhere in the request.
    #[serde(default)]
    pub query: Option<String>,
    /// Path in the JSON body that says where to go on (POST lists).
    #[serde(default)]
    pub body: Option<String>,
    /// Query parameter of the page size.
    #[serde(default)]
    pub size_query: Option<String>,
    /// Path in the JSON body of the page size.
    #[serde(default)]
    pub size_body: Option<String>,
    /// `cursor`, `next_url`: path of the cursor or URL in the answer.
    #[serde(default)]
    pub next: Option<String>,
    /// `cursor`, `next_url`: header of the answer with the cursor or URL (`Next-Page`).
    #[serde(default)]
    pub next_header: Option<String>,
    /// Path of a truth value that is false on the last page.
    #[serde(default)]
    pub more: Option<String>,
    /// `next_url`, `link_header`: only path and query of the URL count, because the system knows itself by another name (behind a
    /// proxy). Without it a URL of another host is refused.
    #[serde(default)]
    pub ignore_host: bool,
    /// `link_header`: relation of the next page. Default `next`.
    #[serde(default)]
    pub rel: Option<String>,
    /// `page`: number of the first page, default 1. `offset`: number of the first row, default 0.
    #[serde(default)]
    pub first: Option<u64>,
    /// `keyset`: path of the value that the next page starts behind (`id`, or the modified stamp).
    #[serde(default)]
    pub field: Option<String>,
    /// `keyset`: the next page starts *at* the value, so that rows come twice (needed for stamps, which repeat).
    #[serde(default)]
    pub inclusive: bool,
    /// `keyset`: the newest or highest comes first.
    #[serde(default)]
    pub descending: bool,
    /// `page`: path of the number of the last page, or of how many there are.
    #[serde(default)]
    pub pages: Option<String>,
    /// `page`: header with the same (`X-Total-Pages`).
    #[serde(default)]
    pub pages_header: Option<String>,
    /// `offset`, `page`: path of the total number of records, if the answer has it.
    #[serde(default)]
    pub total: Option<String>,
    /// `offset`, `page`: header with the total number of records (`X-Total-Count`).
    #[serde(default)]
    pub total_header: Option<String>,
    /// `offset`, `page`: rows do not move while we page (a snapshot). Without it, pages overlap and are compared, so that a
    /// deleted row on an earlier page hides none on a later one.
    #[serde(default)]
    pub stable: bool,
    /// `offset`, `page`, `keyset`: a page with fewer rows than asked for is the last one. Only where the server never
    /// shortens pages by itself; without it the list ends at an empty page.
    #[serde(default)]
    pub short_page_ends: bool,
}

/// Ways of paging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// One answer holds everything.
    #[default]
    None,
    /// Rows to skip.
    Offset,
    /// Page number.
    Page,
    /// A cursor in the answer is sent back.
    Cursor,
    /// The answer's body holds the URL of the next page.
    NextUrl,
    /// The answer's `Link` header holds the URL of the next page.
    LinkHeader,
    /// The last row's value is sent back ("id above").
    Keyset,
}
