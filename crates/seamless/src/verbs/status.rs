//! `status`.

use seamless_host::{Answer, Config, ParkedRecord, Question, Status, ask};
use serde_json::json;

use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

pub(super) async fn status(config: &Config, parked: Option<usize>, output: &Output) -> anyhow::Result<Exit> {
    let plugins = plugins();
    let Answer::Status(status) = ask(config, &plugins, &Question::Status {}).await? else {
        anyhow::bail!("the running host answered another question; is it of another version?");
    };
    let records = match parked {
        None => None,
        Some(max) => match ask(config, &plugins, &Question::Parked { max }).await? {
            Answer::Parked(records) => Some(records),
            _ => anyhow::bail!("the running host answered another question; is it of another version?"),
        },
    };
    let mut document = serde_json::to_value(&status)?;
    if let Some(records) = &records {
        document["records"] = json!(records);
    }
    output.print(&document, || text(&status, records.as_deref(), output))?;
    Ok(if status.needs_attention() {
        Exit::Attention
    } else {
        Exit::Done
    })
}

fn text(status: &Status, records: Option<&[ParkedRecord]>, output: &Output) -> String {
    let state = match (status.running, status.used) {
        (true, _) => output.paint(Tone::Good, "a host is running"),
        (false, true) => "no host is running".to_owned(),
        (false, false) => "nothing has been synced yet".to_owned(),
    };
    let mut text = format!(
        "{} ({}): {state}\n",
        output.paint(Tone::Head, &status.tenant),
        status.environment
    );
    for sync in &status.syncs {
        text += &format!("\n{} {}\n", output.paint(Tone::Head, &sync.name), sync.flow);
        let mut rows = vec![vec!["pairs".to_owned(), sync.linked.to_string()]];
        let mut add = |count: u64, what: String| {
            if count > 0 {
                rows.push(vec![what, count.to_string()]);
            }
        };
        add(sync.waiting, "waiting for their parents".to_owned());
        add(sync.fields_held, "with fields that wait alone".to_owned());
        add(sync.write_backs, "ids to be written back".to_owned());
        add(
            sync.first_merge_overwrites,
            "overwritten when first linked".to_owned(),
        );
        for (reason, count) in &sync.parked {
            add(
                *count,
                format!(
                    "set aside: {}",
                    reason.replace('_', " ").replacen("parked ", "", 1)
                ),
            );
        }
        for (kind, count) in &sync.drift {
            add(*count, format!("not as it was left: {}", kind.replace('_', " ")));
        }
        for (reason, count) in &sync.left_out {
            add(*count, format!("left out: {}", reason.replace('_', " ")));
        }
        for (reason, count) in &sync.write_backs_parked {
            add(
                *count,
                format!("ids that cannot be written back: {}", clean(reason)),
            );
        }
        text += &table(&rows);
    }
    text += &format!("\n{}\n", output.paint(Tone::Head, "under way"));
    let mut rows = Vec::new();
    for (system, queue) in &status.queues {
        let dead: u64 = queue.dead_letters.values().sum();
        let dead = if dead > 0 {
            format!("{dead} cannot be opened")
        } else {
            String::new()
        };
        rows.push(vec![
            format!("messages for {system}"),
            queue.depth.to_string(),
            dead,
        ]);
    }
    rows.push(vec![
        "writes without an answer yet".to_owned(),
        status.open_intents.to_string(),
    ]);
    rows.push(vec![
        "records to look at again".to_owned(),
        status.hints.to_string(),
    ]);
    text += &table(&rows);
    for (system, usage) in &status.budgets {
        let percent = usage.used * 100 / usage.limit.max(1);
        let held = usage
            .held
            .map_or_else(String::new, |wait| format!("; no call for {} s", wait.as_secs()));
        text += &format!(
            "\n{} {} of {} calls within {} min ({percent} %), {} of them ours{held}\n",
            output.paint(Tone::Head, format!("budget of {system}:")),
            usage.used,
            usage.limit,
            usage.window.as_secs() / 60,
            usage.own
        );
    }
    text += &format!("\n{}\n", output.paint(Tone::Head, "read up to"));
    let cursor = |cursor: &seamless_host::CursorStatus| {
        let at = match (&cursor.cursor, cursor.polls) {
            (Some(at), _) => at.clone(),
            (None, 0) => "not yet".to_owned(),
            (None, _) => "all of it, every time".to_owned(),
        };
        vec![
            format!("{} {}", cursor.system, cursor.entity),
            at,
            format!("{} polls", cursor.polls),
        ]
    };
    text += &table(&status.cursors.iter().map(cursor).collect::<Vec<_>>());
    for (worker, error) in &status.troubles {
        text += &format!(
            "\n{} {worker}: {}\n",
            output.paint(Tone::Bad, "trouble:"),
            clean(error)
        );
    }
    match records {
        Some([]) => text += "\nnothing is set aside or waiting\n",
        Some(records) => {
            text += &format!("\n{}\n", output.paint(Tone::Head, "set aside or waiting"));
            for record in records {
                text += &format!(
                    "  {} {}: {}\n",
                    record.sync,
                    output.paint(Tone::Warn, &record.record),
                    clean(&record.sentence)
                );
                if !record.candidates.is_empty() {
                    text += &format!("    candidates: {}\n", record.candidates.join(", "));
                }
            }
        }
        None if status.needs_attention() => text += "\n`seamless status --parked` lists what is set aside\n",
        None => {}
    }
    text
}
