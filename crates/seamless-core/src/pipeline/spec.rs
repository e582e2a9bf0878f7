//! What a sync is: the entity's model, the two sides, the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::contract::Side;
use crate::mapping::{Compare, Observed, SideMapping};
use crate::record::{EntityName, NativeRecord, SyncId, SystemId};

/// A canonical entity: its fields and how its records are told apart. System-neutral.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityModel {
    /// Name.
    pub name: EntityName,
    /// Canonical fields.
    pub fields: BTreeMap<String, FieldSpec>,
    /// Default matching, in order, after cross-references.
    #[serde(default)]
    pub match_rules: Vec<MatchRule>,
    /// Fields that must be equal, besides the match key, for two records to be *suspected duplicates* (R9).
    #[serde(default)]
    pub identity: Vec<String>,
}

impl EntityModel {
    /// When two values of a field count as equal.
    pub(super) fn compare_of(&self, field: &str) -> Compare {
        self.fields
            .get(field)
            .map(|spec| spec.compare)
            .unwrap_or_default()
    }
}

/// A canonical field of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// When two values count as equal.
    #[serde(default)]
    pub compare: Compare,
    /// Who wins when both sides changed.
    #[serde(default)]
    pub policy: Policy,
    /// Travels along but never causes a write and is not in the base (R12).
    #[serde(default)]
    pub passenger: bool,
    /// Points to another record of the sync.
    #[serde(default)]
    pub reference: Option<ReferenceSpec>,
    /// Flows only this way; `None` follows the sync's direction.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// What becomes of an edit that somebody makes on a side from which the field does not flow.
    #[serde(default)]
    pub on_drift: OnDrift,
    /// Who wins, best first, across all syncs that carry the field. Not empty: stands in place of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<SystemId>,
}

/// What becomes of an edit against the flow, once reconciliation has found it (R12). It is listed in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDrift {
    /// It stays until the source changes the field.
    #[default]
    Keep,
    /// The source's value is written again.
    Restore,
    /// It stays, and a person is told.
    Report,
}

/// A reference to another record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceSpec {
    /// The entity pointed to.
    pub entity: EntityName,
    /// The record cannot be written without it.
    #[serde(default)]
    pub required: bool,
    /// What to do when the record pointed to is left out of the sync.
    #[serde(default)]
    pub outside: Outside,
    /// How the record is found where the source names it by something else than its id.
    #[serde(default)]
    pub named_by: Option<NamedBy>,
}

/// Another way to name a record: a ticket that knows its contact's e-mail address only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedBy {
    /// Canonical field of this entity that holds the name (`contact_email`).
    pub field: String,
    /// Canonical field of the entity pointed to that it is compared with (`email`).
    pub equals: String,
    /// A reference that both entities have, and that must be the same (`account`).
    #[serde(default)]
    pub within: Option<String>,
    /// How both are normalised.
    #[serde(default)]
    pub normalise: Normaliser,
}

/// What becomes of a reference to a record that is left out: outside the scope, set aside for good, or of an entity that no sync covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outside {
    /// The reference waits; a record that requires it waits with it.
    #[default]
    Wait,
    /// The reference is empty there.
    Null,
    /// The record is left out, too.
    Skip,
    /// The record pointed to is taken in after all.
    Pull,
}

/// Who wins when both sides changed a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The sync's owner.
    #[default]
    SyncOwner,
    /// The first system.
    OwnerA,
    /// The second system.
    OwnerB,
    /// Whoever wrote while the other was empty; else the sync's owner.
    OnlyIfEmpty,
    /// The record that was edited later, by the two systems' own stamps; in doubt the sync's owner. Best effort: a stamp belongs to a record, not to a
    /// field, and two systems have two clocks ([`Timings::newest_guard`]).
    Newest,
    /// A person decides; until then the field waits alone.
    Ask,
}

/// Which way data flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both ways.
    #[default]
    TwoWay,
    /// From the first system to the second.
    AToB,
    /// From the second system to the first.
    BToA,
}

impl Direction {
    /// Whether changes made on `from` flow to the other side.
    pub fn flows_from(self, from: Side) -> bool {
        !matches!(
            (self, from),
            (Direction::AToB, Side::B) | (Direction::BToA, Side::A)
        )
    }
}

/// A way to recognise a record on the other side. All its fields must be non-empty and equal after normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchRule {
    /// Name for the ledger (`email`, `name+postal_code`).
    pub name: String,
    /// Fields; the first one is asked of the server, the others are checked on its answer.
    pub fields: Vec<MatchField>,
}

/// A field of a match rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchField {
    /// Canonical field.
    pub field: String,
    /// How its value is normalised before comparison.
    #[serde(default)]
    pub normalise: Normaliser,
}

/// Normalises a match key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normaliser {
    /// Trimmed, lower case, inner white space collapsed.
    #[default]
    Text,
    /// The bare address, lower case, host names as people write them. Plus-tags stay.
    Email,
    /// Digits, an extension's among them; none for placeholders and short codes.
    Phone,
    /// Host name of a URL or e-mail address, without `www.`, as people write it.
    Domain,
    /// A company or person name: words without accents, punctuation and legal forms (`Ltd`, `GmbH`, `Inc` …).
    Name,
    /// To the letter.
    Exact,
}

/// One side of a sync.
#[derive(Clone, Debug)]
pub struct SideSpec {
    /// The system.
    pub system: SystemId,
    /// Its mapping.
    pub mapping: SideMapping,
    /// What it can do for this entity.
    pub capabilities: Capabilities,
    /// The mapping's version, worked out once.
    mapping_version: u64,
}

impl SideSpec {
    /// A side of a sync.
    pub fn new(system: SystemId, mapping: SideMapping, capabilities: Capabilities) -> SideSpec {
        SideSpec {
            system,
            mapping_version: mapping.version(),
            mapping,
            capabilities,
        }
    }

    /// A record of this side in canonical fields.
    pub fn observe(&self, native: &NativeRecord) -> Observed {
        self.observe_by(&self.mapping, native)
    }

    /// The same by another mapping, one that was in force once.
    pub(crate) fn observe_by(&self, mapping: &SideMapping, native: &NativeRecord) -> Observed {
        let mut observed = mapping.observe(native);
        if self.capabilities.omits_empty {
            observed.absent.clear();
        }
        observed
    }

    /// Version of the mapping: travels with every message and base.
    pub fn mapping_version(&self) -> u64 {
        self.mapping_version
    }
}

/// A sync, ready to run.
#[derive(Clone, Debug)]
pub struct SyncSpec {
    /// Its name.
    pub id: SyncId,
    /// The entity.
    pub model: EntityModel,
    /// First and second system.
    pub sides: [SideSpec; 2],
    /// Which way.
    pub direction: Direction,
    /// Who wins by default.
    pub owner: Side,
    /// More than [`FIRST_MERGE_OVERWRITES_MAX`] first-merge overwrites were accepted by a person.
    pub first_merge_accepted: bool,
    /// Which records of each side take part: all of these conditions hold. A record that is linked stays in step whatever becomes of it.
    pub scope: [Vec<ScopeRule>; 2],
}

/// A condition on a record: its field holds one of these values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeRule {
    /// Canonical field.
    pub field: String,
    /// Values as plain text, upper and lower case alike; an empty text stands for an empty field.
    pub any_of: Vec<String>,
}

impl ScopeRule {
    /// Whether a record meets it. A field that cannot be read meets nothing.
    pub fn holds(&self, record: &Observed) -> bool {
        let Some(value) = record.fields.get(&self.field) else {
            return false;
        };
        let plain = value.to_plain().unwrap_or_default().trim().to_lowercase();
        self.any_of
            .iter()
            .any(|wanted| wanted.trim().to_lowercase() == plain)
    }
}

/// First-merge overwrites a sync makes without being asked (R4).
pub const FIRST_MERGE_OVERWRITES_MAX: u64 = 20;

impl SyncSpec {
    /// A side.
    pub fn side(&self, side: Side) -> &SideSpec {
        &self.sides[side.index()]
    }

    /// Which way a field flows.
    pub fn flow_of(&self, field: &FieldSpec) -> Direction {
        field.direction.unwrap_or(self.direction)
    }

    /// Whether anything flows from this side: the records, or a single field.
    pub fn sends_from(&self, side: Side) -> bool {
        let mut fields = self.model.fields.values();
        self.direction.flows_from(side)
            || fields.any(|field| {
                field
                    .direction
                    .is_some_and(|direction| direction.flows_from(side))
            })
    }

    /// Whether some field's owner goes across several syncs.
    pub(crate) fn has_owner_lists(&self) -> bool {
        self.model.fields.values().any(|field| !field.owners.is_empty())
    }
}

/// Time limits of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Longest time between reading a target record and writing it, where the target has no compare-and-set (R7).
    pub stale_read_max: Duration,
    /// A write must be sent within this time of its intent.
    pub send_within: Duration,
    /// A claim nobody renewed for this long, as watched by the one who wants it, is free.
    pub claim_lease: Duration,
    /// First wait of a deferred message; doubles up to `defer_max`.
    pub defer_min: Duration,
    /// Longest wait of a deferred message.
    pub defer_max: Duration,
    /// Two stamps of different systems that are closer than this say nothing about which came later ([`Policy::Newest`]).
    pub newest_guard: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            stale_read_max: Duration::from_secs(2),
            send_within: Duration::from_secs(10),
            claim_lease: Duration::from_secs(30),
            defer_min: Duration::from_millis(200),
            defer_max: Duration::from_secs(60),
            newest_guard: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::mapping::FieldMapping;
    use crate::record::RecordId;
    use crate::value::{Fields, Value};

    fn sync(direction: Direction, fields: &[(&str, FieldSpec)]) -> SyncSpec {
        let side = |system: &str| {
            let mapping = SideMapping {
                entity: "things".into(),
                xref: None,
                fields: BTreeMap::from([("name".into(), FieldMapping::text("name"))]),
            };
            SideSpec::new(SystemId::from(system), mapping, Capabilities::default())
        };
        let fields = fields
            .iter()
            .map(|(name, spec)| ((*name).to_owned(), spec.clone()));
        SyncSpec {
            id: "thing".into(),
            model: EntityModel {
                name: "thing".into(),
                fields: fields.collect(),
                match_rules: Vec::new(),
                identity: Vec::new(),
            },
            sides: [side("one"), side("two")],
            direction,
            owner: Side::A,
            first_merge_accepted: false,
            scope: Default::default(),
        }
    }

    #[test]
    fn what_is_not_in_a_record_is_missing_unless_the_system_leaves_out_what_is_empty() {
        let native = NativeRecord {
            id: RecordId::from("1"),
            stamp: None,
            created: None,
            version: None,
            fields: Fields::new(),
        };
        for omits_empty in [false, true] {
            let mut side = sync(Direction::TwoWay, &[]).sides[0].clone();
            side.capabilities.omits_empty = omits_empty;
            let observed = side.observe(&native);
            assert_eq!(observed.absent.contains("name"), !omits_empty);
            assert_eq!(observed.fields["name"], Value::Null);
        }
    }

    #[test]
    fn a_sync_sends_from_a_side_when_any_of_its_fields_does() {
        use Direction::{AToB, BToA, TwoWay};
        let one_way = |direction| FieldSpec {
            direction: Some(direction),
            ..FieldSpec::default()
        };
        // The sync's direction, a field's own, whether anything flows from A and from B.
        for (direction, field, from_a, from_b) in [
            (TwoWay, None, true, true),
            (AToB, None, true, false),
            (BToA, None, false, true),
            (AToB, Some(AToB), true, false),
            (AToB, Some(BToA), true, true),
            (BToA, Some(AToB), true, true),
            (AToB, Some(TwoWay), true, true),
        ] {
            let plain = ("plain", FieldSpec::default());
            let sync = match field {
                Some(own) => sync(direction, &[plain, ("own", one_way(own))]),
                None => sync(direction, &[plain]),
            };
            let sends = [sync.sends_from(Side::A), sync.sends_from(Side::B)];
            assert_eq!(sends, [from_a, from_b], "{direction:?} {field:?}");
            assert_eq!(sync.flow_of(&sync.model.fields["plain"]), direction);
            if let Some(own) = field {
                assert_eq!(sync.flow_of(&sync.model.fields["own"]), own);
            }
        }
    }

    #[test]
    fn a_sync_knows_its_sides_and_its_fields() {
        let phone = FieldSpec {
            compare: Compare::PhoneDigits,
            ..FieldSpec::default()
        };
        let owned = FieldSpec {
            owners: vec![SystemId::from("one")],
            ..FieldSpec::default()
        };
        let two = sync(Direction::TwoWay, &[("phone", phone.clone())]);
        assert_eq!(
            [Side::A, Side::B].map(|side| two.side(side).system.as_str()),
            ["one", "two"]
        );
        assert_eq!(
            two.side(Side::A).mapping_version(),
            two.side(Side::A).mapping.version()
        );
        assert_eq!(two.model.compare_of("phone"), Compare::PhoneDigits);
        assert_eq!(two.model.compare_of("name"), Compare::Exact);
        assert!(!two.has_owner_lists());
        assert!(sync(Direction::TwoWay, &[("name", owned), ("phone", phone)]).has_owner_lists());
    }

    #[test]
    fn a_record_is_in_scope_when_its_field_holds_one_of_the_values() {
        let rule = |values: &[&str]| ScopeRule {
            field: "type".into(),
            any_of: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let record = |value: Option<Value>| Observed {
            id: RecordId::from("1"),
            stamp: None,
            created: None,
            xref: None,
            fields: value
                .map(|value| ("type".to_owned(), value))
                .into_iter()
                .collect::<Fields>(),
            broken: BTreeMap::new(),
            absent: Default::default(),
        };
        for (values, held, expected) in [
            (&["customer", "lead"][..], Some(Value::from("Lead ")), true),
            (&[" Customer"], Some(Value::from("customer")), true),
            (&["customer"], Some(Value::from("lead")), false),
            (&["7"], Some(Value::Int(7)), true),
            (&["customer"], Some(Value::Null), false),
            (&["customer", ""], Some(Value::Null), true),
            (&[""], Some(Value::List(vec![])), true),
            // It cannot be read: it is not known to be empty, either.
            (&["customer", ""], None, false),
            (&[], Some(Value::Null), false),
        ] {
            let record = record(held.clone());
            assert_eq!(rule(values).holds(&record), expected, "{values:?} {held:?}");
        }
    }
}
