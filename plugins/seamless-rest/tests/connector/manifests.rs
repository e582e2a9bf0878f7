//! Bad manifests: each mistake is told with file, line, key and, where one is near, what was meant.

use seamless_core::mapping::FieldKind;
use seamless_core::{ErrorKind, SourcePlugin, Value};
use seamless_rest::{Manifest, Rest, manifest_schema};
use serde_json::json;

const GOOD: &str = "\
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
fn every_mistake_names_file_line_key_and_a_way_out() {
    // (text in the good manifest, what stands there instead, line, key, part of the message)
    let cases = [
        (
            "[system]",
            "[sytem]",
            2,
            "sytem",
            "unknown key 'sytem' in the manifest; did you mean 'system'?",
        ),
        (
            "name = 'CRM'",
            "title = 'CRM'",
            3,
            "system.title",
            "unknown key 'title' in system; known: name, base_url",
        ),
        (
            "name = 'CRM'\n",
            "",
            2,
            "system",
            "the key 'name' is missing in system",
        ),
        (
            "kind = 'bearer'",
            "kind = 'bearr'",
            6,
            "auth.kind",
            "'bearr' is no value for auth.kind; did you mean 'bearer'?",
        ),
        (
            "page_size = 50",
            "page_size = 'fifty'",
            8,
            "limits.page_size",
            "invalid type: string \"fifty\"",
        ),
        (
            "page_size = 50",
            "page_size = 0",
            8,
            "limits.page_size",
            "page_size must be 1 to 10000",
        ),
        (
            "items = 'data'",
            "item = 'data'",
            16,
            "entities.accounts.list.item",
            "did you mean 'items'?",
        ),
        (
            "path = '/accounts'\nitems",
            "pth = '/accounts'\nitems",
            15,
            "entities.accounts.list.pth",
            "did you mean 'path'?",
        ),
        (
            "format = 'rfc3339'",
            "format = 'rfc3393'",
            17,
            "entities.accounts.list.since.format",
            "did you mean 'rfc3339'?",
        ),
        (
            "format = 'rfc3339'",
            "format = '%H:%M'",
            17,
            "entities.accounts.list.since.format",
            "cannot be read back",
        ),
        (
            "kind = 'cursor'",
            "kind = 'curser'",
            18,
            "entities.accounts.list.page.kind",
            "did you mean 'cursor'?",
        ),
        (
            ", next = 'next'",
            "",
            18,
            "entities.accounts.list.page",
            "this kind of paging needs 'next'",
        ),
        (
            "kind = 'cursor'",
            "kind = 'offset'",
            18,
            "entities.accounts.list.page.next",
            "'next' means nothing for this kind",
        ),
        (
            "/accounts/{id}'\n[entities.accounts.find]",
            "/accounts/{ID}'\n[entities.accounts.find]",
            20,
            "entities.accounts.get.path",
            "{ID} means nothing here; did you mean 'id'?",
        ),
        (
            "/accounts/{id}'\n[entities.accounts.find]",
            "/accounts'\n[entities.accounts.find]",
            20,
            "entities.accounts.get.path",
            "{id} is missing",
        ),
        (
            "/accounts/{id}'\n[entities.accounts.find]",
            "accounts/{id}'\n[entities.accounts.find]",
            20,
            "entities.accounts.get.path",
            "starts with '/'",
        ),
        (
            "'{value}'",
            "'{vlaue}'",
            21,
            "entities.accounts.find",
            "{vlaue} means nothing here; did you mean 'value'?",
        ),
        (
            "'{value}'",
            "'x'",
            21,
            "entities.accounts.find",
            "{value} is missing: put it into 'query' or 'body'",
        ),
        (
            "'{field}' = '{value}'",
            "q = \"{field} = '{value}'\"",
            21,
            "entities.accounts.find",
            "declare 'escape'",
        ),
        (
            "'{field}' = '{value}'",
            "name = '{value}'",
            21,
            "entities.accounts.find",
            "name it in 'fields'",
        ),
        (
            "path = '/accounts/{id}'\n[entities.accounts.fields]",
            "path = '/accounts/{id}'\nversion_header = 'If-Match'\n[entities.accounts.fields]",
            0,
            "",
            "",
        ),
        ("version = 'rev'\n", "", 0, "", ""),
        (
            "[entities.accounts.update]\n",
            "[entities.accounts.update]\nmethod = 'GET'\n",
            27,
            "entities.accounts.update.method",
            "GET does not fit here; use PATCH or PUT or POST",
        ),
        (
            "[entities.accounts.update]\n",
            "[entities.accounts.update]\nmethod = 'patch'\n",
            27,
            "entities.accounts.update.method",
            "did you mean 'PATCH'?",
        ),
        (
            "modified = 'updated_at'\n",
            "",
            16,
            "entities.accounts.list.since",
            "'since' without 'modified'",
        ),
        (
            "xref = 'autotask_id'",
            "xref = 'autotaskid'",
            33,
            "entities.accounts.map.account.xref",
            "did you mean 'autotask_id'?",
        ),
        (
            "name = 'name'",
            "name = 'nmae'",
            35,
            "entities.accounts.map.account.fields.name",
            "'nmae' is not among the fields of accounts; did you mean 'name'?",
        ),
        (
            "native = 'type'",
            "nativ = 'type'",
            36,
            "entities.accounts.map.account.fields.account_type.nativ",
            "did you mean 'native'?",
        ),
        (
            "kind = 'choice'",
            "kind = 'choise'",
            36,
            "entities.accounts.map.account.fields.account_type.kind",
            "did you mean 'choice'?",
        ),
        (
            "options = { customer = 'a' }",
            "options = { customer = 'a' }, read_fallback = 'custmer'",
            36,
            "entities.accounts.map.account.fields.account_type",
            "did you mean 'customer'?",
        ),
        (
            "autotask_id = {}",
            "autotask_id = { reference = 'acounts' }",
            31,
            "entities.accounts.fields.autotask_id.reference",
            "did you mean 'accounts'?",
        ),
        (
            "manifest = 1",
            "manifest = 2",
            1,
            "manifest",
            "write manifest = 1",
        ),
        (
            "https://crm.example/api",
            "crm.example/api",
            4,
            "system.base_url",
            "must start with https://",
        ),
        (
            "https://crm",
            "https://ann:pw@crm",
            4,
            "system.base_url",
            "no query, fragment or credentials",
        ),
        (
            "kind = 'bearer'",
            "kind = 'api_key'",
            5,
            "auth",
            "needs either 'header' or 'query'",
        ),
        (
            "kind = 'bearer'",
            "kind = 'bearer'\nheader = 'X'",
            7,
            "auth.header",
            "only goes with kind = \"api_key\"",
        ),
        (
            "[errors]\n",
            "[errors]\nrules = [{ means = 'refused' }]\n",
            10,
            "errors.rules.0",
            "the rule has no condition",
        ),
        (
            "[errors]\n",
            "[errors]\nrules = [{ status = [200], path = 'ok', means = 'refusd' }]\n",
            10,
            "errors.rules.0.means",
            "did you mean 'refused'?",
        ),
        (
            "[limits]",
            "[capabilities]\nexternal_key = 'uniq'\n[limits]",
            8,
            "capabilities.external_key",
            "did you mean 'unique'?",
        ),
        (
            "[entities.accounts.get]\npath = '/accounts/{id}'\n",
            "",
            11,
            "entities.accounts",
            "needs 'get' or 'get_many'",
        ),
        (
            "path = '/accounts'\nitems",
            "path = '/accounts?x=1'\nitems",
            15,
            "entities.accounts.list.path",
            "put it into 'query'",
        ),
        (
            "items = 'data'",
            "items = 'data'\nbody = { a = 1 }",
            14,
            "entities.accounts.list",
            "a body needs method = \"POST\"",
        ),
        (
            "kind = 'bearer'",
            "kind = 'oauth2'",
            5,
            "auth",
            "oauth2 needs 'token_url'",
        ),
        (
            "kind = 'bearer'",
            "kind = 'bearer'\ntoken_url = '/token'",
            7,
            "auth.token_url",
            "only goes with kind = \"oauth2\"",
        ),
        (
            "modified = 'updated_at'",
            "modified = 'updated_at'\ncomputed.full = '{{ name | uper }}'",
            13,
            "entities.accounts.computed.full",
            "the template cannot be read: ",
        ),
        (
            "modified = 'updated_at'",
            "modified = 'updated_at'\nkeyed.cf = { kye = 'id', value = 'value' }",
            13,
            "entities.accounts.keyed.cf.kye",
            "did you mean 'key'?",
        ),
        (
            "modified = 'updated_at'",
            "modified = 'updated_at'\nparent = { entity = 'companies', field = 'c' }",
            13,
            "entities.accounts.parent.entity",
            "'companies' is no entity of this manifest",
        ),
        (
            "query = { '{field}' = '{value}' }",
            "query_template = { where = '{{ feild }}{{ value }}' }",
            23,
            "entities.accounts.find.query_template.where",
            "'feild' means nothing in this template; did you mean 'field'?",
        ),
        (
            "path = '/accounts'\nquery = { '{field}' = '{value}' }",
            "scan = true\nquery = { '{field}' = '{value}' }",
            22,
            "entities.accounts.find.scan",
            "leave out the request, or leave out 'scan'",
        ),
        (
            "path = '/accounts'\nquery = { '{field}' = '{value}' }",
            "query = { '{field}' = '{value}' }",
            21,
            "entities.accounts.find",
            "where the server cannot search, write scan = true",
        ),
        (
            "[entities.accounts.create]\n",
            "[entities.accounts.create]\nbody = { data = '{recrod}' }\n",
            25,
            "entities.accounts.create.body",
            "{recrod} means nothing here; did you mean 'record'?",
        ),
        (
            "[entities.accounts.create]\n",
            "[entities.accounts.create]\nbody = { data = {} }\n",
            25,
            "entities.accounts.create.body",
            "where in the body does the record go?",
        ),
        (
            "[entities.accounts.create]\n",
            "[entities.accounts.create]\nformat = 'xml'\n",
            25,
            "entities.accounts.create.format",
            "needs a root element: name it with 'wrap'",
        ),
        (
            "[entities.accounts.create]\n",
            "[entities.accounts.create]\nformat = 'json_patch'\n",
            25,
            "entities.accounts.create.format",
            "json_patch changes a record",
        ),
        (
            "[entities.accounts.update]\npath = '/accounts/{id}'",
            "[entities.accounts.update]\npath = '/accounts/{ID}'",
            27,
            "entities.accounts.update.path",
            "{ID} means nothing here; did you mean 'id'?",
        ),
        (
            "[entities.accounts.update]\npath = '/accounts/{id}'",
            "[entities.accounts.update]\npath = '/accounts'",
            27,
            "entities.accounts.update.path",
            "or name its place in 'id_body'",
        ),
        (
            "[entities.accounts.update]\n",
            "[entities.accounts.update]\npatch_op = 'replace'\n",
            27,
            "entities.accounts.update.patch_op",
            "only goes with format = \"json_patch\"",
        ),
        (
            "[entities.accounts.get]",
            "[[entities.accounts.changes]]\npath = '/changes'\n[entities.accounts.get]",
            19,
            "entities.accounts.changes.0",
            "a list of changes says from when on",
        ),
        (
            "type = { options = ['a', 'b'] }",
            "type = { options = ['a'], options_from = { path = '/types' } }",
            30,
            "entities.accounts.fields.type.options_from",
            "exclude each other",
        ),
        (
            "[entities.accounts.get]",
            "[entities.accounts.webhook]\nid = 'id'\n[entities.accounts.get]",
            19,
            "entities.accounts.webhook",
            "need a [webhook] table",
        ),
        (
            "modified = 'updated_at'",
            "modified = 'updated_at'\nstamp_zone = 'Europe/Berln'",
            13,
            "entities.accounts.stamp_zone",
            "write its name like Europe/Berlin",
        ),
        (
            "kind = 'bearer'",
            "kind = 'bearer'\nmethod = 'GET'",
            7,
            "auth.method",
            "only goes with kind = \"login\"",
        ),
        (
            "[errors]\n",
            "[webhook]\nheader = 'X'\n[errors]\n",
            9,
            "webhook",
            "which records are the events about?",
        ),
        ("items = 'data'", "items = 'data", 16, "", "invalid"),
        (
            "items = 'data'",
            "items = 'data'\nitems = 'x'",
            17,
            "",
            "duplicate",
        ),
    ];
    let mut checked = 0;
    for (from, to, line, key, part) in cases {
        assert!(GOOD.contains(from), "{from}");
        let result = Manifest::parse(&GOOD.replacen(from, to, 1), "crm.toml");
        if line == 0 {
            // Not a mistake by itself: shows that the neighbours of a mistake are fine.
            result.unwrap_or_else(|error| panic!("{to}: {error}"));
            continue;
        }
        let error = result.err().unwrap_or_else(|| panic!("accepted: {to}"));
        assert_eq!(error.kind, ErrorKind::Config, "{to}");
        assert!(error.message().contains(part), "{to}: {error}");
        assert_eq!(error.context("file"), Some("crm.toml"), "{to}: {error}");
        assert_eq!(
            error.context("line"),
            Some(line.to_string().as_str()),
            "{to}: {error}"
        );
        assert!(error.context("column").is_some(), "{to}: {error}");
        if !key.is_empty() {
            assert_eq!(error.context("key"), Some(key), "{to}: {error}");
        }
        checked += 1;
    }
    assert!(checked >= 60, "{checked}");
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
