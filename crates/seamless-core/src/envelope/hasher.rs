//! Keyed hashes: equal things give equal hashes, and nobody without the index key learns what was hashed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::crypto::length_prefix;
use crate::contract::{Key, MessageKey};
use crate::record::{EntityName, RecordId, SystemId};
use crate::value::{Fields, Value};

/// HMAC-SHA256 under a tenant's index key. All results are 128 bits; as text, 32 hex digits.
///
/// Each use has its own label and every part is preceded by its length, so that no two questions hash the same bytes.
#[derive(Clone)]
pub struct Hasher {
    keyed: Hmac<Sha256>,
}

impl Hasher {
    /// A hasher for a tenant; `index` is [`KeyProvider::index`](crate::KeyProvider::index).
    pub fn new(index: &Key) -> Hasher {
        // HMAC pads a short key with zeros to one block; done here, the length cannot be wrong.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(index.expose());
        Hasher {
            keyed: Hmac::new((&*block).into()),
        }
    }

    /// The claim on a record of a system. The same for every sync that touches the record.
    pub fn record_claim(&self, system: &SystemId, entity: &EntityName, id: &RecordId) -> String {
        hex(&self.hash("record-claim", &[system.as_str(), entity.as_str(), id.as_str()])[..16])
    }

    /// The claim on a match key: the value of a match rule, already normalised.
    pub fn match_claim(&self, entity: &EntityName, rule: &str, normalised: &str) -> String {
        hex(&self.hash("match-claim", &[entity.as_str(), rule, normalised])[..16])
    }

    /// The lane of a record: constant for its life, one of 256 opaque names. Messages of one record stay together, and the bus learns no more
    /// than one byte about which record it is.
    pub fn lane(&self, key: MessageKey<'_>) -> String {
        let side = key.side.letter().to_string();
        self.folded(self.hash("lane", &[key.sync.as_str(), &side, key.id.as_str()])[0])
    }

    /// Every lane there is.
    pub fn lanes(&self) -> impl Iterator<Item = String> {
        (0..=u8::MAX).map(|number| self.folded(number))
    }

    fn folded(&self, number: u8) -> String {
        let mut mac = self.labelled("lane-fold");
        mac.update(&[number]);
        hex(&mac.finalize().into_bytes()[..16])
    }

    /// The name of an event: the same whenever it is told. `version` is that of the row which knew the record before. A store from a backup gives it again,
    /// to a change into something else: so `after` counts, too.
    pub fn event(
        &self,
        system: &SystemId,
        entity: &EntityName,
        id: &RecordId,
        name: &str,
        version: u64,
        after: &Value,
    ) -> String {
        let parts = [
            system.as_str(),
            entity.as_str(),
            id.as_str(),
            name,
            &version.to_string(),
            &hex(&self.content(&Fields::from([(name.to_owned(), after.clone())]))),
        ];
        hex(&self.hash("event", &parts)[..16])
    }

    /// A hash of a record's content: equal fields, equal hash. Decimals count by value (`1.50` is `1.5`), as they do for `==`;
    /// an absent field is not a null one.
    pub fn content(&self, fields: &Fields) -> [u8; 16] {
        let mut mac = self.labelled("content");
        absorb_map(&mut mac, fields);
        let mut content = [0; 16];
        content.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        content
    }

    fn hash(&self, label: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac = self.labelled(label);
        for part in parts {
            absorb_bytes(&mut mac, part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn labelled(&self, label: &str) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        absorb_bytes(&mut mac, label.as_bytes());
        mac
    }
}

fn absorb_bytes(mac: &mut Hmac<Sha256>, bytes: &[u8]) {
    mac.update(&length_prefix(bytes));
    mac.update(bytes);
}

fn absorb_map(mac: &mut Hmac<Sha256>, map: &Fields) {
    mac.update(&(map.len() as u64).to_be_bytes());
    for (name, value) in map {
        absorb_bytes(mac, name.as_bytes());
        absorb_value(mac, value);
    }
}

/// A type byte, then the value in one unambiguous form. As deep as the value itself, which came from JSON of bounded depth.
fn absorb_value(mac: &mut Hmac<Sha256>, value: &Value) {
    match value {
        Value::Null => mac.update(&[0]),
        Value::Bool(truth) => mac.update(&[1, u8::from(*truth)]),
        Value::Int(number) => {
            mac.update(&[2]);
            mac.update(&number.to_be_bytes());
        }
        Value::Decimal(decimal) => {
            let decimal = decimal.normalize();
            mac.update(&[3]);
            mac.update(&decimal.mantissa().to_be_bytes());
            mac.update(&decimal.scale().to_be_bytes());
        }
        Value::Text(text) => {
            mac.update(&[4]);
            absorb_bytes(mac, text.as_bytes());
        }
        Value::Date(date) => {
            mac.update(&[5]);
            absorb_bytes(mac, date.to_string().as_bytes());
        }
        Value::Time(time) => {
            mac.update(&[6]);
            mac.update(&time.0.to_be_bytes());
        }
        Value::List(items) => {
            mac.update(&[7]);
            mac.update(&(items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| absorb_value(mac, item));
        }
        Value::Map(map) => {
            mac.update(&[8]);
            absorb_map(mac, map);
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::contract::{KeyId, Side};
    use crate::record::SyncId;
    use crate::value::{Date, Timestamp};

    #[test]
    fn every_lane_is_listed_once() {
        let hasher = hasher(4);
        let lanes: BTreeSet<String> = hasher.lanes().collect();
        assert_eq!((lanes.len(), hasher.lanes().count()), (256, 256));
        let mut used = BTreeSet::new();
        for number in 0..2_000 {
            let id = RecordId(number.to_string());
            used.insert(hasher.lane(MessageKey {
                sync: &SyncId::from("account"),
                side: Side::A,
                id: &id,
            }));
        }
        assert!(
            used.is_subset(&lanes),
            "a receiver that takes all lanes misses nobody"
        );
        assert!(used.len() > 200, "and they are spread: {}", used.len());
    }

    #[test]
    fn an_event_has_one_name_and_no_other_has_it() {
        let event_to =
            |after: &str, key: u8, system: &str, entity: &str, id: &str, name: &str, version: u64| {
                let (system, entity, id) = (system.into(), entity.into(), id.into());
                hasher(key).event(&system, &entity, &id, name, version, &Value::text(after))
            };
        let event = |key: u8, system: &str, entity: &str, id: &str, name: &str, version: u64| {
            event_to("done", key, system, entity, id, name, version)
        };
        let told = event(4, "crm", "account", "17", "created", 3);
        assert_eq!(told, event(4, "crm", "account", "17", "created", 3));
        let others = [
            event(5, "crm", "account", "17", "created", 3),
            event(4, "psa", "account", "17", "created", 3),
            event(4, "crm", "contact", "17", "created", 3),
            event(4, "crm", "account", "18", "created", 3),
            event(4, "crm", "account", "17", "updated", 3),
            event(4, "crm", "account", "17", "created", 4),
            event_to("new", 4, "crm", "account", "17", "created", 3),
        ];
        assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), others.len());
        assert!(!others.contains(&told) && told.len() == 32);
    }

    fn hasher(key: u8) -> Hasher {
        Hasher::new(&Key::new(KeyId([0; 16]), [key; 32]))
    }

    fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Stored links, claims and hashes depend on these values; they were made with another library.
    #[test]
    fn hashes_never_change() {
        let hasher = hasher(4);
        let content = hasher.content(&fields([("a", Value::Null), ("b", "x".into())]));
        assert_eq!(hex(&content), "bd902c20a652c3d71a4e3d33897cc049");
        let claim = hasher.record_claim(&"crm".into(), &"account".into(), &"17".into());
        assert_eq!(claim, "bdca25194016a1c401d0e30b3d0c0da1");
        let claim = hasher.match_claim(&"contact".into(), "email", "a@b.example");
        assert_eq!(claim, "48637f32d77182e1cbe51396f7033656");
    }

    #[test]
    fn claims_differ_in_every_part_and_at_every_boundary() {
        let hasher = hasher(4);
        let parts = [
            ("ab", "c", "d"),
            ("a", "bc", "d"),
            ("a", "b", "cd"),
            ("abc", "", "d"),
            ("", "abc", "d"),
        ];
        let mut seen = BTreeSet::new();
        for (a, b, c) in parts {
            assert!(
                seen.insert(hasher.record_claim(&a.into(), &b.into(), &c.into())),
                "{a} {b} {c}"
            );
            assert!(seen.insert(hasher.match_claim(&a.into(), b, c)), "{a} {b} {c}");
        }
    }

    #[test]
    fn another_key_hashes_everything_differently() {
        let (one, two) = (hasher(1), hasher(2));
        let (sync, id) = (SyncId::from("s"), RecordId::from("1"));
        let key = MessageKey {
            sync: &sync,
            side: Side::A,
            id: &id,
        };
        assert_ne!(one.lane(key), two.lane(key));
        assert_ne!(one.content(&Fields::new()), two.content(&Fields::new()));
        assert_ne!(
            one.match_claim(&"e".into(), "r", "v"),
            two.match_claim(&"e".into(), "r", "v")
        );
    }

    #[test]
    fn content_is_equal_exactly_where_fields_are_equal() {
        let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
        let different = [
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
            Value::Int(0),
            Value::Int(1),
            Value::Int(i64::MIN),
            decimal("0.0"),
            decimal("1.0"),
            decimal("-1.5"),
            decimal("1.5"),
            decimal("15"),
            "".into(),
            "1".into(),
            "null".into(),
            "2026-01-31".into(),
            Value::Date(Date::parse("2026-01-31").unwrap()),
            Value::Time(Timestamp(1)),
            Value::Time(Timestamp(-1)),
            Value::List(vec![]),
            Value::List(vec![Value::Null]),
            Value::List(vec![Value::List(vec![]), Value::Null]),
            Value::List(vec![Value::List(vec![Value::Null])]),
            Value::List(vec!["a".into(), "b".into()]),
            Value::List(vec!["ab".into()]),
            Value::List(vec!["b".into(), "a".into()]),
            Value::Map(BTreeMap::new()),
            Value::Map(fields([("a", Value::Null)])),
            Value::Map(fields([("a", Value::Map(BTreeMap::new()))])),
        ];
        let hasher = hasher(4);
        let mut seen = BTreeSet::from([hasher.content(&Fields::new())]);
        for (n, value) in different.into_iter().enumerate() {
            assert!(seen.insert(hasher.content(&fields([("a", value)]))), "case {n}");
        }
        assert!(
            seen.insert(hasher.content(&fields([("a", Value::Null), ("b", Value::Null)]))),
            "absent is not null"
        );
        for (one, same) in [("1.50", "1.5"), ("100", "100.000"), ("0.00", "0"), ("-0.0", "0")] {
            let (one, same) = (fields([("a", decimal(one))]), fields([("a", decimal(same))]));
            assert!(one == same);
            assert_eq!(hasher.content(&one), hasher.content(&same));
        }
    }
}
