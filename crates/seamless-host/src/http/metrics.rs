//! `/metrics`, in the text format of Prometheus. Counts and names of the configuration, no record content.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::books::Books;
use crate::view::Status;

pub(super) async fn metrics(State(books): State<Arc<Books>>) -> (StatusCode, String) {
    match books.status().await {
        Ok(status) => (StatusCode::OK, text(&status)),
        Err(error) => {
            tracing::error!(%error, "no metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, String::new())
        }
    }
}

fn text(status: &Status) -> String {
    let mut page = Page(String::new());
    page.family(
        "seamless_events_total",
        "counter",
        "what happened since the host started",
    );
    for (name, count) in &status.counters {
        page.line("seamless_events_total", &[("event", name)], *count);
    }
    page.family("seamless_pairs", "gauge", "linked pairs of records");
    for sync in &status.syncs {
        page.line("seamless_pairs", &[("sync", &sync.name)], sync.linked);
    }
    page.family("seamless_parked", "gauge", "records set aside for a person");
    for sync in &status.syncs {
        for (reason, count) in &sync.parked {
            page.line(
                "seamless_parked",
                &[("sync", &sync.name), ("reason", reason)],
                *count,
            );
        }
    }
    page.family(
        "seamless_fields_held",
        "gauge",
        "pairs with fields that wait alone",
    );
    for sync in &status.syncs {
        page.line("seamless_fields_held", &[("sync", &sync.name)], sync.fields_held);
    }
    page.family("seamless_waiting", "gauge", "records that wait for their parents");
    for sync in &status.syncs {
        page.line("seamless_waiting", &[("sync", &sync.name)], sync.waiting);
    }
    page.family("seamless_queue_depth", "gauge", "messages waiting or under way");
    for (system, queue) in &status.queues {
        page.line("seamless_queue_depth", &[("system", system)], queue.depth);
    }
    page.family("seamless_dead_letters", "gauge", "messages that cannot be opened");
    for (system, queue) in &status.queues {
        let dead: u64 = queue.dead_letters.values().sum();
        page.line("seamless_dead_letters", &[("system", system)], dead);
    }
    page.family("seamless_open_intents", "gauge", "writes without an answer yet");
    page.line("seamless_open_intents", &[], status.open_intents);
    page.family(
        "seamless_budget_used",
        "gauge",
        "calls of everybody within the system's window",
    );
    for (system, usage) in &status.budgets {
        page.line("seamless_budget_used", &[("system", system)], usage.used);
    }
    page.family(
        "seamless_budget_limit",
        "gauge",
        "calls that the system allows within its window",
    );
    for (system, usage) in &status.budgets {
        page.line("seamless_budget_limit", &[("system", system)], usage.limit);
    }
    page.family("seamless_workers_in_trouble", "gauge", "workers that cannot work");
    page.line("seamless_workers_in_trouble", &[], status.troubles.len() as u64);
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        self.0 += &format!("{name}{labels} {value}\n");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::SyncStatus;

    #[test]
    fn counts_become_lines() {
        let status = Status {
            counters: [("created".to_owned(), 3)].into(),
            syncs: vec![SyncStatus {
                name: "account".into(),
                linked: 7,
                parked: [("parked_\"odd\"".to_owned(), 1)].into(),
                ..SyncStatus::default()
            }],
            ..Status::default()
        };
        let text = text(&status);
        for line in [
            "seamless_events_total{event=\"created\"} 3\n",
            "seamless_pairs{sync=\"account\"} 7\n",
            "seamless_parked{sync=\"account\",reason=\"parked_\\\"odd\\\"\"} 1\n",
            "seamless_open_intents 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(
            text.lines()
                .all(|line| line.starts_with('#') || line.split(' ').count() == 2)
        );
    }
}
