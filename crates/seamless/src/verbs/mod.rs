//! One module a verb.

mod autotask;
mod badge;
mod bus;
mod check;
mod discover;
mod dlq;
mod explain;
mod init;
mod keys;
mod links;
mod new;
mod plan;
mod reconcile;
mod review;
mod run;
mod status;
mod test;

use seamless_host::{Config, Probe, Reach, config_schema};

use crate::cli::{AutotaskVerb, Cli, PlanShow, Verb};
use crate::exit::Exit;
use crate::output::Output;
use crate::plugins::plugins;

/// Runs the verb.
pub(crate) async fn run(cli: &Cli, output: &Output) -> anyhow::Result<Exit> {
    let config = || Config::load(&cli.config);
    match &cli.verb {
        Verb::Init { live: false, tenant } => init::write(&cli.config, tenant, output),
        Verb::Init { live: true, .. } => init::add_live(&config()?, &plugins(), output).await,
        Verb::Check {
            offline,
            sample,
            conformance,
            write,
        } => {
            let sample = *sample;
            let reach = if *offline {
                Reach::Offline
            } else {
                Reach::Live { sample }
            };
            let probe = conformance.as_ref().map(|system| Probe {
                system: system.clone(),
                write: *write,
            });
            check::check(&config()?, reach, probe.as_ref(), output).await
        }
        Verb::Discover { system, entity } => {
            discover::discover(&config()?, system.as_deref(), entity.as_deref(), output).await
        }
        Verb::Autotask(AutotaskVerb::Webhooks { system, verb }) => {
            autotask::webhooks(&config()?, system, verb, output).await
        }
        Verb::Test { places, accept } => test::test(&config()?, places, *accept, output),
        Verb::Run { once, accept } => run::run(config()?, *once, *accept, output).await,
        Verb::Plan {
            out,
            records,
            show: None,
        } => plan::plan(&config()?, out.as_deref(), *records, output).await,
        Verb::Plan {
            records,
            show: Some(PlanShow::Show { file }),
            ..
        } => plan::show(&config()?, file, *records, output),
        Verb::Apply { file, accept } => plan::apply(&config()?, file, *accept, output).await,
        Verb::Status { parked } => status::status(&config()?, *parked, output).await,
        Verb::Reconcile {
            sync,
            repair,
            records,
        } => reconcile::reconcile(&config()?, sync.clone(), *repair, *records, output).await,
        Verb::Explain { entity, record } => explain::explain(&config()?, entity, record, output).await,
        Verb::Review { records, word: None } => review::list(&config()?, *records, output).await,
        Verb::Review { word: Some(word), .. } => review::decide(&config()?, word, output).await,
        Verb::Bus(verb) => bus::bus(&config()?, verb, output).await,
        Verb::Dlq(verb) => dlq::dlq(&config()?, verb, output).await,
        Verb::Links(verb) => links::links(config()?, verb, output).await,
        Verb::Keys(verb) => keys::keys(verb, output),
        Verb::New(verb) => new::new(verb, output),
        Verb::Schema => {
            output.write(&format!("{}\n", serde_json::to_string_pretty(&config_schema())?))?;
            Ok(Exit::Done)
        }
        Verb::Rest(verb) => crate::rest_cmd::run(verb, output).await,
        Verb::Demo(args) => crate::demo::run(args, output).await,
        Verb::Sandbox(args) => crate::sandbox_cmd::run(args, output).await,
        Verb::Emulator(args) => crate::emulator_cmd::run(args, output).await,
    }
}
