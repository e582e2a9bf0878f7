use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use seamless_core::{Error, Result};

use crate::egress;

/// How to reach one system.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Scheme, host, port and path prefix, e.g. `https://crm.example.com/api/v2`. No query, no credentials.
    pub base_url: String,
    /// Allows plain `http` and loopback, private, link-local and metadata addresses. Default false.
    pub allow_private_network: bool,
    /// Longest wait for a connection, TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest silence between two reads, the wait for the first byte included. Default 60 s.
    pub read_timeout: Duration,
    /// Longest whole call, from connecting to the last byte of the body. Default 330 s.
    pub total_timeout: Duration,
    /// Largest response body after decompression. Default 16 MiB.
    pub body_bytes_max: usize,
    /// Calls a second over all endpoints, with a burst of one second's worth. Default none.
    pub requests_per_second: Option<f64>,
    /// Calls at once for each [`crate::Request::endpoint`] key. Default 4.
    pub concurrency_per_endpoint: usize,
    /// Certificates (DER) that are trusted besides the machine's. Default none.
    pub extra_roots: Vec<Vec<u8>>,
    /// `User-Agent` header.
    pub user_agent: String,
}

impl HttpSettings {
    /// Defaults for a base URL.
    pub fn new(base_url: impl Into<String>) -> HttpSettings {
        HttpSettings {
            base_url: base_url.into(),
            allow_private_network: false,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(330),
            body_bytes_max: 16 * 1024 * 1024,
            requests_per_second: None,
            concurrency_per_endpoint: 4,
            extra_roots: Vec::new(),
            user_agent: concat!("seamless/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Checks everything that needs no network, and returns the parsed base URL. Connectors call it from `validate`.
    pub fn validate(&self) -> Result<Url> {
        let url = Url::parse(&self.base_url)
            .map_err(|e| Error::config(format!("the base url is not a url: {e}")))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let problem = if !matches!(url.scheme(), "http" | "https") {
            Some("the base url must start with https://".to_owned())
        } else if url.scheme() == "http" && !self.allow_private_network {
            Some(format!(
                "the base url of {host} must start with https://; plain http needs allow_private_network = true"
            ))
        } else if !url.username().is_empty() || url.password().is_some() {
            Some(format!(
                "the base url of {host} holds credentials; configure them as secrets instead"
            ))
        } else if url.query().is_some() || url.fragment().is_some() {
            Some(format!(
                "the base url of {host} must have neither query nor fragment"
            ))
        } else if self.concurrency_per_endpoint == 0 {
            Some("concurrency per endpoint must be at least 1".to_owned())
        } else if self
            .requests_per_second
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            Some("requests per second must be above 0".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Error::config(problem));
        }
        // Connecting to a literal address asks no resolver, so this is the only place that sees it.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && !self.allow_private_network
            && !egress::is_public(address)
        {
            return Err(egress::refused(&host));
        }
        Ok(url)
    }
}
