//! Writes that are cut off, fail half-way or hang: the old value or the new one, and never another writer
//! beside one that is not gone.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::protocol::{Metadata, MetadataValue};
use crate::vault::backend::secret_store::testing::missed;

fn table(members: &[(&str, &str)]) -> SecretValue {
    let member = |(name, text): &(&str, &str)| ((*name).to_owned(), SecretValue::string(*text));
    SecretValue::Hashtable(members.iter().map(member).collect())
}

fn json_of(value: &SecretValue) -> Value {
    serde_json::to_value(value).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_cut_off_half_way_is_whole_again() {
    let (old, new) = (table(&[("a", "1"), ("b", "1")]), table(&[("a", "2"), ("b", "2"), ("c", "2")]));
    for (verb, before) in [("set", Some(&old)), ("set", None), ("remove", Some(&old))] {
        let disk = Disk::with(&[]);
        if let Some(before) = before {
            disk.secrets.lock().unwrap().insert("k".into(), json_of(before));
        }
        let deaths = AtomicUsize::new(0);
        let script = {
            let disk = disk.clone();
            move |worker, call: &Value| {
                if is(call, verb, "k") && deaths.fetch_add(1, SeqCst) == 0 {
                    // The names are written and not all of the members; or not all of them are gone.
                    let half = json_of(&table(&[("b", if verb == "set" { "2" } else { "1" })]));
                    disk.secrets.lock().unwrap().insert("k".into(), half);
                    return Reaction::Die;
                }
                disk.serve(worker, call)
            }
        };
        let bridge = bridge(2, script).await;
        let outcome = match verb {
            "set" => bridge.set("store", "k", new.clone(), None, soon()).await,
            _ => bridge.remove("store", "k", soon()).await,
        };
        // The half is put right, and then the write is done once more.
        outcome.unwrap();
        match (bridge.get("store", "k", soon()).await, verb) {
            (Ok(value), "set") => assert!(value == new, "{before:?}"),
            (Err(BridgeError::NotFound { .. }), "remove") => {}
            (other, _) => panic!("{verb} left {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_new_table_is_not_taken_back() {
    let disk = Disk::with(&[]);
    disk.secrets.lock().unwrap().insert("k".into(), json_of(&table(&[("a", "1")])));
    // SecretStore gives a SecureString in a table back as a string, and this vault shouts.
    let new = SecretValue::Hashtable([("a".to_owned(), SecretValue::SecureString("2".into()))].into());
    let deaths = AtomicUsize::new(0);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            if is(call, "set", "k") && deaths.fetch_add(1, SeqCst) == 0 {
                disk.secrets.lock().unwrap().insert("k".into(), json_of(&table(&[("A", "2")])));
                return Reaction::Die;
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(1, script).await;
    // Its worker's death is no loss: a read finds it done.
    bridge.set("store", "k", new, None, soon()).await.unwrap();
    assert!(bridge.get("store", "k", soon()).await.unwrap() == table(&[("A", "2")]));
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_off_is_put_back_by_whichever_worker_is_free_first() {
    let disk = Disk::with(&[("k", "old")]);
    let deaths = AtomicUsize::new(0);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| match disk.serve(worker, call) {
            // The dead one's successor takes its time.
            Reaction::Say(lines) if worker > 2 && call["op"].get("register").is_some() => {
                Reaction::Later(Duration::from_secs(15), lines)
            }
            _ if is(call, "set", "k") && deaths.fetch_add(1, SeqCst) == 0 => {
                disk.secrets.lock().unwrap().remove("k");
                Reaction::Die
            }
            reaction => reaction,
        }
    };
    let bridge = bridge(2, script).await;
    let before = Instant::now();
    write(&bridge, "k", "new").await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(15), "by the one that was there");
    assert_eq!(read(&bridge, "k").await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn the_next_writer_waits_until_a_worker_that_hung_in_a_write_is_gone() {
    let disk = Disk::with(&[]);
    let second = Arc::new(Mutex::new(None));
    let script = {
        let (disk, second) = (disk.clone(), second.clone());
        move |worker, call: &Value| {
            if is(call, "set", "hangs") {
                return Reaction::Hang;
            }
            if is(call, "set", "next") {
                *second.lock().unwrap() = Some(Instant::now());
            }
            disk.serve(worker, call)
        }
    };
    let mut launcher = FakeLauncher::new(script);
    launcher.dying = Duration::from_secs(3);
    let bridge = Bridge::start_with(plan(2), Arc::new(launcher)).await.unwrap();
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(1);
    let outcome = bridge.set("store", "hangs", SecretValue::string("x"), None, deadline).await;
    assert!(matches!(outcome, Err(BridgeError::Deadline { outcome_unknown: true })), "{outcome:?}");
    let later = begun + Duration::from_secs(60);
    bridge.set("store", "next", SecretValue::string("y"), None, later).await.unwrap();
    // The deadline, the grace, and its death.
    let earliest = Duration::from_secs(1 + 3) + bridge.plan().limits.write_grace;
    assert!(second.lock().unwrap().unwrap() - begun >= earliest);
}

/// A store in which a write of `k` deletes the old value and then fails, until the disk has room again.
async fn without_room(plan: Plan, before: SecretValue) -> (Arc<Disk>, Arc<AtomicBool>, Bridge) {
    let (disk, full) = (Disk::with(&[("other", "o")]), Arc::new(AtomicBool::new(true)));
    disk.secrets.lock().unwrap().insert("k".into(), json_of(&before));
    let script = {
        let (disk, full) = (disk.clone(), full.clone());
        move |worker, call: &Value| {
            if is(call, "set", "k") && full.load(SeqCst) {
                disk.secrets.lock().unwrap().remove("k");
                return Reaction::Say(vec![fault(call, "DiskFull")]);
            }
            disk.serve(worker, call)
        }
    };
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    let outcome = write(&bridge, "k", "new").await;
    assert!(matches!(outcome, Err(BridgeError::Vault { .. })), "{outcome:?}");
    (disk, full, bridge)
}

#[tokio::test(start_paused = true)]
async fn a_value_that_could_not_be_put_back_yet_is_not_said_to_be_missing() {
    let (_, full, bridge) = without_room(plan(2), SecretValue::string("old")).await;
    let seen = read(&bridge, "k").await;
    assert!(matches!(seen, Err(BridgeError::NotReady { .. })), "{seen:?}");
    assert_eq!(read(&bridge, "other").await.unwrap(), "o", "the rest is served");
    full.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "old");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_removed_before_it_could_be_put_back_is_gone_and_stays_so() {
    let (disk, full, bridge) = without_room(plan(2), SecretValue::string("old")).await;
    bridge.remove("store", "k", soon()).await.unwrap();
    assert!(matches!(read(&bridge, "k").await, Err(BridgeError::NotFound { .. })));
    full.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(disk.text("k"), None);
    let again = bridge.remove("store", "k", soon()).await;
    assert!(matches!(again, Err(BridgeError::NotFound { .. })), "{again:?}");
}

/// Merged into nothing it would be written without its siblings.
#[tokio::test(start_paused = true)]
async fn a_member_is_not_written_before_its_siblings_are_back() {
    let mut plan = plan(2);
    plan.mounts = vec![mount("a", "k", Projection::Member("a".into()))];
    let (disk, full, bridge) = without_room(plan, table(&[("a", "1"), ("b", "1")])).await;
    full.store(false, SeqCst);
    let outcome = bridge.update("a", SecretValue::string("2"), None, soon()).await;
    assert!(matches!(outcome, Err(BridgeError::NotReady { .. })), "{outcome:?}");
    assert!(!disk.secrets.lock().unwrap().contains_key("k"), "nothing was written");
    tokio::time::sleep(Duration::from_secs(2)).await;
    bridge.update("a", SecretValue::string("2"), None, soon()).await.unwrap();
    assert!(bridge.get("store", "k", soon()).await.unwrap() == table(&[("a", "2"), ("b", "1")]));
}

#[tokio::test(start_paused = true)]
async fn what_is_written_again_after_a_foreign_writer_has_the_metadata_that_was_kept() {
    let disk = Disk::with(&[("k", "old")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            if is(call, "get", "k") {
                let about = json!({ "note": { "t": "string", "v": "kept" } });
                let value = disk.secrets.lock().unwrap()["k"].clone();
                return Reaction::Say(vec![ok(call, &json!({ "value": value, "metadata": about }))]);
            }
            disk.serve(worker, call)
        }
    };
    let mut plan = plan(1);
    plan.vaults[0].repair = true;
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    write(&bridge, "k", "new").await.unwrap();
    let missed = missed(&*bridge.vaults().get("store").unwrap().backend);
    let (value, metadata) = missed[0].value.clone().expect("kept for a repair");
    assert_eq!(value.as_text(), Some("new"));
    let kept = Metadata::from([("note".to_owned(), MetadataValue::String("kept".into()))]);
    assert_eq!(metadata, Some(kept));
}

#[tokio::test(start_paused = true)]
async fn a_second_name_of_the_store_without_a_password_reads_what_was_written_by_the_first() {
    let disk = Disk::with(&[]);
    let mut plan = plan(3);
    plan.vaults.push(Vault::new("alias", VaultKind::Extension(Extension::new("alias", SECRET_STORE))));
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| disk.serve(worker, call)
    };
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    for round in 0..20 {
        write(&bridge, "k", &round.to_string()).await.unwrap();
        let mut readers = JoinSet::new();
        for _ in 0..6 {
            let bridge = bridge.clone();
            readers.spawn(async move { bridge.get("alias", "k", soon()).await.unwrap() });
        }
        let wanted = round.to_string();
        assert!(readers.join_all().await.iter().all(|value| value.as_text() == Some(&wanted)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_write_failed_is_still_missed_when_somebody_erases_it() {
    let disk = Disk::with(&[]);
    let fails = Arc::new(AtomicBool::new(false));
    let script = {
        let fails = fails.clone();
        move |worker, call: &Value| match is(call, "set", "k") && fails.load(SeqCst) {
            true => Reaction::Say(vec![fault(call, "SetSecretInvalidOperation")]),
            false => disk.serve(worker, call),
        }
    };
    let bridge = bridge(1, script).await;
    write(&bridge, "k", "v").await.unwrap();
    fails.store(true, SeqCst);
    write(&bridge, "k", "new").await.unwrap_err();
    let missed = missed(&*bridge.vaults().get("store").unwrap().backend);
    assert_eq!(missed.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["k"]);
}

/// The lane is closed for five tries, and no longer; then the key alone waits.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_back_in_five_tries_is_owed_and_put_back_later() {
    let (disk, full) = (Disk::with(&[("k", "old"), ("other", "o")]), Arc::new(AtomicBool::new(true)));
    let sets = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, full, sets) = (disk.clone(), full.clone(), sets.clone());
        move |worker, call: &Value| {
            if is(call, "set", "k") && full.load(SeqCst) {
                disk.secrets.lock().unwrap().remove("k");
                return match sets.fetch_add(1, SeqCst) {
                    0 => Reaction::Die,
                    _ => Reaction::Say(vec![fault(call, "DiskFull")]),
                };
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(1, script).await;
    write(&bridge, "k", "new").await.unwrap_err();
    let after_the_write = sets.load(SeqCst);
    assert_eq!(read(&bridge, "other").await.unwrap(), "o", "the rest is served");
    assert!(after_the_write >= 6, "a write and five looks: {after_the_write}");
    let seen = read(&bridge, "k").await;
    assert!(matches!(seen, Err(BridgeError::NotReady { .. })), "{seen:?}");
    full.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "old");
}

/// Nobody erased it but its own removal.
#[tokio::test(start_paused = true)]
async fn a_key_in_whose_removal_a_worker_ended_is_not_missed() {
    let disk = Disk::with(&[]);
    let deaths = AtomicUsize::new(0);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            if is(call, "remove", "k") && deaths.fetch_add(1, SeqCst) == 0 {
                disk.secrets.lock().unwrap().remove("k");
                return Reaction::Die;
            }
            disk.serve(worker, call)
        }
    };
    let bridge = bridge(1, script).await;
    write(&bridge, "k", "v").await.unwrap();
    bridge.remove("store", "k", soon()).await.unwrap();
    let entry = bridge.vaults().get("store").unwrap();
    assert_eq!(missed(&*entry.backend).len(), 0);
}

/// What a module's worker had begun may still come to pass.
#[tokio::test(start_paused = true)]
async fn a_write_to_a_module_in_which_a_worker_ended_is_unknown_and_not_done_twice() {
    let disk = Disk::with(&[("k", "old")]);
    let sets = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, sets) = (disk.clone(), sets.clone());
        move |worker, call: &Value| {
            if is(call, "set", "k") {
                sets.fetch_add(1, SeqCst);
                return Reaction::Die;
            }
            disk.serve(worker, call)
        }
    };
    let mut plan = plan(2);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    extension.module = "My.Vault".into();
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    let outcome = write(&bridge, "k", "new").await;
    assert!(matches!(outcome, Err(BridgeError::Worker { outcome_unknown: true, .. })), "{outcome:?}");
    assert_eq!(sets.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_read_is_told_also_of_a_key_that_is_still_to_be_put_back() {
    let (disk, fails) = (Disk::with(&[("k", "old")]), Arc::new(AtomicBool::new(false)));
    let script = {
        let (disk, fails) = (disk.clone(), fails.clone());
        move |worker, call: &Value| match call {
            call if is(call, "set", "k") => {
                disk.secrets.lock().unwrap().remove("k");
                Reaction::Say(vec![fault(call, "DiskFull")])
            }
            call if is(call, "get", "k") && fails.load(SeqCst) => Reaction::Say(vec![fault(call, "Other")]),
            call => disk.serve(worker, call),
        }
    };
    let bridge = bridge(1, script).await;
    write(&bridge, "k", "new").await.unwrap_err();
    for (failing, told) in [(false, "not_ready"), (true, "vault_error")] {
        fails.store(failing, SeqCst);
        let seen = read(&bridge, "k").await;
        let found = match &seen {
            Err(BridgeError::NotReady { .. }) => "not_ready",
            Err(BridgeError::Vault { .. }) => "vault_error",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, told, "{seen:?}");
    }
}

/// A plan with a vault of a module that is not read before its writes.
fn unread(module: &str) -> Plan {
    let mut plan = plan(1);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    (extension.module, extension.verify) = (module.into(), Some(false));
    plan
}

#[tokio::test(start_paused = true)]
async fn a_member_of_what_was_not_read_is_written_beside_what_is_there_or_alone_and_not_after_an_error() {
    for (there, error, written) in [
        (Some(table(&[("a", "1")])), None, Some(table(&[("a", "1"), ("b", "2")]))),
        (None, None, Some(table(&[("b", "2")]))),
        (None, Some("Other"), None),
    ] {
        let disk = Disk::with(&[]);
        if let Some(there) = &there {
            disk.secrets.lock().unwrap().insert("k".into(), json_of(there));
        }
        let script = {
            let disk = disk.clone();
            move |worker, call: &Value| match error {
                Some(id) if is(call, "get", "k") => Reaction::Say(vec![fault(call, id)]),
                _ => disk.serve(worker, call),
            }
        };
        let bridge =
            Bridge::start_with(unread("My.Vault"), Arc::new(FakeLauncher::new(script))).await.unwrap();
        let member = Some("b".to_owned());
        let outcome = bridge.set_member("store", "k", member, SecretValue::string("2"), None, soon()).await;
        assert_eq!(outcome.is_ok(), written.is_some(), "{outcome:?}");
        assert_eq!(disk.secrets.lock().unwrap().get("k").cloned(), written.as_ref().map(json_of));
    }
}

/// Its write is one step for all that is known, and what it has left is for its caller to see.
#[tokio::test(start_paused = true)]
async fn nothing_is_put_back_in_a_vault_that_does_not_overwrite_in_steps() {
    let disk = Disk::with(&[("k", "old")]);
    let sets = Arc::new(AtomicUsize::new(0));
    let script = {
        let (disk, sets) = (disk.clone(), sets.clone());
        move |worker, call: &Value| {
            if is(call, "set", "k") {
                sets.fetch_add(1, SeqCst);
                disk.secrets.lock().unwrap().remove("k");
                return Reaction::Say(vec![fault(call, "ValueNotRepresentable")]);
            }
            disk.serve(worker, call)
        }
    };
    let mut plan = plan(1);
    let VaultKind::Extension(extension) = &mut plan.vaults[0].kind else { unreachable!() };
    extension.module = "My.Vault".into();
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    write(&bridge, "k", "new").await.unwrap_err();
    assert_eq!((sets.load(SeqCst), disk.text("k")), (1, None));
}
