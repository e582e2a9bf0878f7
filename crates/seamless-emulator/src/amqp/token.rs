//! Shared access signatures.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The one key of the namespace.
#[derive(Clone)]
pub struct Access {
    /// Its name.
    pub key_name: String,
    /// The key: invented, and worth nothing.
    pub key: String,
}

impl Access {
    /// Checks `SharedAccessSignature sr=…&sig=…&se=…&skn=…`. The error says why not.
    pub(crate) fn check(&self, token: &str, now_micros: i64) -> Result<(), String> {
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
        if unescape(field("skn")?) != self.key_name {
            return Err("InvalidSignature: unknown key name".to_owned());
        }
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).map_err(|error| error.to_string())?;
        mac.update(format!("{resource}\n{expiry}").as_bytes());
        let signature = STANDARD
            .decode(unescape(signature))
            .map_err(|_| "InvalidSignature: not base64")?;
        mac.verify_slice(&signature)
            .map_err(|_| "InvalidSignature: the token has an invalid signature")?;
        let until: i64 = expiry
            .parse()
            .map_err(|_| "InvalidSignature: se is not a number")?;
        if until.saturating_mul(1_000_000) <= now_micros {
            return Err("ExpiredToken: the token has expired".to_owned());
        }
        Ok(())
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
