//! Files that people write.

use std::path::Path;

use seamless_host::Config;

/// A tenant's configuration: read, or refused with a sentence that names the file.
pub(super) fn configuration(input: &[u8]) {
    match Config::parse(&super::text(input), Path::new("tenant.toml")) {
        Ok(config) => drop(format!("{config:?}")),
        Err(error) => {
            let told = error.to_string();
            assert!(
                told.contains("tenant.toml"),
                "the error does not name the file: {told}"
            );
            assert!(!told.contains("s3cret-in-the-file"), "the error repeats a secret");
        }
    }
}

pub(super) fn configuration_seeds() -> Vec<Vec<u8>> {
    super::inputs([
        include_str!("../../../examples/tenants/sandbox/tenant.toml"),
        include_str!("../../../examples/tenants/one-way/tenant.toml"),
        include_str!("../../../examples/custom-connector/tenant.toml"),
        include_str!("../../../crates/seamless/src/verbs/tenant.toml"),
        "tenant = \"a\"\n[keys]\nprovider = \"env\"\nvariable = \"K\"\n[systems.crm]\nkind = \"rest\"\ntoken = \"s3cret-in-the-file\"\n",
    ])
}
