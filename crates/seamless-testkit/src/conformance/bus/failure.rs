//! Lost locks, dead letters, dropped futures, restarts.

use std::time::Duration;

use seamless_core::{Clock, ErrorKind, LockToken, MessageId, Settlement};

use super::{Bench, BusFactory, TARGET, TICK, complete, dead_letter, ids, message};
use crate::conformance::{CaseResult, ensure};

pub(super) async fn a_lock_that_ends_redelivers(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let other = bench.bus.subscribe(TARGET).await?;
    bench.publish(&["a"]).await?;
    let mut locks: Vec<LockToken> = Vec::new();
    for count in 1..=4 {
        let mut deliveries = bench.take(10).await?;
        ensure!(
            ids(&deliveries) == ["a"],
            "delivery {count} brought {:?}",
            ids(&deliveries)
        );
        let delivery = deliveries.remove(0);
        ensure!(
            delivery.delivery_count == count,
            "delivery {count} counts {}",
            delivery.delivery_count
        );
        ensure!(delivery.body == b"body of a", "delivery {count} has another body");
        ensure!(
            !locks.contains(&delivery.lock),
            "delivery {count} has an old lock"
        );
        locks.push(delivery.lock);
        bench.clock.advance(bench.lock_duration() - TICK);
        ensure!(
            other.receive(10, Duration::ZERO).await?.is_empty(),
            "a locked message went to another consumer"
        );
        bench.clock.advance(TICK);
    }
    // A receive that waits gets it when the lock ends.
    ensure!(bench.take(10).await?.len() == 1, "it is not there again");
    let again = bench
        .clock
        .drive(other.receive(10, bench.lock_duration() * 2))
        .await?;
    ensure!(ids(&again) == ["a"], "a waiting receive got {:?}", ids(&again));
    Ok(())
}

pub(super) async fn renewing_keeps_a_lock(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let other = bench.bus.subscribe(TARGET).await?;
    // On two lanes: a bus may keep one lock for all messages of a lane.
    let mut b = message("b", TARGET);
    b.lane = "00fe".to_owned();
    bench.bus.publish(vec![message("a", TARGET), b]).await?;
    let mut deliveries = bench.take(10).await?;
    deliveries.sort_by(|one, other| one.id.cmp(&other.id));
    ensure!(ids(&deliveries) == ["a", "b"], "received {:?}", ids(&deliveries));
    let (kept, lost) = (deliveries[0].lock.clone(), deliveries[1].lock.clone());
    for round in 0..3 {
        bench.clock.advance(bench.lock_duration() - TICK);
        let gone = bench.consumer.renew(std::slice::from_ref(&kept)).await?;
        ensure!(gone.is_empty(), "round {round}: a renewed lock was lost");
    }
    let others = other.receive(10, Duration::ZERO).await?;
    ensure!(ids(&others) == ["b"], "another consumer got {:?}", ids(&others));
    let unknown = LockToken("nonsense".to_owned());
    let gone = bench
        .consumer
        .renew(&[lost.clone(), kept.clone(), unknown.clone()])
        .await?;
    ensure!(
        gone == [lost, unknown],
        "reported {} lost locks instead of two",
        gone.len()
    );
    // An ended lock is lost even while nobody else has taken the message.
    bench.clock.advance(bench.lock_duration());
    ensure!(
        bench.consumer.renew(std::slice::from_ref(&kept)).await? == [kept],
        "an ended lock was renewed"
    );
    Ok(())
}

pub(super) async fn a_lost_lock_settles_nothing(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    for how in ["complete", "defer", "dead-letter"] {
        bench.publish(&["a"]).await?;
        let mut first = bench.take(10).await?;
        ensure!(first.len() == 1, "{how}: received {:?}", ids(&first));
        let lock = first.remove(0).lock;
        bench.clock.advance(bench.lock_duration());
        let mut second = bench.take(10).await?;
        ensure!(
            second.len() == 1,
            "{how}: received {:?} after the lock ended",
            ids(&second)
        );
        let settlement = match how {
            "complete" => complete(lock).await?,
            "defer" => Settlement::Defer(lock, Duration::ZERO),
            _ => dead_letter(lock, "late"),
        };
        bench.consumer.settle(vec![settlement]).await?;
        ensure!(
            bench.bus.depth(TARGET).await? == 1,
            "{how} with a lost lock removed the message"
        );
        ensure!(
            bench.take(10).await?.is_empty(),
            "{how} with a lost lock freed another's message"
        );
        let lock = second.remove(0).lock;
        // Settling twice is the same as once.
        bench
            .consumer
            .settle(vec![complete(lock.clone()).await?, complete(lock).await?])
            .await?;
        ensure!(
            bench.bus.depth(TARGET).await? == 0,
            "{how}: the second delivery could not be completed"
        );
    }
    let dead = bench.bus.dead_letters(TARGET, None, 10).await?;
    ensure!(dead.is_empty(), "a lost lock dead-lettered its message");
    bench
        .consumer
        .settle(vec![complete(LockToken("nonsense".to_owned())).await?])
        .await?;
    Ok(())
}

pub(super) async fn dead_letters_are_kept_listed_and_replayed(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    bench.publish(&["a", "b", "c", "d"]).await?;
    let mut deliveries = bench.take(10).await?;
    ensure!(deliveries.len() == 4, "received {:?}", ids(&deliveries));
    let since = bench.clock.now();
    // In another order than they came: b, d, a; c is completed.
    for index in [1, 2, 0, 0] {
        let delivery = deliveries.remove(index);
        let code = format!("reason_{}", delivery.id.0);
        let settlement = if delivery.id.0 == "c" {
            complete(delivery.lock).await?
        } else {
            dead_letter(delivery.lock, &code)
        };
        bench.consumer.settle(vec![settlement]).await?;
    }
    ensure!(
        bench.bus.depth(TARGET).await? == 0,
        "dead letters count in the depth"
    );
    bench.clock.advance(bench.lock_duration() * 2);
    ensure!(bench.take(10).await?.is_empty(), "a dead letter was delivered");

    let mut listed: Vec<String> = Vec::new();
    let mut after: Option<MessageId> = None;
    for _ in 0..10 {
        let mut page = bench.bus.dead_letters(TARGET, after.as_ref(), 1).await?;
        ensure!(page.len() <= 1, "asked for 1 dead letter, got {}", page.len());
        let Some(dead) = page.pop() else { break };
        let id = &dead.id.0;
        ensure!(
            dead.reason.code == format!("reason_{id}"),
            "{id} has code {}",
            dead.reason.code
        );
        ensure!(
            dead.reason.description == format!("because of reason_{id}"),
            "{id} lost its description"
        );
        ensure!(
            dead.body == format!("body of {id}").into_bytes(),
            "{id} lost its body"
        );
        ensure!(
            dead.since == since,
            "{id} is dead since {} instead of {since}",
            dead.since
        );
        listed.push(id.clone());
        after = Some(dead.id);
    }
    let expected: Vec<&str> = vec!["b", "d", "a"];
    ensure!(listed == expected, "listed {listed:?}");
    ensure!(
        bench.bus.dead_letters("nobody", None, 10).await?.is_empty(),
        "another subscription lists them too"
    );

    let asked: Vec<MessageId> = ["d", "unknown", "b", "b"]
        .map(|id| MessageId(id.to_owned()))
        .into();
    let replayed = bench.bus.replay(TARGET, &asked).await?;
    ensure!(replayed == 2, "replayed {replayed} instead of 2");
    let again = bench.take(10).await?;
    ensure!(ids(&again) == ["d", "b"], "replay brought {:?}", ids(&again));
    for delivery in again {
        ensure!(
            delivery.delivery_count == 1,
            "a replayed message counts {}",
            delivery.delivery_count
        );
        ensure!(delivery.lane == "00ff", "a replayed message lost its lane");
    }
    let left: Vec<MessageId> = bench
        .bus
        .dead_letters(TARGET, None, 10)
        .await?
        .into_iter()
        .map(|dead| dead.id)
        .collect();
    ensure!(
        left == [MessageId("a".to_owned())],
        "{} dead letters are left",
        left.len()
    );
    Ok(())
}

pub(super) async fn refuses_what_is_too_large(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let limits = bench.bus.limits();
    let mut too_large = message("large", TARGET);
    too_large.body = vec![7; limits.body_bytes_max + 1];
    let long_id = message(&"x".repeat(129), TARGET);
    let mut long_lane = message("lane", TARGET);
    long_lane.lane = "0".repeat(33);
    let too_many = (0..=limits.publish_batch_max)
        .map(|n| message(&format!("m{n}"), TARGET))
        .collect();
    let batches = [
        ("a body", vec![message("small", TARGET), too_large]),
        ("an id", vec![message("small", TARGET), long_id]),
        ("a lane", vec![message("small", TARGET), long_lane]),
        ("a batch", too_many),
    ];
    for (what, batch) in batches {
        let kind = bench.bus.publish(batch).await.err().map(|error| error.kind);
        ensure!(
            kind == Some(ErrorKind::Limit),
            "{what} too large is answered with {kind:?} instead of Limit"
        );
        ensure!(
            bench.bus.depth(TARGET).await? == 0,
            "{what} too large, but a part was published"
        );
    }
    Ok(())
}

pub(super) async fn a_doubled_publish_is_not_lost(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    bench.publish(&["a"]).await?;
    // The caller's first attempt failed half-way, so it sends everything again.
    bench.publish(&["a", "b", "b", "c"]).await?;
    let mut arrived = bench.drain().await?;
    arrived.sort_unstable();
    arrived.dedup();
    ensure!(arrived == ["a", "b", "c"], "arrived {arrived:?}");
    // Published again while the first one is locked, which is then lost.
    bench.publish(&["d"]).await?;
    ensure!(bench.take(1).await?.len() == 1, "d did not arrive");
    bench.publish(&["d"]).await?;
    bench.clock.advance(bench.lock_duration());
    let arrived = bench.drain().await?;
    ensure!(
        !arrived.is_empty() && arrived.iter().all(|id| id == "d"),
        "arrived {arrived:?} instead of d"
    );
    ensure!(bench.bus.depth(TARGET).await? == 0, "something is left behind");
    Ok(())
}

pub(super) async fn a_dropped_receive_loses_nothing(factory: &dyn BusFactory) -> CaseResult {
    let bench = Bench::new(factory).await?;
    let mut waiting = bench.consumer.receive(10, Duration::from_secs(3_600));
    drop(futures::poll!(&mut waiting));
    drop(waiting);
    bench.publish(&["a", "b"]).await?;
    let mut receiving = bench.consumer.receive(10, Duration::from_secs(3_600));
    drop(futures::poll!(&mut receiving));
    drop(receiving);
    bench.clock.advance(bench.lock_duration());
    let arrived = bench.drain().await?;
    ensure!(arrived == ["a", "b"], "arrived {arrived:?}");
    Ok(())
}

pub(super) async fn a_closed_consumer_loses_nothing(factory: &dyn BusFactory) -> CaseResult {
    let mut bench = Bench::new(factory).await?;
    bench.publish(&["a", "b"]).await?;
    ensure!(bench.take(1).await?.len() == 1, "a did not arrive");
    let next = bench.bus.subscribe(TARGET).await?;
    std::mem::replace(&mut bench.consumer, next).close().await?;
    bench.clock.advance(bench.lock_duration());
    let arrived = bench.drain().await?;
    ensure!(arrived == ["a", "b"], "arrived {arrived:?}");
    Ok(())
}

pub(super) async fn survives_reopening(factory: &dyn BusFactory) -> CaseResult {
    let Bench { clock, bus, consumer } = Bench::new(factory).await?;
    let wait = bus.limits().lock_duration * 3;
    bus.publish(
        ["done", "locked", "dead", "deferred"]
            .map(|id| message(id, TARGET))
            .into(),
    )
    .await?;
    clock.advance(TICK);
    bus.publish(vec![message("waiting", TARGET)]).await?;
    let mut deliveries = consumer.receive(4, Duration::ZERO).await?;
    ensure!(
        ids(&deliveries) == ["done", "locked", "dead", "deferred"],
        "received {:?}",
        ids(&deliveries)
    );
    let mut lock = || deliveries.remove(0).lock;
    let (done, old_lock) = (complete(lock()).await?, lock());
    consumer
        .settle(vec![
            done,
            dead_letter(lock(), "unreadable"),
            Settlement::Defer(lock(), wait),
        ])
        .await?;
    drop((bus, consumer));
    let Some(bus) = factory.reopen().await else {
        return Ok(());
    };
    let consumer = bus.subscribe(TARGET).await?;
    let bench = Bench { clock, bus, consumer };

    ensure!(
        bench.bus.depth(TARGET).await? == 3,
        "depth is {}",
        bench.bus.depth(TARGET).await?
    );
    bench.consumer.settle(vec![complete(old_lock).await?]).await?;
    bench.clock.advance(bench.lock_duration());
    let mut now = bench.take(10).await?;
    ensure!(ids(&now) == ["locked", "waiting"], "received {:?}", ids(&now));
    let counts = (now.remove(0).delivery_count, now.remove(0).delivery_count);
    ensure!(counts == (2, 1), "delivery counts {counts:?} instead of 2 and 1");
    bench.clock.advance(wait - bench.lock_duration());
    let later = bench.drain().await?;
    ensure!(
        later.contains(&"deferred".to_owned()),
        "the deferred message is not among {later:?}"
    );
    let dead = bench.bus.dead_letters(TARGET, None, 10).await?;
    ensure!(
        dead.len() == 1 && dead[0].reason.code == "unreadable",
        "{} dead letters",
        dead.len()
    );
    let replayed = bench.bus.replay(TARGET, &[dead[0].id.clone()]).await?;
    ensure!(
        replayed == 1 && bench.drain().await? == ["dead"],
        "the dead letter could not be replayed"
    );
    Ok(())
}
