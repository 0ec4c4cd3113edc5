//! How long a value is kept, and that it goes by itself when its time is over.

use std::sync::Weak;

use super::*;
use crate::cache::{Join, Lookup, WantedValue};

#[tokio::test(start_paused = true)]
async fn a_mounts_own_time_to_live_counts_for_that_mount_and_the_vaults_for_the_others() {
    let disk = Disk::with(&[("long", "v"), ("none", "v"), ("vault", "v")]);
    let mut plan = plan(1);
    plan.vaults[0].keep.ttl = Duration::from_secs(10);
    plan.mounts = [("long", Some(60)), ("none", Some(0)), ("vault", None)]
        .map(|(key, ttl)| Mount {
            cache_ttl: ttl.map(Duration::from_secs),
            ..mount(key, key, Projection::Whole)
        })
        .to_vec();
    let bridge = over_plan(&disk, plan).await;
    // Seconds after the first read, and which of the three are then read again.
    for (wait, again) in [(0, [1, 1, 1]), (5, [0, 1, 0]), (10, [0, 1, 1]), (50, [1, 1, 1])] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        for (mount, again) in ["long", "none", "vault"].into_iter().zip(again) {
            let before = disk.gets.load(SeqCst);
            bridge.read(mount, soon()).await.unwrap();
            assert_eq!(disk.gets.load(SeqCst) - before, again, "{mount} after {wait} s more");
        }
    }
}

/// The plain text of the value that is kept, for as long as it is held.
fn kept(bridge: &Bridge, key: &str) -> Weak<SecretValue> {
    let store = bridge.vaults().get("store").unwrap().store.id.clone();
    let wanted = WantedValue { store: &store, name: key, detail: false, kept: true, join: Join::Any };
    match bridge.values().cache().find(wanted, Instant::now()) {
        Lookup::Fresh(hit) => Arc::downgrade(&hit.value),
        _ => panic!("{key} is not kept"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_time_is_over_does_not_stay_in_memory_though_nobody_asks_for_it() {
    let disk = Disk::with(&[("k", "v")]);
    let mut plan = plan(1);
    plan.vaults[0].keep.ttl = Duration::from_secs(10);
    let bridge = over_plan(&disk, plan).await;
    read(&bridge, "k").await.unwrap();
    let value = kept(&bridge, "k");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(value.upgrade().is_some());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(value.upgrade().is_none());
}
