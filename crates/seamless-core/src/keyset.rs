//! A tenant's keys as one JSON document.
//!
//! Pure: reading the environment or a 0600 file is the host's business.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::contract::{Key, KeyId, KeyProvider, Random};
use crate::error::{Error, ErrorKind, Result};

/// Most envelope keys a keyset holds: at one rotation a month, eight years.
const KEYS_MAX: usize = 100;
/// Longest document that is parsed at all.
const JSON_BYTES_MAX: usize = 64 << 10;
const FORMAT: u32 = 1;

/// What a key may still be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// Seals new messages and rows, and opens old ones. Exactly one.
    Primary,
    /// Opens old ones only.
    DecryptOnly,
    /// Not used at all, but still there: the last step before a key is destroyed.
    Disabled,
}

impl KeyStatus {
    /// As it stands in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyStatus::Primary => "primary",
            KeyStatus::DecryptOnly => "decrypt_only",
            KeyStatus::Disabled => "disabled",
        }
    }

    fn parse(text: &str) -> Option<KeyStatus> {
        [KeyStatus::Primary, KeyStatus::DecryptOnly, KeyStatus::Disabled]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// Envelope keys with their status, and the index key.
///
/// ```json
/// {
///   "format": 1,
///   "keys": [{ "id": "32 hex digits", "status": "primary", "material": "32 bytes in base64" }],
///   "index": { "id": "32 hex digits", "material": "32 bytes in base64" }
/// }
/// ```
#[derive(Clone)]
pub struct Keyset {
    keys: Vec<(Key, KeyStatus)>,
    index: Key,
}

impl Keyset {
    /// A new keyset: one primary key and an index key.
    pub fn generate(random: &dyn Random) -> Result<Keyset> {
        let keyset = Keyset {
            keys: vec![(new_key(random), KeyStatus::Primary)],
            index: new_key(random),
        };
        keyset.check()?;
        Ok(keyset)
    }

    /// Adds a new primary key; the old one still opens what it sealed. The index key stays: lanes, claims and hashes depend on it.
    ///
    /// Where several hosts share a tenant, all of them need the new keyset before one of them seals with it.
    pub fn rotate(&mut self, random: &dyn Random) -> Result<KeyId> {
        let mut rotated = self.clone();
        for (_, status) in &mut rotated.keys {
            if *status == KeyStatus::Primary {
                *status = KeyStatus::DecryptOnly;
            }
        }
        let key = new_key(random);
        let id = key.id();
        rotated.keys.push((key, KeyStatus::Primary));
        rotated.check()?;
        *self = rotated;
        Ok(id)
    }

    /// The ids and statuses of the envelope keys, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (KeyId, KeyStatus)> {
        self.keys.iter().map(|(key, status)| (key.id(), *status))
    }

    /// The document, secrets included: for a 0600 file, nothing else.
    pub fn to_json(&self) -> Result<Zeroizing<String>> {
        let document = Document {
            format: FORMAT,
            keys: self
                .keys
                .iter()
                .map(|(key, status)| KeyEntry::of(key, Some(*status)))
                .collect(),
            index: KeyEntry::of(&self.index, None),
        };
        // Reserved beforehand: a buffer that grows leaves copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(JSON_BYTES_MAX));
        serde_json::to_writer_pretty(&mut *json, &document)
            .map_err(|error| Error::config("keyset cannot be written as json").because(error))?;
        let text =
            std::str::from_utf8(&json).map_err(|_| Error::config("keyset cannot be written as json"))?;
        Ok(Zeroizing::new(format!("{text}\n")))
    }

    /// Reads a document. Errors say which key is wrong and never quote its content.
    pub fn from_json(json: &str) -> Result<Keyset> {
        if json.len() > JSON_BYTES_MAX {
            return Err(invalid(format!(
                "has {} bytes, which is over the limit of {JSON_BYTES_MAX}",
                json.len()
            )));
        }
        let document: Document = serde_json::from_str(json).map_err(|error| invalid(sentence(&error)))?;
        if document.format != FORMAT {
            return Err(invalid(format!(
                "has format {}, this release reads {FORMAT}",
                document.format
            )));
        }
        let keys = document.keys.iter().enumerate().map(|(n, entry)| {
            let name = format!("key {}", n + 1);
            let status = entry.status.as_deref().and_then(KeyStatus::parse);
            let status = status.ok_or_else(|| {
                invalid(format!(
                    "{name}: status must be primary, decrypt_only or disabled"
                ))
            });
            Ok((entry.key(&name)?, status?))
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        if document.index.status.is_some() {
            return Err(invalid("index key: has no status, remove it"));
        }
        let keyset = Keyset {
            keys,
            index: document.index.key("index key")?,
        };
        keyset.check()?;
        Ok(keyset)
    }

    fn check(&self) -> Result<()> {
        if self.keys.len() > KEYS_MAX {
            return Err(invalid(format!(
                "holds more than {KEYS_MAX} keys: remove disabled ones that nothing needs"
            )));
        }
        let primaries = self
            .keys
            .iter()
            .filter(|(_, status)| *status == KeyStatus::Primary)
            .count();
        if primaries != 1 {
            return Err(invalid(format!(
                "has {primaries} primary keys, exactly one is needed"
            )));
        }
        let all: Vec<&Key> = self
            .keys
            .iter()
            .map(|(key, _)| key)
            .chain([&self.index])
            .collect();
        for (n, key) in all.iter().enumerate() {
            if all[..n].iter().any(|other| other.id() == key.id()) {
                return Err(invalid(format!("holds the id {} twice", key.id())));
            }
            // Not constant time: both are ours, and nobody can choose one to learn about the other.
            if all[..n].iter().any(|other| other.expose() == key.expose()) {
                return Err(invalid(format!(
                    "holds the same material twice, the second time as {}",
                    key.id()
                )));
            }
        }
        Ok(())
    }
}

impl KeyProvider for Keyset {
    fn primary(&self) -> Result<Key> {
        let primary = self.keys.iter().find(|(_, status)| *status == KeyStatus::Primary);
        primary
            .map(|(key, _)| key.clone())
            .ok_or_else(|| invalid("has no primary key"))
    }

    fn by_id(&self, id: KeyId) -> Result<Option<Key>> {
        let usable = self
            .keys
            .iter()
            .find(|(key, status)| key.id() == id && *status != KeyStatus::Disabled);
        Ok(usable.map(|(key, _)| key.clone()))
    }

    fn index(&self) -> Result<Key> {
        Ok(self.index.clone())
    }
}

impl std::fmt::Debug for Keyset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    keys: Vec<KeyEntry>,
    index: KeyEntry,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    material: String,
}

impl KeyEntry {
    fn of(key: &Key, status: Option<KeyStatus>) -> KeyEntry {
        KeyEntry {
            id: key.id().to_string(),
            status: status.map(|status| status.as_str().to_owned()),
            material: BASE64.encode(key.expose()),
        }
    }

    fn key(&self, name: &str) -> Result<Key> {
        let id = parse_id(&self.id)
            .ok_or_else(|| invalid(format!("{name}: id must be 32 lower-case hex digits")))?;
        // Room for more than the 32 bytes: the decoder wants space for the worst case of its input.
        let mut material = Zeroizing::new([0; 48]);
        let length = BASE64.decode_slice(&self.material, material.as_mut());
        match (length, material.first_chunk::<32>()) {
            (Ok(32), Some(bytes)) => Ok(Key::new(id, *bytes)),
            _ => Err(invalid(format!(
                "{name}: material must be exactly 32 bytes in standard base64, padding included"
            ))),
        }
    }
}

fn new_key(random: &dyn Random) -> Key {
    let mut id = [0; 16];
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(&mut id);
    random.fill(bytes.as_mut());
    Key::new(KeyId(id), *bytes)
}

fn parse_id(text: &str) -> Option<KeyId> {
    let is_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.as_bytes().iter().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16)
        .ok()
        .map(|id| KeyId(id.to_be_bytes()))
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("keyset {what}"))
}

/// serde's own sentence where it can only name fields; for wrong types and values it quotes the content, so there only the place is told.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_a_field = ["missing field", "duplicate field"]
        .iter()
        .any(|start| text.starts_with(start));
    if names_a_field || (error.is_syntax() || error.is_eof()) {
        return format!("is not valid: {text}");
    }
    let unknown = text
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split('`').next());
    let place = format!("line {} column {}", error.line(), error.column());
    match unknown {
        // Longer ones might be misplaced material.
        Some(field) if field.len() <= 24 => format!("has an unknown field '{field}' at {place}"),
        Some(_) => format!("has an unknown field at {place}"),
        None => format!("has a value of the wrong type at {place}"),
    }
}

#[cfg(test)]
mod tests;
