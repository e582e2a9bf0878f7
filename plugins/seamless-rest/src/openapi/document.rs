//! An OpenAPI document, as far as a draft needs it.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::json_path::dig;

const REFERENCES_MAX: usize = 20;
/// Names under which answers wrap a record or a list.
const ENVELOPES: [&str; 8] = [
    "data", "items", "results", "result", "records", "value", "rows", "content",
];

/// A description of an API.
pub(super) struct Document(Json);

/// One operation of it.
pub(super) type Operation<'a> = &'a Json;

impl Document {
    pub(super) fn new(json: Json) -> Option<Document> {
        json.get("paths")?.is_object().then_some(Document(json))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        dig(&self.0, path)?.as_str()
    }

    pub(super) fn base_url(&self) -> String {
        let url = match (self.text("servers.0.url"), self.text("host")) {
            (Some(url), _) => url.to_owned(),
            (None, Some(host)) => format!(
                "{}://{host}{}",
                self.text("schemes.0").unwrap_or("https"),
                self.text("basePath").unwrap_or_default()
            ),
            (None, None) => String::new(),
        };
        let url = url
            .split(['?', '#', '{'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        if url.starts_with("http") && !url.contains('@') {
            url.to_owned()
        } else {
            format!("https://example.com{url}")
        }
    }

    pub(super) fn security_scheme(&self) -> Option<&Json> {
        let schemes =
            dig(&self.0, "components.securitySchemes").or_else(|| self.0.get("securityDefinitions"))?;
        let wanted = dig(&self.0, "security.0")
            .and_then(Json::as_object)
            .and_then(|security| security.keys().next());
        let scheme = match wanted {
            Some(name) => schemes.get(name),
            None => schemes.as_object()?.values().next(),
        };
        scheme.map(|scheme| self.resolve(scheme))
    }

    /// Names and paths of everything that is read as a list and has records below it.
    pub(super) fn collections(&self) -> Vec<(String, String)> {
        let Some(paths) = self.0.get("paths").and_then(Json::as_object) else {
            return Vec::new();
        };
        let mut found: Vec<(String, String)> = Vec::new();
        for path in paths.keys() {
            let is_list = !path.contains('{')
                && self.operation(path, "get").is_some()
                && (self.item_path(path).is_some()
                    || self
                        .operation(path, "get")
                        .and_then(|list| self.rows(list))
                        .is_some());
            let Some(name) = path
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .filter(|name| !name.is_empty())
            else {
                continue;
            };
            if is_list && !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), path.clone()));
            }
        }
        found
    }

    /// The path of one record of a collection.
    pub(super) fn item_path(&self, collection: &str) -> Option<String> {
        let stem = format!("{}/{{", collection.trim_end_matches('/'));
        let paths = self.0.get("paths")?.as_object()?;
        paths
            .keys()
            .find(|path| {
                path.strip_prefix(stem.as_str()).is_some_and(|rest| {
                    rest.trim_end_matches('/').ends_with('}')
                        && !rest.contains('{')
                        && rest.matches('/').count() <= usize::from(rest.ends_with('/'))
                })
            })
            .map(|path| path.trim_end_matches('/').to_owned())
    }

    pub(super) fn operation(&self, path: &str, method: &str) -> Option<Operation<'_>> {
        let paths = self.0.get("paths")?;
        let item = paths.get(path).or_else(|| paths.get(format!("{path}/")))?;
        self.resolve(item).get(method)
    }

    pub(super) fn query_parameters(&self, operation: Operation<'_>) -> Vec<String> {
        let parameters = operation.get("parameters").and_then(Json::as_array);
        parameters
            .into_iter()
            .flatten()
            .map(|parameter| self.resolve(parameter))
            .filter(|parameter| parameter.get("in").and_then(Json::as_str) == Some("query"))
            .filter_map(|parameter| Some(parameter.get("name")?.as_str()?.to_owned()))
            .collect()
    }

    /// Where the list is in an answer, and the fields of its records.
    pub(super) fn rows(&self, operation: Operation<'_>) -> Option<(String, BTreeMap<String, Json>)> {
        let schema = self.answer(operation)?;
        if let Some(items) = schema.get("items") {
            return Some((String::new(), self.properties(items)));
        }
        let properties = self.properties(schema);
        let list = |name: &str| {
            let items = self.resolve(properties.get(name)?).get("items")?;
            Some((name.to_owned(), self.properties(items)))
        };
        ENVELOPES
            .iter()
            .find_map(|name| list(name))
            .or_else(|| properties.keys().find_map(|name| list(name)))
    }

    /// Where the record is in an answer, and its fields.
    pub(super) fn record(&self, operation: Operation<'_>) -> Option<(String, BTreeMap<String, Json>)> {
        Some(self.unwrapped(self.answer(operation)?))
    }

    /// Where the record is in what is sent, and its fields.
    pub(super) fn sent(&self, operation: Operation<'_>) -> Option<(String, BTreeMap<String, Json>)> {
        let body = operation.get("requestBody").map(|body| self.resolve(body));
        let schema = match body {
            Some(body) => content(body)?,
            None => operation
                .get("parameters")?
                .as_array()?
                .iter()
                .map(|parameter| self.resolve(parameter))
                .find(|parameter| parameter.get("in").and_then(Json::as_str) == Some("body"))?
                .get("schema")?,
        };
        Some(self.unwrapped(self.resolve(schema)))
    }

    /// Follows `$ref`.
    pub(super) fn resolve<'a>(&'a self, json: &'a Json) -> &'a Json {
        let mut here = json;
        for _ in 0..REFERENCES_MAX {
            let Some(pointer) = here
                .get("$ref")
                .and_then(Json::as_str)
                .and_then(|text| text.strip_prefix('#'))
            else {
                break;
            };
            let Some(target) = self.0.pointer(pointer) else {
                break;
            };
            here = target;
        }
        here
    }

    fn answer<'a>(&'a self, operation: Operation<'a>) -> Option<&'a Json> {
        let responses = operation.get("responses")?;
        let response = ["200", "201", "default"]
            .iter()
            .find_map(|status| responses.get(*status))?;
        let response = self.resolve(response);
        let schema = content(response).or_else(|| response.get("schema"))?;
        Some(self.resolve(schema))
    }

    fn unwrapped(&self, schema: &Json) -> (String, BTreeMap<String, Json>) {
        let properties = self.properties(schema);
        let inner = |name: &str| {
            let inner = self.properties(properties.get(name)?);
            (!inner.is_empty()).then(|| (name.to_owned(), inner))
        };
        // An object of one object is an envelope, whatever it is called.
        let only = (properties.len() == 1)
            .then(|| properties.keys().next())
            .flatten();
        let wrapped = ENVELOPES
            .iter()
            .find_map(|name| inner(name))
            .or_else(|| inner(only?));
        wrapped.unwrap_or((String::new(), properties))
    }

    /// Properties of an object, those of `allOf` and the first of `oneOf` and `anyOf` included.
    fn properties(&self, schema: &Json) -> BTreeMap<String, Json> {
        let mut found = BTreeMap::new();
        self.collect(schema, &mut found, 0);
        found
    }

    fn collect(&self, schema: &Json, found: &mut BTreeMap<String, Json>, depth: usize) {
        if depth > REFERENCES_MAX {
            return;
        }
        let schema = self.resolve(schema);
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            found.extend(
                properties
                    .iter()
                    .map(|(name, schema)| (name.clone(), schema.clone())),
            );
        }
        for part in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.collect(part, found, depth + 1);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(first) = schema
                .get(key)
                .and_then(Json::as_array)
                .and_then(|parts| parts.first())
            {
                self.collect(first, found, depth + 1);
            }
        }
    }
}

/// The schema of a JSON body.
fn content(body: &Json) -> Option<&Json> {
    let content = body.get("content")?.as_object()?;
    let kind = content.keys().find(|kind| kind.contains("json"))?;
    content.get(kind)?.get("schema")
}

/// The first token endpoint of an OAuth2 scheme.
pub(super) fn token_url(scheme: &Json) -> Option<&str> {
    let flows = scheme.get("flows").and_then(Json::as_object);
    let of_flow = |flow: &'_ Json| flow.get("tokenUrl").is_some();
    match flows {
        Some(flows) => flows
            .values()
            .find(|flow| of_flow(flow))?
            .get("tokenUrl")?
            .as_str(),
        None => scheme.get("tokenUrl")?.as_str(),
    }
}
