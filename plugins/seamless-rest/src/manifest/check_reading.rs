//! Checks of reading requests; see `check`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::check::Check;
use super::problem::hint;
use super::{Above, Entity, Find, Get, GetMany, List, Method, PageKind, Paging};
use crate::call::PLACE;
use crate::jinja;
use crate::template::{slots, sole, texts};

impl Check<'_> {
    /// One of an entity's lists; `at` leads to it.
    pub(crate) fn list(&mut self, at: &[&str], entity: &Entity, list: &List) {
        let mut known = vec!["since"];
        known.extend(entity.parent.is_some().then_some("parent"));
        known.extend(list.page.kind.placeholders());
        let known = known.as_slice();
        self.path(&under(at, "path"), &list.path, known, &[]);
        self.method(at, list.method, &[Method::Get, Method::Post]);
        let asks = Asks {
            query: &list.query,
            query_template: &list.query_template,
            headers: &list.headers,
            body: list.body.as_ref(),
            body_template: list.body_template.as_deref(),
        };
        let found = self.asks(at, &asks, known);
        let has_body = asks.has_body() || list.page.body.is_some() || list.page.size_body.is_some();
        let has_body = has_body || list.since.as_ref().is_some_and(|since| since.body.is_some());
        self.body_needs_post(at, has_body, list.method);
        let in_path = slots(&list.path).contains(&PLACE);
        self.paging(at, &list.page, in_path || found.iter().any(|slot| slot == PLACE));
        self.stubs(at, list.stubs, entity);
        let in_text = found.iter().any(|slot| slot == "since") || slots(&list.path).contains(&"since");
        let Some(since) = &list.since else {
            let message = "{since} without 'modified': nobody would know how far a poll has come";
            self.demand(!in_text || entity.modified.is_some(), at, message);
            return;
        };
        let at = under(at, "since");
        let ways =
            usize::from(since.query.is_some()) + usize::from(since.body.is_some()) + usize::from(in_text);
        self.demand(
            ways == 1,
            &at,
            "'since' goes into one of 'query', 'body' or {since} elsewhere in the request",
        );
        let message = "'since' without 'modified': nobody would know how far a poll has come";
        self.demand(entity.modified.is_some(), &at, message);
        if let Some(template) = &since.template {
            self.placeholders(&under(&at, "template"), template, &["since"], &["since"]);
            let message = "'template' goes with 'query' or 'body'; {since} stands in its text already";
            self.demand(!in_text, &under(&at, "template"), message);
        }
        let format = since.format.as_ref().is_none_or(|format| format.round_trips());
        self.demand(format, &under(&at, "format"), "the pattern cannot be read back");
    }

    /// `in_text`: the request itself names {page}.
    fn paging(&mut self, at: &[&str], page: &Paging, in_text: bool) {
        use PageKind::{Cursor, Keyset, LinkHeader, NextUrl, None, Offset, Page};
        let kind = page.kind;
        let rules: [(&str, bool, &[PageKind], &[PageKind]); 17] = [
            // key, given, kinds that need it, kinds that may have it
            (
                "query",
                page.query.is_some(),
                &[],
                &[Offset, Page, Cursor, Keyset],
            ),
            ("body", page.body.is_some(), &[], &[Offset, Page, Cursor, Keyset]),
            (
                "size_query",
                page.size_query.is_some(),
                &[],
                &[Offset, Page, Cursor, Keyset, NextUrl, LinkHeader],
            ),
            (
                "size_body",
                page.size_body.is_some(),
                &[],
                &[Offset, Page, Cursor, Keyset, NextUrl, LinkHeader],
            ),
            (
                "next",
                page.next.is_some() || page.next_header.is_some(),
                &[Cursor, NextUrl],
                &[],
            ),
            (
                "more",
                page.more.is_some(),
                &[],
                &[Offset, Page, Cursor, Keyset, NextUrl],
            ),
            ("ignore_host", page.ignore_host, &[], &[NextUrl, LinkHeader]),
            ("descending", page.descending, &[], &[Keyset]),
            ("pages", page.pages.is_some(), &[], &[Page]),
            ("pages_header", page.pages_header.is_some(), &[], &[Page]),
            ("rel", page.rel.is_some(), &[], &[LinkHeader]),
            ("first", page.first.is_some(), &[], &[Offset, Page]),
            ("field", page.field.is_some(), &[Keyset], &[]),
            ("inclusive", page.inclusive, &[], &[Keyset]),
            (
                "total",
                page.total.is_some() || page.total_header.is_some(),
                &[],
                &[Offset, Page],
            ),
            ("stable", page.stable, &[], &[Offset, Page]),
            (
                "short_page_ends",
                page.short_page_ends,
                &[],
                &[Offset, Page, Keyset],
            ),
        ];
        for (key, given, needed, allowed) in rules {
            if needed.contains(&kind) && !given {
                self.wrong(&under(at, "page"), needs(key));
            }
            if given && !needed.contains(&kind) && !allowed.contains(&kind) {
                self.wrong(
                    &under(&under(at, "page"), key),
                    format!("'{key}' means nothing for this kind of paging"),
                );
            }
        }
        if matches!(kind, Offset | Page | Cursor | Keyset) {
            let ways =
                usize::from(page.query.is_some()) + usize::from(page.body.is_some()) + usize::from(in_text);
            let message = if kind.is_counted() {
                "this kind of paging needs either 'query' or 'body', or {page} in the request"
            } else {
                "this kind of paging needs either 'query' or 'body'"
            };
            self.demand(ways == 1, &under(at, "page"), message);
        }
        let sized = page.size_query.is_some() || page.size_body.is_some();
        if page.short_page_ends && kind != None {
            let message =
                "short_page_ends needs 'size_query' or 'size_body': else nobody knows which page is short";
            self.demand(sized, &under(&under(at, "page"), "short_page_ends"), message);
        }
    }

    pub(crate) fn get(&mut self, name: &str, entity: &Entity, get: &Get) {
        let at = ["entities", name, "get"];
        let in_id = entity.parent.as_ref().is_some_and(|parent| parent.in_id);
        let known: &[&str] = if in_id { &["id", "parent"] } else { &["id"] };
        let in_query = get.query.values().any(|text| slots(text).contains(&"id"));
        let needed: &[&str] = if in_query { &[] } else { &["id"] };
        self.path(&under(&at, "path"), &get.path, known, needed);
        for text in get.query.values().chain(get.headers.values()) {
            self.placeholders(&at, text, known, &[]);
        }
    }

    pub(crate) fn get_many(&mut self, name: &str, entity: &Entity, many: &GetMany) {
        let at = ["entities", name, "get_many"];
        self.path(&under(&at, "path"), &many.path, &[], &[]);
        self.method(&at, many.method, &[Method::Get, Method::Post]);
        self.demand(
            (1..=500).contains(&many.ids_max),
            &under(&at, "ids_max"),
            "ids_max must be 1 to 500",
        );
        let in_id = entity.parent.as_ref().is_some_and(|parent| parent.in_id);
        let message =
            "ids are unique below their parent only, so that records are read one by one: use 'get'";
        self.demand(!in_id, &at, message);
        let asks = Asks {
            query: &many.query,
            query_template: &many.query_template,
            headers: &many.headers,
            body: many.body.as_ref(),
            body_template: many.body_template.as_deref(),
        };
        self.body_needs_post(&at, asks.has_body(), many.method);
        let found = self.asks(&at, &asks, &["ids"]);
        self.somewhere(&at, &found, "ids");
    }

    pub(crate) fn find(&mut self, name: &str, entity: &Entity, find: &Find) {
        let at = ["entities", name, "find"];
        if find.scan {
            let alone = find.path.is_empty() && find.query.is_empty() && find.body.is_none();
            let message = "'scan' reads the list: leave out the request, or leave out 'scan'";
            self.demand(alone, &under(&at, "scan"), message);
            return;
        }
        let message = "'rows_max' only goes with scan = true";
        self.demand(find.rows_max.is_none(), &under(&at, "rows_max"), message);
        if find.path.is_empty() {
            let message =
                "the key 'path' is missing in find; where the server cannot search, write scan = true";
            return self.wrong(&at, message);
        }
        // No value in a path: paths end up in error messages and logs, values are personal data.
        self.path(&under(&at, "path"), &find.path, &["field"], &[]);
        self.method(&at, find.method, &[Method::Get, Method::Post]);
        self.demand(
            (1..=500).contains(&find.values_max),
            &under(&at, "values_max"),
            "values_max must be 1 to 500",
        );
        let asks = Asks {
            query: &find.query,
            query_template: &find.query_template,
            headers: &find.headers,
            body: find.body.as_ref(),
            body_template: find.body_template.as_deref(),
        };
        self.body_needs_post(&at, asks.has_body(), find.method);
        let wanted = if find.values_max > 1 { "values" } else { "value" };
        let mut known = vec!["field", "values"];
        known.extend((find.values_max <= 1).then_some("value"));
        known.extend(find.page.kind.placeholders());
        let found = self.asks(&at, &asks, &known);
        self.somewhere(&at, &found, wanted);
        let joins = find.join.is_none() || found.iter().any(|slot| slot == "values");
        self.demand(joins, &under(&at, "join"), "'join' only goes with {values}");
        let is_inside =
            |text: &&&str| sole(text).is_none() && slots(text).iter().any(|slot| slot.starts_with("value"));
        if let Some(text) = asks.texts().iter().find(is_inside) {
            let message = format!(
                "'{text}' puts a value inside other text: declare 'escape', so that a value cannot break out (escape = {{ \"'\" = \"''\" }}), or escape = {{}} where nothing can"
            );
            self.demand(find.escape.is_some(), &at, message);
        }
        let has_field = found.iter().any(|slot| slot == "field") || slots(&find.path).contains(&"field");
        let message = "without {field} only one field can be searched: name it in 'fields'";
        self.demand(has_field || find.fields.len() == 1, &at, message);
        let is_empty = |escape: &BTreeMap<String, String>| escape.contains_key("");
        self.demand(
            !find.escape.as_ref().is_some_and(is_empty),
            &under(&at, "escape"),
            "an empty text cannot be escaped",
        );
        let message = "near matches come in any number: describe how the answer goes on in 'page'";
        self.demand(
            !find.near_matches || find.page.kind != PageKind::None,
            &at,
            message,
        );
        self.stubs(&at, find.stubs, entity);
        self.paging(&at, &find.page, found.iter().any(|slot| slot == PLACE));
    }

    pub(crate) fn above(&mut self, name: &str, above: &Above) {
        let at = ["entities", name, "above"];
        self.path(&under(&at, "path"), &above.path, &[], &[]);
        for text in above.query.values().chain(above.headers.values()) {
            self.placeholders(&at, text, &["id"], &[]);
        }
        let found = above.query.values().flat_map(|text| slots(text));
        let found: Vec<String> = found.map(str::to_owned).collect();
        self.somewhere(&at, &found, "id");
        self.paging(&at, &above.page, false);
    }

    fn stubs(&mut self, at: &[&str], stubs: bool, entity: &Entity) {
        self.demand(
            !stubs || entity.get.is_some() || entity.get_many.is_some(),
            at,
            "'stubs' needs 'get'",
        );
    }

    fn body_needs_post(&mut self, at: &[&str], has_body: bool, method: Method) {
        self.demand(
            !has_body || method == Method::Post,
            at,
            "a body needs method = \"POST\"",
        );
    }

    fn somewhere(&mut self, at: &[&str], found: &[String], needed: &str) {
        let is_it = |slot: &String| slot == needed || (needed == "value" && slot == "values");
        self.demand(
            found.iter().any(is_it),
            at,
            format!("{{{needed}}} is missing: put it into 'query' or 'body'"),
        );
    }

    /// Checks texts and templates of a request, and returns every placeholder and variable found.
    pub(crate) fn asks(&mut self, at: &[&str], asks: &Asks<'_>, known: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for text in asks.texts() {
            self.placeholders(at, text, known, &[]);
            found.extend(slots(text).into_iter().map(str::to_owned));
        }
        for (name, template) in asks.query_template {
            found.extend(self.template(&under(&under(at, "query_template"), name), template, known));
        }
        if let Some(template) = asks.body_template {
            found.extend(self.template(&under(at, "body_template"), template, known));
            let message = "'body' and 'body_template' exclude each other; drop one";
            self.demand(asks.body.is_none(), &under(at, "body_template"), message);
        }
        found
    }

    /// Checks a template, and returns the names that it uses.
    pub(crate) fn template(&mut self, at: &[&str], template: &str, known: &[&str]) -> Vec<String> {
        if let Some(mistake) = jinja::mistake(template) {
            self.wrong(at, format!("the template cannot be read: {mistake}"));
            return Vec::new();
        }
        let names = jinja::names(template);
        if let Some(wrong) = names
            .iter()
            .find(|name| !known.is_empty() && !known.contains(&name.as_str()))
        {
            self.wrong(
                at,
                format!("'{wrong}' means nothing in this template{}", hint(wrong, known)),
            );
        }
        names
    }

    pub(crate) fn method(&mut self, at: &[&str], method: Method, allowed: &[Method]) {
        let names: Vec<&str> = allowed.iter().map(|method| method.name()).collect();
        let message = format!("{} does not fit here; use {}", method.name(), names.join(" or "));
        self.demand(allowed.contains(&method), &under(at, "method"), message);
    }
}

/// What a reading request is made of, besides its path.
pub(crate) struct Asks<'a> {
    pub(crate) query: &'a BTreeMap<String, String>,
    pub(crate) query_template: &'a BTreeMap<String, String>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: Option<&'a Json>,
    pub(crate) body_template: Option<&'a str>,
}

impl<'a> Asks<'a> {
    fn has_body(&self) -> bool {
        self.body.is_some() || self.body_template.is_some()
    }

    fn texts(&self) -> Vec<&'a str> {
        let mut found: Vec<&str> = self
            .query
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()])
            .collect();
        found.extend(self.headers.values().map(String::as_str));
        self.body.iter().for_each(|body| texts(body, &mut found));
        found
    }
}

fn needs(key: &str) -> String {
    format!("this kind of paging needs '{key}'")
}

/// The path to a key below another one.
pub(crate) fn under<'a>(at: &[&'a str], key: &'a str) -> Vec<&'a str> {
    at.iter().copied().chain([key]).collect()
}
