//! What passed over the wire while an operation was tried, without its secrets.

use std::sync::{Mutex, PoisonError};

use seamless_core::Secret;
use seamless_http::Response;
use serde::Serialize;

use crate::call::{Call, FORM, Payload};
use crate::connector::form_encoded;

const BODY_CHARS_MAX: usize = 4_000;
const STEPS_MAX: usize = 500;
/// Shorter secrets occur in any text.
const SECRET_CHARS_MIN: usize = 4;
/// Headers of answers that say something about paging, pace, versions or the kind of body.
const TELLING: [&str; 14] = [
    "content-type",
    "date",
    "etag",
    "link",
    "location",
    "next-page",
    "retry-after",
    "total-records",
    "x-count",
    "x-next-page",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-total-count",
];

/// One step of a trial.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A call and its answer.
    Exchange {
        /// Method and URL.
        request: String,
        /// Headers that the manifest or the operation sets, one `name: value` each.
        headers: Vec<String>,
        /// The body sent.
        body: Option<String>,
        /// HTTP status of the answer.
        status: u16,
        /// Headers of the answer that matter.
        answer_headers: Vec<String>,
        /// Body of the answer, cut where it is long.
        answer: String,
    },
    /// What was made of it, and why.
    Told(String),
}

/// Collects the steps of one trial.
pub(crate) struct Trace {
    base_url: String,
    secrets: Vec<Secret>,
    steps: Mutex<Vec<Step>>,
}

impl Trace {
    pub(crate) fn new(base_url: &str, secrets: impl IntoIterator<Item = Secret>) -> Trace {
        let mut secrets: Vec<Secret> = secrets
            .into_iter()
            .filter(|secret| secret.expose().chars().count() >= SECRET_CHARS_MIN)
            .collect();
        // Longest first, so that a secret that contains another one disappears as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Trace {
            base_url: base_url.trim_end_matches('/').to_owned(),
            secrets,
            steps: Mutex::default(),
        }
    }

    /// Notes a call. `credentials` says where they went; `fixed` are the system's own headers.
    pub(crate) fn exchange<'a>(
        &self,
        call: &'a Call,
        fixed: impl Iterator<Item = (&'a String, &'a String)>,
        credentials: Option<String>,
        response: &Response,
    ) {
        let query = if call.query.is_empty() {
            String::new()
        } else {
            let pairs = String::from_utf8(form_encoded(&call.query)).unwrap_or_default();
            format!("?{pairs}")
        };
        // A next URL is complete from the host on.
        let origin_end = self.base_url.find("://").map_or(0, |at| at + 3);
        let host_end = self.base_url[origin_end..]
            .find('/')
            .map_or(self.base_url.len(), |at| origin_end + at);
        let base = if call.is_next_url {
            &self.base_url[..host_end]
        } else {
            &self.base_url
        };
        let (kind, body) = match &call.body {
            None => (None, None),
            Some(Payload::Json(json)) => (Some("application/json"), Some(format!("{json:#}"))),
            Some(Payload::Form(pairs)) => (
                Some(FORM),
                Some(String::from_utf8(form_encoded(pairs)).unwrap_or_default()),
            ),
            Some(Payload::Text { content_type, text }) => (Some(*content_type), Some(text.clone())),
        };
        let own = call.headers.iter().map(|(name, value)| (name, value));
        let mut headers: Vec<String> = credentials.into_iter().collect();
        headers.extend(fixed.chain(own).map(|(name, value)| format!("{name}: {value}")));
        let has_kind = headers
            .iter()
            .any(|line| line.to_ascii_lowercase().starts_with("content-type:"));
        if let (Some(kind), false) = (kind, has_kind) {
            headers.push(format!("content-type: {kind}"));
        }
        let answer_headers = TELLING
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", response.header(name)?)));
        self.push(Step::Exchange {
            request: self.clean(&format!("{} {base}{}{query}", call.method.name(), call.path)),
            headers: headers.iter().map(|line| self.clean(line)).collect(),
            body: body.map(|body| self.clean(&body)),
            status: response.status,
            answer_headers: answer_headers.map(|line| self.clean(&line)).collect(),
            answer: self.clean(&readable(&response.body)),
        });
    }

    /// Notes what was made of an answer.
    pub(crate) fn told(&self, text: &str) {
        self.push(Step::Told(self.clean(text)));
    }

    /// A text without any of the secrets.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.secrets {
            clean = clean.replace(secret.expose(), "***");
        }
        if clean.chars().count() > BODY_CHARS_MAX {
            let cut: String = clean.chars().take(BODY_CHARS_MAX).collect();
            return format!("{cut}\n… ({} characters in all)", clean.chars().count());
        }
        clean
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, step: Step) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() < STEPS_MAX {
            steps.push(step);
        }
    }
}

/// JSON is indented; anything else stays as it is.
fn readable(body: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => format!("{json:#}"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}
