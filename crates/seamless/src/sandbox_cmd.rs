//! `seamless sandbox`: the simulators, for the demo, for curl, for other clients.

use std::path::{Path, PathBuf};

use anyhow::Context;
use seamless_sandbox::{Config, Faults, Sandbox};
use serde_json::{Value as Json, json};

use crate::demo::tenant::{Endpoints, write_tenant};
use crate::exit::Exit;
use crate::output::Output;

/// Runs a simulated Autotask and a simulated CRM on this machine until Ctrl-C. Their data are made up and kept in memory.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {
    /// Accounts and contacts to start with, counted over both systems.
    #[arg(long, default_value_t = 1000)]
    records: usize,
    /// Tickets in the CRM, on its accounts.
    #[arg(long, default_value_t = 100)]
    tickets: usize,
    /// Opportunities in the CRM, on its accounts.
    #[arg(long, default_value_t = 50)]
    opportunities: usize,
    /// Seed of the data and of every random decision: the same seed gives the same records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Port of the Autotask simulator; 0 takes any free one.
    #[arg(long, value_name = "P", default_value_t = 0)]
    autotask_port: u16,
    /// Port of the CRM; 0 takes any free one.
    #[arg(long, value_name = "P", default_value_t = 0)]
    crm_port: u16,
    /// Port of the admin interface; 0 takes any free one.
    #[arg(long, value_name = "P", default_value_t = 0)]
    admin_port: u16,
    /// Speed of the clock behind Autotask's hourly limit: 60 makes its hour pass in a minute.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    clock_speed: f64,
    /// Autotask calls that a rolling hour takes.
    #[arg(long, value_name = "N", default_value_t = Config::default().hourly_limit)]
    hourly_limit: u32,
    /// One more user-defined field in Autotask, for the ids of a second CRM; may be given several times.
    #[arg(long, value_name = "NAME")]
    more_udf: Vec<String>,
    /// Tidy data: no twins, no blanks, no shared e-mail addresses, no values beyond their lengths.
    #[arg(long)]
    no_mess: bool,
    /// Faults from the start: a JSON file as `POST /faults` takes it.
    #[arg(long, value_name = "FILE.json")]
    faults: Option<PathBuf>,
    /// Also write a ready tenant (tenant.toml, manifest, secrets, keys) for these simulators into a new folder.
    #[arg(long, value_name = "DIR")]
    print_tenant: Option<PathBuf>,
    /// Ends when standard input ends, so that a demo that is killed leaves nothing behind.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Starts the simulators and keeps them until they are stopped.
pub(crate) async fn run(args: &SandboxArgs, output: &Output) -> anyhow::Result<Exit> {
    let faults = args
        .faults
        .as_deref()
        .map(read_faults)
        .transpose()?
        .unwrap_or_default();
    let config = Config {
        seed: args.seed,
        records: args.records,
        crm_tickets: args.tickets,
        crm_opportunities: args.opportunities,
        autotask_port: args.autotask_port,
        crm_port: args.crm_port,
        admin_port: args.admin_port,
        clock_speed: args.clock_speed,
        hourly_limit: args.hourly_limit,
        mess: !args.no_mess,
        more_udfs: args.more_udf.clone(),
        faults,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config)
        .await
        .context("cannot start the sandbox; is one of the ports in use?")?;
    let (_, about) = sandbox.admin("GET", "/config", &Json::Null);
    let tenant = args
        .print_tenant
        .as_deref()
        .map(|dir| write_tenant(dir, &Endpoints::of(&about)));
    let tenant = tenant.transpose()?;
    if output.json {
        let mut line = json!({
            "autotask_url": sandbox.autotask_url, "crm_url": sandbox.crm_url, "admin_url": sandbox.admin_url, "config": about,
        });
        if let Some(file) = &tenant {
            line["tenant"] = file.display().to_string().into();
        }
        output.write(&format!("{line}\n"))?;
    } else {
        output.write(&greeting(&sandbox, &about, tenant.as_deref()))?;
    }
    stop_signal(args.until_stdin_ends).await?;
    sandbox.stop().await;
    Ok(Exit::Done)
}

fn read_faults(file: &Path) -> anyhow::Result<Faults> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the faults in {shown}"))?;
    serde_json::from_str(&text).with_context(|| format!("the faults in {shown} are not understood"))
}

/// Waits until the program is asked to end.
pub(crate) async fn stop_signal(stdin_too: bool) -> anyhow::Result<()> {
    let (closed, stdin_closed) = tokio::sync::oneshot::channel();
    if stdin_too {
        std::thread::spawn(move || {
            // End of file and a broken pipe say the same: nobody is there any more. What is written there is of no interest.
            let _ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            closed.send(())
        });
    }
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminated.recv() => {}
        _ = stdin_closed, if stdin_too => {}
    }
    Ok(())
}

fn greeting(sandbox: &Sandbox, about: &Json, tenant: Option<&Path>) -> String {
    let text = |path: &str| {
        about
            .pointer(path)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (user, secret, code) = (
        text("/autotask/user"),
        text("/autotask/secret"),
        text("/autotask/integration_code"),
    );
    let (token, udf) = (text("/crm/token"), text("/autotask/udf"));
    let Sandbox {
        autotask_url,
        crm_url,
        admin_url,
        ..
    } = sandbox;
    let run = tenant.map_or_else(String::new, |file| {
        let file = file.display();
        format!(
            "\nA tenant for these two is ready. In another terminal:\n  seamless run --once --config {file}\n"
        )
    });
    format!(
        "Autotask  {autotask_url}
  user {user} · secret {secret} · integration code {code} · user-defined field \"{udf}\"
CRM       {crm_url}
  bearer token {token}
Admin     {admin_url}
  plays the people in front of both systems, injects faults, and judges: /truth, /edits, /calls, /stats, /faults

Try:
  curl '{autotask_url}/atservicesrest/v1.0/zoneInformation?user={user}'
  curl -H 'ApiIntegrationCode: {code}' -H 'UserName: {user}' -H 'Secret: {secret}' -H 'Content-Type: application/json' \\
       '{autotask_url}/ATServicesRest/V1.0/Companies/query' -d '{{\"filter\":[{{\"op\":\"gt\",\"field\":\"id\",\"value\":0}}],\"MaxRecords\":2}}'
  curl -H 'Authorization: Bearer {token}' '{crm_url}/api/accounts?limit=2'
  curl '{admin_url}/edit' -d '{{\"system\":\"crm\",\"entity\":\"account\",\"id\":\"A000001\",\"fields\":{{\"city\":\"Troy\"}}}}'
  curl '{admin_url}/truth?owner=autotask'
{run}
Ctrl-C ends it; nothing is kept.
"
    )
}
