//! Fields that wait alone, and when they are looked at again.

use std::time::Duration;

use seamless_core::pipeline::Mistakes;
use seamless_core::{StateStore, Table};

use crate::shelf::{Pair, pair};

const EVERY: Duration = Duration::from_secs(600);

impl Pair {
    async fn waiting(&self) -> u64 {
        self.store.count(Table::Held, "").await.unwrap()
    }

    fn lose_city(&self) {
        self.b.rows.lock().unwrap().get_mut(&1).unwrap().0.remove("city");
    }
}

#[tokio::test]
async fn a_field_that_has_gone_waits_until_somebody_looks_and_it_is_back() {
    let pair = pair(Mistakes::none());
    pair.a.put(1, "Ghent", 100);
    pair.rest().await;
    pair.lose_city();
    pair.a.put(1, "Bruges", 2_000);
    pair.rest().await;
    assert_eq!((pair.waiting().await, pair.b.city(1)), (1, None));

    let look = || pair.engine.look_again_at_all_held_if_due(EVERY);
    assert_eq!(look().await.unwrap(), 1, "nobody has looked yet");
    assert_eq!(look().await.unwrap(), 0, "somebody just has");
    pair.rest().await;
    assert_eq!(
        (pair.waiting().await, pair.b.city(1)),
        (1, None),
        "it is still gone"
    );

    // Back, without a new stamp.
    pair.b.put(1, "Ghent", 500);
    pair.clock.advance(EVERY - Duration::from_secs(1));
    assert_eq!(look().await.unwrap(), 0);
    pair.clock.advance(Duration::from_secs(1));
    assert_eq!(look().await.unwrap(), 1);
    pair.rest().await;
    assert_eq!(
        (pair.waiting().await, pair.b.city(1)),
        (0, Some("Bruges".to_owned()))
    );
    pair.clock.advance(EVERY);
    assert_eq!(look().await.unwrap(), 0, "nothing waits");
}

#[tokio::test]
async fn what_was_decided_by_a_look_is_no_news_to_the_next_poll() {
    let pair = pair(Mistakes::none());
    pair.a.put(1, "Ghent", 100);
    pair.rest().await;
    pair.lose_city();
    pair.a.put(1, "Bruges", 2_000);
    pair.rest().await;
    // Edited, and looked at again before any poll comes by.
    pair.a.put(1, "Breda", 3_000);
    assert_eq!(pair.engine.look_again_at_all_held_if_due(EVERY).await.unwrap(), 1);
    pair.apply("b").await;
    assert_eq!(
        (pair.poll("a").await, pair.waiting().await),
        (0, 1),
        "the same would only be tried in vain once more"
    );
    // The way back to what was published last is an edit.
    pair.a.put(1, "Bruges", 4_000);
    assert_eq!(pair.poll("a").await, 1);
    pair.apply("b").await;
    pair.b.put(1, "Ghent", 500);
    pair.clock.advance(EVERY);
    assert_eq!(pair.engine.look_again_at_all_held_if_due(EVERY).await.unwrap(), 1);
    pair.rest().await;
    assert_eq!(
        (pair.waiting().await, pair.b.city(1)),
        (0, Some("Bruges".to_owned()))
    );
}
