//! The end: what was accepted is answered, and it comes in time.

use super::*;
use crate::plan::Registry;

#[tokio::test(start_paused = true)]
async fn a_stop_unregisters_and_answers_what_was_accepted() {
    let disk = Disk::with(&[("k", "v")]);
    let unregistered = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, unregistered) = (disk.clone(), unregistered.clone());
        move |worker, call: &Value| {
            unregistered.fetch_add(usize::from(call["op"].get("unregister").is_some()), SeqCst);
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(3, script).await;
    let reads: Vec<_> = (0..5)
        .map(|n| {
            let bridge = bridge.clone();
            tokio::spawn(async move { write(&bridge, &format!("k{n}"), "v").await })
        })
        .collect();
    tokio::task::yield_now().await;
    bridge.stop(Duration::from_secs(30)).await;
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert_eq!(unregistered.load(SeqCst), 1);
    assert!(matches!(read(&bridge, "k").await, Err(BridgeError::NotReady { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_within_its_limit_whatever_hangs() {
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(30));
    // A worker that has nothing to do any more is not waited for as long as a request.
    for (hangs, limit, most) in [
        ("get", short, short),
        ("unregister", short, short),
        ("shutdown", short, short),
        ("shutdown", long, Duration::from_secs(3)),
    ] {
        let disk = Disk::with(&[("k", "v")]);
        let seen = Arc::new(AtomicUsize::new(0));
        let script = {
            let seen = seen.clone();
            move |worker, call: &Value| {
                seen.fetch_add(usize::from(call["op"].get("unregister").is_some()), SeqCst);
                match call["op"].get(hangs) {
                    Some(_) => Reaction::Hang,
                    None => disk.serve(worker, call),
                }
            }
        };
        let launcher = Arc::new(FakeLauncher::new(script));
        let bridge = Bridge::start_with(plan(2), launcher.clone()).await.unwrap();
        let asked = tokio::spawn({
            let bridge = bridge.clone();
            async move { (read(&bridge, "k").await, Instant::now()) }
        });
        tokio::task::yield_now().await;
        let begun = Instant::now();
        let (answer, at) = bridge.stop_after(asked, limit).await.unwrap();
        assert!(begun.elapsed() <= most, "{hangs}: {:?}", begun.elapsed());
        assert_eq!((seen.load(SeqCst), launcher.alive.load(SeqCst)), (1, 0), "{hangs}: unregistered once");
        if hangs == "get" {
            assert!(matches!(answer, Err(BridgeError::NotReady { .. })), "{answer:?}");
            assert!(at - begun < limit, "there is time left to send it");
        } else {
            assert_eq!(answer.unwrap(), "v");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_stops_is_not_ready_while_it_still_answers() {
    let disk = Disk::with(&[("k", "v")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(lines) if is(call, "get", "k") => Reaction::Later(Duration::from_secs(5), lines),
            reaction => reaction,
        }
    };
    let bridge = bridge(2, script).await;
    assert!(bridge.health().ready && !bridge.is_stopping());
    let [asked, stopped] = [true, false].map(|asks| {
        let bridge = bridge.clone();
        tokio::spawn(async move {
            if asks {
                return read(&bridge, "k").await.map(drop);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            bridge.stop(Duration::from_secs(30)).await;
            Ok(())
        })
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let health = bridge.health();
    assert!(health.workers.iter().any(|worker| worker.state == "busy"), "it still answers");
    assert!(!health.ready && bridge.is_stopping(), "and takes no more");
    asked.await.unwrap().unwrap();
    stopped.await.unwrap().unwrap();
}

/// What the user registered, or has in a registry that other shells see too, is not ours to take out.
#[tokio::test(start_paused = true)]
async fn a_stop_unregisters_only_what_was_registered_for_its_own_workers() {
    for (registry, imported, expected) in
        [(Registry::Private, false, 1), (Registry::Private, true, 0), (Registry::User, false, 0)]
    {
        let disk = Disk::with(&[]);
        let unregistered = Arc::new(AtomicUsize::new(0));
        let script = {
            let unregistered = unregistered.clone();
            move |worker, call: &Value| {
                unregistered.fetch_add(usize::from(call["op"].get("unregister").is_some()), SeqCst);
                disk.serve(worker, call)
            }
        };
        let mut plan = plan(2);
        plan.registry = registry;
        let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
        extension.imported = imported;
        let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
        bridge.stop(Duration::from_secs(30)).await;
        assert_eq!(unregistered.load(SeqCst), expected, "{registry:?}, {imported}");
    }
}

/// Only the last quarter of a limit is kept for the stop itself.
#[tokio::test(start_paused = true)]
async fn who_answers_within_three_quarters_of_the_limit_is_not_stopped_meanwhile() {
    let bridge = over(&Disk::with(&[]), 1).await;
    let answering = {
        let bridge = bridge.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            bridge.is_stopping()
        }
    };
    assert!(!bridge.stop_after(answering, Duration::from_secs(1)).await);
    assert!(bridge.is_stopping());
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_is_dropped_leaves_no_worker() {
    let disk = Disk::with(&[]);
    let launcher = Arc::new(FakeLauncher::new(move |worker, call| disk.serve(worker, call)));
    let bridge = Bridge::start_with(plan(3), launcher.clone()).await.unwrap();
    assert_eq!(launcher.alive.load(SeqCst), 3);
    drop(bridge);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(launcher.alive.load(SeqCst), 0);
}
