//! Which fields are used at all, as the host says.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use seamless_core::UsedFields;

use crate::client::Client;
use crate::entity::Entity;
use crate::people::PERSONS;

/// By entity; one that nobody spoke of is read whole.
#[derive(Default)]
pub(crate) struct Needed(Mutex<BTreeMap<String, UsedFields>>);

impl Client {
    /// From now on only these fields of an entity are used.
    pub(crate) fn narrow(&self, entity: &str, used: &UsedFields) {
        self.needed_now().insert(entity.to_owned(), used.clone());
    }

    /// The fields of an entity that are used, where that is known.
    pub(crate) fn needed(&self, entity: &Entity) -> Option<UsedFields> {
        self.needed_now().get(entity.name).cloned()
    }

    /// Whether somebody wants to know people by their e-mail addresses.
    pub(crate) fn wants_people(&self, entity: &Entity) -> bool {
        self.needed_now()
            .get(entity.name)
            .is_none_or(|used| PERSONS.iter().any(|(email, _)| used.mapped.contains(*email)))
    }

    fn needed_now(&self) -> MutexGuard<'_, BTreeMap<String, UsedFields>> {
        self.needed.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
