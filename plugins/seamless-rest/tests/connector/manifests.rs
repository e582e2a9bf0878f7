//! Reading manifests, and the documents about them. What becomes of mistakes is in `mistakes.rs`.

use seamless_core::mapping::FieldKind;
use seamless_core::{ErrorKind, SourcePlugin, Value};
use seamless_rest::{Manifest, Rest, manifest_schema};
use serde_json::json;

pub(crate) const GOOD: &str = "\
manifest = 1
[system]
name = 'CRM'
base_url = 'https://crm.example/api'
[auth]
kind = 'bearer'
[limits]
page_size = 50
[errors]
message = 'error.message'
[entities.accounts]
modified = 'updated_at'
version = 'rev'
[entities.accounts.list]
path = '/accounts'
items = 'data'
since = { query = 'since', format = 'rfc3339' }
page = { kind = 'cursor', query = 'cursor', next = 'next' }
[entities.accounts.get]
path = '/accounts/{id}'
[entities.accounts.find]
path = '/accounts'
query = { '{field}' = '{value}' }
[entities.accounts.create]
path = '/accounts'
[entities.accounts.update]
path = '/accounts/{id}'
[entities.accounts.fields]
name = { required = true }
type = { options = ['a', 'b'] }
autotask_id = {}
[entities.accounts.map.account]
xref = 'autotask_id'
[entities.accounts.map.account.fields]
name = 'name'
account_type = { native = 'type', kind = 'choice', options = { customer = 'a' } }
";

#[test]
fn the_good_manifest_is_good() {
    Manifest::parse(GOOD, "crm.toml").unwrap();
}

#[test]
fn a_version_needs_a_place_to_come_from() {
    let text = GOOD.replace("version = 'rev'\n", "").replace(
        "[entities.accounts.update]\n",
        "[entities.accounts.update]\nversion_header = 'If-Match'\n",
    );
    let error = Manifest::parse(&text, "crm.toml").unwrap_err();
    assert!(
        error
            .message()
            .contains("says in neither 'version' nor 'version_header'"),
        "{error}"
    );
}

#[test]
fn settings_are_checked_too() {
    let with = |more: serde_json::Value| {
        let mut settings = json!({ "kind": "rest", "manifest_toml": GOOD });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        SourcePlugin::validate(&Rest, &settings)
    };
    with(json!({ "token": { "env": "CRM_TOKEN" } })).unwrap();
    for (more, part) in [
        (
            json!({ "endpont": "https://x" }),
            "unknown setting 'endpont'; did you mean 'endpoint'?",
        ),
        (json!({ "endpoint": "ftp://x" }), "https://"),
        (json!({ "endpoint": "http://x.example" }), "allow_private_network"),
        (json!({ "manifest": "crm.toml" }), "exclude each other"),
        (json!({ "timeout_secs": 0 }), "timeout_secs must be 1 to 3600"),
        (json!({ "page_size": 0 }), "page_size must be"),
        (json!({ "concurrency": "two" }), "cannot be read"),
    ] {
        let error = with(more.clone())
            .err()
            .unwrap_or_else(|| panic!("accepted: {more}"));
        assert!(
            error.kind == ErrorKind::Config && error.to_string().contains(part),
            "{more}: {error}"
        );
    }
    let missing = SourcePlugin::validate(&Rest, &json!({ "kind": "rest" })).unwrap_err();
    assert!(missing.message().contains("'manifest' is missing"), "{missing}");
    let gone = json!({ "kind": "rest", "manifest": "no-such.toml", "config_dir": "/nowhere" });
    let gone = SourcePlugin::validate(&Rest, &gone).unwrap_err();
    assert_eq!(gone.context("file"), Some("/nowhere/no-such.toml"));
}

#[test]
fn a_mapping_section_becomes_the_engines_mapping() {
    let text = GOOD.replace(
        "options = { customer = 'a' }",
        "options = { customer = ['a', 'A'], lead = 'b' }, write_fallback = 'lead', default = 'customer', required = true, max_length = 5",
    );
    let settings = json!({ "manifest_toml": text });
    let mapping = SourcePlugin::default_mapping(&Rest, &settings, &"account".into())
        .unwrap()
        .unwrap();
    assert_eq!(
        (mapping.entity.as_str(), mapping.xref.as_deref()),
        ("accounts", Some("autotask_id"))
    );
    assert_eq!(
        (
            mapping.fields["name"].native.as_str(),
            mapping.fields["name"].kind
        ),
        ("name", FieldKind::Text)
    );
    let kind = &mapping.fields["account_type"];
    let options = kind.options.as_ref().unwrap();
    let pair = |canonical: &str, native: &str| (canonical.to_owned(), Value::from(native));
    assert_eq!(
        options.pairs,
        [pair("customer", "a"), pair("customer", "A"), pair("lead", "b")]
    );
    assert_eq!(options.write_fallback.as_deref(), Some("lead"));
    assert_eq!(
        (kind.required, kind.max_length, kind.default.clone()),
        (true, Some(5), Some("customer".into()))
    );
    assert!(
        SourcePlugin::default_mapping(&Rest, &settings, &"ticket".into())
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_schema_knows_every_table() {
    let schema = manifest_schema().to_string();
    for key in [
        "requests_per_second",
        "size_query",
        "version_header",
        "short_page_ends",
        "write_fallback",
        "stamp_utc_offset",
    ] {
        assert!(schema.contains(key), "{key}");
    }
}

#[test]
fn the_reference_explains_every_key() {
    fn keys<'a>(schema: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        if let Some(properties) = schema
            .get("properties")
            .and_then(|properties| properties.as_object())
        {
            found.extend(properties.keys().map(String::as_str));
        }
        match schema {
            serde_json::Value::Object(map) => map.values().for_each(|value| keys(value, found)),
            serde_json::Value::Array(items) => items.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let reference = include_str!("../../../../docs/rest-manifest.md");
    let schema = manifest_schema();
    let mut found = Vec::new();
    keys(&schema, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    let missing: Vec<&str> = found
        .into_iter()
        .filter(|key| !reference.contains(&format!("`{key}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/rest-manifest.md does not explain {missing:?}"
    );
}

#[test]
fn the_examples_in_the_documents_read() {
    let documents = [
        (
            "rest-manifest.md",
            include_str!("../../../../docs/rest-manifest.md"),
        ),
        (
            "connect-your-system.md",
            include_str!("../../../../docs/connect-your-system.md"),
        ),
        ("README.md", include_str!("../../README.md")),
    ];
    let mut whole = 0;
    for (name, document) in documents {
        let blocks = document
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        for block in blocks {
            if block.starts_with("manifest = 1") {
                Manifest::parse(block, name).unwrap_or_else(|error| panic!("{error}\n{block}"));
                whole += 1;
            } else {
                block
                    .parse::<toml::Table>()
                    .unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            }
        }
    }
    assert_eq!(whole, 3);
}
