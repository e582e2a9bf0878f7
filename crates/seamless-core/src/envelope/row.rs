//! Seals for stored rows: base halves, before-images, intents, parked payloads.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 1 | version = 1 |
//! | 1 | 1 | flags: b0 zstd |
//! | 2 | 16 | key id |
//! | 18 | 32 | salt, random |
//! | 50 | 4 | plaintext length |
//! | 54 | n + 16 | ciphertext, tag |
//!
//! The row key is `Expand(Extract(salt, tenant key), "row" ‖ version ‖ key id)`: a key for each sealing, as in the envelope, so the nonce is zero and
//! no counter is needed. Two sealings meet in a salt with probability below 2^-176 after 2^40 of them. There is no commitment: a row
//! is opened with the one key it names, and keys are never tried in turn. Environment, tenant, table and row key are associated data, so a row that was
//! moved or copied elsewhere does not open. An older seal of the *same* row does open: putting back an old database is not noticed here.

use std::sync::Arc;

use super::compress::{pack, unpack};
use super::crypto::{Bound, Derived, SALT_BYTES, Schedule, TAG_BYTES, decrypt, encrypt};
use super::{Identity, PLAINTEXT_BYTES_MAX, code, crypto_error, fresh_salt, key_by_id, malformed, too_large};
use crate::contract::{Key, KeyId, KeyProvider, Random, Table};
use crate::error::Result;

const VERSION: u8 = 1;
const FLAG_ZSTD: u8 = 0b01;
const HEADER_BYTES: usize = 54;

/// Rows are read at every poll: an ordinary pair stays below this, so that opening it needs no decompression.
const COMPRESS_ABOVE_BYTES: usize = 2_048;

/// Seals and opens the state rows of one tenant. Adds 70 bytes to a row.
#[derive(Clone)]
pub struct RowSeal {
    keys: Arc<dyn KeyProvider>,
    random: Arc<dyn Random>,
    identity: Identity,
}

impl RowSeal {
    /// A seal for the tenant that `identity` names.
    pub fn new(keys: Arc<dyn KeyProvider>, random: Arc<dyn Random>, identity: Identity) -> RowSeal {
        RowSeal {
            keys,
            random,
            identity,
        }
    }

    /// Seals a row's content; it opens only under the same table and key.
    pub fn seal(&self, table: Table, key: &str, plaintext: &[u8]) -> Result<Vec<u8>> {
        let plaintext_len = match u32::try_from(plaintext.len()) {
            Ok(length) if plaintext.len() <= PLAINTEXT_BYTES_MAX => length,
            _ => return Err(too_large(plaintext.len(), PLAINTEXT_BYTES_MAX)),
        };
        let packed = pack(plaintext, COMPRESS_ABOVE_BYTES);
        let primary = self.keys.primary()?;
        let salt = fresh_salt(&self.random)?;

        let mut sealed = Vec::with_capacity(HEADER_BYTES + packed.bytes().len() + TAG_BYTES);
        sealed.extend_from_slice(&[VERSION, if packed.is_zstd() { FLAG_ZSTD } else { 0 }]);
        sealed.extend_from_slice(&primary.id().0);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&plaintext_len.to_be_bytes());
        let ciphertext = encrypt(
            &row_key(&primary, &salt)?,
            &self.bound(&sealed, table, key),
            packed.bytes(),
        )?;
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens a row's content.
    pub fn open(&self, table: Table, key: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let header = match sealed.first_chunk::<HEADER_BYTES>() {
            _ if sealed.first().is_some_and(|version| *version > VERSION) => {
                return Err(crypto_error(
                    code::TOO_NEW,
                    "stored row was sealed by a newer release: upgrade this one",
                ));
            }
            Some(header) if header[0] == VERSION && header[1] & !FLAG_ZSTD == 0 => header,
            _ => return Err(malformed("stored row is not sealed, or cut short")),
        };
        let (mut key_id, mut salt, mut length) = ([0; 16], [0; SALT_BYTES], [0; 4]);
        key_id.copy_from_slice(&header[2..18]);
        salt.copy_from_slice(&header[18..50]);
        length.copy_from_slice(&header[50..]);
        let plaintext_len = u32::from_be_bytes(length) as usize;
        if plaintext_len > PLAINTEXT_BYTES_MAX {
            return Err(too_large(plaintext_len, PLAINTEXT_BYTES_MAX));
        }

        let row_key = row_key(&key_by_id(&self.keys, KeyId(key_id))?, &salt)?;
        let packed = decrypt(&row_key, &self.bound(header, table, key), &sealed[HEADER_BYTES..]).ok_or_else(|| {
            crypto_error(
                code::UNREADABLE,
                "stored row does not open: it was altered, or sealed for another tenant, environment or row",
            )
        })?;
        unpack(packed, header[1] & FLAG_ZSTD != 0, plaintext_len)
    }

    fn bound(&self, header: &[u8], table: Table, key: &str) -> Bound {
        Bound::new(header, &self.identity)
            .item(&[table as u8])
            .item(key.as_bytes())
    }
}

fn row_key(key: &Key, salt: &[u8; SALT_BYTES]) -> Result<Derived> {
    let mut context = [VERSION; 17];
    context[1..].copy_from_slice(&key.id().0);
    Schedule::new(key, salt).derive(b"row", &context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    struct OneKey(Key);

    impl KeyProvider for OneKey {
        fn primary(&self) -> Result<Key> {
            Ok(self.0.clone())
        }

        fn by_id(&self, id: KeyId) -> Result<Option<Key>> {
            Ok((id == self.0.id()).then(|| self.0.clone()))
        }

        fn index(&self) -> Result<Key> {
            Ok(self.0.clone())
        }
    }

    struct Repeat(u8);

    impl Random for Repeat {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    fn seal_with(key: u8, key_id: u8, tenant: &str) -> RowSeal {
        let key = Key::new(KeyId([key_id; 16]), [key; 32]);
        let identity = Identity {
            environment: "test".into(),
            tenant: tenant.into(),
        };
        RowSeal::new(Arc::new(OneKey(key)), Arc::new(Repeat(3)), identity)
    }

    const ROW: &str = "accounts/a/174";
    const MAX: u32 = PLAINTEXT_BYTES_MAX as u32;
    const TEXT: &[u8] = br#"{"name":"Acme Ltd"}"#;

    /// Bytes without a pattern, the same in every run.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn rows_of_the_first_release_stay_readable() {
        // Made with another library (OpenSSL) from the table above.
        let golden = "010002020202020202020202020202020202030303030303030303030303030303030303030303030303030303030303030\
                      300000013b0c0d9ba4b565c8df570960392d2346eaf302db4e3c6507e78c9f63bfc5234e2a5dd95";
        let hex: String = golden.split_whitespace().collect();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let seal = seal_with(1, 2, "acme-it");
        assert_eq!(seal.open(Table::Pair, ROW, &bytes).unwrap(), TEXT);
        assert_eq!(seal.seal(Table::Pair, ROW, TEXT).unwrap(), bytes);
    }

    #[test]
    fn every_content_comes_back_and_long_ones_shrink() {
        let seal = seal_with(1, 2, "acme-it");
        let contents = [
            ("empty", vec![], 70),
            ("short", TEXT.to_vec(), TEXT.len() + 70),
            ("at the threshold", vec![b'a'; 2_048], 2_118),
            ("just above", vec![b'a'; 2_049], 120),
            ("long", b"0123456789".repeat(5_000), 200),
            ("without a pattern", noise(3_000), 3_070),
        ];
        for (name, content, bytes_max) in contents {
            let sealed = seal.seal(Table::Parked, ROW, &content).unwrap();
            assert!(sealed.len() <= bytes_max, "{name}: {} bytes", sealed.len());
            assert_eq!(seal.open(Table::Parked, ROW, &sealed).unwrap(), content, "{name}");
        }
    }

    #[test]
    fn a_row_opens_only_where_it_belongs_and_unaltered() {
        let seal = seal_with(1, 2, "acme-it");
        let sealed = seal.seal(Table::Pair, ROW, TEXT).unwrap();
        let refusal = |seal: &RowSeal, table, key: &str, bytes: &[u8]| {
            let error = seal.open(table, key, bytes).unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::Crypto | ErrorKind::Limit),
                "{error}"
            );
            error.context("code").unwrap().to_owned()
        };
        assert_eq!(refusal(&seal, Table::Intent, ROW, &sealed), "unreadable");
        assert_eq!(
            refusal(&seal, Table::Pair, "accounts/a/175", &sealed),
            "unreadable"
        );
        assert_eq!(
            refusal(&seal_with(1, 2, "other"), Table::Pair, ROW, &sealed),
            "unreadable"
        );
        assert_eq!(
            refusal(&seal_with(9, 2, "acme-it"), Table::Pair, ROW, &sealed),
            "unreadable"
        );
        assert_eq!(
            refusal(&seal_with(1, 9, "acme-it"), Table::Pair, ROW, &sealed),
            "unknown_key"
        );
        let unversioned = [&[0], &sealed[1..]].concat();
        assert_eq!(refusal(&seal, Table::Pair, ROW, &unversioned), "malformed");
        let unknown_flag = [&[1, 0b10], &sealed[2..]].concat();
        assert_eq!(refusal(&seal, Table::Pair, ROW, &unknown_flag), "malformed");
        // Refused by what it states, before anything is decrypted; one byte less is for the seal to judge.
        for (stated, code) in [(0, "unreadable"), (1, "too_large"), (u32::MAX - MAX, "too_large")] {
            let length = (MAX + stated).to_be_bytes();
            let long = [&sealed[..50], &length, &sealed[54..]].concat();
            assert_eq!(
                refusal(&seal, Table::Pair, ROW, &long),
                code,
                "{stated} over the limit"
            );
        }
        let newer = [&[2], &sealed[1..]].concat();
        assert_eq!(refusal(&seal, Table::Pair, ROW, &newer), "too_new");
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            refusal(&seal, Table::Pair, ROW, &altered);
        }
        for length in 0..sealed.len() {
            refusal(&seal, Table::Pair, ROW, &sealed[..length]);
        }
    }

    #[test]
    fn the_limit_holds() {
        let seal = seal_with(1, 2, "acme-it");
        let content = vec![0; PLAINTEXT_BYTES_MAX + 1];
        let error = seal.seal(Table::Parked, ROW, &content).unwrap_err();
        assert_eq!(
            (error.kind, error.context("code")),
            (ErrorKind::Limit, Some("too_large"))
        );
        let largest = &content[1..];
        let sealed = seal.seal(Table::Parked, ROW, largest).unwrap();
        assert!(seal.open(Table::Parked, ROW, &sealed).unwrap() == largest);
    }
}
