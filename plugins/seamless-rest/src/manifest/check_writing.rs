//! Checks of writing requests; see `check`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::check::Check;
use super::check_reading::under;
use super::{BodyFormat, Create, Delete, Entity, Method, Update};
use crate::jinja;
use crate::template::{slots, texts};

impl Check<'_> {
    pub(crate) fn create(&mut self, name: &str, create: &Create) {
        let at = ["entities", name, "create"];
        self.record_path(&under(&at, "path"), &create.path);
        self.method(&at, create.method, &[Method::Post, Method::Put]);
        let shape = Shape {
            wrap: &create.wrap,
            body: create.body.as_ref(),
            body_template: create.body_template.as_deref(),
            format: create.format,
        };
        self.shape(&at, &shape, &["record"]);
        let message = "json_patch changes a record; a new one has nothing to change";
        self.demand(
            create.format != BodyFormat::JsonPatch,
            &under(&at, "format"),
            message,
        );
    }

    pub(crate) fn update(&mut self, name: &str, entity: &Entity, update: &Update) {
        let at = ["entities", name, "update"];
        self.record_path(&under(&at, "path"), &update.path);
        self.method(&at, update.method, &[Method::Patch, Method::Put, Method::Post]);
        let shape = Shape {
            wrap: &update.wrap,
            body: update.body.as_ref(),
            body_template: update.body_template.as_deref(),
            format: update.format,
        };
        self.shape(&at, &shape, &["record", "id", "current"]);
        let in_template = |template: &String| jinja::names(template).iter().any(|name| name == "id");
        let names_id = has_id(&update.path, &update.query, update.body.as_ref())
            || update.id_body.is_some()
            || update.body_template.as_ref().is_some_and(in_template);
        let message =
            "{id} is missing: put it into 'path', 'query' or 'body', or name its place in 'id_body'";
        self.demand(names_id, &under(&at, "path"), message);
        let has_version = entity.version.is_some() || entity.version_header.is_some();
        let message = "the update sends a version, but the entity says in neither 'version' nor 'version_header' where it is";
        self.demand(!update.expects_version() || has_version, &at, message);
        self.demand(
            update.partial || entity.get.is_some(),
            &at,
            "partial = false needs 'get': the record is read first",
        );
        self.demand(
            !update.partial || update.omit.is_empty(),
            &at,
            "'omit' only goes with partial = false",
        );
        let is_patch = update.format == BodyFormat::JsonPatch;
        let message = "json_patch sends the changed fields and nothing around them: leave out 'wrap' and 'body', and partial = false";
        let is_bare = update.wrap.is_empty() && update.body.is_none() && update.partial;
        self.demand(!is_patch || is_bare, &under(&at, "format"), message);
        if let Some(op) = &update.patch_op {
            let fits = is_patch && matches!(op.as_str(), "add" | "replace");
            let message = "patch_op is \"add\" or \"replace\", and only goes with format = \"json_patch\"";
            self.demand(fits, &under(&at, "patch_op"), message);
        }
    }

    pub(crate) fn delete(&mut self, name: &str, delete: &Delete) {
        let at = ["entities", name, "delete"];
        self.record_path(&under(&at, "path"), &delete.path);
        let message = "{id} is missing: put it into 'path', 'query' or 'body'";
        let names_id = has_id(&delete.path, &delete.query, delete.body.as_ref());
        self.demand(names_id, &under(&at, "path"), message);
        self.method(
            &at,
            delete.method,
            &[Method::Delete, Method::Patch, Method::Put, Method::Post],
        );
    }

    /// The body of a write: one way of shaping it, and the record is in it.
    fn shape(&mut self, at: &[&str], shape: &Shape<'_>, known: &[&str]) {
        let ways = usize::from(!shape.wrap.is_empty())
            + usize::from(shape.body.is_some())
            + usize::from(shape.body_template.is_some());
        let message = "'wrap', 'body' and 'body_template' exclude each other; keep one";
        self.demand(ways <= 1, at, message);
        if let Some(body) = shape.body {
            let mut found = Vec::new();
            texts(body, &mut found);
            let named: Vec<&str> = found.iter().flat_map(|text| slots(text)).collect();
            for text in &found {
                self.placeholders(&under(at, "body"), text, known, &[]);
            }
            let message = "\"{record}\" is missing: where in the body does the record go?";
            self.demand(named.contains(&"record"), &under(at, "body"), message);
        }
        if let Some(template) = shape.body_template {
            let names = self.template(&under(at, "body_template"), template, known);
            let message = "the template does not use 'record': what is written would not be in it";
            let is_used = names.iter().any(|name| name == "record");
            // A template that cannot be read has been told already.
            self.demand(
                is_used || jinja::mistake(template).is_some(),
                &under(at, "body_template"),
                message,
            );
        }
        let message = "an xml body needs a root element: name it with 'wrap'";
        self.demand(
            shape.format != BodyFormat::Xml || ways == 1,
            &under(at, "format"),
            message,
        );
    }

    /// A path that may name fields of the record.
    fn record_path(&mut self, at: &[&str], path: &str) {
        let names = slots(path);
        // A field may be called anything, but `{ID}` for `{id}` is a slip.
        if let Some(slip) = names
            .iter()
            .find(|name| name.eq_ignore_ascii_case("id") && **name != "id")
        {
            self.wrong(at, format!("{{{slip}}} means nothing here; did you mean 'id'?"));
        }
        self.path(at, path, &names, &[]);
    }
}

struct Shape<'a> {
    wrap: &'a str,
    body: Option<&'a Json>,
    body_template: Option<&'a str>,
    format: BodyFormat,
}

fn has_id(path: &str, query: &BTreeMap<String, String>, body: Option<&Json>) -> bool {
    let mut found = vec![path];
    found.extend(query.values().map(String::as_str));
    body.iter().for_each(|body| texts(body, &mut found));
    found.iter().any(|text| slots(text).contains(&"id"))
}
