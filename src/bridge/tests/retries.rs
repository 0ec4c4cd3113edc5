//! A worker that dies under a call: what is tried again, how often, and until when.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_read_whose_worker_died_is_tried_once_more() {
    let disk = Disk::with(&[("k", "v")]);
    let deaths = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, deaths) = (disk.clone(), deaths.clone());
        move |worker, call: &Value| match deaths.load(SeqCst) {
            0 if is(call, "get", "k") => {
                deaths.fetch_add(1, SeqCst);
                Reaction::Die
            }
            _ if is(call, "set", "dies") => Reaction::Die,
            _ => disk.serve(worker, call),
        }
    };
    let bridge = bridge(1, script).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "v");
    assert!(matches!(
        write(&bridge, "dies", "x").await,
        Err(BridgeError::Worker { outcome_unknown: true, .. })
    ));
    assert_eq!(disk.sets.load(SeqCst), 0);
}

/// The workers that were given a call of that verb about that key.
type Given = Arc<Mutex<Vec<u64>>>;

#[tokio::test(start_paused = true)]
async fn a_read_is_retried_once_and_on_another_worker() {
    let disk = Disk::with(&[("k", "v")]);
    let given = Given::default();
    let script = {
        let given = given.clone();
        move |worker, call: &Value| {
            if is(call, "get", "k") {
                given.lock().unwrap().push(worker);
                return Reaction::Die;
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(2, script).await;
    let outcome = read(&bridge, "k").await;
    assert!(matches!(outcome, Err(BridgeError::Worker { outcome_unknown: false, .. })), "{outcome:?}");
    let given = given.lock().unwrap();
    assert!(given.len() == 2 && given[0] != given[1], "{given:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retried_read_has_what_is_left_of_the_first_deadline() {
    let disk = Disk::with(&[("k", "v")]);
    let gets = Arc::new(AtomicUsize::new(0));
    let script = {
        let gets = gets.clone();
        move |worker, call: &Value| match call["op"].get("get") {
            Some(get) if get["name"] == "k" => match gets.fetch_add(1, SeqCst) {
                // Its worker says something that is no answer, after a while.
                0 => Reaction::Later(Duration::from_secs(6), vec![r#"{"reply":{"id":0}}"#.into()]),
                _ => Reaction::Hang,
            },
            _ => disk.serve(worker, call),
        }
    };
    let bridge = bridge(2, script).await;
    // Below the cache, which lets nobody wait beyond his own deadline whatever the retry has.
    let vaults = bridge.vaults();
    let (entry, verb) = (vaults.get("store").unwrap(), Verb::Get { key: "k".into(), detail: false });
    let begun = Instant::now();
    let outcome = vaults.perform(&entry, verb, begun + Duration::from_secs(10)).await;
    assert!(matches!(outcome, Err(BridgeError::Deadline { outcome_unknown: false })), "{outcome:?}");
    assert_eq!((gets.load(SeqCst), begun.elapsed().as_secs()), (2, 10));
}

/// Writes `k` while so many workers die in the call of that verb about it; tells how often it was set.
async fn written_while_dying(verb: &'static str, deaths: usize) -> (Result<(), BridgeError>, usize) {
    let disk = Disk::with(&[("k", "old")]);
    let (dead, sets) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let script = {
        let sets = sets.clone();
        move |worker, call: &Value| {
            sets.fetch_add(usize::from(is(call, "set", "k")), SeqCst);
            if is(call, verb, "k") && dead.fetch_add(1, SeqCst) < deaths {
                return Reaction::Die;
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(2, script).await;
    let outcome = write(&bridge, "k", "new").await;
    // Until what the dead have left is put in order.
    let now = read(&bridge, "k").await.unwrap();
    assert_eq!(now == "new", outcome.is_ok());
    (outcome, sets.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_write_is_retried_once_if_its_worker_died_and_it_was_not_done() {
    let (outcome, sets) = written_while_dying("get", 1).await;
    assert!(outcome.is_ok() && sets == 1, "{outcome:?}, {sets} sets");
    let (outcome, sets) = written_while_dying("get", 2).await;
    assert!(matches!(outcome, Err(BridgeError::Worker { outcome_unknown: false, .. })), "{outcome:?}");
    assert_eq!(sets, 0);
    let (outcome, sets) = written_while_dying("set", 1).await;
    assert!(outcome.is_ok() && sets == 2, "{outcome:?}, {sets} sets");
    let (outcome, sets) = written_while_dying("set", usize::MAX).await;
    assert!(matches!(outcome, Err(BridgeError::Worker { outcome_unknown: true, .. })), "{outcome:?}");
    assert_eq!(sets, 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_already_is_not_sent_to_a_vault_that_has_just_said_later() {
    let disk = Disk::with(&[("a", "v"), ("b", "v")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| match disk.serve(worker, call) {
            Reaction::Say(_) if call["op"]["get"].is_object() => {
                let later = json!({ "id": "TooMany", "message": "m", "status": 429, "retry_after": 7 });
                let line = json!({ "reply": { "id": call["id"], "fault": later } }).to_string();
                Reaction::Later(Duration::from_secs(1), vec![line])
            }
            reaction => reaction,
        }
    };
    let mut plan = plan(1);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    extension.module = "My.Vault".into();
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    let mut readers = JoinSet::new();
    for key in ["a", "b"] {
        let bridge = bridge.clone();
        readers.spawn(async move { read(&bridge, key).await });
    }
    for outcome in readers.join_all().await {
        assert!(matches!(outcome, Err(BridgeError::Throttled { .. })), "{outcome:?}");
    }
    assert_eq!(disk.gets.load(SeqCst), 1);
}

/// How often a vault of a module was unlocked while the bridge started.
#[tokio::test(start_paused = true)]
async fn a_vault_is_unlocked_at_the_start_where_the_plan_says_so_and_there_is_a_password() {
    for (wanted, password, expected) in [(true, true, 1), (false, true, 0), (true, false, 0)] {
        let disk = Disk::with(&[]);
        let unlocks = Arc::new(AtomicUsize::new(0));
        let script = {
            let unlocks = unlocks.clone();
            move |worker, call: &Value| {
                unlocks.fetch_add(usize::from(call["op"].get("unlock").is_some()), SeqCst);
                disk.serve(worker, call)
            }
        };
        let mut plan = plan(1);
        let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
        extension.module = "My.Vault".into();
        extension.unlock_at_start = wanted;
        extension.unlock = extension.unlock.take().filter(|_| password);
        let _bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
        assert_eq!(unlocks.load(SeqCst), expected, "{wanted}, {password}");
    }
}
