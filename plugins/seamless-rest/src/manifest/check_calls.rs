//! Checks of single operations; see `check`.

use super::check::Check;
use super::{Above, Create, Delete, Entity, Find, Get, GetMany, List, Method, PageKind, Paging, Update};
use crate::template::{slots, sole, texts};

impl Check<'_> {
    pub(crate) fn list(&mut self, name: &str, entity: &Entity, list: &List) {
        let at = ["entities", name, "list"];
        let since = list.since.as_ref();
        let in_path = slots(&list.path).contains(&"since");
        self.path(&under(&at, "path"), &list.path, &["since"], &[]);
        self.method(&at, list.method, &[Method::Get, Method::Post]);
        let has_body = list.body.is_some() || list.page.body.is_some() || list.page.size_body.is_some();
        let has_body = has_body || since.is_some_and(|since| since.body.is_some());
        self.demand(
            !has_body || list.method == Method::Post,
            &at,
            "a body needs method = \"POST\"",
        );
        self.paging(&at, &list.page);
        self.demand(
            !list.stubs || entity.get.is_some() || entity.get_many.is_some(),
            &at,
            "'stubs' needs 'get'",
        );
        match since {
            None => self.demand(
                !in_path,
                &under(&at, "path"),
                "{since} in the path needs a 'since' table",
            ),
            Some(since) => {
                let at = [at[0], name, at[2], "since"];
                let ways = usize::from(since.query.is_some())
                    + usize::from(since.body.is_some())
                    + usize::from(in_path);
                self.demand(
                    ways == 1,
                    &at,
                    "'since' goes into one of 'query', 'body' or {since} in the path",
                );
                let message = "'since' without 'modified': nobody would know how far a poll has come";
                self.demand(entity.modified.is_some(), &at, message);
                if let Some(template) = &since.template {
                    self.placeholders(
                        &[at[0], name, at[2], at[3], "template"],
                        template,
                        &["since"],
                        &["since"],
                    );
                }
                let format = since.format.as_ref().is_none_or(|format| format.round_trips());
                self.demand(
                    format,
                    &[at[0], name, at[2], at[3], "format"],
                    "the pattern cannot be read back",
                );
            }
        }
    }

    pub(crate) fn paging(&mut self, at: &[&str; 3], page: &Paging) {
        use PageKind::{Cursor, Keyset, LinkHeader, NextUrl, None, Offset, Page};
        let kind = page.kind;
        let rules: [(&str, bool, &[PageKind], &[PageKind]); 13] = [
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
            ("next", page.next.is_some(), &[Cursor, NextUrl], &[]),
            ("more", page.more.is_some(), &[], &[Cursor, NextUrl]),
            ("rel", page.rel.is_some(), &[], &[LinkHeader]),
            ("first", page.first.is_some(), &[], &[Page]),
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
                self.wrong(&under(at, "page"), format!("this kind of paging needs '{key}'"));
            }
            if given && !needed.contains(&kind) && !allowed.contains(&kind) {
                self.wrong(
                    &[at[0], at[1], at[2], "page", key],
                    format!("'{key}' means nothing for this kind of paging"),
                );
            }
        }
        if matches!(kind, Offset | Page | Cursor | Keyset) {
            let one = page.query.is_some() != page.body.is_some();
            self.demand(
                one,
                &under(at, "page"),
                "this kind of paging needs either 'query' or 'body'",
            );
        }
        let sized = page.size_query.is_some() || page.size_body.is_some();
        if page.short_page_ends && kind != None {
            let message =
                "short_page_ends needs 'size_query' or 'size_body': else nobody knows which page is short";
            self.demand(sized, &[at[0], at[1], at[2], "page", "short_page_ends"], message);
        }
    }

    pub(crate) fn get(&mut self, name: &str, get: &Get) {
        self.path(&["entities", name, "get", "path"], &get.path, &["id"], &["id"]);
    }

    pub(crate) fn get_many(&mut self, name: &str, many: &GetMany) {
        let at = ["entities", name, "get_many"];
        self.path(&under(&at, "path"), &many.path, &[], &[]);
        self.method(&at, many.method, &[Method::Get, Method::Post]);
        self.demand(
            many.body.is_none() || many.method == Method::Post,
            &at,
            "a body needs method = \"POST\"",
        );
        self.demand(
            (1..=500).contains(&many.ids_max),
            &under(&at, "ids_max"),
            "ids_max must be 1 to 500",
        );
        let mut found: Vec<&str> = many.query.values().map(String::as_str).collect();
        many.body.iter().for_each(|body| texts(body, &mut found));
        self.somewhere(&at, &found, &["ids"], "ids");
    }

    pub(crate) fn find(&mut self, name: &str, entity: &Entity, find: &Find) {
        let at = ["entities", name, "find"];
        // No value in a path: paths end up in error messages and logs, values are personal data.
        self.path(&under(&at, "path"), &find.path, &["field"], &[]);
        self.method(&at, find.method, &[Method::Get, Method::Post]);
        self.demand(
            find.body.is_none() || find.method == Method::Post,
            &at,
            "a body needs method = \"POST\"",
        );
        self.demand(
            (1..=500).contains(&find.values_max),
            &under(&at, "values_max"),
            "values_max must be 1 to 500",
        );
        let mut found: Vec<&str> = find
            .query
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()])
            .collect();
        find.body.iter().for_each(|body| texts(body, &mut found));
        let wanted = if find.values_max > 1 { "values" } else { "value" };
        let known: &[&str] = if find.values_max > 1 {
            &["field", "values"]
        } else {
            &["field", "value", "values"]
        };
        self.somewhere(&at, &found, known, wanted);
        let is_inside =
            |text: &&&str| sole(text).is_none() && slots(text).iter().any(|slot| slot.starts_with("value"));
        if let Some(text) = found.iter().find(is_inside) {
            let message = format!(
                "'{text}' puts a value inside other text: declare 'escape', so that a value cannot break out (escape = {{ \"'\" = \"''\" }})"
            );
            self.demand(!find.escape.is_empty(), &at, message);
        }
        let has_field = found
            .iter()
            .chain([&find.path.as_str()])
            .any(|text| slots(text).contains(&"field"));
        let message = "without {field} only one field can be searched: name it in 'fields'";
        self.demand(has_field || find.fields.len() == 1, &at, message);
        self.demand(
            !find.escape.contains_key(""),
            &under(&at, "escape"),
            "an empty text cannot be escaped",
        );
        let message = "near matches come in any number: describe how the answer goes on in 'page'";
        self.demand(
            !find.near_matches || find.page.kind != PageKind::None,
            &at,
            message,
        );
        self.demand(
            !find.stubs || entity.get.is_some() || entity.get_many.is_some(),
            &at,
            "'stubs' needs 'get'",
        );
        self.paging(&at, &find.page);
    }

    pub(crate) fn above(&mut self, name: &str, above: &Above) {
        let at = ["entities", name, "above"];
        self.path(&under(&at, "path"), &above.path, &[], &[]);
        let found: Vec<&str> = above.query.values().map(String::as_str).collect();
        self.somewhere(&at, &found, &["id"], "id");
        self.paging(&at, &above.page);
    }

    pub(crate) fn create(&mut self, name: &str, create: &Create) {
        let at = ["entities", name, "create"];
        self.record_path(&under(&at, "path"), &create.path, false);
        self.method(&at, create.method, &[Method::Post, Method::Put]);
    }

    pub(crate) fn update(&mut self, name: &str, entity: &Entity, update: &Update) {
        let at = ["entities", name, "update"];
        self.record_path(&under(&at, "path"), &update.path, true);
        self.method(&at, update.method, &[Method::Patch, Method::Put, Method::Post]);
        let has_version = entity.version.is_some() || entity.version_header.is_some();
        let message = "the update sends a version, but the entity says in neither 'version' nor 'version_header' where it is";
        self.demand(!update.expects_version() || has_version, &at, message);
        self.demand(
            update.partial || entity.get.is_some(),
            &at,
            "partial = false needs 'get': the record is read first",
        );
        self.demand(
            update.partial || update.omit.is_empty() || entity.get.is_some(),
            &at,
            "'omit' needs 'get'",
        );
        self.demand(
            !update.partial || update.omit.is_empty(),
            &at,
            "'omit' only goes with partial = false",
        );
    }

    pub(crate) fn delete(&mut self, name: &str, delete: &Delete) {
        let at = ["entities", name, "delete"];
        self.path(&under(&at, "path"), &delete.path, &["id"], &["id"]);
        self.method(
            &at,
            delete.method,
            &[Method::Delete, Method::Patch, Method::Put, Method::Post],
        );
    }

    /// A path that may name fields of the record.
    fn record_path(&mut self, at: &[&str], path: &str, needs_id: bool) {
        let names = slots(path);
        let needed: &[&str] = if needs_id { &["id"] } else { &[] };
        self.path(at, path, &names, needed);
    }

    /// One of several texts has the placeholder, and none has an unknown one.
    fn somewhere(&mut self, at: &[&str; 3], found: &[&str], known: &[&str], needed: &str) {
        for text in found {
            self.placeholders(at, text, known, &[]);
        }
        let has = found.iter().any(|text| {
            slots(text)
                .iter()
                .any(|slot| *slot == needed || (needed == "value" && *slot == "values"))
        });
        self.demand(
            has,
            at,
            format!("{{{needed}}} is missing: put it into 'query' or 'body'"),
        );
    }

    fn method(&mut self, at: &[&str; 3], method: Method, allowed: &[Method]) {
        let names: Vec<&str> = allowed.iter().map(|method| method.name()).collect();
        let message = format!("{} does not fit here; use {}", method.name(), names.join(" or "));
        self.demand(allowed.contains(&method), &under(at, "method"), message);
    }
}

fn under<'a>(at: &[&'a str; 3], key: &'a str) -> [&'a str; 4] {
    [at[0], at[1], at[2], key]
}
