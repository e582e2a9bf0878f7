//! `init`.

use std::io::Write as _;
use std::path::Path;

use seamless_core::{Error, ErrorKind};
use seamless_host::{Config, LiveField, LiveSide, Plugins, describe_live};
use serde_json::json;

use crate::exit::Exit;
use crate::output::{Output, clean};

const TEMPLATE: &str = include_str!("tenant.toml");
/// Comes before the manifest that a new tenant starts from.
const MANIFEST_HEAD: &str = "\
# What a REST system's API looks like. This is the one of the CRM in `seamless sandbox`: change paths, fields and paging to your system's.

";
const MARK: &str = "# --- what the live systems have (written by `seamless init --live`; everything below is replaced by the next) ---";

/// Writes a commented configuration.
pub(super) fn write(file: &Path, tenant: &str, output: &Output) -> anyhow::Result<Exit> {
    let text = TEMPLATE.replacen("tenant = \"example\"", &format!("tenant = {tenant:?}"), 1);
    Config::parse(&text, file)?;
    let shown = file.display().to_string();
    let mut opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let message =
                    format!("{shown} exists already and is left as it is; name another file with --config");
                Error::new(ErrorKind::Refused, message)
            }
            _ => Error::config(format!("cannot write {shown}: {error}")),
        })?;
    opened.write_all(text.as_bytes())?;
    let manifest = file.with_file_name("crm.toml");
    if !manifest.exists() {
        std::fs::write(
            &manifest,
            format!("{MANIFEST_HEAD}{}", seamless_rest::SANDBOX_CRM),
        )?;
    }
    let next = [
        format!("edit {shown}: the systems' addresses and users, and the syncs"),
        format!(
            "make {} say what your other system's API looks like",
            manifest.display()
        ),
        "seamless keys generate --out keys.json".to_owned(),
        "seamless check --offline, then seamless check".to_owned(),
        "seamless init --live, to see the systems' own fields and options".to_owned(),
        "seamless run --once".to_owned(),
    ];
    output.print(&json!({ "written": shown, "next": next }), || {
        let mut text = format!("{shown} is written. Next:\n");
        for (number, step) in next.iter().enumerate() {
            text += &format!("  {}. {step}\n", number + 1);
        }
        text
    })?;
    Ok(Exit::Done)
}

/// Adds the live systems' fields and options to an existing configuration, as comments.
pub(super) async fn add_live(config: &Config, plugins: &Plugins, output: &Output) -> anyhow::Result<Exit> {
    let sides = describe_live(config, plugins).await?;
    let before = std::fs::read_to_string(&config.file)?;
    let kept = before.split(MARK).next().unwrap_or_default().trim_end();
    let text = format!("{kept}\n\n{MARK}\n{}", comments(&sides));
    // Comments only: what was valid stays valid, or nothing is written.
    Config::parse(&text, &config.file)?;
    std::fs::write(&config.file, text)?;
    let shown = config.file.display().to_string();
    output.print(&json!({ "written": shown, "live": sides }), || {
        format!("{shown} now ends with the live systems' fields and options, as comments\n")
    })?;
    Ok(Exit::Done)
}

fn comments(sides: &[LiveSide]) -> String {
    let mut text = String::new();
    for side in sides {
        text += &format!("#\n# {} in {} (sync {})\n", side.entity, side.system, side.sync);
        if side.fields.is_empty() {
            text += "#   the system does not describe itself\n";
        }
        for field in &side.fields {
            text += &described(field, side);
        }
    }
    text
}

fn described(field: &LiveField, side: &LiveSide) -> String {
    let info = &field.info;
    let mut facts = vec![info.data_type.clone()];
    facts.extend(info.length.map(|length| format!("{length} characters")));
    facts.extend(info.required.then(|| "required".to_owned()));
    facts.extend(info.read_only.then(|| "read-only".to_owned()));
    let unmapped = if field.cross_reference {
        "the cross-reference"
    } else {
        "not mapped"
    };
    let mapped = field.canonical.as_deref().unwrap_or(unmapped);
    let mut text = format!(
        "#   {} -> {mapped} ({})\n",
        clean(&info.name),
        clean(&facts.join(", "))
    );
    let Some(options) = &info.options else { return text };
    for option in options {
        let inactive = if option.active { "" } else { " (inactive)" };
        text += &format!(
            "#       {} = {}{inactive}\n",
            option.value.to_json(),
            clean(&option.label)
        );
    }
    if let Some(canonical) = &field.canonical {
        let pairs: Vec<String> = options
            .iter()
            .filter(|option| option.active)
            .map(|option| {
                format!(
                    "[{:?}, {}]",
                    canonical_option(&option.label),
                    option.value.to_json()
                )
            })
            .collect();
        let pairs = pairs.join(", ");
        text += &format!(
            "#       [syncs.{}.map.{}]\n#       {canonical:?} = {{ options = {{ pairs = [{pairs}] }} }}\n",
            side.sync, side.system
        );
    }
    text
}

/// A label as canonical options are spelled.
fn canonical_option(label: &str) -> String {
    let lower = label.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid_and_an_existing_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tenant.toml");
        let output = Output::new(true);
        assert_eq!(write(&file, "acme", &output).unwrap(), Exit::Done);
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written.contains("tenant = \"acme\""));
        seamless_rest::Manifest::parse(
            &std::fs::read_to_string(dir.path().join("crm.toml")).unwrap(),
            "crm.toml",
        )
        .unwrap();
        let again = write(&file, "other", &output).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    }

    #[test]
    fn a_name_that_is_no_tenant_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tenant.toml");
        assert!(write(&file, "Ac me", &Output::new(true)).is_err());
        assert!(!file.exists());
    }
}
