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
            // Where one of a few words belongs, or a name, the wrong one is repeated; anywhere else it may be a secret.
            let is_word = [
                "is no value",
                "is no name",
                "unknown key",
                "stands here a second time",
            ];
            let told_secret =
                told.contains("s3cret-in-the-file") && !is_word.iter().any(|part| told.contains(part));
            assert!(!told_secret, "the error repeats a secret: {told}");
        }
    }
}

pub(super) fn configuration_seeds() -> Vec<Vec<u8>> {
    super::inputs([
        include_str!("../../../examples/tenants/sandbox/tenant.toml"),
        include_str!("../../../examples/tenants/one-way/tenant.toml"),
        include_str!("../../../examples/custom-connector/tenant.toml"),
        include_str!("../../../crates/seamless/src/verbs/tenant.toml"),
        "tenant = \"a\"\n[keys]\nprovider = \"env\"\nvariable = \"K\"\n[systems]\ntoken = \"s3cret-in-the-file\"\n[syncs]\n",
        "tenant = \"a\"\n[keys]\nprovider = \"env\"\nvariable = \"K\"\n[systems.crm]\nkind = \"rest\"\ntoken = \"s3cret-in-the-file\"\n",
    ])
}
