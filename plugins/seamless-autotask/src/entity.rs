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
    /// Has a status after which little happens: its closed records are swept more rarely.
    pub(crate) closes: bool,
}

const ENTITIES: [Entity; 11] = [
    Entity {
        stamp: Some("lastTrackedModifiedDateTime"),
        country: true,
        owner: true,
        ..Entity::swept("Companies")
    },
    Entity {
        stamp: Some("lastModifiedDate"),
        parent: Some("companyID"),
        country: true,
        ..Entity::swept("Contacts")
    },
    Entity {
        stamp: Some("lastTrackedModificationDateTime"),
        ..Entity::swept("Tickets")
    },
    Entity {
        owner: true,
        closes: true,
        ..Entity::swept("Opportunities")
    },
    // For entities of a tenant's own (`[entities.<name>]`). Where one has a stamp, nothing says which edits move it, so all are swept by content.
    Entity::swept("ConfigurationItems"),
    Entity::swept("Contracts"),
    Entity::swept("Products"),
    Entity::swept("Projects"),
    Entity::swept("Quotes"),
    Entity::swept("ServiceCalls"),
    Entity::swept("Services"),
];

/// Text fields whose names look like references.
const TEXT_IDS: [&str; 3] = ["taxID", "externalID", "rmmAlertID"];

impl Entity {
    /// An entity written under its own address, whose changes are found by sweeps.
    const fn swept(name: &'static str) -> Entity {
        Entity {
            name,
            stamp: None,
            parent: None,
            country: false,
            owner: false,
            closes: false,
        }
    }

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
