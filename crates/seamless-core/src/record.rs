//! Names, ids and records.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::{Fields, Timestamp};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> $name {
                $name(name.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> $name {
                $name(name)
            }
        }
    };
}

name_type! {
    /// A configured connector instance (`autotask`, `crm`).
    SystemId
}
name_type! {
    /// A canonical entity (`account`, `contact`).
    EntityName
}
name_type! {
    /// One entity kept in step between two systems.
    SyncId
}
name_type! {
    /// A record's id as its system writes it. Numeric ids are kept in decimal.
    RecordId
}

impl RecordId {
    /// The whole number that the id is, where ids are numbers.
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

/// A record's version by its system's own clock or counter; only comparable within that system and entity.
/// For clocks: microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl From<Timestamp> for Stamp {
    fn from(time: Timestamp) -> Stamp {
        Stamp(time.0)
    }
}

/// A record as a connector reads it: native field paths, values exact.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeRecord {
    /// The id in its system.
    pub id: RecordId,
    /// When the system last changed it, where it says so.
    pub stamp: Option<Stamp>,
    /// When it was created, by the system's own clock, where it says so.
    pub created: Option<Stamp>,
    /// The token for compare-and-set, where the system has one (an ETag, a row version).
    pub version: Option<String>,
    /// Native fields. User-defined fields live in an object under `udf`.
    pub fields: Fields,
}

impl fmt::Debug for NativeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {} ({} fields, stamp {:?})",
            self.id,
            self.fields.len(),
            self.stamp
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_where_it_is_written_as_one() {
        for (id, number) in [
            ("17", Some(17)),
            ("0", Some(0)),
            ("A17", None),
            ("-1", None),
            ("", None),
        ] {
            let id = RecordId::from(id);
            assert_eq!(id.number(), number, "{id}");
        }
    }

    #[test]
    fn names_are_shown_as_they_are() {
        assert_eq!(SystemId::from("crm").to_string(), "crm");
        assert_eq!(SyncId::from("account".to_owned()).as_str(), "account");
        assert_eq!(Stamp::from(Timestamp(7)), Stamp(7));
    }
}
