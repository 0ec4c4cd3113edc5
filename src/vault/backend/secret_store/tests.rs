//! Another process writes the store's file while a worker of ours is at it; and what errors tell.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use super::*;
use crate::plan::{AZ_KEY_VAULT, Extension, Vault, VaultKind};
use crate::protocol::Fault;
use crate::vault::entry::Entry;
use crate::vault::turn::is_not_found;
use crate::worker::fake::{FakeLauncher, Reaction, fault, ok};

/// A store over one file, and what somebody else does to it.
struct Place {
    _folder: tempfile::TempDir,
    file: PathBuf,
    backend: Arc<SecretStoreBackend>,
    entry: Entry,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("storefile");
        std::fs::write(&file, "as we know it").unwrap();
        let backend = Arc::new(SecretStoreBackend::over(KnownStore::over(vec![file.clone()])));
        assert!(!backend.store.foreign_change());
        let entry = Entry::over(backend.clone(), "right");
        Place { _folder: folder, file, backend, entry }
    }

    fn turn<'a>(&'a self, worker: &'a mut Worker) -> Turn<'a> {
        let until = Instant::now() + Duration::from_secs(10);
        Turn { worker, vault: &self.entry, until, grace: Duration::ZERO }
    }
}

/// A worker that answers an unlock by itself.
async fn worker(script: impl Fn(&Value) -> Reaction + Send + Sync + 'static) -> Worker {
    let script = move |_, call: &Value| match call["op"].get("unlock") {
        Some(_) => Reaction::Say(vec![ok(call, &json!({ "authentication": "Password" }))]),
        None => script(call),
    };
    let until = Instant::now() + Duration::from_secs(5);
    Worker::start(&FakeLauncher::new(script), 1, until).await.unwrap()
}

fn value(call: &Value) -> Reaction {
    if call["op"].get("info").is_some() {
        let found = json!({ "name": "k", "type": "String", "metadata": {} });
        return Reaction::Say(vec![ok(call, &json!({ "secrets": [found] }))]);
    }
    Reaction::Say(vec![ok(call, &json!({ "value": { "t": "string", "v": "v" }, "metadata": {} }))])
}

#[tokio::test(start_paused = true)]
async fn a_foreign_write_while_we_read_is_read_too_and_one_just_before_ours_is_noticed() {
    let place = Place::new();
    let (file, asked) = (place.file.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    let mut worker = worker(move |call| {
        // The information, and then, since somebody else has written, the value too.
        if counted.fetch_add(1, SeqCst) == 0 {
            std::fs::write(&file, "theirs, with something new").unwrap();
        }
        value(call)
    })
    .await;
    let mut turn = place.turn(&mut worker);
    let before = place.backend.before_write(&mut turn, "k").await.unwrap();
    assert_eq!((asked.load(SeqCst), place.backend.store.foreign_changes()), (2, 1));
    assert!(place.backend.store.take_uninspected());
    std::fs::write(&place.file, "theirs, with something of ours erased").unwrap();
    place.backend.set(&mut turn, "k", &SecretValue::string("v"), None, &before).await.unwrap();
    assert_eq!(place.backend.store.foreign_changes(), 2);
    assert!(place.backend.store.take_uninspected());
}

#[tokio::test(start_paused = true)]
async fn a_write_reads_the_store_again_only_where_it_is_not_as_this_worker_left_it() {
    let place = Place::new();
    let refreshed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (noted, file) = (refreshed.clone(), place.file.clone());
    let mut worker = worker(move |call| {
        if call["op"].get("set").is_some() {
            let before = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, before + ", and more").unwrap();
        }
        if let Some(read) = call["op"].get("get").or(call["op"].get("info")) {
            noted.lock().unwrap().push(read["refresh"] == true);
        }
        value(call)
    })
    .await;
    let mut turn = place.turn(&mut worker);
    let new = SecretValue::string("v");
    // The first unlocks before it reads, and looks whether its write was kept, since somebody else may have
    // written shortly before; the others find all as they left it.
    for _ in 0..3 {
        place.backend.before_write(&mut turn, "k").await.unwrap();
        place.backend.set(&mut turn, "k", &new, None, &Present::Missing).await.unwrap();
    }
    // Another worker's write, then somebody else's, after which nothing is relied on for a while.
    place.backend.store.wrote(place.backend.store.files_now());
    place.backend.before_write(&mut turn, "k").await.unwrap();
    std::fs::write(&place.file, "somebody else's").unwrap();
    place.backend.before_write(&mut turn, "k").await.unwrap();
    place.backend.before_write(&mut turn, "k").await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    turn.until = Instant::now() + Duration::from_secs(10);
    place.backend.before_write(&mut turn, "k").await.unwrap();
    assert_eq!(*refreshed.lock().unwrap(), [false, true, false, false, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn while_a_foreign_writer_is_near_every_write_of_ours_is_looked_into() {
    let place = Place::new();
    let store = &place.backend.store;
    store.wrote(store.files_now());
    assert!(!store.take_uninspected());
    std::fs::write(&place.file, "theirs").unwrap();
    assert!(store.foreign_change() && store.take_uninspected());
    store.wrote(store.files_now());
    assert!(store.take_uninspected(), "theirs may have come between our write and the look at the files");
    tokio::time::sleep(Duration::from_secs(11)).await;
    store.wrote(store.files_now());
    assert!(!store.take_uninspected());
}

#[tokio::test(start_paused = true)]
async fn between_the_two_steps_of_a_foreign_overwrite_a_secret_is_not_missing() {
    let place = Place::new();
    // The delete is on the disk, the add is not yet, and the files do not change while we read.
    std::fs::write(&place.file, "without k").unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let mut worker = worker(move |call| match counted.fetch_add(1, SeqCst) {
        0 => Reaction::Say(vec![fault(call, "GetSecretNotFound")]),
        _ => value(call),
    })
    .await;
    place.backend.get(&mut place.turn(&mut worker), "k", false).await.unwrap();
    assert_eq!(asked.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_locks_between_the_unlock_and_the_read_is_unlocked_once_more() {
    for (times, opens) in [(2, true), (usize::MAX, false)] {
        let place = Place::new();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let mut worker = worker(move |call| match counted.fetch_add(1, SeqCst) {
            n if n < times => {
                Reaction::Say(vec![fault(call, "Microsoft.PowerShell.SecretStore.PasswordRequiredException")])
            }
            _ => value(call),
        })
        .await;
        let outcome = place.backend.get(&mut place.turn(&mut worker), "k", false).await;
        assert_eq!((outcome.is_ok(), asked.load(SeqCst)), (opens, 3), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_missing_is_said_to_be_soon() {
    let place = Place::new();
    std::fs::write(&place.file, "without k").unwrap();
    let mut worker = worker(|call| Reaction::Say(vec![fault(call, "GetSecretNotFound")])).await;
    let begun = Instant::now();
    let missing = place.backend.get(&mut place.turn(&mut worker), "k", false).await;
    assert!(matches!(missing, Err(Trouble::Fault(fault)) if is_not_found(&fault)));
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_refusal_of_a_password_proves_nothing_and_two_do() {
    for (refusals, opens) in [(1, true), (usize::MAX, false)] {
        let place = Place::new();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let script = move |_, call: &Value| match counted.fetch_add(1, SeqCst) {
            n if n < refusals => Reaction::Say(vec![fault(call, "SecretStoreUnlockFailed")]),
            _ => Reaction::Say(vec![ok(call, &json!({ "authentication": "Password" }))]),
        };
        let until = Instant::now() + Duration::from_secs(5);
        let mut worker = Worker::start(&FakeLauncher::new(script), 1, until).await.unwrap();
        let outcome = place.backend.unlock(&mut place.turn(&mut worker), place.entry.password()).await;
        assert_eq!(outcome.is_ok(), opens, "{outcome:?}");
        assert!(opens || matches!(outcome, Err(Trouble::Locked { .. })));
        assert_eq!(asked.load(SeqCst), 2);
    }
}

fn told(module: &str) -> String {
    let mut extension = Extension::new("v", module);
    extension.parameters.0 = json!({ "Token": "t0ken-number-1", "More": { "List": ["t0ken-number-2", 7] } })
        .as_object()
        .cloned()
        .unwrap();
    let entry = Entry::bare(Vault::new("v", VaultKind::Extension(extension)));
    let fault = Fault { message: "t0ken-number-1 and t0ken-number-2".into(), ..Fault::default() };
    Trouble::Fault(Box::new(fault)).into_error(&entry, None, false).to_string()
}

#[test]
fn an_error_does_not_repeat_the_parameters_of_a_vault() {
    assert!(told("My.Vault").contains("failed: *** and ***"), "{}", told("My.Vault"));
    assert!(told(AZ_KEY_VAULT).contains("t0ken-number-1"), "they only say which vault is meant");
}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_password_is_served_by_one_worker() {
    let place = Place::new();
    for (told, alone) in [(None, false), (Some("None"), true), (Some("Password"), false)] {
        place.backend.store.told(told, None);
        assert_eq!(place.backend.has_one_worker(), alone, "{told:?}");
    }
}

/// Its worker cannot unlock, so that the file is read anew only by itself.
#[tokio::test(start_paused = true)]
async fn a_file_that_a_write_has_torn_is_back_before_a_store_without_a_password_is_asked_again() {
    let place = Place::new();
    let store = &place.backend.store;
    store.told(Some("None"), None);
    store.keep();
    std::fs::write(&place.file, "torn").unwrap();
    store.wrote(store.files_now());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let mut worker = worker(move |call| match counted.fetch_add(1, SeqCst) {
        0 => Reaction::Say(vec![fault(call, "GetSecretInvalidOperation")]),
        _ => value(call),
    })
    .await;
    let seen =
        session::StoreView { generation: store.generation(), files: store.files_now(), unlocked: None };
    worker.notes.of::<session::StoreNotes>().0 = Some(seen);
    place.backend.get(&mut place.turn(&mut worker), "k", false).await.unwrap();
    assert_eq!(asked.load(SeqCst), 2);
    assert_eq!(std::fs::read_to_string(&place.file).unwrap(), "as we know it");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_refused_while_the_files_change_is_tried_again() {
    let place = Place::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, file) = (asked.clone(), place.file.clone());
    let script = move |_, call: &Value| match counted.fetch_add(1, SeqCst) {
        n if n < 3 => {
            std::fs::write(&file, "x".repeat(n + 1)).unwrap();
            Reaction::Say(vec![fault(call, "SecretStoreUnlockFailed")])
        }
        _ => Reaction::Say(vec![ok(call, &json!({ "authentication": "Password" }))]),
    };
    let until = Instant::now() + Duration::from_secs(5);
    let mut worker = Worker::start(&FakeLauncher::new(script), 1, until).await.unwrap();
    place.backend.unlock(&mut place.turn(&mut worker), place.entry.password()).await.unwrap();
    assert_eq!(asked.load(SeqCst), 4);
}

/// What comes from memory says nothing of the file.
#[tokio::test(start_paused = true)]
async fn what_was_kept_before_a_write_is_dropped_only_by_an_answer_that_shows_the_file() {
    for (authentication, is_old, dropped) in
        [("Password", false, false), ("Password", true, true), ("None", false, true)]
    {
        let place = Place::new();
        let store = &place.backend.store;
        store.told(Some(authentication), None);
        store.keep();
        std::fs::write(&place.file, "by our write").unwrap();
        store.wrote(store.files_now());
        let mut worker = worker(value).await;
        let generation = if is_old { 0 } else { store.generation() };
        let seen =
            session::StoreView { generation, files: store.files_now(), unlocked: Some(Instant::now()) };
        worker.notes.of::<session::StoreNotes>().0 = Some(seen);
        place.backend.get(&mut place.turn(&mut worker), "k", false).await.unwrap();
        assert_eq!(store.put_back("has failed"), !dropped, "{authentication}, {is_old}");
    }
}

/// What they wrote would not be in what we write; but they may never stop.
#[tokio::test(start_paused = true)]
async fn a_look_before_a_write_is_repeated_once_where_somebody_else_writes_meanwhile() {
    for (authentication, foreign, looks) in
        [("Password", 9, 2), ("Password", 1, 2), ("Password", 0, 1), ("None", 9, 1)]
    {
        let place = Place::new();
        let store = &place.backend.store;
        store.told(Some(authentication), None);
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, file) = (asked.clone(), place.file.clone());
        let mut worker = worker(move |call| {
            let before = counted.fetch_add(1, SeqCst);
            if before < foreign {
                std::fs::write(&file, "x".repeat(before + 1)).unwrap();
            }
            value(call)
        })
        .await;
        let seen = session::StoreView { generation: 0, files: store.files_now(), unlocked: None };
        worker.notes.of::<session::StoreNotes>().0 = Some(seen);
        let found = place.backend.look(&mut place.turn(&mut worker), "k").await.unwrap();
        assert!(found.is_there());
        assert_eq!(asked.load(SeqCst), looks, "{authentication}, {foreign}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_look_before_a_write_is_not_taken_for_a_missing_key() {
    for (id, is_missing) in [("GetSecretNotFound", true), ("Other", false)] {
        let place = Place::new();
        let mut worker = worker(move |call| Reaction::Say(vec![fault(call, id)])).await;
        let mut turn = place.turn(&mut worker);
        let before =
            [place.backend.before_write(&mut turn, "k").await, place.backend.look(&mut turn, "k").await];
        for found in before {
            match found {
                Ok(Present::Missing) => assert!(is_missing),
                Err(Trouble::Fault(fault)) => assert!(!is_missing && fault.id == id),
                other => panic!("{other:?}"),
            }
        }
    }
}
