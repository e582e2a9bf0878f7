//! The tenants under `examples/` work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use seamless_sandbox::Config;
use seamless_tests::{World, workspace};

/// A folder from which the examples' relative paths lead to the manifest.
fn place(world: &World, example: &str) -> String {
    let folder = world.path(&format!("examples/tenants/{example}"));
    fs::create_dir_all(&folder).unwrap();
    let file = workspace().join(format!("examples/tenants/{example}/tenant.toml"));
    let config = world.get("/config");
    let url = |system: &str| config[system]["url"].as_str().unwrap().to_owned();
    let text = fs::read_to_string(file)
        .unwrap()
        .replace("http://127.0.0.1:4100", &url("autotask"))
        .replace("http://127.0.0.1:4101", &url("crm"));
    fs::write(folder.join("tenant.toml"), text).unwrap();
    let manifests = world.path("plugins/seamless-rest/manifests");
    fs::create_dir_all(&manifests).unwrap();
    fs::write(manifests.join("sandbox-crm.toml"), seamless_rest::SANDBOX_CRM).unwrap();
    fs::copy(world.path("keys.json"), folder.join("keys.json")).unwrap();
    format!("examples/tenants/{example}/tenant.toml")
}

#[test]
fn every_example_is_valid_and_the_sandbox_one_runs() {
    let world = World::new(Config {
        records: 40,
        seed: 31,
        ..Config::default()
    });
    let keys = fs::read_to_string(world.path("keys.json")).unwrap();
    let environment = [
        ("AUTOTASK_USERNAME", "integration@example.test"),
        ("AUTOTASK_INTEGRATION_CODE", "SANDBOX"),
        ("AUTOTASK_SECRET", "sandbox-secret"),
        ("CRM_TOKEN", "sandbox-token"),
        ("SEAMLESS_KEYSET", keys.as_str()),
    ];
    for entry in fs::read_dir(workspace().join("examples/tenants")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let file = place(&world, &entry.file_name().to_string_lossy());
            let checked = world.seamless_with(&environment, &["check", "--offline", "--config", &file]);
            assert_eq!(checked.code, 0, "{checked:?}");
        }
    }
    let file = place(&world, "sandbox");
    let ran = world.seamless_with(
        &environment,
        &["run", "--once", "--accept", "--json", "--config", &file],
    );
    assert!(matches!(ran.code, 0 | 4), "{ran:?}");
    assert_eq!(ran.json()["settled"], true);
}
