//! Keysets as documents, rotation, and what their errors say.

use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

/// Fills with 1, then 2, and so on.
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn counting() -> Counting {
    Counting(AtomicU8::new(1))
}

fn statuses(keyset: &Keyset) -> Vec<(u8, KeyStatus)> {
    keyset.entries().map(|(id, status)| (id.0[0], status)).collect()
}

#[test]
fn a_keyset_comes_back_from_its_document() {
    let random = counting();
    let mut keyset = Keyset::generate(&random).unwrap();
    keyset.rotate(&random).unwrap();
    let back = Keyset::from_json(&keyset.to_json().unwrap()).unwrap();
    assert_eq!(statuses(&back), statuses(&keyset));
    assert_eq!(
        back.primary().unwrap().expose(),
        keyset.primary().unwrap().expose()
    );
    assert_eq!(back.index().unwrap().expose(), keyset.index().unwrap().expose());
    assert_eq!(back.index().unwrap().id(), keyset.index().unwrap().id());
}

#[test]
fn rotation_adds_a_primary_and_keeps_the_rest() {
    let random = counting();
    let mut keyset = Keyset::generate(&random).unwrap();
    let index = *keyset.index().unwrap().expose();
    let first = keyset.primary().unwrap().id();
    let second = keyset.rotate(&random).unwrap();
    let third = keyset.rotate(&random).unwrap();
    use KeyStatus::{DecryptOnly, Primary};
    let expected = [(first, DecryptOnly), (second, DecryptOnly), (third, Primary)];
    assert_eq!(keyset.entries().collect::<Vec<_>>(), expected);
    assert_eq!(keyset.primary().unwrap().id(), third);
    assert!(keyset.by_id(first).unwrap().is_some());
    assert_eq!(*keyset.index().unwrap().expose(), index);
}

#[test]
fn a_disabled_or_foreign_key_is_unknown() {
    let random = counting();
    let mut keyset = Keyset::generate(&random).unwrap();
    let first = keyset.primary().unwrap().id();
    keyset.rotate(&random).unwrap();
    let json = keyset.to_json().unwrap().replace("decrypt_only", "disabled");
    let keyset = Keyset::from_json(&json).unwrap();
    assert!(keyset.by_id(first).unwrap().is_none());
    assert!(
        keyset.by_id(keyset.index().unwrap().id()).unwrap().is_none(),
        "the index key opens nothing"
    );
}

#[test]
fn a_generator_that_repeats_itself_makes_no_keyset_and_spoils_none() {
    struct Stuck;
    impl Random for Stuck {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }
    assert!(Keyset::generate(&Stuck).is_err());
    let mut keyset = Keyset::generate(&counting()).unwrap();
    keyset.rotate(&Stuck).unwrap();
    let before = statuses(&keyset);
    assert!(keyset.rotate(&Stuck).is_err());
    assert_eq!(statuses(&keyset), before);
}

#[test]
fn the_number_of_keys_is_bounded_and_the_largest_document_can_be_read() {
    let random = counting();
    let mut keyset = Keyset::generate(&random).unwrap();
    for _ in 1..KEYS_MAX {
        keyset.rotate(&random).unwrap();
    }
    assert!(keyset.rotate(&random).is_err());
    assert!(Keyset::from_json(&keyset.to_json().unwrap()).is_ok());
}

#[test]
fn errors_name_the_mistake_and_never_the_material() {
    let id = |digit: char| digit.to_string().repeat(32);
    let material = |byte: u8| BASE64.encode([byte; 32]);
    let key =
        |i, m: &str, status: &str| format!(r#"{{"id":"{}","material":"{m}","status":"{status}"}}"#, id(i));
    let index = format!(r#"{{"id":"{}","material":"{}"}}"#, id('f'), material(9));
    let document = |keys: &str| format!(r#"{{"format":1,"keys":[{keys}],"index":{index}}}"#);
    let good = key('a', &material(1), "primary");
    assert!(Keyset::from_json(&document(&good)).is_ok());

    let secret = material(0xa7);
    let long = BASE64.encode([0xa7; 33]);
    let cases = [
        (
            "no primary",
            document(&key('a', &secret, "decrypt_only")),
            "0 primary keys",
        ),
        ("no keys", document(""), "0 primary keys"),
        (
            "two primaries",
            document(&[&*good, &key('b', &secret, "primary")].join(",")),
            "2 primary keys",
        ),
        (
            "same id",
            document(&[&*good, &key('a', &secret, "disabled")].join(",")),
            "id aaaa",
        ),
        (
            "id of the index key",
            document(&key('f', &secret, "primary")),
            "id ffff",
        ),
        (
            "same material",
            document(&key('a', &material(9), "primary")),
            "same material",
        ),
        (
            "long material",
            document(&key('a', &long, "primary")),
            "key 1: material must be exactly 32 bytes",
        ),
        (
            "short material",
            document(&key('a', &secret[4..], "primary")),
            "key 1: material",
        ),
        (
            "not base64",
            document(&key('a', &secret.replace('=', "!"), "primary")),
            "key 1: material",
        ),
        (
            "much too long",
            document(&key('a', &secret.repeat(9), "primary")),
            "key 1: material",
        ),
        (
            "status",
            document(&key('a', &secret, &secret)),
            "key 1: status must be",
        ),
        (
            "no status",
            document(&format!(r#"{{"id":"{}","material":"{secret}"}}"#, id('a'))),
            "key 1: status",
        ),
        ("id", document(&key('z', &secret, "primary")), "key 1: id must be"),
        (
            "sign in the id",
            document(&good.replacen("aa", "+a", 1)),
            "key 1: id must be",
        ),
        (
            "upper case",
            document(&good.replacen(&id('a'), &id('A'), 1)),
            "key 1: id must be",
        ),
        (
            "unknown field",
            document(&good.replace("\"status\"", "\"state\"")),
            "unknown field 'state'",
        ),
        (
            "misplaced material",
            document(&good.replace("\"status\"", &format!("\"{secret}\""))),
            "unknown field at",
        ),
        (
            "wrong type",
            document(&good.replace("\"primary\"", &format!("[\"{secret}\"]"))),
            "wrong type at line 1",
        ),
        (
            "no index",
            format!(r#"{{"format":1,"keys":[{good}]}}"#),
            "missing field `index`",
        ),
        (
            "twice",
            document(&good.replace('{', r#"{"status":"primary","#)),
            "duplicate field `status`",
        ),
        (
            "status of the index",
            document(&good).replace("\"}}", "\",\"status\":\"primary\"}}"),
            "index key: has no",
        ),
        (
            "format",
            document(&good).replace("\"format\":1", "\"format\":2"),
            "format 2",
        ),
        ("cut short", document(&good)[..90].to_owned(), "not valid"),
        ("empty", String::new(), "not valid"),
        ("huge", " ".repeat(JSON_BYTES_MAX + 1), "over the limit"),
        ("deep", "[".repeat(60_000), "keyset"),
    ];
    for (name, json, expected) in cases {
        let error = Keyset::from_json(&json).expect_err(name);
        assert_eq!(error.kind, ErrorKind::Config, "{name}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{name}: {text}");
        assert!(!text.contains(&secret[..8]), "{name}: {text}");
        assert!(text.len() < 400, "{name}: {text}");
    }
}

#[test]
fn debug_shows_no_material() {
    let keyset = Keyset::generate(&counting()).unwrap();
    let shown = format!("{keyset:?}");
    assert_eq!(shown, format!("{{{}: Primary}}", "01".repeat(16)));
}
