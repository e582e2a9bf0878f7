//! Finds, and if need be builds, the program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Path of an up-to-date `seamless`.
///
/// # Panics
/// If it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let folder = profile_folder();
        let binary = folder.join("seamless");
        if is_stale(&binary) {
            build(&folder);
        }
        assert!(
            binary.exists(),
            "{} does not exist, even after cargo build",
            binary.display()
        );
        binary
    })
}

/// Root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// `target/debug` for `target/debug/deps/kill-0123456789abcdef`.
fn profile_folder() -> PathBuf {
    let me = std::env::current_exe().expect("a program knows its own file");
    let folder = me.parent().expect("a file is in a folder");
    let is_deps = folder.ends_with("deps") || folder.ends_with("examples");
    if is_deps {
        folder.parent().expect("deps is in a folder").to_owned()
    } else {
        folder.to_owned()
    }
}

fn is_stale(binary: &Path) -> bool {
    let Some(built) = modified(binary) else {
        return true;
    };
    let sources = ["crates", "plugins"].map(|folder| newest(&workspace().join(folder)));
    let lock = modified(&workspace().join("Cargo.lock"));
    sources
        .into_iter()
        .chain([lock])
        .flatten()
        .any(|changed| changed > built)
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|about| about.modified()).ok()
}

/// When the newest file that can change the binary was changed.
fn newest(folder: &Path) -> Option<SystemTime> {
    let mut found = None;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let skipped = ["tests", "examples", "target", "seamless-testkit"]
            .iter()
            .any(|skip| name == *skip);
        let changed = match path.is_dir() {
            true if skipped => None,
            true => newest(&path),
            false => {
                modified(&path).filter(|_| path.extension().is_some_and(|end| end == "rs" || end == "toml"))
            }
        };
        found = found.max(changed);
    }
    found
}

fn build(profile_folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The whole workspace, so that features are unified as in `cargo test --workspace` and nothing is compiled twice.
    command
        .current_dir(workspace())
        .args(["build", "--quiet", "--workspace", "--bin", "seamless"]);
    if profile_folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "cargo build failed");
}
