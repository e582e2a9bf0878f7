//! Templates (MiniJinja) for what a path cannot say. They see what they are given and nothing else: no files, no includes, no
//! environment; work and output are bounded.

use std::collections::BTreeMap;
use std::io;

use minijinja::{Environment, ErrorKind as Kind, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

/// Instructions of one rendering. A template over a list of 500 values needs some thousands.
const FUEL: u64 = 50_000;
const OUTPUT_BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 16;

/// Why a template cannot be read, with the line within it.
pub(crate) fn mistake(template: &str) -> Option<String> {
    let environment = environment();
    let nothing = given(&Map::new());
    let tried = match expression(template) {
        Some(expression) => environment.compile_expression(expression).map(|compiled| {
            let outcome = compiled.eval(nothing);
            outcome.map(drop)
        }),
        None => environment.template_from_str(template).map(|compiled| {
            let outcome = compiled.render_captured_to(nothing, io::sink());
            outcome.map(drop)
        }),
    };
    match tried {
        Err(error) => Some(told(&error)),
        // Names of filters and functions are only looked up when they are used. Other failures come from having nothing to work on.
        Ok(Err(error))
            if matches!(
                error.kind(),
                Kind::UnknownFilter | Kind::UnknownFunction | Kind::UnknownTest
            ) =>
        {
            Some(told(&error))
        }
        Ok(_) => None,
    }
}

/// Names that a template takes from outside.
pub(crate) fn names(template: &str) -> Vec<String> {
    let environment = environment();
    let Ok(template) = environment.template_from_str(template) else {
        return Vec::new();
    };
    let mut names: Vec<String> = template.undeclared_variables(false).into_iter().collect();
    names.sort();
    names
}

/// Renders a text.
pub(crate) fn text(template: &str, context: &Map<String, Json>) -> Result<String, String> {
    let environment = environment();
    let compiled = environment
        .template_from_str(template)
        .map_err(|error| told(&error))?;
    let mut output = Bounded(Vec::new());
    compiled
        .render_captured_to(given(context), &mut output)
        .map_err(|error| told(&error))?;
    String::from_utf8(output.0).map_err(|_| "the template gives no text".to_owned())
}

/// Evaluates a template to a value: one expression alone keeps its type, anything else gives a text, nothing gives null.
pub(crate) fn value(template: &str, context: &Map<String, Json>) -> Result<Json, String> {
    let Some(expression) = expression(template) else {
        return text(template, context).map(|text| if text.is_empty() { Json::Null } else { text.into() });
    };
    let environment = environment();
    let value = environment
        .compile_expression(expression)
        .and_then(|compiled| compiled.eval(given(context)))
        .map_err(|error| told(&error))?;
    if value.is_undefined() {
        return Ok(Json::Null);
    }
    match serde_json::to_value(&value) {
        Ok(Json::String(text)) if text.is_empty() => Ok(Json::Null),
        Ok(json) => Ok(json),
        Err(_) => Err("the template gives no plain value".to_owned()),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    // What is written is JSON, a query or a plain value, never a page: nothing is escaped unasked.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("tojson", to_json);
    environment
}

/// The engine's own writes `'` and `&` as `\u0027` and `\u0026`, for pages. Filter languages take JSON's quotation marks, but not that.
fn to_json(value: &Value) -> Result<String, minijinja::Error> {
    serde_json::to_string(value).map_err(|error| {
        minijinja::Error::new(Kind::BadSerialization, "cannot be written as json").with_source(error)
    })
}

/// The expression, where the template is nothing else.
fn expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let has_more = ["{{", "}}", "{%", "{#"].iter().any(|mark| inner.contains(mark));
    (!has_more).then(|| inner.trim_matches('-').trim())
}

fn given(context: &Map<String, Json>) -> Value {
    let members: BTreeMap<String, Value> = context
        .iter()
        .map(|(name, json)| (name.clone(), from_json(json)))
        .collect();
    Value::from_object(members)
}

/// By hand, because numbers are exact here: what is no 64-bit integer goes in as its text.
fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole),
            None => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(map) => given(map),
    }
}

/// The kind and the place of a failure. MiniJinja's own words may quote values of the record, so they are only repeated for
/// mistakes of the template itself.
fn told(error: &minijinja::Error) -> String {
    let what = match error.kind() {
        Kind::OutOfFuel => "the template does not come to an end".to_owned(),
        Kind::WriteFailure => format!("the template gives more than {OUTPUT_BYTES_MAX} bytes"),
        Kind::SyntaxError
        | Kind::UnknownFilter
        | Kind::UnknownFunction
        | Kind::UnknownMethod
        | Kind::UnknownTest => error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned),
        kind => kind.to_string(),
    };
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context() -> Map<String, Json> {
        let json =
            json!({ "url": "/api/companies/42/", "sum": 12.50, "n": 7, "tags": ["a", "b\"c"], "none": null });
        json.as_object().unwrap().clone()
    }

    #[test]
    fn one_expression_keeps_its_type_and_everything_else_is_text() {
        for (template, expected) in [
            ("{{ n }}", json!(7)),
            ("{{ n + 1 }}", json!(8)),
            ("{{ (url | split('/'))[3] }}", json!("42")),
            ("{{ (url | split('/'))[3] | int }}", json!(42)),
            ("{{ sum }}", json!("12.5")),
            ("{{ none.deeper.still }}", json!(null)),
            ("{{ missing }}", json!(null)),
            ("{{ tags }}", json!(["a", "b\"c"])),
            ("n is {{ n }}", json!("n is 7")),
            ("{{ n }}{{ n }}", json!("77")),
            ("{% if n > 5 %}big{% endif %}", json!("big")),
            ("{% if n > 9 %}big{% endif %}", json!(null)),
        ] {
            assert_eq!(value(template, &context()), Ok(expected), "{template}");
        }
        let list = "[{% for tag in tags %}{{ tag | tojson }}{% if not loop.last %},{% endif %}{% endfor %}]";
        assert_eq!(text(list, &context()).as_deref(), Ok(r#"["a","b\"c"]"#));
        let quoted = text(r#"name = {{ "O'Hara & <Co>" | tojson }}"#, &context());
        assert_eq!(
            quoted.as_deref(),
            Ok(r#"name = "O'Hara & <Co>""#),
            "as a filter language reads it"
        );
    }

    #[test]
    fn a_template_cannot_run_away_nor_reach_out() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(
            value(endless, &context())
                .unwrap_err()
                .contains("does not come to an end")
        );
        for template in [
            "{% include '/etc/passwd' %}",
            "{{ environ('HOME') }}",
            "{% import 'x' as x %}",
        ] {
            assert!(value(template, &context()).is_err(), "{template}");
        }
    }

    #[test]
    fn mistakes_are_told_without_the_record() {
        assert!(mistake("{{ n }}").is_none());
        assert!(mistake("{{ n | nofilter }}").unwrap().contains("nofilter"));
        assert!(mistake("{% for x in %}").unwrap().contains("line 1"));
        let error = value("{{ url + 1 }}", &context()).unwrap_err();
        assert!(!error.contains("companies"), "{error}");
    }
}
