//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Keeps accounts, contacts, tickets and opportunities in step between Autotask and another system: no duplicates, no lost edits, no echoes,
/// and it can say why.
#[derive(Debug, Parser)]
#[command(name = "seamless", version, after_help = crate::exit::HELP, max_term_width = 110, propagate_version = true)]
pub(crate) struct Cli {
    /// The tenant's configuration.
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        value_name = "FILE",
        default_value = "tenant.toml"
    )]
    pub(crate) config: PathBuf,
    /// Print one JSON document instead of text.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// How much to log to stderr. Default: `info` for `run`, `warn` else. Logs never hold record content.
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "LEVEL")]
    pub(crate) log: Option<LogLevel>,
    /// How to log.
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Least level that is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    /// Data loss, or an operator has to act.
    Error,
    /// Something goes wrong but is tried again.
    Warn,
    /// What the host does.
    Info,
    /// How it does it.
    Debug,
    /// Everything.
    Trace,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a commented tenant.toml.
    Init {
        /// Ask the live systems of an existing tenant.toml and add their fields and option lists to it, as comments.
        #[arg(long)]
        live: bool,
        /// Name of the tenant.
        #[arg(long, default_value = "example")]
        tenant: String,
    },
    /// Check configuration, keys, systems and mappings; changes nothing, unless --write says so.
    Check {
        /// Make no call.
        #[arg(long)]
        offline: bool,
        /// Read up to this many records of each entity, and count what the mappings would do to their fields.
        #[arg(long, value_name = "N", default_value_t = seamless_host::SAMPLE_DEFAULT, conflicts_with = "offline")]
        sample: usize,
        /// Try besides whether the live systems keep what their connectors declare: pages, stamps, searches, ids; reads only. Exit code 3 when one
        /// does not.
        #[arg(long, value_name = "SYSTEM", num_args = 0..=1, conflicts_with = "offline")]
        #[expect(clippy::option_option, reason = "left out, given alone, given with a system")]
        conformance: Option<Option<String>>,
        /// With --conformance SYSTEM: make a record of each entity in that system, change it, and take it away again. For test instances.
        #[arg(long, requires = "conformance")]
        write: bool,
    },
    /// Show the fields, option lists and rights of the live systems; changes nothing.
    Discover {
        /// Only this system.
        system: Option<String>,
        /// This native entity (`Companies`, `accounts`) in place of those that the syncs use.
        #[arg(requires = "system")]
        entity: Option<String>,
    },
    /// What only Autotask has.
    #[command(subcommand)]
    Autotask(AutotaskVerb),
    /// Run the mapping's golden cases: records as one system gives them, and what the other is to be sent. Makes no call.
    Test {
        /// Case files, or folders of them; `tests` beside the configuration when left out.
        places: Vec<PathBuf>,
        /// Rewrite the cases that differ, to expect what came out. Look at the changes before you keep them.
        #[arg(long)]
        accept: bool,
    },
    /// Keep the systems in step.
    Run {
        /// Until nothing is left to do, then exit.
        #[arg(long)]
        once: bool,
        /// Values that differ when records are first linked may be overwritten, however many there are.
        #[arg(long)]
        accept: bool,
    },
    /// Show what a run would do now, and why; changes nothing anywhere. Exit code 6 when there is something to do.
    Plan {
        /// Keep the plan in this file, encrypted, for `apply`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Show at most this many records.
        #[arg(long, value_name = "MAX", default_value_t = 100, global = true)]
        records: usize,
        /// Show a kept plan.
        #[command(subcommand)]
        show: Option<PlanShow>,
    },
    /// Carry out a plan: exactly what it says. What has changed on either side since then is refused, record by record.
    Apply {
        /// What `plan --out` wrote.
        file: PathBuf,
        /// The plan may overwrite more than 20 values that differ when records are first linked.
        #[arg(long)]
        accept: bool,
    },
    /// Show where everything stands.
    Status {
        /// List records set aside and waiting, at most this many.
        #[arg(long, value_name = "MAX", num_args = 0..=1, default_missing_value = "50")]
        parked: Option<usize>,
    },
    /// Compare every record with what was settled: changes that stamps do not show, edits on a side that only follows, cleared cross-references, records
    /// that are gone. Prints values. Exit code 4 when something remains that is not as it was left.
    Reconcile {
        /// Only this sync.
        #[arg(long)]
        sync: Option<String>,
        /// Act upon what is found, as a running host does by itself: missed changes are taken as edits, cross-references are written again, and edits against
        /// the flow are treated as `on_drift` says.
        #[arg(long)]
        repair: bool,
        /// Show at most this many records.
        #[arg(long, value_name = "MAX", default_value_t = 100)]
        records: usize,
    },
    /// Show what is known of a record and every decision about it, values included.
    Explain {
        /// The entity or sync (`account`).
        entity: String,
        /// The record (`autotask:17`).
        #[arg(value_name = "SYSTEM:ID")]
        record: String,
    },
    /// Show what only a person can decide, records side by side; or decide it.
    Review {
        /// Show at most this many.
        #[arg(long, value_name = "MAX", default_value_t = 20)]
        records: usize,
        /// Decide.
        #[command(subcommand)]
        word: Option<ReviewVerb>,
    },
    /// What `[bus]` needs in its Azure Service Bus namespace: topic, subscriptions, rules.
    #[command(subcommand)]
    Bus(BusVerb),
    /// Which records belong together.
    #[command(subcommand)]
    Links(Links),
    /// Messages and events that were set aside: show them, or let them come once more.
    #[command(subcommand)]
    Dlq(Dlq),
    /// Encryption keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Print the JSON Schema of tenant.toml.
    Schema,
    /// Write the manifest of a REST system: try single operations, draft one, print its schema.
    #[command(subcommand)]
    Rest(crate::rest_cmd::RestVerb),
    /// Start a project.
    #[command(subcommand)]
    New(New),
    Demo(crate::demo::DemoArgs),
    Sandbox(crate::sandbox_cmd::SandboxArgs),
    Emulator(crate::emulator_cmd::EmulatorArgs),
}

/// What only Autotask has.
#[derive(Debug, Subcommand)]
pub(crate) enum AutotaskVerb {
    /// Events that Autotask sends to a running host, for companies, contacts and tickets. Changes are found without them, only later.
    Webhooks {
        /// The Autotask system.
        #[arg(long, default_value = "autotask", global = true)]
        system: String,
        #[command(subcommand)]
        verb: WebhookVerb,
    },
}

/// What to do with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookVerb {
    /// Create what is missing in Autotask, our own user's changes excluded. May be repeated.
    Install {
        /// Where `[http]` of the host can be reached from outside, as far as `/webhooks`: `https://hooks.example.com/webhooks`.
        #[arg(long)]
        url: String,
        /// Address that Autotask writes to when it cannot deliver.
        #[arg(long, value_name = "EMAIL")]
        notify: Option<String>,
    },
    /// Show what there is in Autotask. Exit code 4 when an entity has no active webhook.
    Status,
    /// Take them away.
    Remove,
}

/// What to do with a plan.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanShow {
    /// Show a kept plan.
    Show {
        /// What `plan --out` wrote.
        file: PathBuf,
    },
}

/// What to do with a namespace. The key of `[bus] manage` (or `connection`) needs the right Manage.
#[derive(Debug, Subcommand)]
pub(crate) enum BusVerb {
    /// Show what is missing there; changes nothing. Exit code 6 when there is something to do, 3 when a person has to change something first.
    Plan,
    /// Make it, step by step. May be repeated.
    Apply,
}

/// What to do with links.
#[derive(Debug, Subcommand)]
pub(crate) enum Links {
    /// After a lost state store: link every pair of records that name each other. Writes nothing to the systems.
    Rebuild,
    /// Print every pair as comma-separated values. No host may be running.
    Export {
        /// Write them to this file instead of stdout.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Link the pairs in a file (`sync,first,second`, as `export` writes it), where both records exist and neither is linked.
    Import {
        /// The file.
        file: PathBuf,
    },
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// List them, with the reason. Exit code 4 when there are some.
    List {
        /// Only of this queue: a system, or `<subscriber>.events`.
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// At most this many.
        #[arg(long, value_name = "MAX", default_value_t = 50)]
        max: usize,
    },
    /// Show what is in one, values included.
    Show {
        /// Its id, as `list` shows it.
        id: String,
    },
    /// Put them back into their queues.
    Replay {
        /// Their ids, as `list` shows them.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them, or all of `--queue`.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Only of this queue.
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
    },
}

/// What to start.
#[derive(Debug, Subcommand)]
pub(crate) enum New {
    /// A connector of your own, with its conformance test and its host, in a new folder.
    Connector {
        /// Name of the connector, its crate and its folder (`acme-crm`).
        name: String,
        /// Where Seamless is checked out.
        #[arg(long, value_name = "PATH", default_value = "seamless")]
        seamless: PathBuf,
    },
}

/// A person's word on a record.
#[derive(Debug, Subcommand)]
pub(crate) enum ReviewVerb {
    /// These two are the same: link them.
    Link {
        #[command(flatten)]
        record: RecordArgs,
        /// The record on the other side (`crm:A17`).
        #[arg(value_name = "SYSTEM:ID")]
        other: String,
    },
    /// It has no counterpart yet, whatever looks like it: create it on the other side.
    Create(RecordArgs),
    /// Leave it alone, for good.
    Ignore(RecordArgs),
    /// Forget what was said of it, and look at it again.
    Again(RecordArgs),
    /// It and its counterpart are not the same: take them apart. Both then wait for a word.
    Unlink(RecordArgs),
    /// Both sides changed a field: this system's value stands.
    Take {
        #[command(flatten)]
        record: RecordArgs,
        /// The canonical field (`phone`).
        field: String,
        /// The system whose value stands.
        system: String,
    },
}

/// Names a record.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// The entity or sync (`account`).
    pub(crate) entity: String,
    /// The record (`autotask:17`).
    #[arg(value_name = "SYSTEM:ID")]
    pub(crate) record: String,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a keyset. Without it nothing in the data folder can be read: keep a copy in a safe place.
    Generate {
        /// Write it to this new file (mode 0600) instead of stdout.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
