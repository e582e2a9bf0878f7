//! `test`.

use std::path::PathBuf;

use seamless_core::Error;
use seamless_host::{CaseResult, Config, run_cases};
use serde_json::json;

use crate::exit::Exit;
use crate::output::{Output, Tone, clean};
use crate::plugins::plugins;

pub(super) fn test(
    config: &Config,
    places: &[PathBuf],
    accept: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let beside = [config.dir.join("tests")];
    let places = if places.is_empty() { &beside } else { places };
    let results = run_cases(config, &plugins(), places, accept)?;
    if results.is_empty() {
        let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let message = format!("there is no case (*.json) in {}", shown.join(", "));
        return Err(Error::config(message).into());
    }
    let failed = results
        .iter()
        .filter(|case| !case.differences.is_empty() && !case.accepted)
        .count();
    let document = json!({ "ok": failed == 0, "cases": results });
    output.print(&document, || text(&results, failed, output))?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Failure })
}

fn text(results: &[CaseResult], failed: usize, output: &Output) -> String {
    let mut text = String::new();
    for case in results {
        let mark = match (case.differences.is_empty(), case.accepted) {
            (true, _) => output.paint(Tone::Good, "ok      "),
            (false, true) => output.paint(Tone::Warn, "accepted"),
            (false, false) => output.paint(Tone::Bad, "failed  "),
        };
        let about = case
            .about
            .as_ref()
            .map_or_else(String::new, |about| format!(": {}", clean(about)));
        text += &format!("{mark} {}{about}\n", case.file.display());
        for line in &case.differences {
            text += &format!("           {}\n", clean(line));
        }
    }
    let accepted = results.iter().filter(|case| case.accepted).count();
    let verdict = match (failed, accepted) {
        (0, 0) => output.paint(Tone::Good, format!("{} passed", results.len())),
        (0, _) => output.paint(
            Tone::Warn,
            format!("{accepted} now expect what came out: look at the changes"),
        ),
        _ => output.paint(Tone::Bad, format!("{failed} of {} failed", results.len())),
    };
    text + &format!("\n{verdict}\n")
}
