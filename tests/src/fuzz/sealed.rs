//! What is sealed: envelopes, stored rows, plan files; and the keys that seal it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use seamless_core::envelope::{Address, Identity, RowSeal, Sealer};
use seamless_core::pipeline::{
    Cursor, Hint, Intent, Link, Pair, Parked, Plan, Rows, Track, WriteBack, open_plan, seal_plan,
};
use seamless_core::{
    Change, Keyset, Message, MessageKey, MessageKind, Random, RecordId, Row, RowKey, Side, SyncId, Table,
    Timestamp,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};

use super::PART;

/// The first byte says how: as it comes, or sealed first, so that what lies behind the seal is reached too.
pub(super) fn envelope(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else {
        return;
    };
    let sealer = sealer();
    let (sync, id) = (SyncId::from("account"), RecordId::from("17"));
    let key = MessageKey {
        sync: &sync,
        side: Side::A,
        id: &id,
    };
    let lane = sealer.hasher().lane(key);
    let address = Address {
        route: "to/crm",
        message_id: "m1",
        lane: &lane,
    };
    let opened = match how % 3 {
        0 => sealer.open::<Change>(rest, &address).map(drop),
        // A true envelope with some bytes changed never opens.
        1 => {
            let payload = Any {
                sync: sync.clone(),
                id: id.clone(),
                json: change(),
            };
            let sealed = sealer.seal(&payload, &address).expect("a message is sealed");
            let mut changed = sealed.clone();
            for pair in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([pair[0], pair[1]])) % changed.len();
                changed[at] = pair[2];
            }
            let opened = sealer.open::<Change>(&changed, &address);
            assert!(changed == sealed || opened.is_err(), "altered bytes were opened");
            opened.map(drop)
        }
        // Any content behind a true seal.
        _ => {
            let Ok(json) = serde_json::from_slice::<Json>(rest) else {
                return rows(rest);
            };
            let payload = Any {
                sync: sync.clone(),
                id: id.clone(),
                json,
            };
            let Ok(sealed) = sealer.seal(&payload, &address) else {
                return;
            };
            sealer.open::<Change>(&sealed, &address).map(drop)
        }
    };
    if let Err(error) = opened {
        assert!(
            !format!("{error} {error:?}").contains("Quillon"),
            "an error tells content"
        );
    }
}

/// Any stored row with this content.
fn rows(content: &[u8]) {
    fn read<T: DeserializeOwned>(seal: &RowSeal, content: &[u8]) {
        let key = RowKey::new(Table::Link, "account/a/17");
        let plain = Row {
            version: 1,
            value: content.to_vec(),
        };
        let sealed = Row {
            version: 1,
            value: seal.seal(key.table, &key.key, content).unwrap_or_default(),
        };
        drop(Rows::plain::<T>(&key, &plain));
        drop(Rows::new(seal).sealed::<T>(&key, &sealed));
    }
    let seal = row_seal();
    read::<Track>(&seal, content);
    read::<Link>(&seal, content);
    read::<Pair>(&seal, content);
    read::<Intent>(&seal, content);
    read::<Parked>(&seal, content);
    read::<Hint>(&seal, content);
    read::<WriteBack>(&seal, content);
    read::<Cursor>(&seal, content);
}

pub(super) fn envelope_seeds() -> Vec<Vec<u8>> {
    let with = |how: u8, rest: &[u8]| [&[how], rest].concat();
    // Not of this tenant: a true envelope all the same.
    let vectors: Json = serde_json::from_str(include_str!(
        "../../../crates/seamless-core/tests/vectors/envelope-v1.json"
    ))
    .expect("the vectors are json");
    let hex = strings(&vectors)
        .into_iter()
        .filter(|text| text.len() > 200 && text.len() % 2 == 0);
    let sealed = hex.map(|text| {
        let bytes = text.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            u8::from_str_radix(pair, 16).unwrap_or_default()
        });
        with(0, &bytes.collect::<Vec<u8>>())
    });
    let mut seeds: Vec<Vec<u8>> = sealed.collect();
    seeds.extend([
        with(0, b"SEAM\x01\x01\x01\x00"),
        with(1, &[0, 90, 0xff]),
        with(1, &[0, 6, 2]),
        with(2, change().to_string().as_bytes()),
        with(
            2,
            br#"{"cursor":9223372036854775807,"resume":{"since":-1,"after":"x","start":null}}"#,
        ),
        with(2, b"[[[[[[[["),
    ]);
    seeds
}

fn strings(json: &Json) -> Vec<&str> {
    match json {
        Json::String(text) => vec![text],
        Json::Array(items) => items.iter().flat_map(strings).collect(),
        Json::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// As it comes; or, behind a zero byte, as the chunks of a file with true seals.
pub(super) fn plan(input: &[u8]) {
    let seal = row_seal();
    let bytes = match input.split_first() {
        Some((0, chunks)) => sealed_chunks(&seal, chunks),
        _ => input.to_vec(),
    };
    if let Ok(plan) = open_plan(&bytes, &seal) {
        let again = seal_plan(&plan, &seal, &Fixed::default()).expect("what was opened can be sealed");
        assert!(open_plan(&again, &seal).is_ok(), "and opened again");
    }
}

/// The layout of a plan file, written down a second time.
fn sealed_chunks(seal: &RowSeal, chunks: &[u8]) -> Vec<u8> {
    let chunks: Vec<&[u8]> = chunks.split(|byte| *byte == PART).collect();
    let mut bytes = b"seamless plan 1\n".to_vec();
    bytes.extend([7; 16]);
    for (place, chunk) in chunks.iter().enumerate() {
        let of = if place == 0 { 0 } else { chunks.len() - 1 };
        let key = format!("plan/{}/{place}/{of}", "07".repeat(16));
        let sealed = seal.seal(Table::Meta, &key, chunk).unwrap_or_default();
        bytes.extend(u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(sealed);
    }
    bytes
}

pub(super) fn plan_seeds() -> Vec<Vec<u8>> {
    let plan = Plan {
        made: Timestamp(1),
        items: Vec::new(),
        born: Vec::new(),
        calls: [("crm".into(), seamless_core::pipeline::Calls::default())].into(),
        first_merge_overwrites: [].into(),
        budgets: Default::default(),
        undecided: Vec::new(),
    };
    let file = seal_plan(&plan, &row_seal(), &Fixed::default()).expect("a plan is sealed");
    let record = json!({"sync": "account", "side": "a", "id": "17"});
    let item = json!([{
        "record": record, "step": "park", "other": "8", "link": null, "fields": {}, "conflicts": [], "blocked": {"phone": "too long"},
        "pending": {"parent": record}, "aside": null,
    }]);
    let head = |chunks: usize| json!({ "chunks": chunks, "plan": plan });
    let behind_seal = |text: String| [&[0], text.as_bytes()].concat();
    vec![
        file,
        behind_seal(head(0).to_string()),
        behind_seal(format!("{}\u{1e}{item}", head(1))),
        behind_seal(head(20_001).to_string()),
        b"seamless plan 1\n0123456789abcdef\xff\xff\xff\xff".to_vec(),
    ]
}

pub(super) fn keyset(input: &[u8]) {
    match Keyset::from_json(&super::text(input)) {
        Ok(keyset) => {
            let json = keyset.to_json().expect("what was read can be written");
            assert!(Keyset::from_json(&json).is_ok(), "and read again");
        }
        // A key is 43 characters and longer; nothing that long of the document is repeated.
        Err(error) => {
            let told = format!("{error} {error:?}");
            let secret = String::from_utf8_lossy(&input[..input.len().min(4096)]).into_owned();
            let long = secret.split('"').filter(|text| text.len() >= 43);
            long.for_each(|text| assert!(!told.contains(text), "an error repeats a part of the keyset"));
        }
    }
}

pub(super) fn keyset_seeds() -> Vec<Vec<u8>> {
    let random = Fixed::default();
    let mut keyset = Keyset::generate(&random).expect("keys");
    let one = keyset.to_json().expect("json").to_string();
    let rotated = keyset.rotate(&random).and_then(|_| keyset.to_json());
    let two = rotated.map(|json| json.to_string()).unwrap_or_default();
    vec![one.into_bytes(), two.into_bytes(), b"{}".to_vec()]
}

fn change() -> Json {
    json!({
        "sync": "account", "side": "a", "mapping_version": 1,
        "observed": {"id": "17", "stamp": 5, "created": null, "xref": null, "fields": {"name": {"text": "Quillon"}}},
    })
}

/// A message whose content is anything.
#[derive(Deserialize)]
struct Any {
    sync: SyncId,
    id: RecordId,
    json: Json,
}

impl Serialize for Any {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl Message for Any {
    const KIND: MessageKind = MessageKind::Data;
    const VERSION: u16 = Change::VERSION;

    fn key(&self) -> MessageKey<'_> {
        MessageKey {
            sync: &self.sync,
            side: Side::A,
            id: &self.id,
        }
    }
}

/// The same bytes in every run, so that an input that was found does the same again.
#[derive(Default)]
struct Fixed(AtomicU8);

impl Random for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0x80 | self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn identity() -> Identity {
    Identity {
        environment: "test".to_owned(),
        tenant: "acme".to_owned(),
    }
}

fn sealer() -> Sealer {
    let keys = Arc::new(Keyset::generate(&Fixed::default()).expect("keys"));
    Sealer::new(keys, Arc::new(Fixed::default()), identity()).expect("a sealer")
}

fn row_seal() -> RowSeal {
    let keys = Arc::new(Keyset::generate(&Fixed::default()).expect("keys"));
    RowSeal::new(keys, Arc::new(Fixed::default()), identity())
}
