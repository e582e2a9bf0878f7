//! Requests as they come off the wire, and replies as they go onto it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value as Json, json};

use crate::calls::Note;
use crate::value::http_date;

/// Larger request bodies are refused.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// A request, read and taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Req {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) url_len: usize,
    pub(crate) body: Vec<u8>,
    pub(crate) user: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) bearer: Option<String>,
    pub(crate) if_match: Option<String>,
    /// A ghost write, applied long after its connection was cut.
    pub(crate) late: bool,
}

impl Req {
    /// From a path with its query, both encoded, and headers by their names in small letters.
    pub(crate) fn new(
        method: &str,
        place: &str,
        header: impl Fn(&str) -> Option<String>,
        body: Vec<u8>,
    ) -> Req {
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        Req {
            method: method.to_owned(),
            path: decode(path, false),
            query: parse_query(query),
            url_len: place.len(),
            body,
            user: header("username"),
            secret: header("secret"),
            code: header("apiintegrationcode"),
            bearer: header("authorization"),
            if_match: header("if-match"),
            late: false,
        }
    }

    /// Whether it brings what Autotask alone should see.
    pub(crate) fn has_autotask_credentials(&self) -> bool {
        self.secret.is_some() || self.code.is_some()
    }

    /// A query parameter by name, any case.
    pub(crate) fn query_param(&self, name: &str) -> Option<String> {
        self.query
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.clone())
    }
}

/// A reply before it is put on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) html: bool,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) note: Note,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Json) -> Self {
        Self {
            status,
            body: body.to_string(),
            html: false,
            headers: Vec::new(),
            note: Note::default(),
        }
    }

    pub(crate) fn html(status: u16, title: &str) -> Self {
        let body = format!(
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\">\r\n<html><head><title>{title}</title></head>\
             <body><div id=\"header\"><h1>Server Error</h1></div><h2>{title}</h2></body></html>\r\n"
        );
        Self {
            status,
            body,
            html: true,
            headers: Vec::new(),
            note: Note::default(),
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        if self.html {
            "text/html; charset=utf-8"
        } else {
            "application/json; charset=utf-8"
        }
    }

    /// Counts the call as one to an address that does not exist.
    pub(crate) fn wrong_route(mut self) -> Self {
        self.note.wrong_route = true;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Faults that change what a handler says rather than whether it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Twists {
    pub(crate) endless: bool,
    pub(crate) foreign: bool,
    pub(crate) unfiltered: bool,
}

pub(crate) fn wire(reply: Reply, now: i64) -> Response {
    let mut builder = Response::builder()
        .status(reply.status)
        .header("content-type", reply.content_type())
        .header("date", http_date(now));
    for (name, value) in &reply.headers {
        builder = builder.header(*name, value);
    }
    builder.body(Body::from(reply.body)).unwrap_or_else(|error| {
        tracing::error!(%error, "reply could not be built");
        Response::new(Body::empty())
    })
}

pub(crate) async fn read(request: Request) -> Result<Req, Reply> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| Reply::json(413, json!({ "Message": "The request is too large or was cut." })))?;
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let place = parts.uri.path_and_query().map_or("/", |place| place.as_str());
    Ok(Req::new(parts.method.as_str(), place, header, body.to_vec()))
}

pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(k, v)| (decode(k, true), decode(v, true)))
        .collect()
}

fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |j: usize| bytes.get(j).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 2;
            }
            (b'+', ..) if plus => out.push(b' '),
            (b, ..) => out.push(b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
