//! Where the namespace is, and the key that opens it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use seamless_core::{Error, Result};
use sha2::Sha256;

/// A connection string, taken apart: `Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…`.
/// With `UseDevelopmentEmulator=true` the endpoint is spoken to without TLS, and has to be this machine.
#[derive(Clone)]
pub struct ConnectionString {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// No TLS: an emulator on this machine.
    pub(crate) plain: bool,
    pub(crate) key_name: String,
    pub(crate) key: String,
}

impl ConnectionString {
    /// Takes a connection string apart. Errors name the part at fault, never its value.
    pub fn parse(text: &str) -> Result<ConnectionString> {
        let part = |wanted: &str| {
            text.trim().split(';').find_map(|part| {
                let (name, value) = part.split_once('=')?;
                name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let missing = |name: &str| Error::config(format!("the connection string has no {name}"));
        let endpoint = part("Endpoint").ok_or_else(|| missing("Endpoint"))?;
        let address = endpoint
            .strip_prefix("sb://")
            .ok_or_else(|| Error::config("the Endpoint of the connection string does not begin with sb://"))?
            .trim_end_matches('/');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) => {
                let port = port
                    .parse()
                    .map_err(|_| Error::config("the Endpoint of the connection string has no valid port"))?;
                (host, Some(port))
            }
            None => (address, None),
        };
        let plain = part("UseDevelopmentEmulator").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if plain && !["localhost", "127.0.0.1", "[::1]"].contains(&host) {
            return Err(Error::config(
                "UseDevelopmentEmulator is for this machine only: the connection would have no TLS",
            ));
        }
        if !is_host(host) {
            return Err(Error::config(
                "the Endpoint of the connection string has no valid host",
            ));
        }
        Ok(ConnectionString {
            host: host.to_owned(),
            port,
            plain,
            key_name: part("SharedAccessKeyName")
                .ok_or_else(|| missing("SharedAccessKeyName"))?
                .to_owned(),
            key: part("SharedAccessKey")
                .ok_or_else(|| missing("SharedAccessKey"))?
                .to_owned(),
        })
    }

    /// A namespace without a key, by its host name, for whoever has an identity there.
    pub fn of_namespace(host: &str) -> Result<ConnectionString> {
        if !is_host(host) {
            return Err(Error::config(
                "the namespace is no host name; write it as in acme.servicebus.windows.net, with nothing before or after it",
            ));
        }
        ConnectionString::parse(&format!(
            "Endpoint=sb://{host};SharedAccessKeyName=none;SharedAccessKey=none"
        ))
    }

    /// The host of the namespace.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What a token is for.
    pub(crate) fn audience(&self, path: &str) -> String {
        format!("sb://{}/{path}", self.host)
    }

    /// A shared access signature for an audience, until a moment in seconds since 1970.
    pub(crate) fn sign(&self, audience: &str, until: i64) -> Result<String> {
        let resource = escape(audience);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes())
            .map_err(|error| Error::config("the shared access key cannot be used").because(error))?;
        mac.update(format!("{resource}\n{until}").as_bytes());
        let signature = escape(&STANDARD.encode(mac.finalize().into_bytes()));
        let name = escape(&self.key_name);
        Ok(format!(
            "SharedAccessSignature sr={resource}&sig={signature}&se={until}&skn={name}"
        ))
    }
}

/// A host name or address, with or without a port.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.[]:".contains(c))
}

/// The certificates in a PEM text, in DER; none when something in it cannot be read.
pub fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| certificate.ok().map(|der| der.to_vec()))
        .collect()
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Percent encoding of everything but letters, digits and `-_.~`.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str =
        "Endpoint=sb://acme.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=a2V5PQ==";

    #[test]
    fn parts_are_found() {
        let parsed = ConnectionString::parse(REAL).unwrap();
        assert_eq!(parsed.host, "acme.servicebus.windows.net");
        assert_eq!((parsed.port, parsed.plain), (None, false));
        assert_eq!(parsed.key, "a2V5PQ==");
        let local = "Endpoint=sb://localhost:5672;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true";
        let parsed = ConnectionString::parse(local).unwrap();
        assert_eq!((parsed.port, parsed.plain), (Some(5672), true));
    }

    #[test]
    fn errors_name_the_part_and_show_no_key() {
        let cases = [
            ("SharedAccessKeyName=a;SharedAccessKey=b", "no Endpoint"),
            (
                "Endpoint=https://x;SharedAccessKeyName=a;SharedAccessKey=b",
                "sb://",
            ),
            ("Endpoint=sb://x;SharedAccessKey=b", "no SharedAccessKeyName"),
            ("Endpoint=sb://x;SharedAccessKeyName=a", "no SharedAccessKey"),
            (
                "Endpoint=sb://x.example;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true",
                "this machine only",
            ),
        ];
        for (text, expected) in cases {
            let error = ConnectionString::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let shown = format!("{:?}", ConnectionString::parse(REAL).unwrap());
        assert!(!shown.contains("a2V5"), "{shown}");
    }

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // Worked out with Microsoft's own Python client for the same key, audience and time.
        let parsed = ConnectionString::parse(REAL).unwrap();
        let token = parsed
            .sign("sb://acme.servicebus.windows.net/topic", 1_800_000_000)
            .unwrap();
        assert_eq!(token, EXPECTED);
    }
    const EXPECTED: &str = "SharedAccessSignature sr=sb%3A%2F%2Facme.servicebus.windows.net%2Ftopic&sig=xLgDz0CP4kCbNY18Zph4xWx8%2Bycu1%2FaAEfAK01cUPrE%3D&se=1800000000&skn=Root";
}
