//! Telling: a subscriber's events, in order of each record, until they are taken or refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Turn, event_subscription, turn_row, turns_of};
use crate::contract::{
    Consumer, DeadLetterReason, Delivery, Event, EventTarget, Expect, MessageId, Op, RowKey, Scan,
    Settlement, Table,
};
use crate::envelope::Address;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::pipeline::apply::ApplyStep;
use crate::pipeline::engine::Engine;
use crate::pipeline::ledger::{Entry, Reason};
use crate::pipeline::mistakes::Mistake;
use crate::pipeline::receipt::CommitReceipt;
use crate::pipeline::state::RecordKey;

/// Tells one subscriber.
pub struct Herald {
    engine: Arc<Engine>,
    subscriber: String,
    subscription: String,
    consumer: Box<dyn Consumer>,
    target: Arc<dyn EventTarget>,
    /// Failed attempts by message.
    tries: Mutex<BTreeMap<MessageId, u32>>,
}

/// Events taken at once.
const BATCH: usize = 16;
/// Failures in a row after which the receiver counts as not there.
const FAILURES_MAX: u32 = 2;
/// Messages whose failures are remembered.
const TRIES_MAX: usize = 10_000;
/// Turns looked at in one scan.
const TURNS: usize = 50;

/// How an event left a step.
enum Told {
    /// Taken now or before.
    Taken(CommitReceipt),
    /// An earlier event of its record comes first.
    NotItsTurn,
    /// The receiver does not want it.
    Refused(DeadLetterReason),
}

impl Herald {
    /// A herald with a consumer of its own.
    pub async fn new(engine: &Arc<Engine>, subscriber: &str, target: Arc<dyn EventTarget>) -> Result<Herald> {
        let subscription = event_subscription(subscriber);
        Ok(Herald {
            engine: engine.clone(),
            subscriber: subscriber.to_owned(),
            consumer: engine.bus.subscribe(&subscription).await?,
            subscription,
            target,
            tries: Mutex::default(),
        })
    }

    /// Whom it tells.
    pub fn subscriber(&self) -> &str {
        &self.subscriber
    }

    /// Tells what is due, waiting up to `wait` for the first event. Cancel safe: what was not noted as told is told again under the same id. An error is the
    /// receiver's, or the store's; what was taken has been put back.
    pub async fn step(&self, wait: Duration) -> Result<ApplyStep> {
        let deliveries = self.consumer.receive(BATCH, wait).await?;
        let mut step = ApplyStep {
            taken: deliveries.len(),
            deferred: 0,
        };
        let mut due = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match self.open(&delivery) {
                Ok(event) => due.push((delivery, event)),
                Err(error) => {
                    tracing::error!(subscriber = %self.subscriber, "an event cannot be opened and was set aside; see `seamless dlq list`");
                    let letter = Settlement::DeadLetter(delivery.lock, reason_of(&error));
                    self.consumer.settle(vec![letter]).await?;
                }
            }
        }
        due.sort_by_key(|(_, event)| (turns_of("", event), event.sequence));
        let (mut failures, mut told, mut failure) = (0, 0, None);
        for (delivery, event) in due {
            let min = self.engine.timings.defer_min;
            let lock = delivery.lock.clone();
            // Without its answer to two events there is no use in asking about a third.
            let outcome = if failures < FAILURES_MAX {
                self.tell(&event).await
            } else {
                Ok(Told::NotItsTurn)
            };
            let settlement = match outcome {
                Ok(Told::Taken(receipt)) => {
                    self.forget(&delivery.id);
                    (failures, told) = (0, told + 1);
                    Settlement::Complete(lock, receipt)
                }
                Ok(Told::Refused(reason)) => {
                    self.forget(&delivery.id);
                    (failures, told) = (0, told + 1);
                    Settlement::DeadLetter(lock, reason)
                }
                Ok(Told::NotItsTurn) => {
                    step.deferred += 1;
                    Settlement::Defer(lock, min)
                }
                Err(error) if matches!(error.kind, ErrorKind::Storage | ErrorKind::Crypto) => {
                    return Err(error);
                }
                Err(error) => {
                    failures += 1;
                    step.deferred += 1;
                    failure.get_or_insert(error);
                    Settlement::Defer(lock, self.back_off(&delivery.id))
                }
            };
            self.consumer.settle(vec![settlement]).await?;
        }
        match failure {
            Some(error) if told == 0 => Err(error),
            _ => Ok(step),
        }
    }

    fn open(&self, delivery: &Delivery) -> Result<Event> {
        let address = Address {
            route: &self.subscription,
            message_id: &delivery.id.0,
            lane: &delivery.lane,
        };
        self.engine.sealer.open(&delivery.body, &address)
    }

    async fn tell(&self, event: &Event) -> Result<Told> {
        let engine = &*self.engine;
        let key = turn_row(&self.subscriber, event);
        let Some(row) = engine.store.get(std::slice::from_ref(&key)).await?.remove(0) else {
            // Told before; the settling was lost.
            return engine.commit(Vec::new()).await.map(Told::Taken);
        };
        let turn: Turn = engine.sealed_row(&key, &row)?;
        // A dead letter that is replayed comes when it comes.
        if !turn.refused
            && !engine.mistakes.has(Mistake::TurnsIgnored)
            && self.has_earlier(event, &key.key).await?
        {
            return Ok(Told::NotItsTurn);
        }
        if engine.mistakes.has(Mistake::EventNotedFirst) {
            let key = key.clone();
            let expect = Expect::Version(row.version);
            engine.store.commit(vec![Op::Delete { key, expect }]).await?;
        }
        let send_by = engine.clock.monotonic() + engine.timings.send_within;
        let told = self.target.tell(event, send_by).await;
        let expect = Expect::Version(row.version);
        let (turn, entry, refusal) = match told {
            Ok(()) => {
                engine.counters.events_told.add(1);
                let note = format!("{} was told of {}", self.subscriber, event.name);
                (
                    Op::Delete { key, expect },
                    self.entry(event, Reason::EventTold, note),
                    None,
                )
            }
            Err(error) if is_refusal(&error) => {
                let description = format!("{} refused {}: {}", self.subscriber, event.name, error.message());
                let turn = Turn {
                    refused: true,
                    ..turn
                };
                let turn = engine.typed().put_sealed(key, expect, &turn)?;
                let reason = DeadLetterReason {
                    code: "event_refused".to_owned(),
                    description: description.clone(),
                };
                (
                    turn,
                    self.entry(event, Reason::EventRefused, description),
                    Some(reason),
                )
            }
            Err(error) => return Err(error),
        };
        let ledger = engine
            .typed()
            .put_sealed(entry.row(engine.salt()), Expect::Any, &entry)?;
        match engine.commit(vec![turn, ledger]).await {
            Ok(receipt) => Ok(refusal.map_or(Told::Taken(receipt), Told::Refused)),
            // Another host told it at the same moment.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(Told::NotItsTurn),
            Err(error) => Err(error),
        }
    }

    /// Whether an earlier event of the record has not been taken yet.
    async fn has_earlier(&self, event: &Event, own: &str) -> Result<bool> {
        let prefix = turns_of(&self.subscriber, event);
        let mut after = None;
        loop {
            let scan = Scan {
                table: Table::Turn,
                prefix: prefix.clone(),
                after: after.take(),
                limit: TURNS,
            };
            let rows = self.engine.store.scan(&scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(false);
            };
            after = Some(last.clone());
            for (key, row) in rows {
                if key.as_str() >= own {
                    return Ok(false);
                }
                let turn: Turn = self.engine.sealed_row(&RowKey::new(Table::Turn, key), &row)?;
                if !turn.refused {
                    return Ok(true);
                }
            }
        }
    }

    fn entry(&self, event: &Event, reason: Reason, note: String) -> Entry {
        let record = RecordKey::new(&event.sync, event.side, &event.record);
        Entry::new(self.engine.clock.now(), &record, reason, note)
    }

    fn back_off(&self, id: &MessageId) -> Duration {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= TRIES_MAX {
            tries.clear();
        }
        let count = tries.entry(id.clone()).or_default();
        *count += 1;
        let timings = &self.engine.timings;
        timings
            .defer_min
            .saturating_mul(1 << (*count - 1).min(16))
            .min(timings.defer_max)
    }

    fn forget(&self, id: &MessageId) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.remove(id);
    }
}

/// A refusal of this event; anything else is the receiver's state, which changes.
fn is_refusal(error: &Error) -> bool {
    error.kind == ErrorKind::Conflict
        || error.retry == Retry::Never
            && !matches!(
                error.kind,
                ErrorKind::Auth
                    | ErrorKind::Permission
                    | ErrorKind::Config
                    | ErrorKind::Storage
                    | ErrorKind::Crypto
            )
}

fn reason_of(error: &Error) -> DeadLetterReason {
    DeadLetterReason {
        code: error.context("code").unwrap_or("unreadable").to_owned(),
        description: error.to_string(),
    }
}
