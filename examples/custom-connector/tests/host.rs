//! The program itself, on two folders.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn two_folders_are_kept_in_step() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("tenant.toml"), include_str!("../tenant.toml")).unwrap();
    seamless_host::keys::generate(&home.join("keys.json")).unwrap();
    write(home, "office", "1,,Acme,518-555-0100,\n2,,Bolt & Nut,,Troy\n");
    write(home, "shop", "7,,ACME,,Albany\n");

    assert_eq!(run(home), "1 created, 2 updated, 0 left to a person\n");
    let office = "1,7,Acme,518-555-0100,Albany\n2,8,Bolt & Nut,,Troy\n";
    assert_eq!(read(home, "office"), office);
    assert_eq!(
        read(home, "shop"),
        "7,1,Acme,518-555-0100,Albany\n8,2,Bolt & Nut,,Troy\n"
    );

    // Somebody edits each of them; then nobody does.
    write(home, "office", &office.replace("Troy", "Utica"));
    write(home, "shop", &read(home, "shop").replace("Bolt", "Bold"));
    assert_eq!(run(home), "0 created, 2 updated, 0 left to a person\n");
    assert_eq!(
        read(home, "office"),
        "1,7,Acme,518-555-0100,Albany\n2,8,Bold & Nut,,Utica\n"
    );
    assert_eq!(run(home), "0 created, 0 updated, 0 left to a person\n");
}

const HEADER: &str = "id,partner_id,name,phone,city\n";

fn write(home: &Path, system: &str, rows: &str) {
    fs::create_dir_all(home.join(system)).unwrap();
    fs::write(home.join(system).join("customers.csv"), format!("{HEADER}{rows}")).unwrap();
}

fn read(home: &Path, system: &str) -> String {
    let text = fs::read_to_string(home.join(system).join("customers.csv")).unwrap();
    text.strip_prefix(HEADER).unwrap().to_owned()
}

fn run(home: &Path) -> String {
    let program = env!("CARGO_BIN_EXE_custom-connector");
    let output = Command::new(program)
        .arg(home.join("tenant.toml"))
        .output()
        .unwrap();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {trouble}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
