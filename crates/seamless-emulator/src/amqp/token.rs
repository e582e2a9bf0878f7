//! Shared access signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key of the namespace.
#[derive(Clone)]
pub struct Access {
    /// Its name.
    pub key_name: String,
    /// The key: invented, and worth nothing.
    pub key: String,
    /// Whether it may make and change entities. Every key may send and listen.
    pub manage: bool,
}

/// What opens a namespace.
pub(crate) struct Keys {
    pub(crate) access: Vec<Access>,
    /// Tokens of an identity provider that nobody here can check: they are good because a test says so.
    pub(crate) foreign: Mutex<BTreeSet<String>>,
}

impl Keys {
    /// Checks `SharedAccessSignature sr=…&sig=…&se=…&skn=…`; the key that signed it, and until when it is good. The error says why not.
    pub(crate) fn check(&self, token: &str, now_micros: i64) -> Result<(&Access, i64), String> {
        let fields = token
            .strip_prefix("SharedAccessSignature ")
            .ok_or("InvalidSignature: not a shared access signature")?;
        let fields: BTreeMap<&str, &str> = fields
            .split('&')
            .filter_map(|field| field.split_once('='))
            .collect();
        let field = |name: &str| {
            fields
                .get(name)
                .copied()
                .ok_or(format!("InvalidSignature: no {name}"))
        };
        let (resource, signature, expiry) = (field("sr")?, field("sig")?, field("se")?);
        let name = unescape(field("skn")?);
        let access = self
            .access
            .iter()
            .find(|access| access.key_name == name)
            .ok_or("InvalidSignature: unknown key name")?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(access.key.as_bytes()).map_err(|error| error.to_string())?;
        mac.update(format!("{resource}\n{expiry}").as_bytes());
        let signature = STANDARD
            .decode(unescape(signature))
            .map_err(|_| "InvalidSignature: not base64")?;
        mac.verify_slice(&signature)
            .map_err(|_| "InvalidSignature: the token has an invalid signature")?;
        let until: i64 = expiry
            .parse()
            .map_err(|_| "InvalidSignature: se is not a number")?;
        let until = until.saturating_mul(1_000_000);
        if until <= now_micros {
            return Err("ExpiredToken: the token has expired".to_owned());
        }
        Ok((access, until))
    }

    /// Checks a token of an identity provider.
    pub(crate) fn check_foreign(&self, token: &str) -> Result<(), String> {
        let foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        if foreign.contains(token) {
            Ok(())
        } else {
            Err("InvalidIssuer: the token is not accepted here".to_owned())
        }
    }

    /// `authorization id`, NUL, key name, NUL, key: as SASL PLAIN has it.
    pub(crate) fn opens(&self, response: &[u8]) -> bool {
        let parts: Vec<&[u8]> = response.split(|byte| *byte == 0).skip(1).collect();
        self.access
            .iter()
            .any(|access| parts == [access.key_name.as_bytes(), access.key.as_bytes()])
    }
}

/// Undoes percent encoding.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match (byte, after) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high)
                    .zip(digit(low))
                    .map(|(high, low)| ((high * 16 + low) as u8, tail))
            }
            _ => None,
        };
        match escaped {
            Some((value, tail)) => {
                bytes.push(value);
                rest = tail;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
