//! What has to be right in the tenant beside fields and rights.

use seamless_core::{ErrorKind, Remark, Result};

use crate::client::Client;
use crate::entity::Entity;
use crate::people::PeopleTable;

/// Labels of licences that cannot own records.
const API_ONLY: &str = "api";

impl Client {
    /// The owner of new records, and our own user.
    pub(crate) async fn examine(&self, entities: &[String]) -> Result<Vec<Remark>> {
        let mut remarks = Vec::new();
        let owned = entities
            .iter()
            .filter_map(|name| Entity::named(name).ok())
            .any(|entity| entity.owner);
        let people = match self.people(|_| true).await {
            Err(error) if matches!(error.kind, ErrorKind::Permission | ErrorKind::NotFound) => {
                let sentence = "the API user may not read resources: people cannot be found by their e-mail addresses, and the default owner \
                                cannot be checked; give its security level the right to query Resources";
                return Ok(vec![note(sentence)]);
            }
            people => people?,
        };
        let api_licences = self.api_only_licences().await;
        if owned {
            match self.settings.default_owner_resource_id {
                None => remarks.push(note(
                    "no default_owner_resource_id is set: companies and opportunities whose owner is not known here will be refused",
                )),
                Some(owner) => remarks.extend(unfit_owner(&people, &api_licences, owner)),
            }
        }
        let user = people
            .user(self.credentials.username.expose())
            .and_then(|id| people.person(id));
        if let Some(user) = user
            && !user
                .license
                .is_some_and(|license| api_licences.contains(&license))
        {
            remarks.push(note(
                "the API user looks like a person's: its edits and ours cannot be told apart; use one with an API-only security level",
            ));
        }
        for (resource, role) in &self.settings.resource_roles {
            if resource.parse().ok().and_then(|id| people.person(id)).is_none() {
                remarks.push(wrong(format!(
                    "resource_roles names resource {resource} (role {role}), which autotask does not have"
                )));
            }
        }
        for id in self.settings.people.values() {
            if !people.person(*id).is_some_and(|person| person.active) {
                remarks.push(wrong(format!(
                    "people names resource {id}, which autotask does not have, or which is inactive"
                )));
            }
        }
        Ok(remarks)
    }

    /// Licence types whose label says that they are for the API only. Unknown where the tenant does not show its list.
    async fn api_only_licences(&self) -> Vec<i64> {
        let Ok(answer) = self.metadata("Resources", "/fields").await else {
            return Vec::new();
        };
        let fields = answer["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entries = fields
            .iter()
            .filter(|field| field["name"] == "licenseType")
            .filter_map(|field| field["picklistValues"].as_array())
            .flatten();
        entries
            .filter(|entry| {
                entry["label"]
                    .as_str()
                    .is_some_and(|label| label.to_lowercase().contains(API_ONLY))
            })
            .filter_map(|entry| crate::client::whole(&entry["value"]))
            .collect()
    }
}

fn unfit_owner(people: &PeopleTable, api_licences: &[i64], owner: i64) -> Option<Remark> {
    let why = match people.person(owner) {
        None => "autotask does not have it",
        Some(person) if !person.active => "it is inactive",
        Some(person)
            if person
                .license
                .is_some_and(|license| api_licences.contains(&license)) =>
        {
            "it is an API-only user, and such a user can own nothing"
        }
        Some(_) => return None,
    };
    Some(wrong(format!(
        "default_owner_resource_id {owner} cannot own records: {why}; set the id of an active person"
    )))
}

fn note(sentence: &str) -> Remark {
    Remark {
        wrong: false,
        sentence: sentence.to_owned(),
    }
}

fn wrong(sentence: String) -> Remark {
    Remark {
        wrong: true,
        sentence,
    }
}
