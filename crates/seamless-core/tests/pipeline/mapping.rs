//! A mapping that changes over a store that is in use (R3).

use seamless_core::mapping::{FieldMapping, SideMapping, Transform};
use seamless_core::pipeline::{Mistakes, SideSpec, SyncSpec};
use seamless_core::{Capabilities, Reader};

use crate::shelf::pair;

/// The first system's cities, read in capitals from now on.
fn in_capitals(sync: &mut SyncSpec, capabilities: Capabilities) {
    let mut mapping: SideMapping = sync.sides[0].mapping.clone();
    let city = FieldMapping::text("city").transform(Transform::Uppercase);
    mapping.fields.insert("city".into(), city);
    sync.sides[0] = SideSpec::new("a".into(), mapping, capabilities);
}

#[tokio::test]
async fn what_reads_differently_under_a_new_mapping_is_no_edit_and_what_was_edited_is() {
    let old = pair(Mistakes::none());
    old.a.put(1, "Ghent", 100);
    old.a.put(2, "Breda", 100);
    old.rest().await;
    assert_eq!(old.b.city(2).as_deref(), Some("Breda"));

    old.a.put(2, "Delft", 2_000);
    let new = old.with(Mistakes::none(), |sync| {
        in_capitals(sync, old.a.capabilities("things"))
    });
    new.engine.settle_in().await.unwrap();
    new.rest().await;
    let there = [1, 2].map(|id| new.b.city(id));
    assert_eq!(there, [Some("Ghent".to_owned()), Some("DELFT".to_owned())]);
}
