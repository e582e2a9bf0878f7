//! The connectors and entities of this binary.

use seamless_autotask::Autotask;
use seamless_core::Registry;
use seamless_host::Plugins;
use seamless_rest::Rest;

/// Everything that is registered.
pub(crate) fn plugins() -> Plugins {
    Plugins {
        registry: Registry::default().connector(Autotask).connector(Rest),
        models: seamless_entities::models(),
        // A REST system's fields are its manifest's business: what the manifest does not map has no default.
        defaults: |kind, entity| {
            (kind == "autotask")
                .then(|| seamless_entities::default_mapping(kind, entity))
                .flatten()
        },
    }
}
