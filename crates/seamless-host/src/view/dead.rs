//! Dead letters: messages and events that were set aside, what is in them, and once more.

use std::sync::Arc;

use seamless_core::envelope::{Address, Sealer, code};
use seamless_core::pipeline::event_subscription;
use seamless_core::{Change, DeadLetter, Error, ErrorKind, Event, Message, MessageId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::stamp_text;
use crate::books::Books;
use crate::build::natives;
use crate::config::hint;
use crate::random::OsRandom;

/// A dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// The queue: a system, or `<subscriber>.events`.
    pub queue: String,
    /// The message's id.
    pub id: String,
    /// Since when.
    pub since: String,
    /// Why, as a code.
    pub code: String,
    /// Why, as a sentence.
    pub description: String,
    /// What is in it; only where one was asked for, and it can be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Json>,
}

/// Dead letters looked at in one queue.
const LOOKED_AT_MAX: usize = 10_000;
const PAGE: usize = 100;

impl Books {
    /// Dead letters, at most `max`, of one queue or of all.
    pub(crate) async fn dead_letters(&self, queue: Option<&str>, max: usize) -> Result<Vec<DeadLetterView>> {
        let mut views = Vec::new();
        for queue in self.queues(queue)? {
            self.each_dead(&queue, |letter| {
                views.push(view(&queue, letter, None));
                views.len() < max
            })
            .await?;
            if views.len() >= max {
                break;
            }
        }
        views.truncate(max);
        Ok(views)
    }

    /// One dead letter, opened.
    pub(crate) async fn dead_letter(&self, id: &str) -> Result<DeadLetterView> {
        for queue in self.queues(None)? {
            let mut found = None;
            self.each_dead(&queue, |letter| {
                if letter.id.0 == id {
                    found = Some(letter);
                }
                found.is_none()
            })
            .await?;
            if let Some(letter) = found {
                let content = self.content(&queue, &letter)?;
                return Ok(view(&queue, letter, content));
            }
        }
        Err(not_there(id))
    }

    /// Puts dead letters back into their queues: these, or all of one queue or of every one. Returns how many.
    pub(crate) async fn replay(&self, ids: &[String], queue: Option<&str>) -> Result<u64> {
        let mut replayed = 0;
        for queue in self.queues(queue)? {
            let mut found = Vec::new();
            self.each_dead(&queue, |letter| {
                if ids.is_empty() || ids.contains(&letter.id.0) {
                    found.push(letter.id);
                }
                true
            })
            .await?;
            for page in found.chunks(PAGE) {
                replayed += self.bus.replay(&queue, page).await?;
            }
        }
        if let (0, Some(id)) = (replayed, ids.first()) {
            return Err(not_there(id));
        }
        Ok(replayed)
    }

    /// The queues by name, or the one that is asked for.
    fn queues(&self, only: Option<&str>) -> Result<Vec<String>> {
        let systems = natives(&self.plans).into_keys().map(|system| system.to_string());
        let subscribers = self.config.events.keys().map(|name| event_subscription(name));
        let queues: Vec<String> = systems.chain(subscribers).collect();
        let Some(only) = only else { return Ok(queues) };
        if queues.iter().any(|queue| queue == only) {
            return Ok(vec![only.to_owned()]);
        }
        let known: Vec<&str> = queues.iter().map(String::as_str).collect();
        Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no queue '{only}'{}", hint(only, &known)),
        ))
    }

    async fn each_dead(&self, queue: &str, mut visit: impl FnMut(DeadLetter) -> bool + Send) -> Result<()> {
        let mut after: Option<MessageId> = None;
        let mut seen = 0;
        while seen < LOOKED_AT_MAX {
            let page = self.bus.dead_letters(queue, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            seen += page.len();
            for letter in page {
                if !visit(letter) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What is in a message; `None` where it cannot be opened.
    fn content(&self, queue: &str, letter: &DeadLetter) -> Result<Option<Json>> {
        let sealer = Sealer::new(self.keys.clone(), Arc::new(OsRandom), self.config.identity())?;
        if queue.ends_with(&event_subscription("")) {
            let event = opened::<Event>(&sealer, queue, letter)?;
            return Ok(event.map(|event| event.to_json()));
        }
        let change = opened::<Change>(&sealer, queue, letter)?;
        Ok(change.map(|change| {
            let observed = &change.observed;
            let fields = observed.fields.iter();
            json!({
                "sync": change.sync,
                "side": change.side,
                "record": observed.id,
                "fields": fields.map(|(name, value)| (name.clone(), value.to_json())).collect::<serde_json::Map<_, _>>(),
            })
        }))
    }
}

/// A dead letter has lost its lane. There are few of them, so each is tried.
fn opened<M: Message>(sealer: &Sealer, queue: &str, letter: &DeadLetter) -> Result<Option<M>> {
    for lane in sealer.hasher().lanes() {
        let address = Address {
            route: queue,
            message_id: &letter.id.0,
            lane: &lane,
        };
        match sealer.open(&letter.body, &address) {
            Ok(message) => return Ok(Some(message)),
            Err(error) if error.context("code") == Some(code::UNREADABLE) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn view(queue: &str, letter: DeadLetter, content: Option<Json>) -> DeadLetterView {
    DeadLetterView {
        queue: queue.to_owned(),
        id: letter.id.0,
        since: stamp_text(letter.since.0),
        code: letter.reason.code,
        description: letter.reason.description,
        content,
    }
}

fn not_there(id: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no dead letter '{id}'; `seamless dlq list` shows those that are there"),
    )
}
