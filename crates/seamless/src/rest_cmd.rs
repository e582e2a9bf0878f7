//! `seamless rest`: writing manifests of REST systems.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use seamless_core::{Error, Fields, OpenContext, RecordId, Secret, Shared, Timestamp, Value};
use seamless_host::SystemClock;
use seamless_rest::{Operation, draft, manifest_schema, try_operation};
use serde_json::{Value as Json, json};

use crate::exit::Exit;
use crate::output::Output;

/// Secrets that a manifest can ask for.
const SECRETS: [&str; 7] = [
    "token",
    "api_key",
    "username",
    "password",
    "client_id",
    "client_secret",
    "secret",
];

/// Write the manifest of a REST system: try single operations, draft one, or print its schema.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RestVerb {
    /// Try one operation against the live server, and show what was sent, what came back and what was made of it. Secrets come from the
    /// environment (REST_TOKEN, REST_API_KEY, REST_USERNAME, REST_PASSWORD, REST_CLIENT_ID, REST_CLIENT_SECRET, REST_SECRET) and are not shown;
    /// records are. Plain http and private addresses are allowed here.
    Try(TryArgs),
    /// Draft a manifest from an OpenAPI or Swagger description.
    Init {
        /// The description, in JSON or YAML.
        #[arg(long, value_name = "FILE")]
        from_openapi: PathBuf,
        /// Write it to this new file instead of stdout.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the JSON Schema of manifests, for editors.
    Schema,
}

/// What to try.
#[derive(Debug, clap::Args)]
pub(crate) struct TryArgs {
    /// The manifest.
    manifest: PathBuf,
    /// The entity in it (`accounts`).
    entity: String,
    /// The operation.
    #[command(subcommand)]
    what: TryVerb,
    /// Address of the system, instead of the manifest's.
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// File with the OAuth2 refresh token.
    #[arg(long, global = true, value_name = "FILE")]
    refresh_file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TryVerb {
    /// One harmless call.
    Ping,
    /// The first pages of the list.
    List {
        /// Only what has changed since then (`2026-11-23T10:00:00Z`).
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Records by id.
    Get {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Records whose field has one of the values; and once more with a value that no record has.
    Find {
        /// The native field.
        field: String,
        /// The values; JSON where they read as JSON (`'"17"'` is a text), else text.
        #[arg(required = true)]
        values: Vec<String>,
    },
    /// Make a record, and read it back.
    Create {
        /// Native fields; a value is JSON where it reads as JSON, else text.
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Change a record, and read it back.
    Update {
        /// The record.
        id: String,
        /// Native fields.
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Remove a record.
    Delete {
        /// The record.
        id: String,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: &RestVerb, output: &Output) -> anyhow::Result<Exit> {
    match verb {
        RestVerb::Try(args) => try_it(args, output).await,
        RestVerb::Init { from_openapi, out } => init(from_openapi, out.as_deref(), output),
        RestVerb::Schema => {
            output.write(&format!(
                "{}\n",
                serde_json::to_string_pretty(&manifest_schema())?
            ))?;
            Ok(Exit::Done)
        }
    }
}

async fn try_it(args: &TryArgs, output: &Output) -> anyhow::Result<Exit> {
    let operation = operation(&args.what)?;
    let mut settings = json!({ "kind": "rest", "manifest": args.manifest, "allow_private_network": true });
    if let Some(endpoint) = &args.endpoint {
        settings["endpoint"] = endpoint.as_str().into();
    }
    if let Some(file) = &args.refresh_file {
        settings["refresh_file"] = json!(file);
    }
    let secret = |name: &&str| {
        let value = std::env::var(format!("REST_{}", name.to_uppercase())).ok()?;
        Some(((*name).to_owned(), Secret::new(value)))
    };
    let ctx = OpenContext {
        system: "try".into(),
        settings,
        secrets: SECRETS.iter().filter_map(secret).collect(),
        clock: Arc::new(SystemClock::new()),
        network: None,
        shared: Shared::default(),
    };
    let trial = try_operation(&ctx, &args.entity, &operation).await?;
    output.print(&trial, || trial.to_string())?;
    Ok(if trial.failed.is_some() {
        Exit::Refused
    } else {
        Exit::Done
    })
}

fn operation(verb: &TryVerb) -> anyhow::Result<Operation> {
    Ok(match verb {
        TryVerb::Ping => Operation::Ping,
        TryVerb::List { since } => {
            let moment = |text: &String| {
                Timestamp::parse(text).ok_or_else(|| {
                    Error::config(format!("'{text}' is no time; write it like 2026-11-23T10:00:00Z"))
                })
            };
            Operation::List {
                since: since.as_ref().map(moment).transpose()?,
            }
        }
        TryVerb::Get { ids } => Operation::Get {
            ids: ids.iter().map(|id| RecordId(id.clone())).collect(),
        },
        TryVerb::Find { field, values } => Operation::Find {
            field: field.clone(),
            values: values.iter().map(|value| parse(value)).collect(),
        },
        TryVerb::Create { fields } => Operation::Create {
            fields: assignments(fields)?,
        },
        TryVerb::Update { id, fields } => Operation::Update {
            id: RecordId(id.clone()),
            fields: assignments(fields)?,
        },
        TryVerb::Delete { id } => Operation::Delete {
            id: RecordId(id.clone()),
        },
    })
}

fn assignments(arguments: &[String]) -> anyhow::Result<Fields> {
    let assignment = |argument: &String| {
        let (field, value) = argument
            .split_once('=')
            .ok_or_else(|| Error::config(format!("'{argument}' is not FIELD=VALUE")))?;
        let value =
            serde_json::from_str::<Json>(value).map_or_else(|_| value.into(), |json| Value::from_json(&json));
        Ok((field.to_owned(), value))
    };
    arguments.iter().map(assignment).collect()
}

/// JSON where it reads as JSON, else text.
fn parse(text: &str) -> Value {
    serde_json::from_str::<Json>(text).map_or_else(|_| text.into(), |json| Value::from_json(&json))
}

fn init(description: &Path, out: Option<&Path>, output: &Output) -> anyhow::Result<Exit> {
    let file = description.display().to_string();
    let text = std::fs::read_to_string(description).with_context(|| format!("cannot read {file}"))?;
    let manifest = draft(&text, &file)?;
    match out {
        None => output.write(&manifest)?,
        Some(path) => {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            std::io::Write::write_all(&mut file, manifest.as_bytes())?;
            output.write(&format!("wrote {}\n", path.display()))?;
        }
    }
    Ok(Exit::Done)
}
