//! `autotask webhooks`.

use seamless_autotask::{Callout, CalloutState, Webhooks};
use seamless_host::Config;
use serde_json::json;

use crate::cli::WebhookVerb;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

pub(super) async fn webhooks(
    config: &Config,
    system: &str,
    verb: &WebhookVerb,
    output: &Output,
) -> anyhow::Result<Exit> {
    let context = plugins().context(config, system, "autotask")?;
    let webhooks = Webhooks::open(&context, &config.tenant)?;
    let states = match verb {
        WebhookVerb::Install { url, notify } => {
            let callout = Callout {
                base_url: url.clone(),
                system: system.to_owned(),
                notify: notify.clone(),
            };
            webhooks.install(&callout).await?
        }
        WebhookVerb::Status => webhooks.status().await?,
        WebhookVerb::Remove => {
            let removed = webhooks.remove().await?;
            output.print(&json!({ "removed": removed }), || {
                format!("{removed} webhooks removed\n")
            })?;
            return Ok(Exit::Done);
        }
    };
    output.print(&states, || text(&states, output))?;
    let all_active = states.iter().all(|state| state.active && state.ready);
    Ok(if all_active { Exit::Done } else { Exit::Attention })
}

fn text(states: &[CalloutState], output: &Output) -> String {
    let rows: Vec<Vec<String>> = states
        .iter()
        .map(|state| {
            let how = match (state.id, state.active, state.ready) {
                (None, ..) => output.paint(Tone::Warn, "not there; run `seamless autotask webhooks install`"),
                (_, false, _) => output.paint(Tone::Warn, "switched off; install switches it on"),
                (_, _, false) => output.paint(Tone::Warn, "incomplete"),
                _ => output.paint(Tone::Good, "active"),
            };
            let muted = if state.id.is_some() && !state.mutes_us {
                ", sends our own changes too"
            } else {
                ""
            };
            let url = state.url.as_deref().map(clean).unwrap_or_default();
            vec![
                state.entity.clone(),
                format!("{how}{muted}"),
                format!("{} fields", state.fields),
                url,
            ]
        })
        .collect();
    table(&rows)
}
