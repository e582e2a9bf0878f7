//! What becomes of a record's news when the record was set aside, or was about to be, while others linked it.

use std::time::Duration;

use seamless_core::pipeline::{Mistake, Mistakes};

use crate::shelf::{get, pair, set};

#[tokio::test]
async fn what_a_record_was_set_aside_with_is_brought_when_its_counterpart_links_it() {
    let pair = pair(Mistakes::none());
    // A pair from before, so that the store is in use.
    pair.a.put(90, "Delft", 100);
    pair.rest().await;
    let delft = pair.b.rows.lock().unwrap().len();
    assert_eq!(delft, 1);

    // 1 and its copy 2 name the same record there; only 1 is named by it.
    pair.a.put(1, "Ghent", 1_000);
    set(&pair.a, 1, "xref", "50");
    set(&pair.a, 1, "origin", "fair");
    pair.a.put(2, "Ghent", 1_000);
    set(&pair.a, 2, "xref", "50");
    pair.b.put(50, "Ghent", 1_000);
    set(&pair.b, 50, "xref", "1");
    pair.poll("a").await;
    pair.apply("b").await;
    assert_eq!(
        pair.set_aside().await,
        2,
        "nobody can say which of the two is meant"
    );

    pair.poll("b").await;
    pair.apply("a").await;
    // Nothing of 1 is listed again: what it was set aside with has to be remembered.
    pair.apply("b").await;
    assert_eq!(get(&pair.b, 50, "origin").as_deref(), Some("fair"));
    assert_eq!(pair.set_aside().await, 1, "the copy");
}

#[tokio::test]
async fn a_record_that_was_just_made_is_not_taken_for_a_copy_of_itself() {
    assert_eq!(
        edited_while_it_is_made(Mistakes::none()).await,
        (0, Some("Bruges".to_owned()))
    );
    let forgetful = Mistakes::plant(Mistake::ParkedThoughLinked);
    assert_eq!(
        edited_while_it_is_made(forgetful).await,
        (1, Some("Ghent".to_owned()))
    );
}

/// How many are set aside afterwards, and what the other side has of the edit.
async fn edited_while_it_is_made(mistakes: Mistakes) -> (u64, Option<String>) {
    let pair = pair(mistakes);
    pair.a.put(1, "Ghent", 100);
    pair.poll("a").await;

    // It is made there and read back, and its maker has not come to say so.
    let maker = pair.stopped_at(&pair.b, "fetch", "b").await;
    // Somebody edits what was made. Its message is looked at from before the maker's commit until behind it.
    pair.b.put(1, "Bruges", 2_000);
    pair.poll("b").await;
    let other = pair.stopped_at(&pair.a, "find", "a").await;
    for stopped in [maker, other] {
        stopped.stop.go.notify_one();
        stopped.task.await.unwrap();
    }

    pair.clock.advance(Duration::from_secs(60));
    pair.apply("a").await;
    (pair.set_aside().await, pair.a.city(1))
}
