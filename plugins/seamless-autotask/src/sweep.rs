//! Reading an entity that has no change stamp: everything, again and again, but only the fields that are used, and what is closed rarely.
//!
//! A *whole* sweep reads all records. An *open* sweep leaves out what is closed, and then looks by id at what was open in the last sweep and
//! has not come again: it has been closed, or is gone. What is closed and edited is seen by the next whole sweep; its creation and its
//! last activity are asked for as well, because they cost nothing (whether an edit moves the activity is not established).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seamless_core::{Error, ErrorKind, ListRequest, Page, PageToken, Priority, Result, Timestamp};
use serde_json::{Map, Value as Json, json};

use crate::client::{Client, in_entity, whole};
use crate::entity::Entity;
use crate::find::Field;
use crate::query::Query;
use crate::read::IN_VALUES_MAX;
use crate::record::{COUNTRY, COUNTRY_ID, UDF, USER_DEFINED_FIELDS};

/// Open records remembered from one sweep to the next; a tenant with more is swept whole.
const OPEN_MAX: usize = 100_000;
/// How far behind the last sweep's start a new creation or activity is looked for: stamps land late.
const OVERLAP: Duration = Duration::from_secs(120);

/// What is known of the sweeps of this process. Losing it costs one whole sweep.
#[derive(Default)]
pub(crate) struct Sweeps(Mutex<BTreeMap<&'static str, Sweep>>);

#[derive(Default)]
struct Sweep {
    /// When the last whole sweep that came to its end began, on our own clock.
    whole_at: Option<Duration>,
    /// When the sweep under way began.
    began: Duration,
    /// The server's clock at the start of the last sweep that came to its end, and of the one under way.
    last_start: Option<Timestamp>,
    start: Option<Timestamp>,
    /// Open records of the last sweep, and of the one under way.
    open_before: BTreeSet<i64>,
    open_now: BTreeSet<i64>,
    /// What was open, and the sweep under way has met although it is closed now.
    closed_now: BTreeSet<i64>,
    /// How fields can be left out of answers.
    include: Option<Include>,
}

/// Whether answers can be had with some fields only. That user-defined fields still come with them is not established, so it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Include {
    /// These.
    Only(Vec<String>),
    /// It does not work for what we need.
    Whole,
}

/// Where a sweep goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Whole {
        above: Option<i64>,
    },
    Open {
        above: Option<i64>,
        since: Option<Timestamp>,
    },
    /// Records that were open and have not come again.
    Gone {
        above: i64,
    },
}

impl Client {
    /// One page of a sweep. The token says which kind it is, so that another process can go on with it.
    pub(crate) async fn sweep(&self, entity: &'static Entity, request: &ListRequest) -> Result<Page> {
        let place = match &request.after {
            Some(token) => Place::read(token).map_err(|e| in_entity(e, entity.name))?,
            None => self.begin(entity),
        };
        let limit = request.limit.clamp(1, self.settings.page_size);
        if let Place::Gone { above } = place {
            return self.gone(entity, above, limit).await;
        }
        let closed = self.closed_statuses(entity).await?;
        let (above, conditions) = match place {
            Place::Open { above, since } if !closed.is_empty() => (above, open(&closed, since)),
            Place::Whole { above } | Place::Open { above, .. } => (above, Vec::new()),
            Place::Gone { above } => (Some(above), Vec::new()),
        };
        let include = self.included(entity);
        let query = Query {
            entity: entity.name,
            conditions: &conditions,
            above,
            rows_max: limit,
            include: include.as_deref(),
            priority: Priority::Backfill,
        };
        let page = match self.ask(&query).await {
            // A field that is gone or cannot be asked for by name: the whole record shows what there is.
            Err(error) if error.kind == ErrorKind::Invalid && include.is_some() => {
                tracing::warn!(entity = entity.name, %error, "autotask does not send chosen fields only; whole records are read");
                self.sweep_of(entity, |sweep| sweep.include = Some(Include::Whole));
                self.ask(&Query {
                    include: None,
                    ..query
                })
                .await?
            }
            page => page?,
        };
        self.learn_to_include(entity, &page.items).await?;
        self.remember(entity, &closed, &page.items, page.server_time);
        let next = match (page.more, place) {
            (true, Place::Open { since, .. }) => Some(Place::Open {
                above: page.last_id,
                since,
            }),
            (true, _) => Some(Place::Whole { above: page.last_id }),
            (false, Place::Open { .. }) => self.sweep_of(entity, |sweep| {
                let gone = sweep.gone().next();
                gone.map(|_| Place::Gone { above: i64::MIN })
            }),
            (false, _) => None,
        };
        if next.is_none() {
            self.end(entity, matches!(place, Place::Whole { .. }));
        }
        Ok(Page {
            records: self.records(entity, page.items).await?,
            next: next.map(Place::token),
            server_time: page.server_time,
        })
    }

    fn begin(&self, entity: &'static Entity) -> Place {
        let now = self.clock.monotonic();
        let rarely = Duration::from_secs(self.settings.closed_sweep_secs);
        self.sweep_of(entity, |sweep| {
            sweep.began = now;
            sweep.start = None;
            sweep.open_now.clear();
            sweep.closed_now.clear();
            let whole = sweep.whole_at.is_none_or(|at| now.saturating_sub(at) >= rarely)
                || sweep.open_before.len() >= OPEN_MAX;
            if whole {
                Place::Whole { above: None }
            } else {
                Place::Open {
                    above: None,
                    since: sweep.last_start.map(|start| minus(start, OVERLAP)),
                }
            }
        })
    }

    fn end(&self, entity: &'static Entity, whole: bool) {
        self.sweep_of(entity, |sweep| {
            if whole {
                sweep.whole_at = Some(sweep.began);
            }
            sweep.last_start = sweep.start.or(sweep.last_start);
            sweep.open_before = std::mem::take(&mut sweep.open_now);
        });
    }

    /// What was open and has not come again. Asked by id, so that each is seen as it is now.
    async fn gone(&self, entity: &'static Entity, above: i64, limit: usize) -> Result<Page> {
        let ids: Vec<i64> = self.sweep_of(entity, |sweep| {
            sweep
                .gone()
                .filter(|id| *id > above)
                .take(limit.min(IN_VALUES_MAX))
                .collect()
        });
        let mut records = Vec::new();
        if !ids.is_empty() {
            let names: Vec<_> = ids.iter().map(|id| id.to_string().into()).collect();
            records = self.fetch(entity.name, &names).await?;
        }
        let next = ids.last().map(|last| Place::Gone { above: *last }.token());
        if next.is_none() {
            self.end(entity, false);
        }
        Ok(Page {
            records,
            next,
            server_time: None,
        })
    }

    fn remember(
        &self,
        entity: &'static Entity,
        closed: &[i64],
        items: &[Map<String, Json>],
        server_time: Option<Timestamp>,
    ) {
        let is_closed = |item: &Map<String, Json>| {
            let status = item.get("status").and_then(whole);
            status.is_some_and(|status| closed.contains(&status))
        };
        self.sweep_of(entity, |sweep| {
            sweep.start = sweep.start.or(server_time);
            for item in items {
                let Some(id) = item.get("id").and_then(whole) else {
                    continue;
                };
                if !is_closed(item) {
                    sweep.open_now.insert(id);
                } else if sweep.open_before.contains(&id) {
                    sweep.closed_now.insert(id);
                }
            }
        });
    }

    /// Statuses that a record does not easily leave, by configuration or by label. None: then every sweep is whole.
    async fn closed_statuses(&self, entity: &'static Entity) -> Result<Vec<i64>> {
        if let Some(configured) = self
            .settings
            .closed_opportunity_statuses
            .as_ref()
            .filter(|_| entity.closes)
        {
            return Ok(configured.clone());
        }
        if self.settings.closed_sweep_secs == 0 || !entity.closes {
            return Ok(Vec::new());
        }
        let facts = match self.facts(entity).await {
            // Without a list nothing is known to be closed, and everything is read.
            Err(error) if !error.is_transient() => {
                tracing::warn!(entity = entity.name, %error, "autotask does not say which statuses there are; every sweep reads all records");
                return Ok(Vec::new());
            }
            facts => facts?,
        };
        let is_closed = |label: &str| {
            let label = label.to_lowercase();
            ["lost", "closed", "implemented"]
                .iter()
                .any(|word| label.contains(word))
        };
        let options = facts
            .options("status")
            .iter()
            .filter(|option| is_closed(&option.label));
        Ok(options
            .filter_map(|option| option.value.to_plain()?.parse().ok())
            .collect())
    }

    /// The fields to ask for, once it is known that this works.
    pub(crate) fn included(&self, entity: &'static Entity) -> Option<Vec<String>> {
        let known = self.sweep_of(entity, |sweep| sweep.include.clone());
        match known {
            Some(Include::Only(fields)) => Some(fields),
            _ => None,
        }
    }

    /// Finds out, with a record that has a value in a user-defined field, whether that value comes along when fields are chosen.
    async fn learn_to_include(&self, entity: &'static Entity, items: &[Map<String, Json>]) -> Result<()> {
        if self.sweep_of(entity, |sweep| sweep.include.is_some()) {
            return Ok(());
        }
        let Some(used) = self.needed(entity) else {
            return Ok(());
        };
        let needed = used.all();
        let names = plain_names(entity, &needed);
        let user_defined: Vec<Field> = needed
            .iter()
            .filter_map(|path| path.strip_prefix(UDF)?.strip_prefix('.'))
            .map(|name| Field {
                name: name.to_owned(),
                user_defined: true,
            })
            .collect();
        let mut verdict = Some(Include::Only(names.clone()));
        if !user_defined.is_empty() {
            let witness = items.iter().find_map(|item| {
                let field = user_defined.iter().find(|field| field.key_of(item).is_some())?;
                Some((item, field))
            });
            // Nobody to prove it with yet.
            let Some((item, field)) = witness else {
                return Ok(());
            };
            let with_names = names
                .iter()
                .cloned()
                .chain(user_defined.iter().map(|field| field.name.clone()))
                .collect();
            verdict = Some(Include::Whole);
            for candidate in [names, with_names] {
                if self.comes_along(entity, item, field, &candidate).await? {
                    verdict = Some(Include::Only(candidate));
                    break;
                }
            }
        }
        tracing::info!(
            entity = entity.name,
            works = verdict != Some(Include::Whole),
            "probed answers with chosen fields"
        );
        self.sweep_of(entity, |sweep| sweep.include = verdict);
        Ok(())
    }

    async fn comes_along(
        &self,
        entity: &'static Entity,
        item: &Map<String, Json>,
        field: &Field,
        include: &[String],
    ) -> Result<bool> {
        let Some(id) = item.get("id").and_then(whole) else {
            return Ok(false);
        };
        let query = Query {
            entity: entity.name,
            conditions: &[json!({"op": "eq", "field": "id", "value": id})],
            rows_max: 1,
            include: Some(include),
            priority: Priority::Backfill,
            above: None,
        };
        match self.ask(&query).await {
            Ok(page) => Ok(page
                .items
                .first()
                .is_some_and(|row| field.key_of(row) == field.key_of(item))),
            Err(error) if error.kind == ErrorKind::Invalid => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sweep_of<T>(&self, entity: &'static Entity, with: impl FnOnce(&mut Sweep) -> T) -> T {
        let mut sweeps: MutexGuard<'_, BTreeMap<_, _>> =
            self.sweeps.0.lock().unwrap_or_else(PoisonError::into_inner);
        with(sweeps.entry(entity.name).or_default())
    }
}

impl Sweep {
    /// Was open, and has not come again.
    fn gone(&self) -> impl Iterator<Item = i64> {
        let again = |id: &&i64| self.open_now.contains(id) || self.closed_now.contains(id);
        self.open_before.iter().filter(move |id| !again(id)).copied()
    }
}

/// Ordinary fields to ask for: those that are used, and those that our own rules look at.
fn plain_names(entity: &Entity, needed: &BTreeSet<String>) -> Vec<String> {
    let mut names: BTreeSet<String> = [
        "id",
        "createDate",
        "status",
        "companyID",
        "contactID",
        "lastActivity",
    ]
    .map(str::to_owned)
    .into();
    for path in needed {
        if path == COUNTRY && entity.country {
            names.insert(COUNTRY_ID.to_owned());
        } else if let Some(id) = crate::people::id_field(path) {
            names.insert(id.to_owned());
        } else if path != UDF && path != USER_DEFINED_FIELDS && !path.contains('.') {
            names.insert(path.clone());
        }
    }
    names.into_iter().collect()
}

/// Everything that is not closed, and what was created or touched since the last sweep.
fn open(closed: &[i64], since: Option<Timestamp>) -> Vec<Json> {
    let mut any = vec![json!({"op": "notIn", "field": "status", "value": closed})];
    if let Some(since) = since {
        for field in ["createDate", "lastActivity"] {
            any.push(json!({"op": "gte", "field": field, "value": since.to_string()}));
        }
    }
    vec![json!({"op": "or", "items": any})]
}

fn minus(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(
        time.0
            .saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
    )
}

impl Place {
    /// Digits alone are a whole sweep, as they are for every other entity.
    fn token(self) -> PageToken {
        let number = |id: Option<i64>| id.map_or_else(String::new, |id| id.to_string());
        PageToken(match self {
            Place::Whole { above } => number(above),
            Place::Open { above, since } => {
                format!("open/{}/{}", number(above), number(since.map(|since| since.0)))
            }
            Place::Gone { above } => format!("gone/{above}"),
        })
    }

    fn read(token: &PageToken) -> Result<Place> {
        let parts: Vec<&str> = token.0.split('/').collect();
        let optional = |text: &str| match text {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        let place = match parts.as_slice() {
            ["open", above, since] => {
                optional(above)
                    .zip(optional(since))
                    .map(|(above, since)| Place::Open {
                        above,
                        since: since.map(Timestamp),
                    })
            }
            ["gone", above] => above.parse().ok().map(|above| Place::Gone { above }),
            [above] => above
                .parse()
                .ok()
                .map(|above| Place::Whole { above: Some(above) }),
            _ => None,
        };
        place.ok_or_else(|| Error::protocol("the page token is not an id; start the poll again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        for place in [
            Place::Whole { above: Some(7) },
            Place::Open {
                above: None,
                since: None,
            },
            Place::Open {
                above: Some(-1),
                since: Some(Timestamp(99)),
            },
            Place::Gone { above: i64::MIN },
        ] {
            assert_eq!(Place::read(&place.token()).unwrap(), place);
        }
        for nonsense in ["", "x", "open/1", "gone/", "open/a/b", "1/2/3/4"] {
            assert!(
                Place::read(&PageToken(nonsense.to_owned())).is_err(),
                "{nonsense}"
            );
        }
    }
}
