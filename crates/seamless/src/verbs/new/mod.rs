//! `new`: the example connector as a project of one's own.

use std::path::Path;

use seamless_core::{Error, ErrorKind};
use serde_json::json;

use crate::cli::New;
use crate::exit::Exit;
use crate::output::Output;

macro_rules! example {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/custom-connector/",
            $path
        ))
    };
}

/// The example, file by file. Only its manifest is another: this one stands alone.
const FILES: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("connector.toml")),
    ("README.md", example!("README.md")),
    ("tenant.toml", example!("tenant.toml")),
    ("src/lib.rs", example!("src/lib.rs")),
    ("src/main.rs", example!("src/main.rs")),
    ("src/sheet.rs", example!("src/sheet.rs")),
    ("tests/conformance.rs", example!("tests/conformance.rs")),
    ("tests/host.rs", example!("tests/host.rs")),
];
const NAME_CHARACTERS_MAX: usize = 40;

pub(super) fn new(new: &New, output: &Output) -> anyhow::Result<Exit> {
    let New::Connector { name, seamless } = new;
    let paths = make(Path::new(""), name, seamless)?;
    let next = [
        format!("cd {name} && cargo test; it is a connector for CSV files, and it conforms"),
        "turn it into yours: settings and mapping in src/lib.rs, the system itself in src/sheet.rs, its people in tests/conformance.rs"
            .to_owned(),
        "docs/connector.md says what a connector must keep".to_owned(),
    ];
    output.print(&json!({ "folder": name, "files": paths, "next": next }), || {
        let mut text = format!("{name} is made. Next:\n");
        for (number, step) in next.iter().enumerate() {
            text += &format!("  {}. {step}\n", number + 1);
        }
        text
    })?;
    Ok(Exit::Done)
}

/// Makes the folder in this place, and tells what is in it.
fn make(place: &Path, name: &str, seamless: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut files = project(name, &from_the_folder(seamless))?;
    let versions = std::fs::read_to_string(place.join(seamless).join("Cargo.lock")).map_err(|_| {
        let message = format!(
            "there is no Seamless in {}; say where it is checked out, with --seamless PATH",
            seamless.display()
        );
        Error::config(message)
    })?;
    // The versions that Seamless is tested with; cargo leaves out what the project does not need.
    files.push(("Cargo.lock", versions));
    let folder = place.join(name);
    std::fs::create_dir(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let message = format!("{name} exists already and is left as it is; choose another name");
            Error::new(ErrorKind::Refused, message)
        }
        _ => Error::config(format!("cannot make the folder {name}: {error}")),
    })?;
    for (path, text) in &files {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, text)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The checkout, seen from the new folder.
fn from_the_folder(seamless: &Path) -> String {
    let seen = if seamless.is_absolute() {
        seamless.to_owned()
    } else {
        Path::new("..").join(seamless)
    };
    seen.display().to_string()
}

/// The example's files under another name.
fn project(name: &str, seamless: &str) -> Result<Vec<(&'static str, String)>, Error> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let fits = name.len() <= NAME_CHARACTERS_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(plain)
        && name.split('-').all(|word| !word.is_empty());
    if !fits {
        let message = format!(
            "{name:?} is no name; use up to {NAME_CHARACTERS_MAX} of a-z, 0-9 and -, a letter first, like acme-crm"
        );
        return Err(Error::config(message));
    }
    // A crate cannot be called like one that it uses.
    if FILES[0]
        .1
        .lines()
        .any(|line| line.split(" = ").next() == Some(name))
    {
        return Err(Error::config(format!(
            "{name} is the name of a crate that the connector uses; choose another"
        )));
    }
    let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    let plugin = words.collect::<String>() + "Plugin";
    let renamed = |text: &str| {
        text.replace("{seamless}", seamless.trim_end_matches('/'))
            .replace("custom-connector", name)
            .replace("custom_connector", &name.replace('-', "_"))
            .replace("CsvPlugin", &plugin)
            .replace("\"csv\"", &format!("{name:?}"))
            .replace("kind `csv`", &format!("kind `{name}`"))
    };
    Ok(FILES.iter().map(|(path, text)| (*path, renamed(text))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_project_is_the_example_under_another_name() {
        let files: BTreeMap<&str, String> =
            project("acme-crm", "../seamless/").unwrap().into_iter().collect();
        for text in files.values() {
            assert!(!text.contains("custom-") && !text.contains("CsvPlugin") && !text.contains("{seamless}"));
        }
        assert!(files["src/main.rs"].contains("use acme_crm::AcmeCrmPlugin;"));
        assert!(files["src/lib.rs"].contains("kind: \"acme-crm\""));
        assert!(files["tenant.toml"].contains("kind = \"acme-crm\""));
        assert!(files["Cargo.toml"].contains("path = \"../seamless/crates/seamless-core\""));
    }

    #[test]
    fn the_checkout_is_looked_for_before_anything_is_made() {
        let home = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::os::unix::fs::symlink(&here, home.path().join("checkout")).unwrap();

        let missing = make(home.path(), "acme-crm", Path::new("seamless"));
        assert!(missing.unwrap_err().to_string().contains("--seamless PATH"));
        assert!(!home.path().join("acme-crm").exists());

        for (name, seamless) in [("far", here.as_path()), ("near", Path::new("checkout"))] {
            make(home.path(), name, seamless).unwrap();
            let folder = home.path().join(name);
            let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml"))
                .unwrap()
                .parse()
                .unwrap();
            let core = manifest["dependencies"]["seamless-core"]["path"]
                .as_str()
                .unwrap();
            assert!(folder.join(core).join("src/lib.rs").exists(), "{core}");
            assert!(folder.join("Cargo.lock").exists());
        }
    }

    /// What is compiled and tested is the example; the project differs from it by its manifest alone.
    #[test]
    fn the_manifest_asks_for_what_the_examples_does() {
        let example: toml::Table = example!("Cargo.toml").parse().unwrap();
        let workspace: toml::Table = include_str!("../../../../../Cargo.toml").parse().unwrap();
        let ours: toml::Table = FILES[0].1.parse().unwrap();
        for table in ["dependencies", "dev-dependencies"] {
            let names = |manifest: &toml::Table| {
                manifest[table]
                    .as_table()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&ours), names(&example), "{table}");
            for (name, asked) in ours[table].as_table().unwrap() {
                let known = &workspace["workspace"]["dependencies"][name];
                let version = |asked: &toml::Value| asked.get("version").unwrap_or(asked).clone();
                let is_ours = asked.get("path").is_some();
                assert!(is_ours || version(asked) == version(known), "{name} {asked}");
            }
        }
        for key in ["edition", "rust-version"] {
            assert_eq!(ours["package"][key], workspace["workspace"]["package"][key]);
        }
    }

    #[test]
    fn names_that_cargo_would_refuse_are_refused() {
        for name in [
            "",
            "Acme",
            "1st",
            "a_b",
            "a--b",
            "-a",
            "../a",
            "csv",
            "seamless-core",
            &"a".repeat(41),
        ] {
            assert!(project(name, "..").is_err(), "{name}");
        }
    }
}
