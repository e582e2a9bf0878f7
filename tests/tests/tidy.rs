//! What the workspace promises of itself: arrows between crates, lints, file sizes, words that must not be there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use seamless_tests::workspace;
use serde_json::Value as Json;

/// Files over the limit, with why. The list only shrinks: a file that fits again has to leave it.
const LONG_FILES: [(&str, &str); 2] = [
    (
        "plugins/seamless-autotask/tests/sandbox.rs",
        "the connector against the sandbox, rule by rule",
    ),
    (
        "plugins/seamless-rest/tests/connector/mistakes.rs",
        "a table of bad manifests",
    ),
];
/// Look twice at more lines than this.
const LINES_MAX: usize = 600;

/// For each crate, the crates of ours that it may depend on: normally, and in tests besides.
fn allowed(name: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    match name {
        // Its own conformance runs from its integration tests: the one place where two copies of its types do not meet.
        "seamless-core" => (vec![], vec!["seamless-testkit"]),
        "seamless-http" | "seamless-sqlite" => (vec!["seamless-core"], vec!["seamless-testkit"]),
        // The sandbox's systems are peers of its connector suite.
        "seamless-testkit" => (vec!["seamless-core", "seamless-sandbox"], vec![]),
        "seamless-servicebus" => (
            vec!["seamless-core", "seamless-http"],
            vec!["seamless-testkit", "seamless-emulator"],
        ),
        // Peers that are run as they are: nothing of ours is in them, and no mistake of ours is in both.
        "seamless-sandbox" | "seamless-emulator" => (vec![], vec![]),
        // The host opens the embedded store by itself; connectors are registered by whoever links it.
        "seamless-host" => (
            vec!["seamless-core", "seamless-servicebus", "seamless-sqlite"],
            vec!["seamless-testkit", "seamless-sandbox"],
        ),
        "seamless-autotask" | "seamless-rest" => (
            vec!["seamless-core", "seamless-http"],
            vec!["seamless-testkit", "seamless-sandbox", "seamless-host"],
        ),
        "seamless-entities" => (vec!["seamless-core"], vec!["seamless-testkit"]),
        "seamless" => (
            vec![
                "seamless-core",
                "seamless-http",
                "seamless-sqlite",
                "seamless-emulator",
                "seamless-sandbox",
                "seamless-host",
                "seamless-autotask",
                "seamless-rest",
                "seamless-entities",
            ],
            vec![],
        ),
        // An integrator's project: no connector of ours, and the program least of all.
        "custom-connector" => (
            vec!["seamless-core", "seamless-host", "seamless-entities"],
            vec!["seamless-testkit"],
        ),
        "seamless-tests" => (
            vec![
                "seamless-core",
                "seamless-host",
                "seamless-autotask",
                "seamless-rest",
                "seamless-entities",
                "seamless-sandbox",
                "seamless-testkit",
            ],
            vec!["seamless-emulator"],
        ),
        other => panic!("{other} is new: say here what it may depend on"),
    }
}

struct Package {
    name: String,
    folder: PathBuf,
    /// Of ours, by whether it is for tests only.
    dependencies: BTreeSet<(String, bool)>,
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    packages
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            folder: Path::new(&text(&package["manifest_path"]))
                .parent()
                .unwrap()
                .to_owned(),
            dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| names.contains(&text(&dependency["name"])))
                .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
                .collect(),
        })
        .collect()
}

/// All Rust files of ours, with their paths below the workspace.
fn rust_files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = ["crates", "plugins", "tests", "examples"]
        .map(|name| workspace().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let shown = path.strip_prefix(workspace()).unwrap().display().to_string();
                files.insert(shown, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(files.len() > 100, "the workspace has been found");
    files
}

#[test]
fn arrows_between_crates_point_one_way() {
    for package in packages() {
        let (normal, tests) = allowed(&package.name);
        for (dependency, in_tests) in &package.dependencies {
            let fine =
                normal.contains(&dependency.as_str()) || (*in_tests && tests.contains(&dependency.as_str()));
            assert!(fine, "{} must not depend on {dependency}", package.name);
        }
    }
}

#[test]
fn a_folder_is_called_like_its_crate_and_every_crate_takes_the_lints() {
    for package in packages() {
        let folder = package.folder.file_name().unwrap().to_string_lossy().into_owned();
        let expected = if package.name == "seamless-tests" {
            "tests"
        } else {
            &package.name
        };
        assert_eq!(folder, expected);
        let manifest = fs::read_to_string(package.folder.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not take the workspace's lints",
            package.name
        );
        for inherited in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(
                manifest.contains(&format!("{inherited}.workspace = true")),
                "{}: {inherited} is its own",
                package.name
            );
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    let files = rust_files();
    let waived: BTreeMap<&str, &str> = LONG_FILES.into();
    for (file, text) in &files {
        let lines = text.lines().count();
        let is_waived = waived.contains_key(file.as_str());
        assert!(
            lines <= LINES_MAX || is_waived,
            "{file} has {lines} lines; split it by what it does"
        );
        assert!(
            lines > LINES_MAX || !is_waived,
            "{file} fits again: take it off the list"
        );
    }
    for file in waived.keys() {
        assert!(files.contains_key(*file), "{file} is gone: take it off the list");
    }
}

#[test]
fn words_that_stand_for_unfinished_work_are_not_there() {
    // Put together here, or this file would be the first to be found.
    let banned = [
        ["to", "do!"],
        ["unimplemented", "!"],
        ["db", "g!"],
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X "],
        ["#[ig", "nore"],
    ]
    .map(|parts| parts.concat());
    for (file, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            for word in &banned {
                assert!(!line.contains(word.as_str()), "{file}:{}: {word}", number + 1);
            }
        }
    }
}

#[test]
fn no_module_is_called_after_nothing() {
    for file in rust_files().keys() {
        let is_test = file.contains("/tests/");
        for name in ["utils", "util", "common", "helpers", "helper", "manager", "misc"] {
            let hit = file.ends_with(&format!("/{name}.rs")) || file.contains(&format!("/{name}/"));
            // Cargo's own convention for what integration tests share.
            assert!(
                !hit || (is_test && name == "common"),
                "{file}: say what it does instead of {name}"
            );
        }
    }
}
