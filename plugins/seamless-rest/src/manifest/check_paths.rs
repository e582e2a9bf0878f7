//! Paths into JSON that are written in another language: `$.data`, `data[0]`, `/data`. Looked at in the text of the file, because paths stand
//! everywhere.

use toml::{Table, Value};

use super::problem::Problem;

/// Keys that hold a path, wherever they stand.
const PATHS: [&str; 21] = [
    "items",
    "item",
    "row",
    "next",
    "total",
    "pages",
    "more",
    "modified",
    "created",
    "version",
    "message",
    "by_field",
    "code",
    "wrap",
    "id_body",
    "version_body",
    "size_body",
    "expires_in",
    "xref",
    "native",
    "events",
];
/// Tables in which the system's own words stand, whatever they are called.
const FOREIGN: [&str; 12] = [
    "body",
    "fixed",
    "query",
    "headers",
    "query_template",
    "params",
    "options",
    "names",
    "escape",
    "computed",
    "written",
    "write_as",
];

/// The first one that cannot be meant.
pub(crate) fn wrong_path(table: &Table) -> Option<Problem> {
    let mut at = Vec::new();
    wrong_in(table, &mut at)
}

fn wrong_in<'a>(table: &'a Table, at: &mut Vec<&'a str>) -> Option<Problem> {
    for (key, value) in table {
        at.push(key);
        let problem = match value {
            Value::String(path) if PATHS.contains(&key.as_str()) => {
                meant(key, path).map(|message| Problem::new(at, message))
            }
            Value::Table(inner) if !FOREIGN.contains(&key.as_str()) => wrong_in(inner, at),
            _ => None,
        };
        if problem.is_some() {
            return problem;
        }
        at.pop();
    }
    None
}

/// What to write instead, where a path is none of ours.
fn meant(key: &str, path: &str) -> Option<String> {
    let is_blank =
        path.trim().is_empty() && matches!(key, "xref" | "native" | "modified" | "created" | "version");
    if is_blank {
        return Some(format!("'{key}' is empty; name a field, or leave it out"));
    }
    let own = path
        .strip_prefix('$')
        .filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let own = own.or_else(|| path.strip_prefix('/')).unwrap_or(path);
    // Elements of lists are chosen by [..] in mappings; a name of another kind may hold what it likes.
    let own = match own.find('[') {
        Some(_) if key != "native" && own.contains(']') => {
            own.replace('[', ".").replace([']', '\'', '"'], "")
        }
        _ => own.to_owned(),
    };
    let parts: Vec<&str> = own.split('.').filter(|part| !part.is_empty()).collect();
    let own = if key == "native" {
        own.clone()
    } else {
        parts.join(".")
    };
    (own != path).then(|| format!("'{path}' is no path as they are written here; write '{own}'"))
}
