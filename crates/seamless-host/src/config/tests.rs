use std::sync::Arc;

use async_trait::async_trait;
use seamless_core::mapping::{FieldKind, FieldMapping, SideMapping};
use seamless_core::pipeline::{Direction, EntityModel, FieldSpec, Outside, Policy, ReferenceSpec};
use seamless_core::{
    EntityName, OpenContext, PluginInfo, Registry, Side, Source, SourcePlugin, SystemId, Target,
    TargetPlugin, Value,
};

use super::*;
use crate::build::{SyncPlan, plan_syncs};
use crate::host::Plugins;

pub(super) const GOOD: &str = r#"tenant = "acme"
environment = "staging"
data_dir = "state"
[keys]
provider = "file"
path = "keys.json"
[systems.autotask]
kind = "autotask"
username = "api@example.test"
secret = { env = "AT_SECRET" }
[systems.crm]
kind = "rest"
manifest = "crm.toml"
token = { file = "secrets/crm" }
[syncs.account]
between = ["autotask", "crm"]
match = [{ fields = ["name", { field = "address.postal_code", normalise = "exact" }] }]
[syncs.account.xref]
crm = "foreign_id"
[syncs.account.map.crm]
phone = "telephone"
website = { native = "url", max_length = 80, truncate = true, transforms = ["trim"] }
fax = false
region = { native = "region", default = "north", required = true }
[syncs.account.map.autotask]
region = "udf.Region"
kind = { options = { pairs = [["customer", 1]], write_fallback = "customer" } }
[syncs.account.policy]
phone = "owner:crm"
[syncs.account.fields]
region = { compare = "ignore_case", from = "crm" }
[run]
poll_interval_secs = 5
[timings]
stale_read_max_ms = 500
"#;

/// A connector that only has settings.
struct Fake(&'static str);

#[async_trait]
impl SourcePlugin for Fake {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            kind: self.0,
            summary: "",
        }
    }

    fn validate(&self, settings: &Json) -> Result<()> {
        match settings.get("usrname") {
            Some(_) => Err(Error::config(
                "settings: unknown field `usrname`, expected one of `username`, `secret`",
            )),
            None => Ok(()),
        }
    }

    fn default_mapping(&self, _: &Json, _: &EntityName) -> Result<Option<SideMapping>> {
        Ok(None)
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Source>> {
        Err(Error::config("not in this test"))
    }
}

#[async_trait]
impl TargetPlugin for Fake {
    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Target>> {
        Err(Error::config("not in this test"))
    }
}

fn plugins() -> Plugins {
    let account = EntityModel {
        name: "account".into(),
        fields: ["name", "phone", "fax", "website", "kind", "address.postal_code"]
            .map(|name| (name.to_owned(), FieldSpec::default()))
            .into(),
        match_rules: Vec::new(),
        identity: Vec::new(),
    };
    let reference = ReferenceSpec {
        entity: "account".into(),
        required: true,
        outside: Default::default(),
        named_by: None,
    };
    let of_account = FieldSpec {
        reference: Some(reference),
        ..FieldSpec::default()
    };
    let contact = EntityModel {
        name: "contact".into(),
        fields: [
            ("email".to_owned(), FieldSpec::default()),
            ("account".to_owned(), of_account),
        ]
        .into(),
        match_rules: Vec::new(),
        identity: Vec::new(),
    };
    let defaults = |_: &str, entity: &EntityName| {
        let names: &[&str] = match entity.as_str() {
            "account" => &["name", "phone", "fax", "website", "address.postal_code"],
            _ => &["email", "account"],
        };
        let mut fields: BTreeMap<String, FieldMapping> = names
            .iter()
            .map(|name| ((*name).to_owned(), FieldMapping::text(*name)))
            .collect();
        if entity.as_str() == "account" {
            fields.insert("kind".into(), FieldMapping::new("kind", FieldKind::Choice));
        }
        Some(SideMapping {
            entity: format!("{entity}s"),
            xref: Some("xref".into()),
            fields,
        })
    };
    Plugins {
        registry: Registry::default()
            .connector(Fake("autotask"))
            .connector(Fake("rest")),
        models: vec![account, contact],
        defaults,
    }
}

/// Everything that is found before a call is made.
fn read(text: &str) -> Result<(Config, Vec<SyncPlan>)> {
    let config = Config::parse(text, Path::new("conf/tenant.toml"))?;
    plugins().validate(&config)?;
    let plans = plan_syncs(&config, &plugins())?;
    Ok((config, plans))
}

#[test]
fn a_good_file_becomes_what_it_says() {
    let (config, plans) = read(GOOD).unwrap();
    assert_eq!(config.data_dir, Path::new("conf/state"));
    assert_eq!(config.run.poll_interval_secs, 5);
    assert_eq!(config.timings.stale_read_max, Duration::from_millis(500));
    let crm = &config.systems["crm"];
    assert_eq!(crm.settings["manifest"], "conf/crm.toml");
    assert_eq!(crm.secrets["token"], SecretRef::File("secrets/crm".into()));
    assert_eq!(
        config.systems["autotask"].secrets["secret"],
        SecretRef::Env("AT_SECRET".into())
    );

    let plan = &plans[0];
    assert_eq!((plan.direction, plan.owner), (Direction::TwoWay, Side::A));
    assert_eq!(plan.systems, [SystemId::from("autotask"), SystemId::from("crm")]);
    assert_eq!(plan.model.match_rules[0].name, "name+address.postal_code");
    assert_eq!(plan.model.fields["phone"].policy, Policy::OwnerB);
    assert_eq!(plan.model.fields["region"].direction, Some(Direction::BToA));
    let [autotask, crm] = &plan.mappings;
    assert_eq!(
        (autotask.xref.as_deref(), crm.xref.as_deref()),
        (Some("xref"), Some("foreign_id"))
    );
    assert_eq!(crm.fields["phone"].native, "telephone");
    assert_eq!(
        (crm.fields["website"].max_length, crm.fields["website"].truncate),
        (Some(80), true)
    );
    assert!(!crm.fields.contains_key("fax") && autotask.fields.contains_key("fax"));
    assert_eq!(crm.fields["region"].default, Some(Value::from("north")));
    assert_eq!(
        autotask.fields["kind"].options.as_ref().unwrap().pairs,
        [("customer".to_owned(), Value::Int(1))]
    );
}

#[test]
fn mistakes_are_shown_with_line_key_and_suggestion() {
    // What is replaced by what; the line of the mistake; parts of the message.
    #[rustfmt::skip]
    let cases: &[(&str, &str, usize, &[&str])] = &[
        ("tenant = \"acme\"", "tenant = \"Acme Inc\"", 1, &["'Acme Inc' is no name", "a-z"]),
        ("tenant = \"acme\"", "tennant = \"acme\"", 1, &["unknown key 'tennant'", "did you mean 'tenant'?"]),
        ("tenant = \"acme\"", "tenant = acme", 1, &[]),
        ("environment = \"staging\"", "environment = 7", 2, &["string"]),
        ("provider = \"file\"", "provider = \"fil\"", 5, &["'fil' is no value", "did you mean 'file'?"]),
        ("provider = \"file\"", "provider = \"env\"", 4, &["needs variable"]),
        ("path = \"keys.json\"", "variable = \"X\"", 4, &["needs path"]),
        ("kind = \"autotask\"", "kind = \"autotsk\"", 8, &["no connector of kind 'autotsk'", "autotask, rest"]),
        ("kind = \"autotask\"\n", "", 7, &["autotask has no kind", "kind = \"rest\""]),
        ("username = \"api", "usrname = \"api", 9, &["autotask", "unknown key 'usrname'", "did you mean 'username'?"]),
        ("secret = { env = \"AT_SECRET\" }", "secret = \"hunter2\"", 10, &["must not stand in this file", "AUTOTASK_SECRET", "{ file ="]),
        ("[systems.crm]", "[systems.\"My CRM\"]", 11, &["is no name for a system"]),
        ("between = [\"autotask\", \"crm\"]", "between = [\"autotask\", \"cmr\"]", 16, &["no system 'cmr'", "did you mean 'crm'?"]),
        ("between = [\"autotask\", \"crm\"]", "between = [\"crm\", \"crm\"]", 16, &["two systems"]),
        ("between = [\"autotask\", \"crm\"]", "between = [\"crm\"]", 16, &["2"]),
        ("between = [\"autotask\", \"crm\"]", "between = [\"autotask\", \"crm\"]\nfrom = \"cm\"", 17, &["did you mean 'crm'?"]),
        ("between = [\"autotask\", \"crm\"]", "between = [\"autotask\", \"crm\"]\nowner = \"sales\"", 17, &["known: autotask, crm"]),
        ("[syncs.account]\nbetween", "[syncs.account]\nentity = \"acount\"\nbetween", 16, &["no entity 'acount'", "did you mean 'account'?"]),
        ("fields = [\"name\", {", "fields = [\"nme\", {", 17, &["account has no field 'nme'", "did you mean 'name'?"]),
        ("fields = [\"name\", {", "fields = [\"postal_code\", {", 17, &["did you mean 'address.postal_code'?"]),
        ("match = [{ fields = [\"name\", { field = \"address.postal_code\", normalise = \"exact\" }] }]", "match = [{ fields = [] }]", 17, &["at least one field"]),
        ("normalise = \"exact\"", "normalise = \"exakt\"", 17, &["'exakt' is no value", "did you mean 'exact'?"]),
        ("crm = \"foreign_id\"", "cmr = \"foreign_id\"", 19, &["not one of this sync's systems", "did you mean 'crm'?"]),
        ("phone = \"telephone\"", "phon = \"telephone\"", 21, &["account has no field 'phon'", "did you mean 'phone'?"]),
        ("phone = \"telephone\"", "phone = true", 21, &["true says nothing"]),
        ("phone = \"telephone\"", "phone = 7", 21, &["a native field, or a table"]),
        ("max_length = 80", "max_lenght = 80", 22, &["unknown key 'max_lenght'", "did you mean 'max_length'?"]),
        ("transforms = [\"trim\"]", "transforms = [\"trimm\"]", 22, &["did you mean 'trim'?"]),
        ("default = \"north\"", "default = [1]", 24, &["expected a text"]),
        ("pairs = [[\"customer\", 1]]", "pairs = [[\"customer\"]]", 27, &[]),
        ("phone = \"owner:crm\"", "phone = \"owner:cmr\"", 29, &["did you mean 'crm'?"]),
        ("phone = \"owner:crm\"", "phone = \"only-if-emty\"", 29, &["'only-if-emty' is no policy", "did you mean 'only-if-empty'?"]),
        ("phone = \"owner:crm\"", "phne = \"owner:crm\"", 29, &["did you mean 'phone'?"]),
        ("compare = \"ignore_case\"", "compare = \"ignorecase\"", 31, &["did you mean 'ignore_case'?"]),
        ("region = \"udf.Region\"\n", "", 30, &["region needs a mapping on both sides", "[syncs.account.map"]),
        ("poll_interval_secs = 5", "poll_interval = 5", 33, &["unknown key 'poll_interval'", "did you mean 'poll_interval_secs'?"]),
        ("poll_interval_secs = 5", "poll_interval_secs = 0", 33, &["must be 1 to 86400"]),
        ("stale_read_max_ms = 500", "stale_read_max_ms = -1", 35, &["-1"]),
        ("[timings]", "[run]", 34, &["'run' stands here a second time"]),
        ("[run]", "[syncs.contact]\nbetween = [\"autotask\", \"crm\"]\nfields = 1\n[run]", 34, &[]),
        ("[run]", "[syncs.twin]\nentity = \"account\"\nbetween = [\"crm\", \"autotask\"]\n[run]", 32, &["the syncs account and twin", "drop one"]),
    ];
    let mut wrong = Vec::new();
    for (from, to, line, parts) in cases {
        assert!(GOOD.contains(from), "{from}");
        let error = read(&GOOD.replacen(from, to, 1)).expect_err(to);
        let placed = error.context("file") == Some("conf/tenant.toml")
            && error.context("line") == Some(line.to_string().as_str())
            && error.context("column").is_some();
        let told =
            parts.iter().all(|part| error.message().contains(part)) && !error.to_string().contains("hunter2");
        if !placed || !told || error.kind != seamless_core::ErrorKind::Config {
            wrong.push(format!("{to} (line {line}, {parts:?}): {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An entity that neither the program nor a connector knows.
const ASSETS: &str = r#"
[entities.asset]
identity = ["name"]
match = [{ fields = [{ field = "serial", normalise = "exact" }] }]
[entities.asset.fields]
name = {}
serial = {}
bought_on = { kind = "date" }
price = { kind = "decimal" }
account = { reference = "account", reference_required = true, outside = "skip" }
parent = { reference = "asset" }
[syncs.asset]
between = ["crm", "autotask"]
native = { crm = "devices", autotask = "ConfigurationItems" }
xref = { crm = "autotask_id", autotask = "udf.CRM ID" }
[syncs.asset.map.crm]
name = "label"
serial = "serial"
bought_on = "bought.on"
price = "price"
account = "company"
parent = "parent"
[syncs.asset.map.autotask]
name = { native = "referenceTitle", max_length = 100, required = true, default_from = ["serial"] }
serial = "serialNumber"
bought_on = { native = "installDate", default_from = ["today"], not_after = "bought_on" }
price = "hourlyCost"
account = { native = "companyID", native_kind = "int" }
parent = { native = "parentConfigurationItemID", native_kind = "int" }
[syncs.asset.policy]
price = "newest"
name = "ask"
"#;

/// Connectors that know accounts and contacts only, as a real one does.
fn read_with_assets(text: &str) -> Result<Vec<SyncPlan>> {
    let mut plugins = plugins();
    plugins.defaults = |_, entity| {
        let field = |name: &str| match name {
            "kind" => FieldMapping::new(name, FieldKind::Choice),
            _ => FieldMapping::text(name),
        };
        (entity.as_str() != "asset").then(|| SideMapping {
            entity: format!("{entity}s"),
            xref: None,
            fields: ["name", "phone", "address.postal_code", "kind"]
                .map(|name| (name.to_owned(), field(name)))
                .into(),
        })
    };
    let config = Config::parse(text, Path::new("conf/tenant.toml"))?;
    plan_syncs(&config, &plugins)
}

#[test]
fn an_entity_of_the_tenants_own_is_a_sync_like_any_other() {
    let plans = read_with_assets(&format!("{GOOD}{ASSETS}")).unwrap();
    let names: Vec<&str> = plans.iter().map(|plan| plan.id.as_str()).collect();
    assert_eq!(names, ["account", "asset"], "parents first");
    let asset = &plans[1];
    assert_eq!(asset.model.identity, ["name"]);
    assert_eq!(asset.model.match_rules[0].name, "serial");
    assert_eq!(asset.model.fields["price"].policy, Policy::Newest);
    assert_eq!(asset.model.fields["name"].policy, Policy::Ask);
    let account = asset.model.fields["account"].reference.as_ref().unwrap();
    assert_eq!(
        (account.entity.as_str(), account.required, account.outside),
        ("account", true, Outside::Skip)
    );
    let [crm, autotask] = &asset.mappings;
    assert_eq!(
        (crm.entity.as_str(), autotask.entity.as_str()),
        ("devices", "ConfigurationItems")
    );
    assert_eq!(
        (crm.xref.as_deref(), autotask.xref.as_deref()),
        (Some("autotask_id"), Some("udf.CRM ID"))
    );
    assert_eq!(
        crm.fields["price"].kind,
        FieldKind::Decimal,
        "by the entity's declaration"
    );
    assert_eq!(autotask.fields["bought_on"].kind, FieldKind::Date);
    assert_eq!(autotask.fields["account"].kind, FieldKind::Reference);
    assert_eq!(autotask.fields["name"].default_from, ["serial"]);
    assert_eq!(
        plans[0].mappings[0].entity, "accounts",
        "as the connector calls it"
    );
}

#[test]
fn a_native_entity_can_be_another_one() {
    let text = GOOD.replacen(
        "[syncs.account.xref]",
        "[syncs.account.native]\ncrm = \"organisations\"\n[syncs.account.xref]",
        1,
    );
    let (_, plans) = read(&text).unwrap();
    assert_eq!(plans[0].mappings[1].entity, "organisations");
    assert_eq!(plans[0].mappings[0].entity, "accounts");
}

#[test]
fn mistakes_in_own_entities_are_shown_with_line_and_suggestion() {
    let lines = GOOD.lines().count();
    // What is replaced by what; the line of the mistake within ASSETS; parts of the message.
    #[rustfmt::skip]
    let cases: &[(&str, &str, usize, &[&str])] = &[
        ("entities.asset", "entities.\"My Asset\"", 2, &["is no name for an entity"]),
        ("[entities.asset]\n", "[entities.account]\nfields = { x = {} }\n[entities.asset]\n", 2, &["is there already", "[syncs.account.fields]"]),
        ("identity = [\"name\"]", "identity = [\"nam\"]", 3, &["asset has no field 'nam'", "did you mean 'name'?"]),
        ("field = \"serial\", norm", "field = \"seriel\", norm", 4, &["did you mean 'serial'?"]),
        ("match = [{ fields = [{ field = \"serial\", normalise = \"exact\" }] }]", "match = [{ fields = [] }]", 4, &["would match everything"]),
        ("kind = \"date\"", "kind = \"dat\"", 8, &["'dat' is no value", "did you mean 'date'?"]),
        ("bought_on = { kind = \"date\" }", "bought_on = { knd = \"date\" }", 8, &["unknown key 'knd'", "did you mean 'kind'?"]),
        ("price = { kind = \"decimal\" }", "price = { from = \"crm\" }", 9, &["an entity knows no systems", "[syncs.<name>.fields]"]),
        ("price = { kind = \"decimal\" }", "price = { outside = \"skip\" }", 9, &["price is no reference"]),
        ("price = { kind = \"decimal\" }", "price = { kind = \"reference\" }", 9, &["say to which entity"]),
        ("reference = \"account\"", "reference = \"acount\"", 10, &["no entity 'acount'", "did you mean 'account'?"]),
        ("outside = \"skip\"", "outside = \"skp\"", 10, &["did you mean 'skip'?"]),
        ("syncs.asset", "syncs.aset", 12, &["no entity 'aset'", "did you mean 'asset'?", "[entities.aset]"]),
        ("native = { crm = \"devices\", ", "native = { ", 12, &["crm has no mapping for asset", "[syncs.asset.native] crm ="]),
        ("native = { crm", "native = { cmr", 14, &["did you mean 'crm'?"]),
        ("crm = \"devices\"", "crm = \" \"", 14, &["needs a name in crm"]),
        ("default_from = [\"serial\"]", "default_from = [\"serail\"]", 24, &["asset has no field 'serail'", "did you mean 'serial'?"]),
        ("default_from = [\"serial\"]", "default_from = [\"account\"]", 24, &["account is a reference"]),
        ("not_after = \"bought_on\"", "not_after = \"bought\"", 26, &["did you mean 'bought_on'?"]),
        ("price = \"newest\"", "price = \"newst\"", 31, &["did you mean 'newest'?"]),
    ];
    let mut wrong = Vec::new();
    for (from, to, line, parts) in cases {
        assert!(ASSETS.contains(from), "{from}");
        let error = read_with_assets(&format!("{GOOD}{}", ASSETS.replace(from, to))).expect_err(to);
        let placed = error.context("line") == Some((lines + line).to_string().as_str());
        if !placed || !parts.iter().all(|part| error.message().contains(part)) {
            wrong.push(format!("{to} (line {}, {parts:?}): {error:?}", lines + line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_child_without_its_parents_sync_is_refused() {
    let text = GOOD.split("[syncs.account]").next().unwrap().to_owned()
        + "[syncs.contact]\nbetween = [\"autotask\", \"crm\"]\n";
    let error = read(&text).unwrap_err();
    assert!(error.message().contains("add [syncs.account]"), "{error}");
}

#[test]
fn parents_come_first_and_one_way_syncs_have_their_owner() {
    let text = GOOD.to_owned()
        + "[syncs.a-contact]\nentity = \"contact\"\nbetween = [\"autotask\", \"crm\"]\nfrom = \"crm\"\n";
    let (_, plans) = read(&text).unwrap();
    let names: Vec<&str> = plans.iter().map(|plan| plan.id.as_str()).collect();
    assert_eq!(names, ["account", "a-contact"]);
    assert_eq!((plans[1].direction, plans[1].owner), (Direction::BToA, Side::B));
}

#[test]
fn secrets_are_references_and_never_shown() {
    let cases = [
        (serde_json::json!({"env": "X"}), Some(SecretRef::Env("X".into()))),
        (
            serde_json::json!({"file": "x"}),
            Some(SecretRef::File("x".into())),
        ),
        (serde_json::json!({"env": "X", "file": "x"}), None),
        (serde_json::json!({"env": 1}), None),
        (serde_json::json!("X"), None),
    ];
    for (json, expected) in cases {
        assert_eq!(SecretRef::of(&json), expected, "{json}");
    }
    for (name, secret) in [
        ("token", true),
        ("CLIENT_SECRET", true),
        ("api_key", true),
        ("endpoint", false),
        ("username", false),
    ] {
        assert_eq!(is_secret_name(name), secret, "{name}");
    }
}

#[test]
fn a_secret_file_must_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let reference = SecretRef::File("token".into());
    let said = |error: Error| error.to_string();
    assert!(said(reference.resolve(dir.path()).unwrap_err()).contains("cannot read"));
    std::fs::write(&file, "s3cret\n").unwrap();
    for (mode, good) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o644, false),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        match reference.resolve(dir.path()) {
            Ok(secret) => {
                assert!(good, "{mode:o}");
                assert_eq!(secret.expose(), "s3cret");
                assert_eq!(format!("{secret:?}"), "***");
            }
            Err(error) => assert!(!good && said(error).contains("chmod 600"), "{mode:o}"),
        }
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "\n").unwrap();
    assert!(said(reference.resolve(dir.path()).unwrap_err()).contains("is empty"));
}

#[test]
fn the_schema_knows_every_table() {
    let schema = config_schema();
    for name in ["tenant", "keys", "systems", "syncs", "run", "timings"] {
        assert!(schema["properties"][name]["description"].is_string(), "{name}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn a_secret_in_a_wrong_place_is_not_repeated() {
    let text = "tenant = \"a\"\n[keys]\nprovider = \"env\"\nvariable = \"K\"\n[systems]\ntoken = \"hunter2\"\n[syncs]\n";
    let error = Config::parse(text, Path::new("tenant.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected a map") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_bus_is_checked_and_its_secret_stays_where_it_is() {
    let with = |table: &str| Config::parse(&format!("{GOOD}{table}"), Path::new("conf/tenant.toml"));
    assert!(with("").unwrap().service_bus().unwrap().is_none());
    let good = "[bus]\nkind = \"service-bus\"\nconnection = { env = \"NOT_SET_IN_ANY_TEST\" }\n";
    let error = with(good).unwrap().service_bus().unwrap_err();
    assert!(error.to_string().contains("NOT_SET_IN_ANY_TEST"), "{error}");
    let cases = [
        ("kind = \"service-bus\"", "kind = \"rabbit\"", "rabbit"),
        (
            "{ env = \"NOT_SET_IN_ANY_TEST\" }",
            "\"Endpoint=sb://x;SharedAccessKey=k\"",
            "must not stand in this file",
        ),
        ("kind =", "lock_secs = 1\nkind =", "lock_secs must be 5 to 300"),
        (
            "kind =",
            "message_bytes_max = 1\nkind =",
            "message_bytes_max must be",
        ),
        ("kind =", "topic = \"a b\"\nkind =", "a topic has"),
        ("kind =", "transport = \"udp\"\nkind =", "udp"),
        (
            "kind = \"service-bus\"",
            "kind = \"service-bus-https\"\ntransport = \"websocket\"",
            "transport is about AMQP",
        ),
        ("kind =", "namespace = \"x\"\nkind =", "drop namespace"),
        (
            "kind =",
            "identity = \"managed\"\nkind =",
            "in place of connection",
        ),
        ("kind =", "client_id = \"x\"\nkind =", "client_id goes with"),
        (
            "connection = { env = \"NOT_SET_IN_ANY_TEST\" }",
            "",
            "what opens the namespace is missing",
        ),
        (
            "connection = { env = \"NOT_SET_IN_ANY_TEST\" }",
            "namespace = \"acme.servicebus.windows.net\"",
            "needs identity",
        ),
    ];
    for (right, wrong, expected) in cases {
        let error = with(&good.replacen(right, wrong, 1)).unwrap_err().to_string();
        assert!(
            error.contains(expected) && !error.contains("SharedAccessKey=k"),
            "{wrong}: {error}"
        );
    }
}
