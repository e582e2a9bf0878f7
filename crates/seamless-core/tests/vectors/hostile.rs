//! Everything a bus, a neighbour or an attacker could do to an envelope.

use std::io::Read;
use std::sync::Arc;

use seamless_core::envelope::{Address, Identity, Sealer};
use seamless_core::{ErrorKind, Message, RecordId, Side, SyncId};

use super::fixture::{Fixture, counting};
use super::independent::{self, Parts};
use super::{FixedSalt, Keys, Note, bytes, code};

impl Fixture {
    /// Why this content is refused, correctly sealed by somebody who holds the key.
    fn refusal(&self, sealer: &Sealer, packed: &[u8], plaintext_len: u32) -> String {
        let vector = self.vector("zstd");
        let parts = Parts {
            salt: [0x77; 32],
            plaintext_len,
            ..self.published.parts(vector, packed)
        };
        let error = sealer
            .open::<Note>(&independent::seal(&parts), &vector.address())
            .unwrap_err();
        code(&error).to_owned()
    }
}

#[test]
fn no_single_bit_can_be_changed() {
    let fixture = Fixture::new();
    for vector in &fixture.published.vectors {
        let envelope = bytes(&vector.envelope);
        for bit in 0..envelope.len() * 8 {
            let mut altered = envelope.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let error = fixture.sealer.open::<Note>(&altered, &vector.address());
            let error = error.expect_err(&format!("{}: bit {bit}", vector.name));
            assert!(
                matches!(error.kind, ErrorKind::Crypto | ErrorKind::Limit),
                "{}: bit {bit}: {error}",
                vector.name
            );
        }
    }
}

#[test]
fn no_other_length_opens() {
    let fixture = Fixture::new();
    for vector in &fixture.published.vectors {
        let envelope = bytes(&vector.envelope);
        for length in 0..envelope.len() {
            let error = fixture
                .sealer
                .open::<Note>(&envelope[..length], &vector.address());
            assert_eq!(
                code(&error.expect_err(&vector.name)),
                "malformed",
                "{}: {length} bytes",
                vector.name
            );
        }
        let longer = [&envelope[..], &[0]].concat();
        assert!(
            fixture.sealer.open::<Note>(&longer, &vector.address()).is_err(),
            "{}",
            vector.name
        );
    }
}

#[test]
fn nothing_opens_at_another_address_and_the_error_does_not_say_which_part_differs() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    let (right, home) = (vector.address(), fixture.published.identity());
    let elsewhere = |environment: &str, tenant: &str| Identity {
        environment: environment.into(),
        tenant: tenant.into(),
    };
    let cases = [
        ("environment", elsewhere("production", &home.tenant), right),
        ("tenant", elsewhere(&home.environment, "other"), right),
        (
            "route",
            home.clone(),
            Address {
                route: "accounts/erp",
                ..right
            },
        ),
        (
            "message id",
            home.clone(),
            Address {
                message_id: "m-9999",
                ..right
            },
        ),
        (
            "lane",
            home.clone(),
            Address {
                lane: "00000000000000000000000000000000",
                ..right
            },
        ),
    ];
    let mut altered = bytes(&vector.envelope);
    altered[60] ^= 1;
    let expected = fixture
        .sealer
        .open::<Note>(&altered, &right)
        .unwrap_err()
        .to_string();
    for (name, identity, address) in cases {
        let sealer = Sealer::new(fixture.published.keys(), counting(), identity).unwrap();
        let error = sealer
            .open::<Note>(&bytes(&vector.envelope), &address)
            .expect_err(name);
        assert_eq!(code(&error), "unreadable", "{name}");
        assert_eq!(error.to_string(), expected, "{name}");
    }
}

#[test]
fn a_message_about_another_record_is_refused_even_at_the_right_address() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    let other = Note {
        sync: SyncId::from("accounts"),
        side: Side::A,
        id: RecordId::from("2"),
        text: String::new(),
    };
    assert_ne!(fixture.sealer.hasher().lane(other.key()), vector.lane);
    assert_eq!(
        code(&fixture.sealer.seal(&other, &vector.address()).unwrap_err()),
        "wrong_record"
    );

    let text = super::body(&other);
    let mut parts = fixture.published.parts(vector, text.as_bytes());
    parts.plaintext_len = text.len() as u32;
    let error = fixture
        .sealer
        .open::<Note>(&independent::seal(&parts), &vector.address())
        .unwrap_err();
    assert_eq!(code(&error), "wrong_record");
}

#[test]
fn a_foreign_commitment_is_refused_although_the_ciphertext_would_open() {
    let fixture = Fixture::new();
    let vector = fixture.vector("zstd");
    let packed = bytes(&vector.packed);
    let parts = Parts {
        commitment_key: [9; 32],
        ..fixture.published.parts(vector, &packed)
    };
    let error = fixture
        .sealer
        .open::<Note>(&independent::seal(&parts), &vector.address())
        .unwrap_err();
    assert_eq!(code(&error), "unreadable");
}

#[test]
fn what_the_frame_holds_must_be_exactly_what_the_header_states() {
    let fixture = Fixture::new();
    let frame = bytes(&fixture.vector("zstd").packed);
    let stated = fixture.vector("zstd").plaintext.len() as u32;
    let with_tail = [&frame[..], &[0]].concat();
    let empty = zstd::encode_all(&b""[..], 3).unwrap();
    let two_frames = [&frame[..], &empty].concat();
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    let behind_skippable = [&skippable[..], &frame].concat();
    let before_skippable = [&frame[..], &skippable].concat();
    let cut = &frame[..frame.len() - 1];
    let frames: [(&str, &[u8]); 6] = [
        ("trailing byte", &with_tail),
        ("second frame", &two_frames),
        ("skippable frame before", &behind_skippable),
        ("skippable frame behind", &before_skippable),
        ("cut frame", cut),
        ("nothing", &[]),
    ];
    for (name, packed) in frames {
        for plaintext_len in [0, 1, stated - 1, stated, stated + 1] {
            let refusal = fixture.refusal(&fixture.sealer, packed, plaintext_len);
            assert_eq!(refusal, "malformed", "{name}, {plaintext_len} bytes stated");
        }
    }
    for plaintext_len in [0, stated - 1, stated + 1] {
        assert_eq!(
            fixture.refusal(&fixture.sealer, &frame, plaintext_len),
            "malformed",
            "{plaintext_len}"
        );
    }
}

#[test]
fn a_zip_bomb_is_refused_in_bounded_memory() {
    let fixture = Fixture::new();
    let zeros = std::io::repeat(0).take(1 << 30);
    let bomb = zstd::encode_all(zeros, 3).unwrap();
    assert!(bomb.len() < 200_000, "{} bytes", bomb.len());
    let limit = 1 << 20;
    let sealer = fixture.sealer.clone().with_plaintext_bytes_max(limit);

    let before = peak_memory_kib();
    let honest = fixture.refusal(&sealer, &bomb, 1 << 30);
    let lying = fixture.refusal(&sealer, &bomb, limit as u32);
    assert_eq!((honest.as_str(), lying.as_str()), ("too_large", "malformed"));
    if let (Some(before), Some(after)) = (before, peak_memory_kib()) {
        // The bomb would be 1,048,576; the largest of the tests that run beside this one needs about 100,000.
        assert!(
            after - before < 400_000,
            "peak memory rose by {} KiB",
            after - before
        );
    }
}

/// The kernel's own count of this process' largest resident size; other systems than Linux do not keep one here.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[test]
fn errors_never_quote_content() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    let texts = [
        r#"{"kind":"data","version":1,"payload":{"sync":"accounts","side":"a","id":"174","text":{"marker":"Zanzibar"}}}"#,
        r#"{"kind":"data","version":1,"payload":{"sync":"accounts","side":"Zanzibar","id":"174","text":""}}"#,
        r#"{"kind":"Zanzibar","version":1,"payload":{}}"#,
        r#"{"kind":"data","version":1,"payload":"Zanzibar"}"#,
        r#"{"kind":"data","version":1,"Zanzibar":1}"#,
    ];
    for text in texts {
        let mut parts = fixture.published.parts(vector, text.as_bytes());
        parts.plaintext_len = text.len() as u32;
        let error = fixture
            .sealer
            .open::<Note>(&independent::seal(&parts), &vector.address())
            .unwrap_err();
        assert_eq!(code(&error), "malformed", "{text}");
        assert!(!format!("{error} {error:?}").contains("Zanzibar"), "{error:?}");
    }
}

#[test]
fn a_neighbour_with_another_key_of_the_same_id_reads_nothing() {
    let fixture = Fixture::new();
    let vector = fixture.vector("plain");
    let own = fixture.published.keys();
    let neighbour = Keys {
        key: seamless_core::Key::new(own.key.id(), [3; 32]),
        index: own.index.clone(),
    };
    let salt = Arc::new(FixedSalt([1; 32]));
    let sealer = Sealer::new(Arc::new(neighbour), salt, fixture.published.identity()).unwrap();
    let error = sealer
        .open::<Note>(&bytes(&vector.envelope), &vector.address())
        .unwrap_err();
    assert_eq!(code(&error), "unreadable");
}
