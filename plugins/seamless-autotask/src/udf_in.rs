//! Does `in` work on user-defined fields? The documentation does not say, and a wrong guess is costly: a record that is there and not found is
//! created again. So it is proved with values that are known to exist, or not used.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use seamless_core::{ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::client::Client;
use crate::config::UdfIn;
use crate::entity::Entity;
use crate::find::{Asked, Field};
use crate::read::IN_VALUES_MAX;

/// What was found out, by entity and field.
#[derive(Default)]
pub(crate) struct Verdicts(Mutex<BTreeMap<(&'static str, Field), bool>>);

impl Client {
    /// Whether many values of this field can be asked in one call.
    pub(crate) async fn udf_in_works(&self, entity: &'static Entity, field: &Field) -> Result<bool> {
        match self.settings.udf_in {
            UdfIn::Yes => return Ok(true),
            UdfIn::No => return Ok(false),
            UdfIn::Probe => {}
        }
        let known = (entity.name, field.clone());
        if let Some(works) = self.verdicts().get(&known) {
            return Ok(*works);
        }
        let works = match self.probe(entity, field).await {
            // A server that refuses the question does not support it. Faults and limits are not an answer.
            Err(error) if error.kind == ErrorKind::Invalid => Some(false),
            verdict => verdict?,
        };
        if let Some(works) = works {
            tracing::info!(entity = entity.name, works, "probed 'in' on a user-defined field");
            self.verdicts().insert(known, works);
        }
        Ok(works.unwrap_or(false))
    }

    /// Asks for the longest list there may be, with one existing value at its beginning, one at its end, and nonsense between: only a server
    /// that reads the whole list finds exactly those two. `None` while there are no two values to prove it with.
    async fn probe(&self, entity: &'static Entity, field: &Field) -> Result<Option<bool>> {
        let mut filled = json!({"op": "exist", "field": field.name});
        field.mark(&mut filled);
        let sample = self
            .query(entity.name, &[filled], None, self.settings.page_size)
            .await?;
        let mut values: Vec<String> = sample
            .items
            .iter()
            .filter_map(|item| field.key_of(item))
            .collect();
        values.sort();
        values.dedup();
        let [first, .., last] = values.as_slice() else {
            return Ok(None);
        };
        let asked: Vec<Asked> = (0..IN_VALUES_MAX)
            .map(|at| match at {
                0 => first.clone(),
                at if at == IN_VALUES_MAX - 1 => last.clone(),
                at => format!("seamless-probe-{at}"),
            })
            .map(|key| Asked {
                json: Json::from(key.as_str()),
                key,
            })
            .collect();
        let condition = field.condition(&asked.iter().collect::<Vec<_>>());
        let answer = self
            .query(entity.name, &[condition], None, self.settings.page_size)
            .await?;
        let got: Vec<Option<String>> = answer.items.iter().map(|item| field.key_of(item)).collect();
        let found = |value: &String| got.iter().flatten().any(|key| key == value);
        let nothing_else = got
            .iter()
            .all(|key| key.as_ref().is_some_and(|key| key == first || key == last));
        Ok(Some(found(first) && found(last) && nothing_else))
    }

    fn verdicts(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, Field), bool>> {
        self.udf_in.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
