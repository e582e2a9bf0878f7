//! What sealing promises to those who use it properly: limits, compression, rotation, versions.

use std::sync::Arc;

use seamless_core::envelope::{Address, Identity, PLAINTEXT_BYTES_MAX, Sealer};
use seamless_core::{ErrorKind, Keyset, Message, MessageKey, MessageKind, RecordId, Side, SyncId};

use super::fixture::{Fixture, counting};
use super::{Note, bytes, code};

#[test]
fn the_limit_holds_when_sealing_and_when_opening() {
    let fixture = Fixture::new();
    let mut note = Note {
        sync: SyncId::from("s"),
        side: Side::A,
        id: RecordId::from("1"),
        text: String::new(),
    };
    let lane = fixture.sealer.hasher().lane(note.key());
    let address = Address {
        route: "r",
        message_id: "m",
        lane: &lane,
    };
    let room = PLAINTEXT_BYTES_MAX - super::body(&note).len();

    note.text = "x".repeat(room);
    let envelope = fixture.sealer.seal(&note, &address).unwrap();
    assert!(fixture.sealer.open::<Note>(&envelope, &address).unwrap() == note);
    let stricter = fixture
        .sealer
        .clone()
        .with_plaintext_bytes_max(PLAINTEXT_BYTES_MAX - 1);
    let error = stricter.open::<Note>(&envelope, &address).unwrap_err();
    assert_eq!((error.kind, code(&error)), (ErrorKind::Limit, "too_large"));

    note.text.push('x');
    let looser = fixture.sealer.clone().with_plaintext_bytes_max(usize::MAX);
    let error = looser.seal(&note, &address).unwrap_err();
    assert_eq!((error.kind, code(&error)), (ErrorKind::Limit, "too_large"));
}

#[test]
fn long_texts_travel_compressed() {
    let fixture = Fixture::new();
    let text = "the same again, ".repeat(20_000);
    let note = Note {
        sync: SyncId::from("s"),
        side: Side::B,
        id: RecordId::from("1"),
        text,
    };
    let lane = fixture.sealer.hasher().lane(note.key());
    let address = Address {
        route: "r",
        message_id: "m",
        lane: &lane,
    };
    let envelope = fixture.sealer.seal(&note, &address).unwrap();
    assert!(envelope.len() < 1_000, "{} bytes", envelope.len());
    assert!(fixture.sealer.open::<Note>(&envelope, &address).unwrap() == note);
}

#[test]
fn rotation_keeps_old_messages_readable_and_a_removed_key_parks_them() {
    let random = counting();
    let mut keyset = Keyset::generate(&*random).unwrap();
    let sealer = |keyset: &Keyset| {
        let identity = Identity {
            environment: "test".into(),
            tenant: "t".into(),
        };
        Sealer::new(Arc::new(keyset.clone()), random.clone(), identity).unwrap()
    };
    let note = Note {
        sync: SyncId::from("s"),
        side: Side::A,
        id: RecordId::from("1"),
        text: "old".into(),
    };
    let lane = sealer(&keyset).hasher().lane(note.key());
    let address = Address {
        route: "r",
        message_id: "m",
        lane: &lane,
    };
    let envelope = sealer(&keyset).seal(&note, &address).unwrap();

    keyset.rotate(&*random).unwrap();
    assert!(sealer(&keyset).open::<Note>(&envelope, &address).unwrap() == note);
    let newer = sealer(&keyset).seal(&note, &address).unwrap();
    assert_ne!(newer[8..24], envelope[8..24], "sealed with the new key");

    let disabled = keyset.to_json().unwrap().replace("decrypt_only", "disabled");
    let keyset = Keyset::from_json(&disabled).unwrap();
    let error = sealer(&keyset).open::<Note>(&envelope, &address).unwrap_err();
    assert_eq!((error.kind, code(&error)), (ErrorKind::Crypto, "unknown_key"));
    let id: String = envelope[8..24].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(error.context("key"), Some(id.as_str()));
}

#[test]
fn sealing_the_same_message_twice_shows_nothing_in_common() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    let note: Note = fixture
        .sealer
        .open(&bytes(&vector.envelope), &vector.address())
        .unwrap();
    let one = fixture.sealer.seal(&note, &vector.address()).unwrap();
    let two = fixture.sealer.seal(&note, &vector.address()).unwrap();
    assert_ne!(one[24..88], two[24..88]);
    assert_ne!(one[96..], two[96..]);
}

#[test]
fn a_generator_that_gives_only_zeros_seals_nothing() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    let note: Note = fixture
        .sealer
        .open(&bytes(&vector.envelope), &vector.address())
        .unwrap();
    let dead = fixture.published.sealer([0; 32]);
    assert_eq!(
        dead.seal(&note, &vector.address()).unwrap_err().kind,
        ErrorKind::Crypto
    );
}

/// A later release of [`Note`].
#[derive(serde::Serialize, serde::Deserialize)]
struct NoteTwo(Note);

impl Message for NoteTwo {
    const KIND: MessageKind = MessageKind::Data;
    const VERSION: u16 = 2;

    fn key(&self) -> MessageKey<'_> {
        self.0.key()
    }
}

#[test]
fn an_older_payload_version_is_offered_to_the_reader_and_a_newer_one_is_not() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    assert!(
        fixture
            .sealer
            .open::<NoteTwo>(&bytes(&vector.envelope), &vector.address())
            .is_ok()
    );
    let newer: Note = fixture
        .sealer
        .open(&bytes(&vector.envelope), &vector.address())
        .unwrap();
    let sealed = fixture.sealer.seal(&NoteTwo(newer), &vector.address()).unwrap();
    assert_eq!(
        code(
            &fixture
                .sealer
                .open::<Note>(&sealed, &vector.address())
                .unwrap_err()
        ),
        "too_new"
    );
}
