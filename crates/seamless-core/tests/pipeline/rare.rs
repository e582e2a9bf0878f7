//! Planted mistakes that the simulator's seeds come by too rarely, or that only make work: each is made to happen.

use std::time::Duration;

use seamless_core::pipeline::{Mistake, Mistakes, Policy, Resolver, SyncSpec};
use seamless_core::{StateStore, Table};

use crate::shelf::{get, pair_of, set};

/// What comes of the right code, and with a mistake planted.
fn right_and(mistake: Mistake) -> [Mistakes; 2] {
    [Mistakes::none(), Mistakes::plant(mistake)]
}

/// A person decides about conflicts.
fn asks(sync: &mut SyncSpec) {
    sync.model.fields.get_mut("city").unwrap().policy = Policy::Ask;
}

/// R11. A record that only got its counterpart's id says nothing new, whatever else of it waits.
#[tokio::test]
async fn an_id_that_was_written_back_is_no_news() {
    let mut news = Vec::new();
    for mistakes in right_and(Mistake::WriteBackIsEdit) {
        let pair = pair_of(mistakes, asks);
        pair.a.put(90, "Ghent", 100);
        pair.rest().await;
        pair.a.put(1, "Bruges", 1_000);
        pair.b.put(50, "Delft", 1_000);
        set(&pair.b, 50, "xref", "1");
        news.push(pair.rest().await);
        assert_eq!(
            pair.store.count(Table::Held, "").await.unwrap(),
            1,
            "a person is asked"
        );
        assert_eq!(get(&pair.a, 1, "xref").as_deref(), Some("50"));
    }
    assert_eq!(news, [2, 3], "the two records, and nothing else");
}

/// R2. What a side was decided on says nothing any more once its half has changed: the way back to it is an edit.
#[tokio::test]
async fn an_edit_back_to_what_was_decided_on_is_news() {
    let mut asked_again = Vec::new();
    for mistakes in right_and(Mistake::DecisionOutlivesHalf) {
        let pair = pair_of(mistakes, asks);
        pair.a.put(1, "Ghent", 100);
        pair.rest().await;
        // Both sides are edited: a person is asked, and both are decided on.
        pair.a.put(1, "Bruges", 2_000);
        pair.b.put(1, "Delft", 2_000);
        pair.rest().await;
        assert_eq!(pair.store.count(Table::Held, "").await.unwrap(), 1);
        // The two come to agree, and only one of the edits has been read.
        pair.b.put(1, "Breda", 3_000);
        pair.a.put(1, "Breda", 3_000);
        assert_eq!(pair.poll("a").await, 1);
        pair.apply("b").await;
        assert_eq!(pair.store.count(Table::Held, "").await.unwrap(), 0);
        // Back to what was decided on once.
        pair.b.put(1, "Delft", 4_000);
        pair.rest().await;
        asked_again.push(pair.a.city(1));
    }
    assert_eq!(asked_again, [Some("Delft".to_owned()), Some("Breda".to_owned())]);
}

/// R8. A create did not land, and a similar record appeared: a person is asked. Another edit of the source decides nothing.
#[tokio::test]
async fn an_edit_does_not_make_again_what_a_person_was_asked_about() {
    let mut there = Vec::new();
    for mistakes in right_and(Mistake::SimilarForgotten) {
        let pair = pair_of(mistakes, |sync| sync.model.identity = vec!["city".into()]);
        pair.a.put(1, "Ghent", 100);
        pair.rest().await;
        pair.a.put(2, "Bruges", 1_000);
        set(&pair.a, 2, "origin", "fair");
        *pair.b.loses_a_create.lock().unwrap() = true;
        pair.poll("a").await;
        pair.apply("b").await;
        // Somebody has made it there by hand, and without the origin.
        pair.b.put(2, "Bruges", 1_000);
        pair.clock.advance(Duration::from_secs(600));
        let resolver = Resolver::new(&pair.engine);
        while resolver.step().await.unwrap().open > 0 {
            pair.clock.advance(Duration::from_secs(600));
        }
        assert_eq!(pair.set_aside().await, 2, "a person is asked about both");
        pair.a.put(2, "Bruges", 2_000);
        set(&pair.a, 2, "origin", "shop");
        assert_eq!(pair.poll("a").await, 1);
        pair.apply("b").await;
        there.push(pair.b.rows.lock().unwrap().len());
    }
    assert_eq!(there, [2, 3]);
}
