//! What the types alone cannot say: keys that need each other, placeholders, references. All of it is checked before the
//! first call, so that a mistake costs a line of text and not a record.

use super::problem::{Problem, hint};
use super::{Entity, ExternalKeySpec, MANIFEST_VERSION, Manifest, MapSection, Rule, WebhookEntity};
use crate::stamp::{parse_offset, parse_zone};
use crate::template::slots;

/// The first mistake, if there is one.
pub(crate) fn first_problem(manifest: &Manifest) -> Option<Problem> {
    let mut check = Check {
        manifest,
        problems: Vec::new(),
    };
    check.top();
    for (name, entity) in &manifest.entities {
        check.entity(name, entity);
    }
    check.problems.into_iter().next()
}

pub(crate) struct Check<'a> {
    manifest: &'a Manifest,
    problems: Vec<Problem>,
}

impl Check<'_> {
    pub(crate) fn wrong(&mut self, path: &[&str], message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    pub(crate) fn demand(&mut self, holds: bool, path: &[&str], message: impl Into<String>) {
        if !holds {
            self.wrong(path, message);
        }
    }

    fn top(&mut self) {
        let manifest = self.manifest;
        self.demand(
            manifest.manifest == MANIFEST_VERSION,
            &["manifest"],
            format!(
                "manifest version {} is not known here; write manifest = {MANIFEST_VERSION}",
                manifest.manifest
            ),
        );
        if let Some(url) = &manifest.system.base_url {
            let is_url = url.starts_with("https://") || url.starts_with("http://");
            self.demand(
                is_url,
                &["system", "base_url"],
                "base_url must start with https:// (or http://)",
            );
            let host = url
                .split_once("://")
                .map_or("", |(_, rest)| rest)
                .split('/')
                .next();
            let is_host = host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace));
            self.demand(
                !is_url || (is_host && !url.contains(char::is_whitespace)),
                &["system", "base_url"],
                "base_url is no address; write it like https://crm.example.com/api",
            );
            let plain = !url.contains(['?', '#', '@']);
            self.demand(
                plain,
                &["system", "base_url"],
                "base_url must have no query, fragment or credentials",
            );
        }
        if let Some(ping) = &manifest.system.ping {
            self.path(&["system", "ping"], ping, &[], &[]);
        }
        self.demand(
            manifest.system.ping.is_some() || !manifest.system.confirm_empty,
            &["system", "confirm_empty"],
            "confirm_empty needs 'ping': a path that a stranger is refused",
        );
        self.auth(&manifest.auth);
        self.no_credentials();
        let limits = &manifest.limits;
        self.demand(
            limits
                .requests_per_second
                .is_none_or(|rate| rate.is_finite() && rate > 0.0),
            &["limits", "requests_per_second"],
            "requests_per_second must be above 0",
        );
        self.demand(
            (1..=64).contains(&limits.concurrency),
            &["limits", "concurrency"],
            "concurrency must be 1 to 64",
        );
        self.demand(
            (1..=10_000).contains(&limits.page_size),
            &["limits", "page_size"],
            "page_size must be 1 to 10000",
        );
        let fits = limits.reset_header.is_some() || limits.remaining_header.is_none();
        let message = "remaining_header needs 'reset_header': else nobody knows how long to wait";
        self.demand(fits, &["limits", "remaining_header"], message);
        for (index, rule) in manifest.errors.rules.iter().enumerate() {
            self.rule(index, rule);
        }
        self.demand(
            !manifest.entities.is_empty() || !manifest.events.is_empty(),
            &["entities"],
            "the manifest describes no entity, and no event",
        );
        self.events(manifest);
        self.webhook();
    }

    fn webhook(&mut self) {
        let events: Vec<(&String, &WebhookEntity)> = self
            .manifest
            .entities
            .iter()
            .filter_map(|(name, entity)| Some((name, entity.webhook.as_ref()?)))
            .collect();
        match &self.manifest.webhook {
            None => {
                if let Some((name, _)) = events.first() {
                    let message =
                        "the system's events need a [webhook] table, which says how they are signed";
                    self.wrong(&["entities", name, "webhook"], message);
                }
            }
            Some(webhook) => {
                let message = "no entity has a 'webhook' table: which records are the events about?";
                self.demand(!events.is_empty(), &["webhook"], message);
                if let Some(sign) = &webhook.sign {
                    let at = ["webhook", "sign"];
                    self.placeholders(&at, sign, &["body", "timestamp", "method", "url"], &["body"]);
                }
                let names_time = webhook
                    .sign
                    .as_ref()
                    .is_some_and(|sign| sign.contains("{timestamp}"));
                let message = "{timestamp} in 'sign' and 'timestamp_header' need each other";
                let fits = names_time == webhook.timestamp_header.is_some();
                self.demand(fits, &["webhook"], message);
            }
        }
        for (name, event) in events {
            let at = ["entities", name, "webhook"];
            let looks = event.path.is_some() || event.header.is_some();
            let tests = !event.equals.is_empty() || event.starts.is_some();
            let message = "'path' or 'header' says what an event is about, 'equals' or 'starts' which are meant: both or neither";
            self.demand(looks == tests, &at, message);
        }
    }

    /// Fields that are lifted, made, written in another way, or chosen from a list.
    fn shapes(&mut self, name: &str, entity: &Entity) {
        for (path, template) in &entity.computed {
            self.template(&["entities", name, "computed", path], template, &[]);
        }
        for (path, how) in &entity.written {
            let at = ["entities", name, "written", path];
            self.template(&at, &how.template, &["value", "record"]);
            let message = "this field is in 'write_as' too; keep one";
            self.demand(!entity.write_as.contains_key(path), &at, message);
        }
        if let Some(parent) = &entity.parent {
            let known: Vec<&str> = self.manifest.entities.keys().map(String::as_str).collect();
            let at = ["entities", name, "parent", "entity"];
            let message = format!(
                "'{}' is no entity of this manifest{}",
                parent.entity,
                hint(&parent.entity, &known)
            );
            match self.manifest.entities.get(&parent.entity) {
                None => self.wrong(&at, message),
                Some(above) => {
                    let message =
                        "the parents hang under parents themselves; name an entity that is listed as a whole";
                    self.demand(!above.list.names("parent"), &at, message);
                }
            }
            let message = "ids that ascend below a parent say nothing about other parents";
            self.demand(entity.above.is_none(), &["entities", name, "above"], message);
        }
        for (field, spec) in &entity.fields {
            let reads_back = spec.format.as_ref().is_none_or(|format| format.round_trips());
            let at = ["entities", name, "fields", field, "format"];
            self.demand(reads_back, &at, "the pattern cannot be read back");
            if let Some(from) = &spec.options_from {
                let at = ["entities", name, "fields", field, "options_from"];
                self.path(&[at[0], name, at[2], field, at[4], "path"], &from.path, &[], &[]);
                let message = "'options' and 'options_from' exclude each other; drop one";
                self.demand(spec.options.is_empty(), &at, message);
            }
        }
    }

    fn no_credentials(&mut self) {
        let system = &self.manifest.system;
        // Whole names, and ends of names; a `page_token` is none.
        let whole = ["authorization", "token"];
        let ends = [
            "api_key",
            "api-key",
            "apikey",
            "access_token",
            "access-token",
            "auth_token",
            "auth-token",
            "api_token",
            "api-token",
            "private-token",
            "password",
            "secret",
        ];
        let is_one = |name: &&String| {
            let name = name.to_ascii_lowercase();
            whole.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end))
        };
        for (table, names) in [("headers", &system.headers), ("query", &system.query)] {
            if let Some(name) = names.keys().find(is_one) {
                let message = "credentials do not belong in a manifest; use [auth]";
                self.wrong(&["system", table, name], message);
            }
        }
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
        };
        if let Some(name) = system.headers.keys().find(|name| !is_name(name)) {
            let message = "a header's name has letters, digits and hyphens, and no blanks";
            self.wrong(&["system", "headers", name], message);
        }
    }

    fn rule(&mut self, index: usize, rule: &Rule) {
        let index = index.to_string();
        let at = ["errors", "rules", index.as_str()];
        let subjects =
            usize::from(rule.header.is_some()) + usize::from(rule.path.is_some()) + usize::from(rule.text);
        let tests = rule.exists.is_some() || !rule.equals.is_empty() || rule.contains.is_some();
        self.demand(
            subjects <= 1,
            &at,
            "a rule looks at one of 'header', 'path' and 'text'",
        );
        self.demand(
            subjects == 1 || !tests,
            &at,
            "'exists', 'equals' and 'contains' need 'header', 'path' or 'text'",
        );
        self.demand(
            subjects == 0 || tests,
            &at,
            "the rule does not say what to look for: 'exists', 'equals' or 'contains'",
        );
        self.demand(
            subjects == 1 || !rule.status.is_empty(),
            &at,
            "the rule has no condition",
        );
    }

    fn entity(&mut self, name: &str, entity: &Entity) {
        let at = ["entities", name];
        if let Some(offset) = &entity.stamp_utc_offset {
            let message = format!("'{offset}' is no offset; write it like +02:00");
            self.demand(
                parse_offset(offset).is_some(),
                &["entities", name, "stamp_utc_offset"],
                message,
            );
        }
        if let Some(zone) = &entity.stamp_zone {
            let at = ["entities", name, "stamp_zone"];
            let message = format!("'{zone}' is no zone; write its name like Europe/Berlin");
            self.demand(parse_zone(zone).is_some(), &at, message);
            let message = "'stamp_zone' and 'stamp_utc_offset' exclude each other; drop one";
            self.demand(entity.stamp_utc_offset.is_none(), &at, message);
        }
        let message = "the pattern cannot be read back; it needs at least year, month and day";
        self.demand(
            entity.stamp_format.round_trips(),
            &["entities", name, "stamp_format"],
            message,
        );
        self.list(&["entities", name, "list"], entity, &entity.list);
        for (key, lists) in [("more_lists", &entity.more_lists), ("changes", &entity.changes)] {
            for (index, list) in lists.iter().enumerate() {
                let index = index.to_string();
                let at = ["entities", name, key, index.as_str()];
                self.list(&at, entity, list);
                let message = "a list of changes says from when on: 'since', or {since} in the request";
                self.demand(key != "changes" || list.asks_since(), &at, message);
            }
        }
        self.shapes(name, entity);
        match (&entity.get, &entity.get_many) {
            (None, None) => self.wrong(
                &at,
                "the entity needs 'get' or 'get_many': records are read again before each write",
            ),
            (get, many) => {
                get.iter().for_each(|get| self.get(name, entity, get));
                many.iter().for_each(|many| self.get_many(name, entity, many));
            }
        }
        if entity.version_header.is_some() {
            let message = "a version in a header is only seen by 'get': leave out 'get_many' and 'version'";
            let alone = entity.get.is_some() && entity.get_many.is_none() && entity.version.is_none();
            self.demand(alone, &["entities", name, "version_header"], message);
        }
        entity.find.iter().for_each(|find| self.find(name, entity, find));
        entity.above.iter().for_each(|above| self.above(name, above));
        entity.create.iter().for_each(|create| self.create(name, create));
        entity
            .update
            .iter()
            .for_each(|update| self.update(name, entity, update));
        entity.delete.iter().for_each(|delete| self.delete(name, delete));
        let key = entity
            .capabilities
            .external_key
            .or(self.manifest.capabilities.external_key);
        if key.is_some_and(|key| key != ExternalKeySpec::None) {
            self.demand(
                entity.find.is_some(),
                &at,
                "external_key promises that records can be found again, but 'find' is missing",
            );
        }
        for (field, spec) in &entity.fields {
            if let Some(reference) = &spec.reference {
                let known: Vec<&str> = self.manifest.entities.keys().map(String::as_str).collect();
                let message = format!(
                    "'{reference}' is no entity of this manifest{}",
                    hint(reference, &known)
                );
                let path = ["entities", name, "fields", field, "reference"];
                self.demand(self.manifest.entities.contains_key(reference), &path, message);
            }
        }
        for (canonical, section) in &entity.map {
            self.map(name, entity, canonical, section);
        }
    }

    fn map(&mut self, name: &str, entity: &Entity, canonical: &str, section: &MapSection) {
        let at = ["entities", name, "map", canonical];
        let known: Vec<&str> = entity.fields.keys().map(String::as_str).collect();
        let is_inside = |native: &str, object: &str| {
            native
                .strip_prefix(object)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let is_known = |native: &str| {
            known.is_empty()
                || known
                    .iter()
                    .any(|field| *field == native || is_inside(native, field))
        };
        let message = |native: &str| {
            format!(
                "'{native}' is not among the fields of {name}{}",
                hint(native, &known)
            )
        };
        if let Some(xref) = section.xref.as_deref().filter(|xref| !is_known(xref)) {
            self.wrong(&[at[0], name, at[2], canonical, "xref"], message(xref));
        }
        for (field, mapping) in &section.fields {
            let native = mapping.0.native.as_str();
            let path = [at[0], name, at[2], canonical, "fields", field];
            self.demand(is_known(native), &path, message(native));
            for option in [&mapping.0.write_fallback, &mapping.0.read_fallback]
                .into_iter()
                .flatten()
            {
                let options: Vec<&str> = mapping.0.options.keys().map(String::as_str).collect();
                let message = format!(
                    "the fallback '{option}' is none of the options{}",
                    hint(option, &options)
                );
                self.demand(options.contains(&option.as_str()), &path, message);
            }
        }
    }

    /// A path below the base URL with known placeholders.
    pub(crate) fn path(&mut self, at: &[&str], path: &str, known: &[&str], needed: &[&str]) {
        let message = "a path starts with '/' and is appended to base_url";
        self.demand(path.starts_with('/') && !path.starts_with("//"), at, message);
        let message = "a path has no query; put it into 'query'";
        self.demand(!path.contains(['?', '#']), at, message);
        self.placeholders(at, path, known, needed);
    }

    pub(crate) fn placeholders(&mut self, at: &[&str], text: &str, known: &[&str], needed: &[&str]) {
        let found = slots(text);
        if let Some(wrong) = found.iter().find(|slot| !known.contains(slot)) {
            self.wrong(
                at,
                format!("{{{wrong}}} means nothing here{}", hint(wrong, known)),
            );
        } else if let Some(missing) = needed.iter().find(|slot| !found.contains(slot)) {
            self.wrong(at, format!("{{{missing}}} is missing in '{text}'"));
        }
    }
}
