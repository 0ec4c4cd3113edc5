//! The bridge over fake workers that behave as SecretStore does: each has a copy of its own, an unlock
//! reads the disk again, a write puts the whole copy on the disk, and an overwrite is a delete and an add.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;
use crate::clock;
use crate::plan::{
    Extension, Mount, PlanError, PoolLimits as Sizes, SECRET_STORE, SecretSource, Vault, VaultKind,
};
use crate::worker::fake::{FakeLauncher, Reaction, fault, ok};

mod caching;
mod foreign;
mod keeping;
mod managing;
mod reload;
mod retries;
mod stop;
mod unlock;
mod writes;

type Secrets = HashMap<String, Value>;

/// What is on the disk, what each worker holds in memory, and what was called.
#[derive(Default)]
struct Disk {
    secrets: Mutex<Secrets>,
    copies: Mutex<HashMap<u64, Secrets>>,
    gets: AtomicUsize,
    sets: AtomicUsize,
    /// The password that unlocks.
    password: Mutex<String>,
}

impl Disk {
    fn with(secrets: &[(&str, &str)]) -> Arc<Disk> {
        let disk = Disk::default();
        *disk.password.lock().unwrap() = "right".into();
        for (name, value) in secrets {
            disk.put(name, value);
        }
        Arc::new(disk)
    }

    fn put(&self, name: &str, value: &str) {
        self.secrets.lock().unwrap().insert(name.into(), json!({ "t": "string", "v": value }));
    }

    fn text(&self, name: &str) -> Option<String> {
        self.secrets.lock().unwrap().get(name).and_then(|value| value["v"].as_str().map(str::to_owned))
    }

    /// Does a call as a worker's SecretStore would.
    fn serve(&self, worker: u64, call: &Value) -> Reaction {
        let op = call["op"].as_object().unwrap();
        let (verb, body) = op.iter().next().unwrap();
        let mut copies = self.copies.lock().unwrap();
        let mut disk = self.secrets.lock().unwrap();
        let password = self.password.lock().unwrap();
        let opens = verb == "configure" && !body["password"].is_null();
        let unlocks = opens || verb == "unlock" || body["refresh"] == true;
        if unlocks && *password != "right" {
            return Reaction::Say(vec![fault(call, "SecretStoreUnlockFailed")]);
        }
        if unlocks || !copies.contains_key(&worker) {
            copies.insert(worker, disk.clone());
        }
        let copy = copies.get_mut(&worker).unwrap();
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        let reply = match verb.as_str() {
            "configure" | "unlock" => json!({ "authentication": "Password", "password_timeout": -1 }),
            "register" => json!({ "module": SECRET_STORE, "metadata": true }),
            "get" => {
                self.gets.fetch_add(1, SeqCst);
                match copy.get(&name) {
                    Some(value) => json!({ "value": value, "metadata": {} }),
                    None => return Reaction::Say(vec![fault(call, "GetSecretNotFound")]),
                }
            }
            "set" => {
                self.sets.fetch_add(1, SeqCst);
                copy.insert(name, body["value"].clone());
                disk.clone_from(copy);
                json!({})
            }
            "remove" => {
                if copy.remove(&name).is_none() {
                    return Reaction::Say(vec![fault(call, "GetSecretNotFound")]);
                }
                disk.clone_from(copy);
                json!({})
            }
            "info" => {
                let secrets: Vec<_> =
                    copy.keys().map(|name| json!({ "name": name, "type": "String" })).collect();
                json!({ "secrets": secrets })
            }
            "test" => json!({ "ready": *password == "right" }),
            _ => json!({}),
        };
        Reaction::Say(vec![ok(call, &reply)])
    }
}

fn plan(workers: usize) -> Plan {
    let mut extension = Extension::new("store", SECRET_STORE);
    // Calls are counted here, and none of them is made by itself.
    extension.probe_every = Some(Duration::ZERO);
    extension.unlock = Some(SecretSource::Value("right".into()));
    Plan {
        vaults: vec![Vault::new("store", VaultKind::Extension(extension))],
        pool: Sizes { min: workers, max: workers, ..Sizes::default() },
        ..Plan::default()
    }
}

async fn bridge(workers: usize, script: impl Fn(u64, &Value) -> Reaction + Send + Sync + 'static) -> Bridge {
    Bridge::start_with(plan(workers), Arc::new(FakeLauncher::new(script))).await.unwrap()
}

async fn over(disk: &Arc<Disk>, workers: usize) -> Bridge {
    over_plan(disk, plan(workers)).await
}

async fn over_plan(disk: &Arc<Disk>, plan: Plan) -> Bridge {
    let disk = disk.clone();
    let launcher = FakeLauncher::new(move |worker, call: &Value| disk.serve(worker, call));
    Bridge::start_with(plan, Arc::new(launcher)).await.unwrap()
}

fn mount(name: &str, key: &str, projection: Projection) -> Mount {
    Mount {
        name: name.into(),
        vault: "store".into(),
        key: key.into(),
        projection,
        cache_ttl: None,
        prefetch: false,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn read(bridge: &Bridge, key: &str) -> Result<String, BridgeError> {
    let value = bridge.get("store", key, soon()).await?;
    Ok(value.as_text().unwrap_or_default().to_owned())
}

async fn write(bridge: &Bridge, key: &str, value: &str) -> Result<(), BridgeError> {
    bridge.set("store", key, SecretValue::string(value), None, soon()).await
}

/// Whether a line is a call of that verb about that key.
fn is(call: &Value, verb: &str, key: &str) -> bool {
    call["op"][verb]["name"] == key
}

#[tokio::test(start_paused = true)]
async fn four_writers_of_one_store_lose_nothing() {
    let disk = Disk::with(&[]);
    let bridge = over(&disk, 4).await;
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let bridge = bridge.clone();
        clients.spawn(async move {
            for key in 0..25 {
                write(&bridge, &format!("k{client}-{key}"), "v").await.unwrap();
            }
        });
    }
    clients.join_all().await;
    assert_eq!(disk.secrets.lock().unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_seen_by_every_later_read_through_any_worker() {
    let disk = Disk::with(&[("k", "0")]);
    let bridge = over(&disk, 4).await;
    for round in 1..40 {
        write(&bridge, "k", &round.to_string()).await.unwrap();
        let mut readers = JoinSet::new();
        for _ in 0..8 {
            let bridge = bridge.clone();
            readers.spawn(async move { read(&bridge, "k").await.unwrap() });
        }
        assert!(readers.join_all().await.iter().all(|value| *value == round.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_clients_of_a_cold_secret_make_one_call() {
    let disk = Disk::with(&[("k", "v")]);
    let bridge = over(&disk, 4).await;
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let bridge = bridge.clone();
        clients.spawn(async move { read(&bridge, "k").await.unwrap() });
    }
    assert!(clients.join_all().await.iter().all(|value| value == "v"));
    assert_eq!(disk.gets.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_begun_before_a_write_never_fills_the_cache_after_it() {
    let disk = Disk::with(&[("k", "old")]);
    let (told, gets) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let script = {
        let (disk, told) = (disk.clone(), told.clone());
        move |worker, call: &Value| match disk.serve(worker, call) {
            // The first load has read its value and has not answered yet.
            Reaction::Say(lines) if is(call, "get", "k") && gets.fetch_add(1, SeqCst) == 0 => {
                Reaction::When(told.clone(), lines)
            }
            reaction => reaction,
        }
    };
    let mut plan = plan(2);
    // A store whose readers do not exclude its writers, so that the two can cross.
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    (extension.module, extension.parallel) = ("My.Vault".into(), Some(true));
    plan.vaults[0].keep.ttl = Duration::from_secs(60);
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    let load = tokio::spawn({
        let bridge = bridge.clone();
        async move { read(&bridge, "k").await }
    });
    while disk.gets.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    write(&bridge, "k", "new").await.unwrap();
    assert_eq!(read(&bridge, "k").await.unwrap(), "new", "the load under way is not joined");
    told.notify_one();
    assert_eq!(load.await.unwrap().unwrap(), "old", "its own caller asked before the write");
    assert_eq!(read(&bridge, "k").await.unwrap(), "new");
}

/// Years forward, and back again, in the middle of everything.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_ends_no_call_no_cached_value_and_no_unlock() {
    let disk = Disk::with(&[("k", "v")]);
    let unlocks = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, unlocks) = (disk.clone(), unlocks.clone());
        move |worker, call: &Value| {
            if is(call, "get", "slow") {
                clock::jump(time::Duration::days(-9_000));
                return Reaction::Hang;
            }
            let unlock = call["op"]["unlock"].is_object();
            unlocks.fetch_add(usize::from(unlock), SeqCst);
            match disk.serve(worker, call) {
                Reaction::Say(_) if unlock => Reaction::Say(vec![ok(
                    call,
                    &json!({ "authentication": "Password", "password_timeout": 100 }),
                )]),
                reaction => reaction,
            }
        }
    };
    let mut plan = plan(1);
    plan.vaults[0].keep.ttl = Duration::from_secs(60);
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    assert_eq!(read(&bridge, "k").await.unwrap(), "v");
    let calls = (disk.gets.load(SeqCst), unlocks.load(SeqCst));
    for years in [10, -20, 30] {
        clock::jump(time::Duration::days(365 * years));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(read(&bridge, "k").await.unwrap(), "v");
        assert_eq!((disk.gets.load(SeqCst), unlocks.load(SeqCst)), calls, "cached, and unlocked");
    }
    tokio::time::advance(Duration::from_secs(16)).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "v");
    assert_eq!(disk.gets.load(SeqCst), calls.0 + 1, "after a minute of real time");
    let begun = Instant::now();
    let outcome = bridge.get("store", "slow", begun + Duration::from_secs(10)).await;
    assert!(matches!(outcome, Err(BridgeError::Deadline { .. })), "{outcome:?}");
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(bridge.health().workers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_a_dying_worker_deleted_is_put_back_before_anybody_reads() {
    let disk = Disk::with(&[("k", "old"), ("other", "o")]);
    let deaths = Arc::new(AtomicUsize::new(0));
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            if is(call, "set", "k") && deaths.fetch_add(1, SeqCst) == 0 {
                disk.secrets.lock().unwrap().remove("k");
                return Reaction::Die;
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(2, script).await;
    let outcome = write(&bridge, "k", "new").await;
    outcome.unwrap();
    assert_eq!(read(&bridge, "k").await.unwrap(), "new");
    assert_eq!(disk.text("other").as_deref(), Some("o"));
}

#[tokio::test(start_paused = true)]
async fn a_write_past_its_deadline_is_unknown_and_may_end_in_its_grace() {
    let disk = Disk::with(&[("k", "old")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(lines) if is(call, "set", "k") => Reaction::Later(Duration::from_secs(12), lines),
            reaction => reaction,
        }
    };
    let mut plan = plan(1);
    plan.vaults[0].keep.ttl = Duration::from_secs(600);
    let launcher = Arc::new(FakeLauncher::new(script));
    let bridge = Bridge::start_with(plan, launcher.clone()).await.unwrap();
    assert_eq!(read(&bridge, "k").await.unwrap(), "old");
    let outcome = write(&bridge, "k", "new").await;
    assert!(matches!(outcome, Err(BridgeError::Deadline { outcome_unknown: true })), "{outcome:?}");
    assert_eq!(read(&bridge, "k").await.unwrap(), "new", "read after the write, not from the cache");
    assert_eq!(launcher.launched.load(SeqCst), 2, "a worker that was late is replaced");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_too_long_in_the_queue_has_written_nothing() {
    let disk = Disk::with(&[("slow", "v")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            if is(call, "get", "slow") { Reaction::Hang } else { disk.serve(worker, call) }
        }
    };
    let bridge = bridge(1, script).await;
    let hung = tokio::spawn({
        let bridge = bridge.clone();
        async move { bridge.get("store", "slow", Instant::now() + Duration::from_secs(60)).await }
    });
    tokio::task::yield_now().await;
    let outcome = write(&bridge, "k", "v").await;
    assert!(matches!(outcome, Err(BridgeError::Deadline { outcome_unknown: false })), "{outcome:?}");
    assert!(matches!(hung.await.unwrap(), Err(BridgeError::Deadline { .. })));
    assert_eq!(disk.sets.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_update_of_a_member_keeps_the_others_under_concurrency() {
    let disk = Disk::with(&[]);
    let table = json!({ "t": "hashtable", "v": { "a": { "t": "string", "v": "0" }, "b": { "t": "string", "v": "0" } } });
    disk.secrets.lock().unwrap().insert("k".into(), table);
    let mut plan = plan(4);
    plan.mounts = ["a", "b"].map(|member| mount(member, "k", Projection::Member(member.into()))).to_vec();
    let bridge = over_plan(&disk, plan).await;
    let mut clients = JoinSet::new();
    for mount in ["a", "b"] {
        let bridge = bridge.clone();
        clients.spawn(async move {
            for round in 1..=20 {
                let value = SecretValue::string(round.to_string());
                bridge.update(mount, value, None, soon()).await.unwrap();
                let seen = bridge.read(mount, soon()).await.unwrap();
                assert_eq!(seen.as_text(), Some(round.to_string().as_str()));
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_and_a_strange_mount_have_their_errors() {
    let disk = Disk::with(&[]);
    let bridge = over(&disk, 1).await;
    assert!(matches!(read(&bridge, "nope").await, Err(BridgeError::NotFound { .. })));
    assert!(matches!(bridge.read("nope", soon()).await, Err(BridgeError::UnknownMount { .. })));
    assert!(matches!(bridge.get("nope", "k", soon()).await, Err(BridgeError::UnknownVault { .. })));
    assert!(matches!(write(&bridge, "a*", "v").await, Err(BridgeError::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn two_vaults_of_one_name_are_no_plan() {
    let mut plan = plan(1);
    plan.vaults.push(Vault { name: "STORE".into(), ..plan.vaults[0].clone() });
    let launcher = Arc::new(FakeLauncher::new(|_, call: &Value| Reaction::Say(vec![ok(call, &json!({}))])));
    let refused = Bridge::start_with(plan, launcher.clone()).await;
    assert!(
        matches!(&refused, Err(StartError::Plan(PlanError::TwoVaults(name))) if name == "STORE"),
        "{refused:?}"
    );
    assert_eq!(launcher.launched.load(SeqCst), 0, "nothing was started");
}

#[tokio::test(start_paused = true)]
async fn one_more_than_may_wait_is_refused_and_has_written_nothing() {
    let disk = Disk::with(&[("slow", "v")]);
    let told = Arc::new(Notify::new());
    let script = {
        let (disk, told) = (disk.clone(), told.clone());
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(lines) if is(call, "get", "slow") => Reaction::When(told.clone(), lines),
            reaction => reaction,
        }
    };
    let mut plan = plan(1);
    plan.pool.queue = 1;
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    let busy = tokio::spawn({
        let bridge = bridge.clone();
        async move { read(&bridge, "slow").await }
    });
    while disk.gets.load(SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waits = tokio::spawn({
        let bridge = bridge.clone();
        async move { write(&bridge, "first", "v").await }
    });
    while bridge.health().waiting == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(matches!(write(&bridge, "second", "v").await, Err(BridgeError::Saturated)));
    told.notify_one();
    busy.await.unwrap().unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!((disk.text("first").as_deref(), disk.text("second")), (Some("v"), None));
}

#[tokio::test(start_paused = true)]
async fn a_read_only_vault_is_not_written_by_key_or_by_mount() {
    let disk = Disk::with(&[("k", "old")]);
    let mut plan = plan(1);
    plan.vaults[0].read_only = true;
    plan.mounts = vec![mount("m", "k", Projection::Whole)];
    let bridge = over_plan(&disk, plan).await;
    let new = || SecretValue::string("new");
    for outcome in [
        bridge.set("store", "k", new(), None, soon()).await,
        bridge.remove("store", "k", soon()).await,
        bridge.update("m", new(), None, soon()).await,
        bridge.remove_mounted("m", soon()).await,
    ] {
        assert!(matches!(outcome, Err(BridgeError::ReadOnly { .. })), "{outcome:?}");
    }
    assert_eq!((disk.text("k").as_deref(), read(&bridge, "k").await.unwrap().as_str()), (Some("old"), "old"));
}

/// A vault whose writes are one step, with no look at the file after: nothing else than the time that it took
/// says that its worker is slow.
#[tokio::test(start_paused = true)]
async fn a_worker_that_answered_after_the_deadline_is_replaced_and_one_in_time_is_not() {
    for (seconds, launched) in [(9, 1), (12, 2)] {
        let disk = Disk::with(&[]);
        let script = {
            let disk = disk.clone();
            move |worker, call: &Value| match disk.serve(worker, call) {
                Reaction::Say(lines) if is(call, "set", "k") => {
                    Reaction::Later(Duration::from_secs(seconds), lines)
                }
                reaction => reaction,
            }
        };
        let mut plan = plan(1);
        let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
        extension.module = "My.Vault".into();
        let launcher = Arc::new(FakeLauncher::new(script));
        let bridge = Bridge::start_with(plan, launcher.clone()).await.unwrap();
        assert_eq!(write(&bridge, "k", "new").await.is_ok(), seconds < 10);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(disk.text("k").as_deref(), Some("new"));
        assert_eq!(launcher.launched.load(SeqCst), launched, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_one_worker_has_to_itself_is_served_as_soon_as_the_start_is_over() {
    let disk = Disk::with(&[("k", "v")]);
    let script = move |worker, call: &Value| {
        let asks = |verb: &str| call["op"].get(verb).is_some();
        if asks("configure") || asks("unlock") {
            return Reaction::Say(vec![ok(call, &json!({ "authentication": "None" }))]);
        }
        match disk.serve(worker, call) {
            Reaction::Say(lines) if worker == 2 && asks("register") => {
                Reaction::Later(Duration::from_secs(20), lines)
            }
            reaction => reaction,
        }
    };
    let bridge = bridge(1, script).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "v");
}
