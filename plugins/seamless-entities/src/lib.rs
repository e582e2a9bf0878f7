#![doc = include_str!("../README.md")]

mod account;
mod autotask;
mod canonical;
mod contact;
mod opportunity;
mod ticket;

use seamless_core::EntityName;
use seamless_core::mapping::SideMapping;
use seamless_core::pipeline::EntityModel;

pub use autotask::AutotaskDefaults;
use canonical::Entity;

/// All canonical entities, parents first.
pub fn models() -> Vec<EntityModel> {
    entities().iter().map(Entity::model).collect()
}

/// A canonical entity.
pub fn model(name: &EntityName) -> Option<EntityModel> {
    entity(name).map(|entity| entity.model())
}

/// The mapping that applies when a tenant configures none: `kind` is `autotask`, or `rest` for a system whose fields are called as here.
pub fn default_mapping(kind: &str, name: &EntityName) -> Option<SideMapping> {
    match kind {
        "autotask" => autotask_mapping(name, &AutotaskDefaults::default()),
        "rest" => entity(name).map(|entity| entity.rest()),
        _ => None,
    }
}

/// The mapping to a vanilla Autotask, with what differs by tenant.
pub fn autotask_mapping(name: &EntityName, defaults: &AutotaskDefaults) -> Option<SideMapping> {
    let (native, fields) = match name.as_str() {
        "account" => ("Companies", account::autotask(defaults)),
        "contact" => ("Contacts", contact::autotask()),
        "ticket" => ("Tickets", ticket::autotask(defaults)),
        "opportunity" => ("Opportunities", opportunity::autotask(defaults)),
        _ => return None,
    };
    let fields = fields
        .into_iter()
        .map(|(field, mapping)| (field.to_owned(), mapping))
        .collect();
    Some(SideMapping {
        entity: native.to_owned(),
        xref: Some(defaults.xref.clone()),
        fields,
    })
}

fn entities() -> [Entity; 4] {
    [
        account::entity(),
        contact::entity(),
        ticket::entity(),
        opportunity::entity(),
    ]
}

fn entity(name: &EntityName) -> Option<Entity> {
    entities().into_iter().find(|entity| entity.name == name.as_str())
}
