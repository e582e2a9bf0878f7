//! The envelope against the outside world: the published vectors, a second cryptography library, and hostile input.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of #[test] functions shall panic too"
)]

#[path = "vectors/everyday.rs"]
mod everyday;
#[path = "vectors/fixture.rs"]
mod fixture;
#[path = "vectors/hostile.rs"]
mod hostile;
#[path = "vectors/independent.rs"]
mod independent;

use std::sync::Arc;

use seamless_core::envelope::{Address, Identity, Sealer};
use seamless_core::{
    Error, Key, KeyId, KeyProvider, Message, MessageKey, MessageKind, Random, RecordId, Result, Side, SyncId,
};
use serde::{Deserialize, Serialize};

/// The payload of the vectors: the envelope's own tests must not change when a real message gains a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    sync: SyncId,
    side: Side,
    id: RecordId,
    text: String,
}

impl Message for Note {
    const KIND: MessageKind = MessageKind::Data;
    const VERSION: u16 = 1;

    fn key(&self) -> MessageKey<'_> {
        MessageKey {
            sync: &self.sync,
            side: self.side,
            id: &self.id,
        }
    }
}

/// One envelope key and one index key.
struct Keys {
    key: Key,
    index: Key,
}

impl KeyProvider for Keys {
    fn primary(&self) -> Result<Key> {
        Ok(self.key.clone())
    }

    fn by_id(&self, id: KeyId) -> Result<Option<Key>> {
        Ok((id == self.key.id()).then(|| self.key.clone()))
    }

    fn index(&self) -> Result<Key> {
        Ok(self.index.clone())
    }
}

/// Always the same salt, so that a sealing can be repeated.
struct FixedSalt([u8; 32]);

impl Random for FixedSalt {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

#[derive(Deserialize)]
struct Published {
    key: PublishedKey,
    index_key: PublishedKey,
    environment: String,
    tenant: String,
    lanes: Vec<Lane>,
    vectors: Vec<Vector>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct PublishedKey {
    id: String,
    material: String,
}

#[derive(Deserialize)]
struct Lane {
    sync: SyncId,
    side: Side,
    id: RecordId,
    lane: String,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    plaintext: String,
    zstd: bool,
    packed: String,
    salt: String,
    route: String,
    message_id: String,
    lane: String,
    prk: String,
    encryption_key: String,
    commitment: String,
    associated_data: String,
    ciphertext_and_tag: String,
    envelope: String,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    code: String,
    environment: String,
    tenant: String,
    route: String,
    message_id: String,
    lane: String,
    envelope: String,
}

impl Published {
    fn read() -> Published {
        serde_json::from_str(include_str!("vectors/envelope-v1.json")).unwrap()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::new(Keys {
            key: self.key.key(),
            index: self.index_key.key(),
        })
    }

    fn identity(&self) -> Identity {
        Identity {
            environment: self.environment.clone(),
            tenant: self.tenant.clone(),
        }
    }

    fn sealer(&self, salt: [u8; 32]) -> Sealer {
        Sealer::new(self.keys(), Arc::new(FixedSalt(salt)), self.identity()).unwrap()
    }

    /// What ring needs to make or open the vector's envelope.
    fn parts<'a>(&'a self, vector: &'a Vector, packed: &'a [u8]) -> independent::Parts<'a> {
        independent::Parts {
            key: array(&self.key.material),
            commitment_key: array(&self.key.material),
            key_id: array(&self.key.id),
            salt: array(&vector.salt),
            items: [
                &self.environment,
                &self.tenant,
                &vector.route,
                &vector.message_id,
                &vector.lane,
            ],
            flags: u8::from(vector.zstd),
            plaintext_len: vector.plaintext.len() as u32,
            packed,
        }
    }
}

impl PublishedKey {
    fn key(&self) -> Key {
        Key::new(KeyId(array(&self.id)), array(&self.material))
    }
}

impl Vector {
    fn address(&self) -> Address<'_> {
        Address {
            route: &self.route,
            message_id: &self.message_id,
            lane: &self.lane,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "odd number of hex digits");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn code(error: &Error) -> &str {
    error.context("code").unwrap_or("none")
}

/// The sealed text of a message, as the format page describes it.
fn body(note: &Note) -> String {
    format!(
        r#"{{"kind":"data","version":1,"payload":{}}}"#,
        serde_json::to_string(note).unwrap()
    )
}

#[test]
fn our_code_opens_every_vector() {
    let published = Published::read();
    let sealer = published.sealer([1; 32]);
    for vector in &published.vectors {
        let note: Note = sealer
            .open(&bytes(&vector.envelope), &vector.address())
            .expect(&vector.name);
        assert_eq!(body(&note), vector.plaintext, "{}", vector.name);
    }
}

#[test]
fn our_code_seals_the_same_bytes_again() {
    let published = Published::read();
    for vector in &published.vectors {
        let sealer = published.sealer(array(&vector.salt));
        let note: Note = sealer.open(&bytes(&vector.envelope), &vector.address()).unwrap();
        let sealed = sealer.seal(&note, &vector.address()).unwrap();
        if !vector.zstd {
            assert_eq!(sealed, bytes(&vector.envelope), "{}", vector.name);
            continue;
        }
        // Which frame a compressor makes is its own affair: same header up to the lengths, and ring reads the same text from it.
        assert_eq!(sealed[..92], bytes(&vector.envelope)[..92], "{}", vector.name);
        let packed = independent::open(&published.parts(vector, &[]), &sealed).expect(&vector.name);
        assert_eq!(
            zstd::decode_all(&*packed).unwrap(),
            vector.plaintext.as_bytes(),
            "{}",
            vector.name
        );
    }
}

#[test]
fn ring_derives_and_opens_every_vector() {
    let published = Published::read();
    for vector in &published.vectors {
        let packed = bytes(&vector.packed);
        let parts = published.parts(vector, &packed);
        let name = &vector.name;
        assert_eq!(parts.prk(), bytes(&vector.prk), "{name}: prk");
        assert_eq!(
            parts.derive(&parts.key, b"enc")[..],
            bytes(&vector.encryption_key),
            "{name}: encryption key"
        );
        assert_eq!(
            parts.derive(&parts.key, b"com")[..],
            bytes(&vector.commitment),
            "{name}: commitment"
        );
        let envelope = bytes(&vector.envelope);
        assert_eq!(
            parts.associated_data(&envelope[..96]),
            bytes(&vector.associated_data),
            "{name}: associated data"
        );
        assert_eq!(
            envelope[96..],
            bytes(&vector.ciphertext_and_tag),
            "{name}: ciphertext"
        );
        assert_eq!(
            independent::open(&parts, &envelope).expect(name),
            packed,
            "{name}: opened"
        );
        assert_eq!(independent::seal(&parts), envelope, "{name}: sealed again");
        let plaintext = if vector.zstd {
            zstd::decode_all(&*packed).unwrap()
        } else {
            packed
        };
        assert_eq!(plaintext, vector.plaintext.as_bytes(), "{name}: plaintext");
    }
}

#[test]
fn every_published_refusal_is_refused_for_its_reason() {
    let published = Published::read();
    for refused in &published.refused {
        let identity = Identity {
            environment: refused.environment.clone(),
            tenant: refused.tenant.clone(),
        };
        let sealer = Sealer::new(published.keys(), Arc::new(FixedSalt([1; 32])), identity).unwrap();
        let address = Address {
            route: &refused.route,
            message_id: &refused.message_id,
            lane: &refused.lane,
        };
        let error = sealer
            .open::<Note>(&bytes(&refused.envelope), &address)
            .expect_err(&refused.name);
        assert_eq!(code(&error), refused.code, "{}: {error}", refused.name);
    }
}

#[test]
fn lanes_agree_with_the_vectors_and_with_ring() {
    let published = Published::read();
    let sealer = published.sealer([1; 32]);
    let index = array(&published.index_key.material);
    for lane in &published.lanes {
        let key = MessageKey {
            sync: &lane.sync,
            side: lane.side,
            id: &lane.id,
        };
        assert_eq!(sealer.hasher().lane(key), lane.lane, "{key:?}");
        assert_eq!(independent::lane(&index, key), lane.lane, "{key:?}");
    }
}

#[test]
fn there_are_256_lanes_and_all_are_used() {
    let published = Published::read();
    let sealer = published.sealer([1; 32]);
    let sync = SyncId::from("accounts");
    let mut lanes = std::collections::BTreeSet::new();
    for number in 0..5_000 {
        let id = RecordId(number.to_string());
        lanes.insert(sealer.hasher().lane(MessageKey {
            sync: &sync,
            side: Side::B,
            id: &id,
        }));
    }
    assert_eq!(lanes.len(), 256);
    assert!(lanes.iter().all(|lane| lane.len() == 32));
}
