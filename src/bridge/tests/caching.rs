//! What the cache spares the vault, and what it says of a value's age.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::plan::{Keep, Projection};

const MINUTE: Duration = Duration::from_secs(60);

/// A vault whose reads can be made to fail, and a bridge that keeps values as said.
async fn bridge_with(disk: &Arc<Disk>, keep: Keep, mounts: Vec<Mount>) -> (Bridge, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let script = {
        let (disk, fails) = (disk.clone(), fails.clone());
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(_) if call["op"]["get"].is_object() && fails.load(SeqCst) => {
                Reaction::Say(vec![fault(call, "ServiceUnavailable")])
            }
            reaction => reaction,
        }
    };
    let mut plan = plan(1);
    plan.vaults[0].keep = keep;
    plan.mounts = mounts;
    (Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap(), fails)
}

async fn answer(bridge: &Bridge, reading: Reading) -> Result<(String, Option<i64>), BridgeError> {
    let answer = bridge.get_as("store", "k", reading, soon()).await?;
    let left = answer.freshness.kept.then(|| answer.freshness.left());
    Ok((answer.value.as_text().unwrap_or_default().to_owned(), left))
}

#[tokio::test(start_paused = true)]
async fn where_the_vault_fails_a_value_is_served_beyond_its_time_within_the_bound_and_said_to_be_stale() {
    let disk = Disk::with(&[("k", "v")]);
    let keep = Keep { ttl: MINUTE, max_stale: MINUTE, ..Keep::default() };
    let (bridge, fails) = bridge_with(&disk, keep, Vec::new()).await;
    assert_eq!(answer(&bridge, Reading::Kept).await.unwrap(), ("v".into(), None));
    fails.store(true, SeqCst);
    tokio::time::advance(MINUTE + MINUTE / 2).await;
    let (value, left) = answer(&bridge, Reading::Kept).await.unwrap();
    assert_eq!(value, "v");
    assert!(left.is_some_and(|left| left < 0), "{left:?}");
    tokio::time::advance(MINUTE).await;
    let refused = answer(&bridge, Reading::Kept).await;
    assert!(matches!(refused, Err(BridgeError::Vault { .. })), "{refused:?}");
    fails.store(false, SeqCst);
    assert_eq!(answer(&bridge, Reading::Kept).await.unwrap(), ("v".into(), None));
}

#[tokio::test(start_paused = true)]
async fn without_max_stale_a_failing_vault_is_a_failure() {
    let disk = Disk::with(&[("k", "v")]);
    let (bridge, fails) = bridge_with(&disk, Keep { ttl: MINUTE, ..Keep::default() }, Vec::new()).await;
    answer(&bridge, Reading::Kept).await.unwrap();
    fails.store(true, SeqCst);
    tokio::time::advance(MINUTE).await;
    assert!(matches!(answer(&bridge, Reading::Kept).await, Err(BridgeError::Vault { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_not_served_after_a_write() {
    let disk = Disk::with(&[("k", "v")]);
    let keep = Keep { ttl: MINUTE, max_stale: MINUTE * 60, ..Keep::default() };
    let (bridge, fails) = bridge_with(&disk, keep, Vec::new()).await;
    answer(&bridge, Reading::Kept).await.unwrap();
    write(&bridge, "k", "new").await.unwrap();
    fails.store(true, SeqCst);
    tokio::time::advance(MINUTE * 2).await;
    let refused = answer(&bridge, Reading::Kept).await;
    assert!(matches!(refused, Err(BridgeError::Vault { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn near_its_end_a_value_is_read_again_by_one_call_while_readers_are_answered() {
    let disk = Disk::with(&[("k", "old")]);
    let keep = Keep { ttl: MINUTE, refresh_ahead: MINUTE / 4, ..Keep::default() };
    let (bridge, _) = bridge_with(&disk, keep, Vec::new()).await;
    answer(&bridge, Reading::Kept).await.unwrap();
    // Another process wrote; the cache may say so within its time.
    disk.put("k", "new");
    disk.copies.lock().unwrap().clear();
    tokio::time::advance(MINUTE * 4 / 5).await;
    for _ in 0..50 {
        assert_eq!(answer(&bridge, Reading::Kept).await.unwrap().0, "old");
    }
    while answer(&bridge, Reading::Kept).await.unwrap().0 == "old" {
        tokio::task::yield_now().await;
    }
    assert_eq!(disk.gets.load(SeqCst), 2);
    tokio::time::advance(MINUTE / 2).await;
    assert_eq!(answer(&bridge, Reading::Kept).await.unwrap().0, "new");
    assert_eq!(disk.gets.load(SeqCst), 2, "its time counts from the second call");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_new_value_gets_the_vaults_and_renews_the_cache() {
    let disk = Disk::with(&[("k", "old")]);
    let (bridge, _) = bridge_with(&disk, Keep { ttl: MINUTE, ..Keep::default() }, Vec::new()).await;
    answer(&bridge, Reading::Kept).await.unwrap();
    disk.put("k", "new");
    disk.copies.lock().unwrap().clear();
    assert_eq!(answer(&bridge, Reading::New).await.unwrap(), ("new".into(), None));
    assert_eq!(answer(&bridge, Reading::Kept).await.unwrap().0, "new");
    assert_eq!(disk.gets.load(SeqCst), 2);
}

/// A kept value within its time is stale all the same for who asked for one that is new.
#[tokio::test(start_paused = true)]
async fn who_asks_for_a_new_value_gets_a_kept_one_only_where_the_plan_allows_stale_ones() {
    for (max_stale, served) in [(Duration::ZERO, false), (MINUTE, true)] {
        let disk = Disk::with(&[("k", "v")]);
        let (bridge, fails) =
            bridge_with(&disk, Keep { ttl: MINUTE, max_stale, ..Keep::default() }, Vec::new()).await;
        answer(&bridge, Reading::Kept).await.unwrap();
        fails.store(true, SeqCst);
        let outcome = answer(&bridge, Reading::New).await;
        assert_eq!(outcome.is_ok(), served, "{outcome:?}");
    }
}

/// Who waits for the load of a caller in a hurry does not share its end.
#[tokio::test(start_paused = true)]
async fn a_caller_with_more_time_than_the_load_that_it_waited_for_loads_again() {
    let disk = Disk::with(&[("k", "v")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(_) if is(call, "get", "k") && disk.gets.load(SeqCst) == 1 => Reaction::Hang,
            reaction => reaction,
        }
    };
    let bridge = bridge(2, script).await;
    let [hurried, patient] = [1, 10].map(|seconds| {
        let (bridge, until) = (bridge.clone(), Instant::now() + Duration::from_secs(seconds));
        tokio::spawn(async move { bridge.get("store", "k", until).await })
    });
    assert!(matches!(hurried.await.unwrap(), Err(BridgeError::Deadline { .. })));
    assert_eq!(patient.await.unwrap().unwrap().as_text(), Some("v"));
    assert_eq!(disk.gets.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_that_many_ask_for_costs_one_call_a_second() {
    let disk = Disk::with(&[]);
    let (bridge, _) = bridge_with(&disk, Keep { ttl: MINUTE, ..Keep::default() }, Vec::new()).await;
    let missing = async |bridge: &Bridge| {
        for _ in 0..20 {
            let outcome = answer(bridge, Reading::Kept).await;
            assert!(matches!(outcome, Err(BridgeError::NotFound { .. })), "{outcome:?}");
        }
    };
    missing(&bridge).await;
    let calls = disk.gets.load(SeqCst);
    missing(&bridge).await;
    assert_eq!(disk.gets.load(SeqCst), calls);
    write(&bridge, "k", "v").await.unwrap();
    assert_eq!(answer(&bridge, Reading::Kept).await.unwrap().0, "v", "a write ends it");
}

/// Who joins a load of a secret that is not there is told so, as who began it.
#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_missing_for_all_who_wait_for_one_call() {
    let disk = Disk::with(&[]);
    let (bridge, _) = bridge_with(&disk, Keep { ttl: MINUTE, ..Keep::default() }, Vec::new()).await;
    let mut readers = JoinSet::new();
    for _ in 0..20 {
        let bridge = bridge.clone();
        readers.spawn(async move { answer(&bridge, Reading::Kept).await });
    }
    for outcome in readers.join_all().await {
        assert!(matches!(outcome, Err(BridgeError::NotFound { .. })), "{outcome:?}");
    }
    assert_eq!(disk.gets.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mount_with_prefetch_is_in_the_cache_before_anybody_asks() {
    let disk = Disk::with(&[("k", "v")]);
    let mount = Mount {
        name: "Early".into(),
        vault: "store".into(),
        key: "k".into(),
        projection: Projection::Whole,
        cache_ttl: Some(MINUTE),
        prefetch: true,
    };
    let (bridge, _) = bridge_with(&disk, Keep::default(), vec![mount]).await;
    while bridge.health().cache.entries == 0 {
        tokio::task::yield_now().await;
    }
    let answer = bridge.read_as("early", Reading::Kept, soon()).await.unwrap();
    assert!(answer.freshness.kept);
    assert_eq!(disk.gets.load(SeqCst), 1);
}
