//! Mistakes in a manifest, one at a time.

use seamless_core::ErrorKind;
use seamless_rest::Manifest;

use crate::manifests::GOOD;

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
