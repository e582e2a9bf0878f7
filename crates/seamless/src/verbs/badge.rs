//! `check --conformance`: what a system keeps of what its connector declares.

use seamless_host::{Badge, Declared, Outcome};

use crate::output::{Output, Tone, clean};

/// The badge of one entity of one system.
pub(super) fn text(badge: &Badge, output: &Output) -> String {
    let head = format!("{} {}, conformance", badge.system, clean(&badge.entity));
    let mut text = format!(
        "\n{}\n  declared: {}\n",
        output.paint(Tone::Head, head),
        declared(&badge.declared)
    );
    for tried in &badge.cases {
        let (tone, mark) = match tried.outcome {
            Outcome::Kept => (Tone::Good, "kept     "),
            Outcome::Broken => (Tone::Bad, "broken   "),
            Outcome::NotShown => (Tone::Dim, "not shown"),
        };
        text += &format!(
            "  {} {}: {}\n",
            output.paint(tone, mark),
            clean(&tried.case),
            clean(&tried.sentence)
        );
    }
    for left in &badge.left_behind {
        let sentence = format!(
            "made here and still there: {} {}; take it away by hand before a host runs: {}",
            clean(&badge.entity),
            clean(&left.id),
            clean(&left.reason)
        );
        text += &format!("  {} {sentence}\n", output.paint(Tone::Warn, "left over"));
    }
    let broken = badge.count(Outcome::Broken);
    let tone = if broken == 0 { Tone::Good } else { Tone::Bad };
    let verdict = format!(
        "{} kept, {broken} broken, {} not shown, by {} records",
        badge.count(Outcome::Kept),
        badge.count(Outcome::NotShown),
        badge.records
    );
    text + &format!("  {}\n", output.paint(tone, verdict))
}

fn declared(declared: &Declared) -> String {
    let or = |is: bool, yes: &str, no: &str| if is { yes.to_owned() } else { no.to_owned() };
    let mut words = vec![
        or(
            declared.incremental,
            "lists of changes",
            "every poll reads everything",
        ),
        format!("stamps of {} ms", declared.granularity_ms),
        format!("cross-reference {}", declared.external_key),
        or(declared.compare_and_set, "compare-and-set", "no compare-and-set"),
    ];
    if declared.ascending_ids {
        words.push("rising ids".to_owned());
    }
    words.extend([
        format!("{} values a search", declared.find_batch_max),
        format!("{} writes at once", declared.write_concurrency),
        format!("a lost call may land for {} s", declared.settle_after_secs),
        format!("a search may lag by {} s", declared.search_lag_secs),
    ]);
    words.join(", ")
}
