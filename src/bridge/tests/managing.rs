//! What an administrator does beside reading and writing, and what is read anew because it was changed elsewhere.

use super::*;
use crate::plan::{AZ_KEY_VAULT, Keep};
use crate::protocol::MetadataValue;

const MINUTE: Duration = Duration::from_secs(60);

/// Two vaults over the one SecretStore, and one of another module; all keep what they read.
fn three_vaults() -> Plan {
    let mut plan = plan(1);
    let mut twin = plan.vaults[0].clone();
    twin.name = "twin".into();
    let mut other = Extension::new("other", "My.Vault");
    other.probe_every = Some(Duration::ZERO);
    plan.vaults.extend([twin, Vault::new("other", VaultKind::Extension(other))]);
    for vault in &mut plan.vaults {
        vault.keep = Keep { ttl: MINUTE, ..Keep::default() };
    }
    plan
}

async fn get(bridge: &Bridge, vault: &str) -> Result<SecretValue, BridgeError> {
    bridge.get(vault, "k", soon()).await
}

fn closed(bridge: &Bridge) -> Vec<bool> {
    bridge.health().vaults.iter().map(|vault| vault.closed).collect()
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_was_locked_answers_nothing_till_it_is_unlocked_and_neither_do_others_of_its_store() {
    let disk = Disk::with(&[("k", "v")]);
    let bridge = over_plan(&disk, three_vaults()).await;
    for vault in ["store", "other"] {
        get(&bridge, vault).await.unwrap();
    }
    bridge.lock("STORE").unwrap();
    assert_eq!(closed(&bridge), [false, true, true], "other, store, twin");
    for vault in ["store", "twin"] {
        assert!(matches!(get(&bridge, vault).await, Err(BridgeError::Locked { .. })), "{vault}");
    }
    let before = disk.gets.load(SeqCst);
    get(&bridge, "other").await.unwrap();
    assert_eq!(disk.gets.load(SeqCst), before, "what is kept of another store stays");

    *disk.password.lock().unwrap() = "changed".into();
    bridge.unlock("store", None, soon()).await.unwrap_err();
    assert_eq!(closed(&bridge), [false, true, true], "it stays locked where it does not unlock");
    *disk.password.lock().unwrap() = "right".into();
    bridge.unlock("store", Some("right".into()), soon()).await.unwrap();
    assert_eq!(closed(&bridge), [false; 3]);
    for vault in ["store", "twin"] {
        get(&bridge, vault).await.unwrap();
    }
    assert!(disk.gets.load(SeqCst) > before, "what was kept before the lock is not served after it");
}

#[tokio::test(start_paused = true)]
async fn an_unlock_that_fails_locks_nothing_that_was_open() {
    let disk = Disk::with(&[("k", "v")]);
    let bridge = over_plan(&disk, three_vaults()).await;
    bridge.unlock("store", Some("given".into()), soon()).await.unwrap();
    *disk.password.lock().unwrap() = "changed".into();
    bridge.unlock("store", None, soon()).await.unwrap_err();
    assert_eq!(closed(&bridge), [false; 3]);
}

/// The password of the start is not used of our own accord while a vault is locked by request.
#[tokio::test(start_paused = true)]
async fn a_vault_that_was_locked_by_request_is_not_unlocked_without_one() {
    let disk = Disk::with(&[("k", "v")]);
    let unlocks = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, unlocks) = (disk.clone(), unlocks.clone());
        move |worker, call: &Value| {
            unlocks.fetch_add(usize::from(call["op"].get("unlock").is_some()), SeqCst);
            disk.serve(worker, call)
        }
    };
    let mut plan = plan(1);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    extension.probe_every = Some(Duration::from_secs(30));
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    bridge.lock("store").unwrap();
    let entry = bridge.vaults().get("store").unwrap();
    assert!(!entry.may_unlock());
    let before = unlocks.load(SeqCst);
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(unlocks.load(SeqCst), before);
    bridge.unlock("store", None, soon()).await.unwrap();
    assert!(entry.may_unlock());
}

#[tokio::test(start_paused = true)]
async fn after_the_cache_was_emptied_every_value_is_read_anew() {
    let disk = Disk::with(&[("k", "v")]);
    let bridge = over_plan(&disk, three_vaults()).await;
    for cleared in [false, true] {
        if cleared {
            bridge.clear_cache();
            assert_eq!(bridge.health().cache.entries, 0);
        }
        let before = disk.gets.load(SeqCst);
        for _ in 0..2 {
            for vault in ["store", "other"] {
                get(&bridge, vault).await.unwrap();
            }
        }
        assert_eq!(disk.gets.load(SeqCst) - before, 2, "{cleared}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_is_written_beside_its_siblings_and_metadata_beside_the_value() {
    let disk = Disk::with(&[]);
    let table = |b: &str| json!({ "t": "hashtable", "v": { "a": { "t": "string", "v": "1" }, "b": { "t": "string", "v": b } } });
    disk.secrets.lock().unwrap().insert("k".into(), table("2"));
    let infos = Arc::new(Mutex::new(Vec::new()));
    let script = {
        let (disk, infos) = (disk.clone(), infos.clone());
        move |worker, call: &Value| {
            let set = &call["op"]["set"];
            if set["metadata_only"] == true {
                infos.lock().unwrap().push(set["metadata"].clone());
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(1, script).await;
    bridge.set_member("store", "k", Some("b".into()), SecretValue::string("3"), None, soon()).await.unwrap();
    assert_eq!(disk.secrets.lock().unwrap()["k"], table("3"));
    assert_eq!(*infos.lock().unwrap(), [] as [Value; 0]);
    let owner = Metadata::from([("owner".to_owned(), MetadataValue::String("ops".into()))]);
    bridge.set_metadata("store", "k", owner.clone(), soon()).await.unwrap();
    assert_eq!(disk.secrets.lock().unwrap()["k"], table("3"));
    assert_eq!(*infos.lock().unwrap(), [serde_json::to_value(&owner).unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_changed_elsewhere_is_read_anew_at_once_where_it_is_kept_or_mounted() {
    let disk = Disk::with(&[("Kept", "old"), ("mounted", "v"), ("neither", "v")]);
    let mut plan = three_vaults();
    plan.mounts = vec![mount("m", "Mounted", Projection::Whole)];
    let bridge = over_plan(&disk, plan).await;
    assert_eq!(read(&bridge, "Kept").await.unwrap(), "old");
    disk.put("Kept", "new");
    disk.copies.lock().unwrap().clear();
    // The vault, the key, and whether it is ours.
    for (vault, key, ours) in [
        ("Store", "KEPT", true),
        ("store", "mounted", true),
        ("store", "neither", false),
        ("other", "kept", false),
        ("twin", "mounted", false),
    ] {
        let before = disk.gets.load(SeqCst);
        assert_eq!(bridge.renew(vault, key).unwrap(), ours, "{vault}, {key}");
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(disk.gets.load(SeqCst) - before, usize::from(ours), "{vault}, {key}");
    }
    let before = disk.gets.load(SeqCst);
    assert_eq!(read(&bridge, "Kept").await.unwrap(), "new");
    assert_eq!(disk.gets.load(SeqCst), before, "nobody waited for it");
    assert!(matches!(bridge.renew("nope", "k"), Err(BridgeError::UnknownVault { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_vaults_over_a_vault_of_azure_are_found_by_its_name_without_case() {
    let disk = Disk::with(&[]);
    let mut plan = plan(1);
    for (name, real, module) in
        [("a", "Real", AZ_KEY_VAULT), ("b", "REAL", "Our.AzureVaults"), ("c", "else", AZ_KEY_VAULT)]
    {
        let mut extension = Extension::new(name, module);
        extension.parameters.0.insert("azKVaultName".into(), real.into());
        plan.vaults.push(Vault::new(name, VaultKind::Extension(extension)));
    }
    let bridge = over_plan(&disk, plan).await;
    assert_eq!(bridge.over_azure("real"), ["a", "b"]);
    assert_eq!(bridge.over_azure("store"), [""; 0]);
}

#[test]
fn a_worker_is_there_where_one_is_ready_or_at_work_or_none_is_needed() {
    let worker = |state| WorkerStatus { slot: 0, state, pid: None, calls: 0, writes: 0, memory: None };
    for (states, expected) in [
        (vec![], true),
        (vec!["ready"], true),
        (vec!["busy", "starting"], true),
        (vec!["starting", "backing_off", "stopped"], false),
    ] {
        let workers = states.iter().copied().map(worker).collect();
        assert_eq!(Health { workers, ..Health::default() }.has_worker(), expected, "{states:?}");
    }
}

/// The lock-out was for an earlier password.
#[tokio::test(start_paused = true)]
async fn a_vault_that_is_locked_out_is_unlocked_at_once_with_another_password() {
    let disk = Disk::with(&[("k", "v")]);
    let bridge = over(&disk, 1).await;
    *disk.password.lock().unwrap() = "changed".into();
    let entry = bridge.vaults().get("store").unwrap();
    for _ in 0..3 {
        bridge.unlock("store", None, soon()).await.unwrap_err();
    }
    assert!(entry.store.lockout(Instant::now()).is_some());
    *disk.password.lock().unwrap() = "right".into();
    assert!(matches!(bridge.unlock("store", None, soon()).await, Err(BridgeError::Locked { .. })));
    bridge.unlock("store", Some("right".into()), soon()).await.unwrap();
    assert_eq!(read(&bridge, "k").await.unwrap(), "v");
}
