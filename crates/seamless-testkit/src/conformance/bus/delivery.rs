//! What arrives, and in which order.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join_all, select};
use seamless_core::{Clock, MessageId, Outgoing, Settlement};

use super::{Bench, BusFactory, TARGET, TICK, complete, ids, message};
use crate::conformance::{CaseResult, ensure};

pub(super) async fn delivers_until_settled(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    bench.publish(&["a"]).await?;
    ensure!(bench.bus.depth(TARGET).await? == 1, "depth after publish");
    let mut deliveries = bench.take(10).await?;
    ensure!(ids(&deliveries) == ["a"], "received {:?}", ids(&deliveries));
    ensure!(
        bench.bus.depth(TARGET).await? == 1,
        "a locked message does not count in the depth"
    );
    let delivery = deliveries.remove(0);
    ensure!(
        delivery.delivery_count == 1,
        "the first delivery counts {}",
        delivery.delivery_count
    );
    bench
        .consumer
        .settle(vec![complete(delivery.lock).await?])
        .await?;
    ensure!(bench.bus.depth(TARGET).await? == 0, "depth after completion");
    bench.clock.advance(bench.lock_duration() * 2);
    ensure!(bench.take(10).await?.is_empty(), "a completed message came again");
    Ok(())
}

pub(super) async fn an_empty_subscription_waits_as_long_as_asked(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    for wait in [Duration::ZERO, Duration::from_secs(5)] {
        let before = bench.clock.monotonic();
        let deliveries = bench.clock.drive(bench.consumer.receive(10, wait)).await?;
        let waited = bench.clock.monotonic() - before;
        ensure!(deliveries.is_empty(), "received out of nothing");
        ensure!(
            waited >= wait && waited <= wait + Duration::from_secs(1),
            "waited {waited:?} instead of {wait:?}"
        );
    }
    ensure!(
        bench
            .consumer
            .receive(0, Duration::from_secs(5))
            .await?
            .is_empty(),
        "asked for none, got some"
    );
    Ok(())
}

pub(super) async fn a_waiting_receive_gets_what_is_published(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let publish_then_let_time_pass = async {
        bench.publish(&["a"]).await?;
        bench.clock.drive(futures::future::pending::<CaseResult>()).await
    };
    let receive = bench.consumer.receive(10, Duration::from_secs(60));
    match select(receive, pin!(publish_then_let_time_pass)).await {
        Either::Left((deliveries, _)) => {
            let deliveries = deliveries?;
            ensure!(ids(&deliveries) == ["a"], "received {:?}", ids(&deliveries));
            Ok(())
        }
        Either::Right((failed, _)) => failed,
    }
}

pub(super) async fn delivers_whole_batches(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let limits = bench.bus.limits();
    let count = limits.publish_batch_max.min(1_000);
    let batch = (0..count).map(|n| message(&format!("m{n}"), TARGET)).collect();
    bench.bus.publish(batch).await?;
    bench.bus.publish(vec![]).await?;
    ensure!(
        bench.bus.depth(TARGET).await? == count as u64,
        "not all {count} messages are there"
    );
    let some = bench.take(3).await?;
    ensure!(some.len() == 3.min(count), "asked for 3, got {}", some.len());
    let mut seen: BTreeSet<String> = some.into_iter().map(|delivery| delivery.id.0).collect();
    loop {
        let more = bench.take(usize::MAX).await?;
        ensure!(
            more.len() <= limits.receive_batch_max,
            "received {} at once",
            more.len()
        );
        if more.is_empty() {
            break;
        }
        for delivery in more {
            ensure!(seen.insert(delivery.id.0.clone()), "{} came twice", delivery.id.0);
        }
    }
    ensure!(seen.len() == count, "{} of {count} messages arrived", seen.len());
    Ok(())
}

pub(super) async fn oldest_due_first(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    bench.publish(&["b"]).await?;
    bench.publish(&["a"]).await?;
    bench.clock.advance(TICK);
    bench.publish(&["d", "c", "e"]).await?;
    let first = bench.take(2).await?;
    ensure!(ids(&first) == ["b", "a"], "first {:?}", ids(&first));
    let rest = bench.take(10).await?;
    ensure!(ids(&rest) == ["d", "c", "e"], "then {:?}", ids(&rest));
    // A message whose lock ended is older than what came after it.
    bench.publish(&["f"]).await?;
    bench.clock.advance(bench.lock_duration());
    let again = bench.drain().await?;
    ensure!(
        again == ["b", "a", "d", "c", "e", "f"],
        "after the locks ended {again:?}"
    );
    Ok(())
}

pub(super) async fn deferred_goes_to_the_back(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    bench.publish(&["a", "b", "c"]).await?;
    for wait in [Duration::ZERO, TICK] {
        bench.clock.advance(TICK);
        let first = bench.take(1).await?;
        let id = first[..].first().map(|delivery| delivery.id.clone());
        for delivery in first {
            bench
                .consumer
                .settle(vec![Settlement::Defer(delivery.lock, wait)])
                .await?;
        }
        let expected = if wait.is_zero() { "a" } else { "b" };
        ensure!(
            id == Some(MessageId(expected.to_owned())),
            "{id:?} came before {expected}"
        );
    }
    bench.clock.advance(TICK);
    bench.publish(&["d"]).await?;
    let mut order = bench.drain().await?;
    let mut expected = ["c", "a", "b", "d"];
    if !bench.bus.limits().lanes {
        // A bus that promises no order within a lane only has to deliver all of them.
        order.sort_unstable();
        expected.sort_unstable();
    }
    ensure!(order == expected, "after deferring a, then b: {order:?}");
    Ok(())
}

pub(super) async fn deferred_waits_and_counts_nothing(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let wait = Duration::from_secs(10);
    bench.publish(&["a"]).await?;
    for round in 0..3 {
        for delivery in bench.take(10).await? {
            ensure!(
                delivery.delivery_count == 1,
                "round {round} counts {}",
                delivery.delivery_count
            );
            bench
                .consumer
                .settle(vec![Settlement::Defer(delivery.lock, wait)])
                .await?;
        }
        ensure!(
            bench.bus.depth(TARGET).await? == 1,
            "a deferred message does not count in the depth"
        );
        bench.clock.advance(wait - TICK);
        ensure!(
            bench.take(10).await?.is_empty(),
            "round {round}: came back before its time"
        );
        bench.clock.advance(TICK);
    }
    let due = bench.clock.drive(bench.consumer.receive(10, wait)).await?;
    ensure!(ids(&due) == ["a"], "received {:?} when it was due", ids(&due));
    for delivery in due {
        bench
            .consumer
            .settle(vec![Settlement::Defer(delivery.lock, wait)])
            .await?;
    }
    // A receive that waits finds it in the moment it is due.
    let before = bench.clock.monotonic();
    let due = bench.clock.drive(bench.consumer.receive(10, wait * 5)).await?;
    let waited = bench.clock.monotonic() - before;
    ensure!(ids(&due) == ["a"], "a waiting receive got {:?}", ids(&due));
    ensure!(
        waited >= wait && waited < wait * 2,
        "a waiting receive took {waited:?} instead of {wait:?}"
    );
    Ok(())
}

pub(super) async fn bodies_ids_and_lanes_survive(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let largest = bench.bus.limits().body_bytes_max;
    let bodies: [Vec<u8>; 4] = [
        vec![],
        (0..=255).collect(),
        b"'; DROP TABLE message; --\0\0".to_vec(),
        (0..largest).map(|n| (n % 253) as u8).collect(),
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        let id = MessageId(format!("{n}-{}", "é".repeat(126)));
        let lane = "0123456789abcdef".repeat(2);
        let sent = Outgoing {
            id: id.clone(),
            subscription: TARGET.to_owned(),
            lane: lane.clone(),
            body: body.clone(),
        };
        bench.bus.publish(vec![sent]).await?;
        let mut received = bench.take(10).await?;
        ensure!(received.len() == 1, "received {} messages", received.len());
        let delivery = received.remove(0);
        ensure!(delivery.id == id && delivery.lane == lane, "id or lane changed");
        ensure!(delivery.body == body, "a body of {} bytes changed", body.len());
        bench
            .consumer
            .settle(vec![complete(delivery.lock).await?])
            .await?;
    }
    Ok(())
}

pub(super) async fn subscriptions_are_apart(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let other = bench.bus.subscribe("autotask").await?;
    bench
        .bus
        .publish(vec![
            message("a", TARGET),
            message("a", "autotask"),
            message("b", "autotask"),
        ])
        .await?;
    for (subscription, expected) in [(TARGET, 1), ("autotask", 2), ("nobody", 0)] {
        let depth = bench.bus.depth(subscription).await?;
        ensure!(
            depth == expected,
            "depth of {subscription} is {depth} instead of {expected}"
        );
    }
    let ours = bench.take(10).await?;
    let theirs = other.receive(10, Duration::ZERO).await?;
    ensure!(
        ids(&ours) == ["a"] && ids(&theirs) == ["a", "b"],
        "{:?} and {:?}",
        ids(&ours),
        ids(&theirs)
    );
    for delivery in ours {
        bench
            .consumer
            .settle(vec![complete(delivery.lock).await?])
            .await?;
    }
    let depths = (bench.bus.depth(TARGET).await?, bench.bus.depth("autotask").await?);
    ensure!(depths == (0, 2), "settling here left depths {depths:?}");
    // A message published before anybody subscribed is kept.
    bench.bus.publish(vec![message("early", "late")]).await?;
    let late = bench
        .bus
        .subscribe("late")
        .await?
        .receive(10, Duration::ZERO)
        .await?;
    ensure!(ids(&late) == ["early"], "a late subscriber got {:?}", ids(&late));
    Ok(())
}

pub(super) async fn rivals_never_share_a_message(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let names: Vec<String> = (0..60).map(|n| format!("m{n}")).collect();
    bench
        .publish(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await?;
    let rivals = join_all((0..4).map(|_| bench.bus.subscribe(TARGET))).await;
    let taken = join_all(rivals.into_iter().map(async |rival| {
        let rival = rival?;
        let mut mine = Vec::new();
        loop {
            let more = rival.receive(7, Duration::ZERO).await?;
            if more.is_empty() {
                return CaseResult::Ok(mine);
            }
            mine.extend(more);
        }
    }))
    .await;
    let (mut seen, mut locks) = (BTreeSet::new(), BTreeSet::new());
    for rival in taken {
        for delivery in rival? {
            ensure!(
                seen.insert(delivery.id.clone()),
                "{} was delivered to two",
                delivery.id.0
            );
            ensure!(locks.insert(delivery.lock), "two deliveries share a lock");
        }
    }
    ensure!(
        seen.len() == names.len(),
        "{} of {} messages arrived",
        seen.len(),
        names.len()
    );
    Ok(())
}
