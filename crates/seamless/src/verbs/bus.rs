//! `bus plan` and `bus apply`.

use seamless_host::{Config, apply_bus, plan_bus};
use serde_json::json;

use crate::cli::BusVerb;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean};

pub(super) async fn bus(config: &Config, verb: &BusVerb, output: &Output) -> anyhow::Result<Exit> {
    let (plan, done) = match verb {
        BusVerb::Plan => (plan_bus(config).await?, false),
        BusVerb::Apply => (apply_bus(config).await?, true),
    };
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    let refused = !plan.refusals.is_empty();
    let done = done && !refused;
    let document = json!({ "tier": plan.tier, "steps": steps, "done": done, "refusals": plan.refusals });
    output.print(&document, || {
        let mut text = format!("namespace of the {} tier\n", clean(&plan.tier));
        for step in &steps {
            let mark = if done {
                output.paint(Tone::Good, "done")
            } else {
                "to do".to_owned()
            };
            text += &format!("  {mark}  {}\n", clean(step));
        }
        for reason in &plan.refusals {
            text += &format!("  {}  {}\n", output.paint(Tone::Bad, "refused"), clean(reason));
        }
        match (steps.is_empty(), refused, done) {
            (_, true, _) => text += "nothing was changed\n",
            (true, ..) => text += "everything is as it has to be\n",
            (false, _, false) => text += "`seamless bus apply` does this\n",
            (false, _, true) => {}
        }
        text
    })?;
    Ok(match (refused, steps.is_empty(), done) {
        (true, ..) => Exit::Refused,
        (false, false, false) => Exit::Pending,
        _ => Exit::Done,
    })
}
