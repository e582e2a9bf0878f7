//! Who is told of what, and how often, where reading and writing meet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::pipeline::{
    EventRule, EventSender, EventSpec, Herald, Mistake, Mistakes, Poller, Subscriber,
};
use seamless_core::{ErrorKind, Event, EventTarget, Result, StateStore, Table};

use crate::shelf::{Pair, pair, set, stopped};

const PAGER: &str = "pager";

/// The pager is told of every city that changes, in either system.
fn told(mut pair: Pair) -> Pair {
    let changed = "thing.city_changed".to_owned();
    Arc::get_mut(&mut pair.engine).unwrap().events = EventSpec {
        rules: vec![EventRule {
            name: changed.clone(),
            entity: "thing".into(),
            field: "city".to_owned(),
            becomes: Vec::new(),
        }],
        subscribers: vec![Subscriber {
            name: PAGER.to_owned(),
            events: [changed].into(),
            from: ["a".into(), "b".into()].into(),
        }],
    };
    pair
}

#[derive(Default)]
struct Pager(Mutex<Vec<(String, String)>>);

#[async_trait]
impl EventTarget for Pager {
    async fn tell(&self, event: &Event, _: Duration) -> Result<()> {
        let city = event.after.to_plain().unwrap_or_default();
        self.0.lock().unwrap().push((event.id.clone(), city));
        Ok(())
    }
}

impl Pair {
    async fn put_out(&self) -> u64 {
        self.store.count(Table::Outbox, "").await.unwrap()
    }

    async fn tell(&self, pager: &Arc<Pager>) {
        while EventSender::new(&self.engine).step().await.unwrap() > 0 {}
        let herald = Herald::new(&self.engine, PAGER, pager.clone()).await.unwrap();
        while herald.step(Duration::ZERO).await.unwrap().taken > 0 {}
    }
}

#[tokio::test]
async fn a_write_of_ours_that_is_read_before_it_is_noted_is_no_event() {
    let pair = told(pair(Mistakes::none()));
    pair.a.put(1, "Ghent", 100);
    pair.rest().await;
    pair.a.put(1, "Bruges", 2_000);
    pair.poll("a").await;
    let write = pair.stopped_at(&pair.b, "write", "b").await;
    pair.b.put(1, "Bruges", 2_000);
    pair.poll("b").await;
    write.stop.go.notify_one();
    write.task.await.unwrap();
    pair.rest().await;
    assert_eq!(pair.put_out().await, 1, "the edit in a, not its copy in b");
    // Whoever edits after it is told of.
    pair.b.put(1, "Delft", 3_000);
    pair.rest().await;
    assert_eq!(pair.put_out().await, 2);
}

#[tokio::test]
async fn a_page_of_before_our_write_is_no_look() {
    let mut put_out = Vec::new();
    for mistakes in [Mistakes::none(), Mistakes::plant(Mistake::OlderLookTold)] {
        let pair = told(pair(mistakes));
        pair.b.put(9, "Delft", 100);
        set(&pair.b, 9, "xref", "1");
        pair.a.put(1, "Ghent", 100);
        pair.poll("a").await;
        let engine = pair.engine.clone();
        let read = stopped(&pair.b, "list", async move {
            let mut pollers = Poller::all(&engine);
            let of_b = |poller: &&mut Poller| poller.system().as_str() == "b";
            let poller = pollers.iter_mut().find(of_b).unwrap();
            // Read again, where something was written meanwhile.
            if let Err(error) = poller.step().await {
                assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
                poller.step().await.unwrap();
            }
            poller.release().await.unwrap();
        });
        let read = read.await;
        // The page shows Delft, and nobody has looked before.
        pair.apply("b").await;
        assert_eq!(pair.b.city(9).as_deref(), Some("Ghent"));
        read.stop.go.notify_one();
        read.task.await.unwrap();
        pair.rest().await;
        put_out.push(pair.put_out().await);
    }
    assert_eq!(put_out, [0, 1], "nobody has edited anything");
}

#[tokio::test]
async fn an_event_whose_message_is_lost_is_put_out_again_under_its_id() {
    let first = told(pair(Mistakes::none()));
    first.a.put(1, "Ghent", 100);
    first.rest().await;
    for (city, stamp) in [("Bruges", 2_000), ("Delft", 3_000)] {
        first.a.put(1, city, stamp);
        first.rest().await;
    }
    while EventSender::new(&first.engine).step().await.unwrap() > 0 {}
    assert_eq!(
        first.engine.look_for_lost_messages().await.unwrap(),
        0,
        "they are on the bus"
    );

    // The same store, and a bus with nothing on it.
    let second = told(first.with(Mistakes::none(), |_| {}));
    let (here, there) = (Arc::new(Pager::default()), Arc::new(Pager::default()));
    second.tell(&there).await;
    assert!(there.0.lock().unwrap().is_empty());
    assert_eq!(second.engine.look_for_lost_messages().await.unwrap(), 2);
    second.tell(&there).await;
    let told = there.0.lock().unwrap().clone();
    let cities: Vec<&str> = told.iter().map(|(_, city)| city.as_str()).collect();
    assert_eq!(cities, ["Bruges", "Delft"]);
    // The first bus comes back.
    first.tell(&here).await;
    assert!(here.0.lock().unwrap().is_empty(), "they were told");
}
