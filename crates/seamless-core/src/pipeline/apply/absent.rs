//! Systems that do not answer: where several systems write to one, the trouble of one must not keep the others waiting.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::Applier;
use super::item::Item;
use crate::error::{Error, ErrorKind, Retry};
use crate::pipeline::Engine;
use crate::record::SystemId;

/// The systems whose records are left alone for a while.
#[derive(Default)]
pub(super) struct Absent(Mutex<BTreeMap<SystemId, Away>>);

struct Away {
    tries: u32,
    until: Duration,
    said: String,
}

const WAIT_MIN: Duration = Duration::from_millis(250);

impl Applier {
    /// What keeps records of some system from being applied while those of others go on.
    pub fn trouble(&self) -> Option<String> {
        let absent = self
            .absent
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let said = |(system, away): (&SystemId, &Away)| format!("records of {system} wait: {}", away.said);
        absent.iter().map(said).next()
    }

    pub(super) fn is_absent(&self, source: &SystemId) -> bool {
        let absent = self
            .absent
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = self.engine.clock.monotonic();
        absent.get(source).is_some_and(|away| away.until > now)
    }

    /// Notes how the work on records of a system ended. Gives the error back where it concerns everybody.
    pub(super) fn note_source(&self, source: &SystemId, worked: Result<(), Error>) -> Option<Error> {
        let mut absent = self
            .absent
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let error = match worked {
            Ok(()) => {
                absent.remove(source);
                return None;
            }
            Err(error) => error,
        };
        if concerns_all(&error) || !several_sources(&self.engine, &self.system) {
            return Some(error);
        }
        let tries = absent.get(source).map_or(0, |away| away.tries);
        let longest = self.engine.timings.defer_max;
        let wait = match error.retry {
            Retry::Never => longest,
            Retry::Later { after } => WAIT_MIN
                .saturating_mul(1 << tries.min(16))
                .min(longest)
                .max(after.unwrap_or_default()),
        };
        tracing::warn!(system = %source, tries = tries + 1, %error, "its records wait; those of other systems go on");
        let away = Away {
            tries: tries + 1,
            until: self.engine.clock.monotonic() + wait,
            said: error.to_string(),
        };
        absent.insert(source.clone(), away);
        None
    }
}

/// The items by the system that their records are in, in its order.
pub(super) fn by_source(items: Vec<Item>) -> BTreeMap<SystemId, Vec<Item>> {
    let mut groups: BTreeMap<SystemId, Vec<Item>> = BTreeMap::new();
    for item in items {
        let source = item.sync.side(item.side()).system.clone();
        groups.entry(source).or_default().push(item);
    }
    groups
}

fn several_sources(engine: &Engine, target: &SystemId) -> bool {
    let sources = engine
        .syncs
        .values()
        .filter(|sync| sync.sides.iter().any(|side| side.system == *target))
        .flat_map(|sync| &sync.sides)
        .map(|side| &side.system)
        .filter(|system| *system != target);
    let first = sources.clone().next();
    sources.into_iter().any(|system| Some(system) != first)
}

/// Trouble of our own, or one that a person has to look at before anything goes on.
fn concerns_all(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Storage | ErrorKind::Crypto | ErrorKind::Refused | ErrorKind::Config | ErrorKind::Conflict
    )
}
