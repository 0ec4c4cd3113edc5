//! Unlocking: in time, and less and less often where the password is refused.

use super::*;
use crate::vault::condition::VaultState;

#[tokio::test(start_paused = true)]
async fn a_refused_password_locks_out_and_the_right_one_opens_again() {
    let disk = Disk::with(&[("k", "v")]);
    *disk.password.lock().unwrap() = "changed".into();
    let asked = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, asked) = (disk.clone(), asked.clone());
        move |worker, call: &Value| {
            let op = &call["op"];
            let unlocks = op.get("unlock").is_some() || op["get"]["refresh"] == true;
            asked.fetch_add(usize::from(unlocks), SeqCst);
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(2, script).await;
    let outcome = read(&bridge, "k").await;
    assert!(matches!(outcome, Err(BridgeError::Locked { .. })), "{outcome:?}");
    assert_eq!(bridge.health().vaults[0].condition.state, VaultState::LockedOut);
    // Each refusal may count against an account: while it is locked out nobody tries, however many ask.
    let before = asked.load(SeqCst);
    for _ in 0..5 {
        let [read, written] = [read(&bridge, "k").await.map(drop), write(&bridge, "k", "new").await];
        for outcome in [read, written] {
            let Err(BridgeError::Locked { retry_after, .. }) = outcome else { panic!("{outcome:?}") };
            assert!(!retry_after.is_zero());
        }
    }
    assert_eq!(asked.load(SeqCst), before);
    *disk.password.lock().unwrap() = "right".into();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "v");
    assert_eq!(bridge.health().vaults[0].condition.state, VaultState::Ok);
}

/// Nobody reads: `/ready` has sent the readers elsewhere.
#[tokio::test(start_paused = true)]
async fn a_vault_that_is_locked_is_not_ready_and_opens_without_a_request_once_its_password_is_right() {
    let disk = Disk::with(&[("k", "v")]);
    *disk.password.lock().unwrap() = "changed".into();
    let bridge = over(&disk, 1).await;
    read(&bridge, "k").await.unwrap_err();
    assert!(!bridge.health().ready, "its only vault is locked");
    *disk.password.lock().unwrap() = "right".into();
    tokio::time::sleep(Duration::from_secs(70)).await;
    let health = bridge.health();
    assert!(health.ready, "{:?}", health.vaults);
    assert_eq!(health.vaults[0].condition.state, VaultState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_locked_vault_is_left_alone_for_five_seconds_after_each_call() {
    let disk = Disk::with(&[("k", "v")]);
    let tries = Arc::new(Mutex::new(Vec::new()));
    let script = {
        let (disk, tries) = (disk.clone(), tries.clone());
        move |_, call: &Value| {
            if call["op"].get("unlock").is_some() {
                tries.lock().unwrap().push(Instant::now());
            }
            // Locked, with no refusal of a password, which would lock it out.
            match call["op"].get("get").or(call["op"].get("unlock")) {
                Some(_) => Reaction::Say(vec![fault(call, "PasswordRequiredException")]),
                None => disk.serve(0, call),
            }
        }
    };
    let mut plan = plan(1);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    extension.unlock_at_start = false;
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    bridge.vaults().get("store").unwrap().allow_unlock();
    read(&bridge, "k").await.unwrap_err();
    assert_eq!(bridge.health().vaults[0].condition.state, VaultState::Locked);
    let asked = tries.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(tries.lock().unwrap().len(), asked);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(tries.lock().unwrap().len() > asked);
}

/// What nobody calls is asked how it is, but not while requests wait for a worker.
#[tokio::test(start_paused = true)]
async fn a_vault_that_nobody_calls_is_asked_how_it_is_and_not_while_requests_wait() {
    let disk = Disk::with(&[("k", "v")]);
    let tests = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, tests) = (disk.clone(), tests.clone());
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(lines) if is(call, "get", "k") => Reaction::Later(Duration::from_secs(100), lines),
            reaction => {
                tests.fetch_add(usize::from(call["op"].get("test").is_some()), SeqCst);
                reaction
            }
        }
    };
    let mut plan = plan(1);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    extension.probe_every = Some(Duration::from_secs(30));
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert_eq!(tests.load(SeqCst), 0);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(tests.load(SeqCst), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(tests.load(SeqCst), 2, "and once in thirty seconds");
    let later = Instant::now() + Duration::from_secs(300);
    for key in ["k", "other"] {
        let bridge = bridge.clone();
        tokio::spawn(async move { bridge.get("store", key, later).await });
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!((tests.load(SeqCst), bridge.health().waiting), (2, 1));
}

/// A store whose password times out three seconds after an unlock.
#[tokio::test(start_paused = true)]
async fn readers_alone_never_meet_a_store_that_has_locked_itself() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    const MINUTE: Duration = Duration::from_secs(60);
    let disk = Disk::with(&[("a", "v"), ("b", "v")]);
    let unlocked: Mutex<HashMap<u64, Instant>> = Mutex::default();
    let (unlocks, locked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let script = {
        let (unlocks, locked) = (unlocks.clone(), locked.clone());
        move |worker, call: &Value| {
            let (op, now) = (&call["op"], Instant::now());
            // The configuration of a store with a password is told to whoever opens it.
            let opens = op.get("unlock").is_some() || op.get("configure").is_some();
            if opens || op["get"]["refresh"] == true {
                unlocks.fetch_add(1, SeqCst);
                unlocked.lock().unwrap().insert(worker, now);
            }
            if opens {
                let told = json!({ "authentication": "Password", "password_timeout": TIMEOUT.as_secs() });
                return Reaction::Say(vec![ok(call, &told)]);
            }
            let is_open = unlocked.lock().unwrap().get(&worker).is_some_and(|at| now - *at <= TIMEOUT);
            if op.get("get").is_some() && !is_open {
                locked.fetch_add(1, SeqCst);
                let id = "Microsoft.PowerShell.SecretStore.PasswordRequiredException";
                return Reaction::Say(vec![fault(call, id)]);
            }
            match disk.serve(worker, call) {
                // So that both workers are at it.
                Reaction::Say(lines) if op.get("get").is_some() => {
                    Reaction::Later(Duration::from_millis(40), lines)
                }
                reaction => reaction,
            }
        }
    };
    let bridge = bridge(2, script).await;
    let begun = Instant::now();
    let mut readers = JoinSet::new();
    for key in ["a", "b"] {
        let bridge = bridge.clone();
        readers.spawn(async move {
            while begun.elapsed() < MINUTE {
                assert_eq!(read(&bridge, key).await.unwrap(), "v");
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        });
    }
    readers.join_all().await;
    assert_eq!(locked.load(SeqCst), 0);
    // Each worker's at the start, and then when 0.7 of the time is over and somebody reads.
    let fewest = 2 * (MINUTE.as_millis() / (2_100 + 200)) as usize;
    let most = 2 * (MINUTE.as_millis() / 2_100 + 2) as usize;
    let unlocks = unlocks.load(SeqCst);
    assert!((fewest..=most).contains(&unlocks), "{unlocks}, and not {fewest} to {most}");
}
