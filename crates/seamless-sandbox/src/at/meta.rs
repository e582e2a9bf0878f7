//! Metadata: what the entity can do, its fields and its user-defined fields.

use serde_json::{Value as Json, json};

use crate::schema::{Field, NOT_QUERYABLE, PICKLIST, READ_ONLY, REQUIRED, UDF};
use crate::wire::Reply;
use crate::world::World;
use crate::{Entity, System};

/// `…/entityInformation`
pub(crate) fn entity(w: &World, entity: Entity) -> Reply {
    let schema = &w.table(System::Autotask, entity).schema;
    let writable = Entity::SYNCED.contains(&entity);
    let deletable = entity == Entity::Contact;
    Reply::json(
        200,
        json!({ "info": {
            "name": schema.entity,
            "canCreate": writable, "canUpdate": writable, "canQuery": true, "canDelete": deletable,
            "userAccessForCreate": u8::from(writable), "userAccessForUpdate": u8::from(writable),
            "userAccessForQuery": 1, "userAccessForDelete": u8::from(deletable),
            "hasUserDefinedFields": schema.udfs().next().is_some(),
            "supportsWebhookCallouts": matches!(entity, Entity::Account | Entity::Contact | Entity::Ticket),
        }}),
    )
}

/// `…/entityInformation/fields`
pub(crate) fn fields(w: &World, entity: Entity) -> Reply {
    let schema = &w.table(System::Autotask, entity).schema;
    let list: Vec<Json> = schema
        .fields
        .iter()
        .filter(|f| !f.is(UDF) && is_there(w, f))
        .map(|f| {
            let mut out = common(f);
            out["dataType"] = Json::from(f.kind.meta_name());
            out
        })
        .collect();
    Reply::json(200, json!({ "fields": list }))
}

/// `…/entityInformation/userDefinedFields`
pub(crate) fn udfs(w: &World, entity: Entity) -> Reply {
    let schema = &w.table(System::Autotask, entity).schema;
    let list: Vec<Json> = schema
        .udfs()
        .filter(|(_, f)| is_there(w, f))
        .map(|(_, f)| {
            let mut out = common(f);
            out["label"] = Json::from(f.name.as_str());
            out["type"] = Json::from(f.kind.meta_name());
            out["description"] = Json::from("");
            out["defaultValue"] = Json::Null;
            out
        })
        .collect();
    Reply::json(200, json!({ "fields": list }))
}

fn is_there(w: &World, f: &Field) -> bool {
    !w.faults.has_lost(System::Autotask, &f.name)
}

fn common(f: &Field) -> Json {
    let picks: Option<Vec<Json>> = f.is(PICKLIST).then(|| {
        let pick = |(i, p): (usize, &crate::schema::Pick)| {
            json!({
                // A string here, although records carry the integer.
                "value": p.value, "label": p.label, "isDefaultValue": false, "sortOrder": i + 1,
                "parentValue": f.parent_of(p.value), "isActive": p.active, "isSystem": p.system,
            })
        };
        f.picks.iter().enumerate().map(pick).collect()
    });
    json!({
        "name": f.name,
        "length": f.max,
        "isRequired": f.is(REQUIRED),
        "isReadOnly": f.is(READ_ONLY),
        "isQueryable": !f.is(NOT_QUERYABLE),
        "isReference": !f.refers.is_empty(),
        "referenceEntityType": f.refers,
        "isPickList": f.is(PICKLIST),
        "picklistValues": picks,
        "picklistParentValueField": f.pick_parent,
        "isSupportedWebhookField": false,
    })
}
