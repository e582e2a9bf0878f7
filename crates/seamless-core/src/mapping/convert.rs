//! The conversions themselves.

use sha2::{Digest, Sha256};

use super::{
    Compare, FieldIssue, FieldKind, FieldMapping, Loss, Observed, Projection, SideMapping, TODAY, Transform,
    kind, options, template,
};
use crate::record::NativeRecord;
use crate::value::{Date, Fields, Value, lookup};

/// Raise it when the engine itself comes to read or write a value differently: stored halves are then re-canonicalised.
const ENGINE_REVISION: u8 = 1;

impl SideMapping {
    /// Reads a native record into canonical fields. Never fails as a whole: a field that cannot be read is listed in `broken`.
    pub fn observe(&self, native: &NativeRecord) -> Observed {
        let mut observed = Observed {
            id: native.id.clone(),
            stamp: native.stamp,
            created: native.created,
            xref: self
                .xref
                .as_deref()
                .and_then(|path| cross_reference(&native.fields, path)),
            fields: Fields::new(),
            broken: Default::default(),
            absent: Default::default(),
        };
        for (name, field) in &self.fields {
            let held = template::read(&native.fields, &field.native);
            match held.and_then(|held| field.read(held.as_deref().unwrap_or(&Value::Null))) {
                Ok(value) => {
                    if template::is_absent(&native.fields, &field.native) {
                        observed.absent.insert(name.clone());
                    }
                    observed.fields.insert(name.clone(), value);
                }
                Err(what) => {
                    let sentence = format!("{} in {} holds {what}", field.native, self.entity);
                    observed.broken.insert(name.clone(), sentence);
                }
            }
        }
        observed
    }

    /// What the canonical value becomes here. `value` of a reference is already this side's id.
    ///
    /// The prediction is what [`SideMapping::observe`] makes of the native value, by construction.
    pub fn project(&self, field: &str, value: &Value) -> Result<Projection, FieldIssue> {
        let entity = &self.entity;
        let Some(mapping) = self.fields.get(field) else {
            return Err(FieldIssue(format!(
                "{field} is not mapped in {entity}; add it to the mapping"
            )));
        };
        if !mapping.writable {
            return Err(FieldIssue(format!(
                "{field} cannot be written in {entity}: {} is read-only there",
                mapping.native
            )));
        }
        let refuse = |refusal: Refusal| FieldIssue(refusal.sentence(field, mapping, entity));
        let canonical = mapping.canonical(value).map_err(refuse)?;
        let (native, loss) = mapping.write(canonical.clone()).map_err(refuse)?;
        if native == Value::Null && mapping.required {
            let remedy = match mapping.default {
                Some(_) => "it cannot be emptied: fill it in there (the default applies to creates only)",
                None => "fill it in there or set a default for it in the mapping",
            };
            return Err(FieldIssue(format!(
                "{field} is required in {entity} and the other side has none; {remedy}"
            )));
        }
        let predicted = mapping.read(&native).map_err(|what| {
            FieldIssue(format!(
                "{field} would be unreadable in {entity}: {} would hold {what}",
                mapping.native
            ))
        })?;
        let lossy =
            loss.or_else(|| (!Compare::Exact.same(&predicted, &canonical)).then_some(Loss::Transformed));
        Ok(Projection {
            native,
            predicted,
            lossy,
        })
    }

    /// As [`SideMapping::project`], for a create: the configured default stands in for an empty value.
    pub fn project_create(&self, field: &str, value: &Value) -> Result<Projection, FieldIssue> {
        let default = self
            .fields
            .get(field)
            .and_then(|mapping| mapping.default.as_ref());
        match default {
            Some(default) if Compare::Exact.same(value, &Value::Null) => {
                let projection = self.project(field, default)?;
                Ok(Projection {
                    lossy: Some(Loss::Fallback),
                    ..projection
                })
            }
            _ => self.project(field, value),
        }
    }

    /// What a value in the words of this mapping is in those of another: written by the one, and read by the other. `None` where that cannot be said.
    pub(crate) fn translate(&self, field: &str, value: &Value, other: &SideMapping) -> Option<Value> {
        let (native, _) = self.fields.get(field)?.write(value.clone()).ok()?;
        other.fields.get(field)?.read(&native).ok()
    }

    /// What `default_from` gives for a field that the source does not have; `None` when it gives nothing.
    pub fn computed_default(&self, field: &str, source: &Fields, today: Date) -> Option<Value> {
        let mapping = self.fields.get(field)?;
        let held = |name: &String| match name.as_str() {
            TODAY => Some(Value::Date(today)),
            name => source.get(name).cloned(),
        };
        let value = mapping
            .default_from
            .iter()
            .filter_map(held)
            .filter_map(|value| mapping.kind.convert(&value))
            .find(|value| !value.is_empty())?;
        let latest = mapping.not_after.as_ref().and_then(|name| source.get(name));
        match latest.and_then(|latest| mapping.kind.convert(latest)) {
            Some(latest) if !latest.is_empty() && latest < value => Some(latest),
            _ => Some(value),
        }
    }

    /// As [`SideMapping::project`], for an update: refuses a field that this system does not let change after the create.
    pub fn project_update(&self, field: &str, value: &Value) -> Result<Projection, FieldIssue> {
        match self.fields.get(field) {
            Some(mapping) if mapping.writable && !mapping.updatable => Err(FieldIssue(format!(
                "{field} cannot be changed in {} once the record exists ({} is fixed at its create); \
                 change it back on the other side, or make a new record",
                self.entity, mapping.native
            ))),
            _ => self.project(field, value),
        }
    }

    /// Changes whenever the mapping reads or writes anything differently; kept with every base half.
    pub fn version(&self) -> u64 {
        #[expect(clippy::unwrap_used, reason = "plain data with text keys always serialises")]
        let json = serde_json::to_vec(&(ENGINE_REVISION, self)).unwrap();
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(&json)[..8]);
        u64::from_be_bytes(first)
    }
}

/// A cross-reference is compared byte by byte, so it is read as it stands, apart from white space around it.
fn cross_reference(fields: &Fields, path: &str) -> Option<String> {
    let text = lookup(fields, path)?.to_plain()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Why a value does not become a native one.
enum Refusal {
    /// It is not of the canonical type.
    Kind(FieldKind, &'static str),
    /// It is not of the type the native field has.
    NativeKind(FieldKind),
    TooLong {
        length: usize,
        max: usize,
    },
    Option(String),
}

impl Refusal {
    fn sentence(self, field: &str, mapping: &FieldMapping, entity: &str) -> String {
        let native = &mapping.native;
        match self {
            Refusal::Kind(wanted, found) => format!("{field} is {found} where {wanted} is expected"),
            Refusal::NativeKind(wanted) => {
                format!(
                    "{field} cannot be written as {wanted}, which {native} in {entity} needs; correct it on the other side"
                )
            }
            Refusal::TooLong { length, max } => format!(
                "{field} has {length} characters, but {native} in {entity} takes {max}; \
                 shorten it on the other side or set truncate for this field"
            ),
            Refusal::Option(what) => format!("{field} cannot be written to {native} in {entity}: {what}"),
        }
    }
}

impl FieldMapping {
    /// Native to canonical; the error completes "the field holds …".
    fn read(&self, native: &Value) -> Result<Value, String> {
        if let Some(options) = &self.options {
            return options.read(native);
        }
        match self.kind.convert(native) {
            Some(value) => Ok(self.transformed(value)),
            None => Err(format!("{} that is not {}", kind::describe(native), self.kind)),
        }
    }

    /// The value in its canonical type: a default from a configuration comes as text.
    fn canonical(&self, value: &Value) -> Result<Value, Refusal> {
        self.kind
            .convert(value)
            .ok_or(Refusal::Kind(self.kind, kind::describe(value)))
    }

    fn write(&self, canonical: Value) -> Result<(Value, Option<Loss>), Refusal> {
        match (&self.options, self.transformed(canonical)) {
            (_, Value::Null) => Ok((Value::Null, None)),
            (Some(options), Value::Text(option)) => options.write(&option).map_err(Refusal::Option),
            (_, value) => match self.in_native_kind(&value)? {
                Value::Text(text) => self.fitted(text),
                native => Ok((native, None)),
            },
        }
    }

    fn in_native_kind(&self, value: &Value) -> Result<Value, Refusal> {
        let wanted = self.native_kind.unwrap_or(self.kind);
        match (wanted.convert(value), value) {
            (Some(native), _) => Ok(native),
            // The system keeps numbers and nobody has said which one this option is.
            (None, Value::Text(option)) if self.kind == FieldKind::Choice => {
                Err(Refusal::Option(options::without_counterpart(option)))
            }
            (None, _) => Err(Refusal::NativeKind(wanted)),
        }
    }

    /// Cuts a text that is too long, if that is allowed.
    fn fitted(&self, text: String) -> Result<(Value, Option<Loss>), Refusal> {
        let (length, max) = (text.chars().count(), self.max_length.unwrap_or(usize::MAX));
        if length <= max {
            return Ok((Value::Text(text), None));
        }
        if !self.truncate {
            return Err(Refusal::TooLong { length, max });
        }
        // Transformed again: the cut may have left white space at the end.
        let cut = Value::Text(text.chars().take(max).collect::<String>().trim_end().to_owned());
        Ok((self.transformed(cut), Some(Loss::Truncated)))
    }

    fn transformed(&self, value: Value) -> Value {
        match value {
            Value::Text(text) if self.kind == FieldKind::Text => {
                let text = self
                    .transforms
                    .iter()
                    .fold(text, |text, transform| transform.apply(&text));
                Value::text(Transform::Trim.apply(&text))
            }
            other => other,
        }
    }
}
