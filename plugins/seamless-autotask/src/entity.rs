//! What is special about each entity.

use seamless_core::{Error, Result};

use crate::gate::Purpose;

/// An entity that this connector syncs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    /// REST collection.
    pub(crate) name: &'static str,
    /// Change stamp that polls can filter by. Opportunities have none: each poll is a full sweep.
    pub(crate) stamp: Option<&'static str>,
    /// Written below a parent: the field that names it.
    pub(crate) parent: Option<&'static str>,
    /// Has a `countryID`.
    pub(crate) country: bool,
    /// Needs an owner on create.
    pub(crate) owner: bool,
}

const ENTITIES: [Entity; 4] = [
    Entity {
        name: "Companies",
        stamp: Some("lastTrackedModifiedDateTime"),
        parent: None,
        country: true,
        owner: true,
    },
    Entity {
        name: "Contacts",
        stamp: Some("lastModifiedDate"),
        parent: Some("companyID"),
        country: true,
        owner: false,
    },
    Entity {
        name: "Tickets",
        stamp: Some("lastTrackedModificationDateTime"),
        parent: None,
        country: false,
        owner: false,
    },
    Entity {
        name: "Opportunities",
        stamp: None,
        parent: None,
        country: false,
        owner: true,
    },
];

/// Text fields whose names look like references.
const TEXT_IDS: [&str; 3] = ["taxID", "externalID", "rmmAlertID"];

impl Entity {
    pub(crate) fn named(name: &str) -> Result<&'static Entity> {
        ENTITIES.iter().find(|entity| entity.name == name).ok_or_else(|| {
            let known: Vec<&str> = ENTITIES.iter().map(|entity| entity.name).collect();
            Error::config(format!(
                "autotask has no entity '{name}' for this connector; it knows {}",
                known.join(", ")
            ))
        })
    }

    /// What a write counts as. Child addresses count under their parent, by what clients have seen; nothing says that they do not count
    /// under their own name as well.
    pub(crate) fn write_purpose(&self) -> Purpose<'static> {
        Purpose {
            also: self.parent.map(|_| "Companies"),
            writes: true,
            ..Purpose::read(self.name)
        }
    }
}

/// The collection for an entity's singular name, as metadata and references use it.
pub(crate) fn collection(singular: &str) -> &str {
    match singular {
        "Company" | "Account" => "Companies",
        "Contact" => "Contacts",
        "Ticket" => "Tickets",
        "Opportunity" => "Opportunities",
        "Resource" => "Resources",
        "Country" => "Countries",
        other => other,
    }
}

/// A field that holds a numeric id.
pub(crate) fn is_reference(field: &str) -> bool {
    (field.ends_with("ID") || field == "id") && !TEXT_IDS.contains(&field)
}
