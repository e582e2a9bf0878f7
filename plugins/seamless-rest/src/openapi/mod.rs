//! A first draft of a manifest from an OpenAPI description (3.x, or Swagger 2.0). It says what the description says and marks with
//! `# ?` what a person has to look at: descriptions are silent about half of what matters.

mod document;
mod yaml;

use std::collections::BTreeMap;

use seamless_core::{Error, Result};
use serde_json::Value as Json;

use document::Document;

use crate::manifest::Manifest;

/// Entities drafted at most.
const ENTITIES_MAX: usize = 40;
/// Fields drafted for one entity at most.
const FIELDS_MAX: usize = 100;

/// Drafts a manifest from JSON or YAML. `file` is only used in messages.
pub fn draft(openapi: &str, file: &str) -> Result<String> {
    let unreadable = |form: &str, message: String, at: Option<(usize, usize)>| {
        let error = Error::config(format!("the description is not readable as {form}: {message}"));
        let error = error.with("file", file);
        match at {
            Some((line, column)) => error.with("line", line).with("column", column),
            None => error,
        }
    };
    let json: Json = if openapi.trim_start().starts_with('{') {
        serde_json::from_str(openapi)
            .map_err(|error| unreadable("json", error.to_string(), Some((error.line(), error.column()))))?
    } else {
        yaml::read(openapi).map_err(|mistake| unreadable("yaml", mistake.message, mistake.at))?
    };
    let document = Document::new(json).ok_or_else(|| {
        Error::config("the file is no openapi description: it has no 'paths'").with("file", file)
    })?;
    let mut text = String::from(
        "# Drafted from an OpenAPI description. Look at every line with '# ?', then try each operation:\n#   seamless rest try THIS_FILE ENTITY list\nmanifest = 1\n\n",
    );
    let name = document.text("info.title").unwrap_or("The system");
    text.push_str(&format!(
        "[system]\nname = {}\nbase_url = {}\n\n",
        quoted(name),
        quoted(&document.base_url())
    ));
    text += &auth(&document);
    text += "[errors]\n# ? Paths of the sentence and of the field at fault in a refusal.\n# message = \"error.message\"\n# field = \"error.field\"\n";
    let collections = document.collections();
    for (name, path) in collections.iter().take(ENTITIES_MAX) {
        entity(&document, name, path, &mut text);
    }
    if collections.is_empty() {
        return Err(Error::config("the description has no path that is read as a list with records below it ('/things' and '/things/{id}')").with("file", file));
    }
    // A draft that the reader refuses would be of no use.
    Manifest::parse(&text, "the draft")?;
    Ok(text)
}

fn auth(document: &Document) -> String {
    let Some(scheme) = document.security_scheme() else {
        return "[auth]\nkind = \"none\" # ?\n\n".into();
    };
    let word = |key: &str| scheme.get(key).and_then(Json::as_str).unwrap_or_default();
    match (
        word("type"),
        word("scheme").to_ascii_lowercase().as_str(),
        word("in"),
    ) {
        ("http", "bearer", _) => "[auth]\nkind = \"bearer\" # secret 'token'\n\n".into(),
        ("http" | "basic", ..) => "[auth]\nkind = \"basic\" # secrets 'username', 'password'\n\n".into(),
        ("apiKey", _, "query") => format!(
            "[auth]\nkind = \"api_key\" # secret 'api_key'\nquery = {}\n\n",
            quoted(word("name"))
        ),
        ("apiKey", _, "header") => format!(
            "[auth]\nkind = \"api_key\" # secret 'api_key'\nheader = {}\n# ? prefix = \"Token \"\n\n",
            quoted(word("name"))
        ),
        ("oauth2", ..) => format!(
            "[auth]\nkind = \"oauth2\" # secrets 'client_id', 'client_secret'\ntoken_url = {} # ?\n\n",
            quoted(document::token_url(scheme).unwrap_or("/oauth/token"))
        ),
        _ => "[auth]\nkind = \"none\" # ? the description names a kind that is not known here\n\n".into(),
    }
}

fn entity(document: &Document, name: &str, path: &str, text: &mut String) {
    let item_path = document.item_path(path);
    let list = document.operation(path, "get");
    let get = item_path
        .as_deref()
        .and_then(|path| document.operation(path, "get"));
    let (items, row) = list
        .as_ref()
        .and_then(|list| document.rows(list))
        .unwrap_or_default();
    let (item, single) = get
        .as_ref()
        .and_then(|get| document.record(get))
        .unwrap_or_else(|| (String::new(), row.clone()));
    let record = if single.is_empty() { &row } else { &single };
    let has = |names: &[&'static str]| names.iter().copied().find(|name| record.contains_key(*name));
    let table = format!("entities.{}", key(name));
    text.push_str(&format!("\n# --- {name} ---\n\n[{table}]\n"));
    match has(&["id", "_id", "uuid", "uid", "key", "objectId"]) {
        Some("id") => {}
        Some(id) => {
            text.push_str(&format!("id = {}\n", quoted(id)));
        }
        None => text.push_str("# ? id = \"…\"\n"),
    }
    let modified = has(&[
        "updated_at",
        "updatedAt",
        "modified_at",
        "modifiedAt",
        "last_modified",
        "lastModified",
        "modified",
        "updated",
        "last_updated",
    ]);
    match modified {
        Some(path) => {
            text.push_str(&format!("modified = {}\n", quoted(path)));
        }
        None => text.push_str("# ? modified = \"…\" # without it every poll reads everything\n"),
    }
    if let Some(path) = has(&["created_at", "createdAt", "created", "created_on"]) {
        text.push_str(&format!("created = {}\n", quoted(path)));
    }
    let parameters = list
        .as_ref()
        .map(|list| document.query_parameters(list))
        .unwrap_or_default();
    text.push_str(&format!("\n[{table}.list]\npath = {}\n", quoted(path)));
    if !items.is_empty() {
        text.push_str(&format!("items = {}\n", quoted(&items)));
    }
    text.push_str(&since(&parameters, modified.is_some()));
    text.push_str(&paging(&parameters));
    if let (Some(_), Some(path)) = (&get, &item_path) {
        text.push_str(&format!("\n[{table}.get]\npath = {}\n", quoted(&with_id(path))));
        if !item.is_empty() {
            text.push_str(&format!("item = {}\n", quoted(&item)));
        }
    } else {
        text.push_str(&format!(
            "\n[{table}.get]\npath = {} # ? the description has no such path\n",
            quoted(&format!("{path}/{{id}}"))
        ));
    }
    let searchable: Vec<&String> = parameters
        .iter()
        .filter(|name| record.contains_key(*name))
        .collect();
    text.push_str(&format!("\n[{table}.find]\n"));
    if searchable.is_empty() {
        text.push_str("scan = true # ? the description names no search; this reads the whole list\n");
    } else {
        let names: Vec<String> = searchable.iter().map(|name| quoted(name)).collect();
        text.push_str(&format!(
            "path = {}\nquery = {{ \"{{field}}\" = \"{{value}}\" }}\nfields = [{}]\n",
            quoted(path),
            names.join(", ")
        ));
        if !items.is_empty() {
            text.push_str(&format!("items = {}\n", quoted(&items)));
        }
    }
    if let Some(create) = document.operation(path, "post") {
        let (wrap, _) = document.sent(create).unwrap_or_default();
        text.push_str(&format!("\n[{table}.create]\npath = {}\n", quoted(path)));
        if !wrap.is_empty() {
            text.push_str(&format!("wrap = {}\n", quoted(&wrap)));
        }
        if let Some((item, _)) = document.record(create).filter(|(item, _)| !item.is_empty()) {
            text.push_str(&format!("item = {}\n", quoted(&item)));
        }
    }
    if let Some(path) = &item_path {
        let update = [("patch", "PATCH"), ("put", "PUT"), ("post", "POST")]
            .into_iter()
            .find_map(|(verb, method)| Some((document.operation(path, verb)?, method)));
        if let Some((update, method)) = update {
            let (wrap, _) = document.sent(update).unwrap_or_default();
            text.push_str(&format!(
                "\n[{table}.update]\nmethod = \"{method}\"\npath = {}\n",
                quoted(&with_id(path))
            ));
            if method == "PUT" {
                text.push_str("partial = false # ? true if fields that are not sent stay as they are\n");
            }
            if !wrap.is_empty() {
                text.push_str(&format!("wrap = {}\n", quoted(&wrap)));
            }
        }
    }
    fields(document, &table, record, text);
}

fn fields(document: &Document, table: &str, record: &BTreeMap<String, Json>, text: &mut String) {
    if record.is_empty() {
        return;
    }
    text.push_str(&format!("\n[{table}.fields]\n"));
    for (name, schema) in record.iter().take(FIELDS_MAX) {
        let schema = document.resolve(schema);
        let mut parts = Vec::new();
        let word = |key: &str| schema.get(key).and_then(Json::as_str);
        if let Some(kind) = word("type") {
            parts.push(format!("type = {}", quoted(word("format").unwrap_or(kind))));
        }
        if let Some(length) = schema.get("maxLength").and_then(Json::as_u64) {
            parts.push(format!("max_length = {length}"));
        }
        if schema.get("readOnly").and_then(Json::as_bool) == Some(true) {
            parts.push("read_only = true".into());
        }
        let plain = |option: &Json| option.is_string() || option.is_i64();
        if let Some(options) = schema.get("enum").and_then(Json::as_array)
            && options.iter().all(plain)
        {
            let options: Vec<String> = options
                .iter()
                .map(|option| option.as_str().map_or_else(|| option.to_string(), quoted))
                .collect();
            parts.push(format!("options = [{}]", options.join(", ")));
        }
        text.push_str(&format!("{} = {{ {} }}\n", key(name), parts.join(", ")));
    }
    text.push_str(&format!("\n# ? The mapping, for example:\n# [{table}.map.account]\n# xref = \"…\"\n# fields = {{ name = {{ native = \"name\", required = true }} }}\n"));
}

fn since(parameters: &[String], has_modified: bool) -> String {
    let is_since = |name: &&String| {
        let name = name.to_ascii_lowercase();
        ["since", "after", "_gte", "[gte]", "from", "_min"]
            .iter()
            .any(|part| name.contains(part))
            && ["since", "updat", "modif", "chang"]
                .iter()
                .any(|part| name.contains(part))
    };
    match parameters.iter().find(is_since) {
        Some(name) if has_modified => format!("since = {{ query = {} }} # ?\n", quoted(name)),
        Some(name) => format!(
            "# ? since = {{ query = {} }}, once 'modified' is known\n",
            quoted(name)
        ),
        None => String::new(),
    }
}

fn paging(parameters: &[String]) -> String {
    let named = |names: &[&str]| {
        parameters
            .iter()
            .find(|parameter| names.iter().any(|name| parameter.eq_ignore_ascii_case(name)))
    };
    let size = named(&[
        "limit",
        "per_page",
        "perPage",
        "page_size",
        "pageSize",
        "size",
        "count",
        "top",
        "$top",
        "_limit",
        "page[size]",
        "take",
    ]);
    let size = size.map_or_else(String::new, |name| format!(", size_query = {}", quoted(name)));
    if let Some(name) = named(&["offset", "skip", "start", "_start", "$skip", "page[offset]"]) {
        return format!(
            "page = {{ kind = \"offset\", query = {}{size} }} # ?\n",
            quoted(name)
        );
    }
    if let Some(name) = named(&[
        "cursor",
        "page_token",
        "pageToken",
        "after",
        "next_token",
        "page[cursor]",
    ]) {
        return format!(
            "page = {{ kind = \"cursor\", query = {}, next = \"next_cursor\"{size} }} # ? where is the cursor in the answer?\n",
            quoted(name)
        );
    }
    if let Some(name) = named(&[
        "page",
        "page_no",
        "pageNumber",
        "page_number",
        "_page",
        "page[number]",
    ]) {
        return format!(
            "page = {{ kind = \"page\", query = {}{size} }} # ?\n",
            quoted(name)
        );
    }
    "# ? page = { … } # the description names no way of paging\n".into()
}

/// `/things/{thingId}` as `/things/{id}`.
fn with_id(path: &str) -> String {
    match path.rfind('{') {
        Some(brace) => format!("{}{{id}}", &path[..brace]),
        None => path.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_bare { name.to_owned() } else { quoted(name) }
}
