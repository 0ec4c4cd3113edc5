//! A store that refuses a write, or acknowledges it and does not keep it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::vault::Entry;
use crate::vault::backend::InWorker;
use crate::vault::backend::secret_store::SecretStoreBackend;
use crate::vault::backend::secret_store::session::{StoreNotes, StoreView};
use crate::vault::change::{Before, Change};
use crate::vault::turn::Turn;
use crate::worker::Worker;
use crate::worker::fake::{FakeLauncher, Reaction, fault, ok};

mod looks;

const LOCKED: &str = "Microsoft.PowerShell.SecretStore.PasswordRequiredException";

/// A store of one secret, `k`, in a file; what happens to a write is the test's.
#[derive(Clone)]
struct Place {
    folder: Arc<tempfile::TempDir>,
    backend: Arc<SecretStoreBackend>,
    entry: Arc<Entry>,
    /// The kinds of calls so far.
    calls: Arc<Mutex<Vec<String>>>,
    /// What somebody else writes while the next value is read.
    theirs: Arc<Mutex<Option<&'static str>>>,
    /// What becomes of reads of a value.
    reads: Arc<Mutex<Reads>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Answered,
    Failed,
    Fatal,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["storefile", "storeconfig"].map(|name| folder.path().join(name)).into();
        fs::write(&files[0], "old").unwrap();
        fs::write(&files[1], "900").unwrap();
        fs::write(folder.path().join("storeaux"), "key").unwrap();
        let backend = Arc::new(SecretStoreBackend::over(KnownStore::over(files)));
        backend.store.foreign_change();
        let entry = Arc::new(Entry::over(backend.clone(), "right"));
        Place {
            folder: Arc::new(folder),
            backend,
            entry,
            calls: Arc::default(),
            theirs: Arc::default(),
            reads: Arc::new(Mutex::new(Reads::Answered)),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("storefile")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("storeaux")
    }

    fn reconfigure(&self, content: &str) {
        fs::write(self.folder.path().join("storeconfig"), content).unwrap();
    }

    /// What `k` is; nothing for an empty file.
    fn content(&self) -> String {
        fs::read_to_string(self.data()).unwrap()
    }

    fn count(&self, kind: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| *call == kind).count()
    }

    /// A worker over it. `spoil` is asked at each write, with the count of those before: what it gives is
    /// answered and nothing is written.
    async fn worker(
        &self,
        spoil: impl Fn(usize, &Value) -> Option<Reaction> + Send + Sync + 'static,
    ) -> Worker {
        let place = self.clone();
        let script = move |_, call: &Value| {
            let (kind, fields) = call["op"].as_object().unwrap().iter().next().unwrap();
            let before = place.count(kind);
            place.calls.lock().unwrap().push(kind.clone());
            let done = |outcome: Value| Reaction::Say(vec![ok(call, &outcome)]);
            if let Some(theirs) = place.theirs.lock().unwrap().take_if(|_| kind == "get") {
                fs::write(place.data(), theirs).unwrap();
            }
            match kind.as_str() {
                "get" if *place.reads.lock().unwrap() == Reads::Failed => says(call, "Other").unwrap(),
                "get" if *place.reads.lock().unwrap() == Reads::Fatal => Reaction::Die,
                "unlock" => done(json!({ "authentication": "Password" })),
                "get" if place.content().is_empty() => Reaction::Say(vec![fault(call, "GetSecretNotFound")]),
                "get" => done(json!({ "value": { "t": "string", "v": place.content() }, "metadata": {} })),
                "info" if place.content().is_empty() => done(json!({ "secrets": [] })),
                "info" => {
                    let found = json!({ "name": "K", "type": "String", "metadata": { "kept": { "t": "string", "v": "yes" } } });
                    done(json!({ "secrets": [found] }))
                }
                "set" => spoil(before, call).unwrap_or_else(|| {
                    fs::write(place.data(), fields["value"]["v"].as_str().unwrap()).unwrap();
                    done(json!({}))
                }),
                "remove" => spoil(before, call).unwrap_or_else(|| {
                    fs::write(place.data(), "").unwrap();
                    done(json!({}))
                }),
                kind => panic!("{kind}"),
            }
        };
        let until = Instant::now() + Duration::from_secs(5);
        Worker::start(&FakeLauncher::new(script), 1, until).await.unwrap()
    }

    async fn write(&self, worker: &mut Worker) -> Result<(), Trouble> {
        let mut turn = self.turn(worker);
        let before = self.backend.before_write(&mut turn, "k").await?;
        self.backend.set(&mut turn, "k", &SecretValue::string("new"), None, &before).await
    }

    async fn remove(&self, worker: &mut Worker) -> Result<(), Trouble> {
        let mut turn = self.turn(worker);
        let before = self.backend.before_write(&mut turn, "k").await?;
        self.backend.remove(&mut turn, "k", &before).await
    }

    fn turn<'a>(&'a self, worker: &'a mut Worker) -> Turn<'a> {
        let until = Instant::now() + Duration::from_secs(10);
        Turn { worker, vault: &self.entry, until, grace: Duration::ZERO }
    }
}

fn says(call: &Value, id: &str) -> Option<Reaction> {
    Some(Reaction::Say(vec![fault(call, id)]))
}

#[tokio::test(start_paused = true)]
async fn a_store_that_locks_between_the_read_and_the_write_is_unlocked_and_written() {
    let place = Place::new();
    let mut worker = place.worker(|before, call| (before < 2).then(|| says(call, LOCKED)).flatten()).await;
    place.write(&mut worker).await.unwrap();
    assert_eq!((place.content().as_str(), place.count("set")), ("new", 3));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_write_that_changed_nothing_is_believed_the_second_time() {
    let place = Place::new();
    let mut worker = place.worker(|_, call| says(call, "HostFunctionNotImplemented")).await;
    let refused = place.write(&mut worker).await;
    assert!(matches!(refused, Err(Trouble::Fault(fault)) if fault.id == "HostFunctionNotImplemented"));
    assert_eq!((place.content().as_str(), place.count("set")), ("old", 2));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_acknowledged_and_not_kept_is_done_again_or_refused() {
    for (lost, is_kept) in [(2, true), (usize::MAX, false)] {
        let place = Place::new();
        let spoiled = place.clone();
        let mut worker = place
            .worker(move |before, call| {
                // What SecretStore had in memory of before, written instead.
                fs::write(spoiled.data(), "old").unwrap();
                // Somebody else is the last writer each time, else a worker's own second write is believed.
                spoiled.backend.store.wrote(spoiled.backend.store.files_now());
                (before < lost).then(|| Reaction::Say(vec![ok(call, &json!({}))]))
            })
            .await;
        let outcome = place.write(&mut worker).await;
        assert_eq!(outcome.is_ok(), is_kept, "{outcome:?}");
        assert_eq!(place.content(), if is_kept { "new" } else { "old" });
        assert!(is_kept || matches!(outcome, Err(Trouble::Fault(fault)) if fault.id == "WriteNotKept"));
    }
}

/// What `write` does to the files in the first attempt, which is acknowledged, at a change of the configuration.
async fn beside_a_change_of_the_configuration(wipe: impl Fn(&Place) + Send + Sync + 'static) -> Place {
    let place = Place::new();
    let spoiled = place.clone();
    let mut worker = place
        .worker(move |before, call| {
            if before > 0 {
                assert_eq!(fs::read_to_string(spoiled.key()).unwrap(), "key", "it is back before the second");
                return None;
            }
            spoiled.reconfigure("3");
            wipe(&spoiled);
            Some(Reaction::Say(vec![ok(call, &json!({}))]))
        })
        .await;
    place.write(&mut worker).await.unwrap();
    assert_eq!(place.backend.store.foreign_changes(), 1, "it is known of");
    place
}

#[tokio::test(start_paused = true)]
async fn what_a_write_beside_a_change_of_the_configuration_wiped_is_put_back_and_the_write_done_again() {
    let place = beside_a_change_of_the_configuration(|place| {
        fs::write(place.key(), [0; 3]).unwrap();
        fs::write(place.data(), "new").unwrap();
    })
    .await;
    assert_eq!((place.content().as_str(), place.count("set")), ("new", 2));
}

/// It may be a new password, which putting back would undo.
#[tokio::test(start_paused = true)]
async fn what_was_not_wiped_is_not_put_back() {
    let place = beside_a_change_of_the_configuration(|place| fs::write(place.data(), "new").unwrap()).await;
    assert_eq!((place.content().as_str(), place.count("set")), ("new", 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_for_a_reason_that_lasts_is_tried_twice_and_says_so() {
    for (authentication, kind) in
        [("Password", "set"), ("Password", "remove"), ("None", "set"), ("None", "remove")]
    {
        let place = Place::new();
        let store = &place.backend.store;
        store.told(Some(authentication), None);
        let mut worker = place.worker(|_, call| says(call, "GetSecretNotFound")).await;
        let seen = StoreView { generation: 0, files: store.files_now(), unlocked: None };
        worker.notes.of::<StoreNotes>().0 = Some(seen);
        let outcome = match kind {
            "set" => place.write(&mut worker).await,
            _ => place.remove(&mut worker).await,
        };
        assert!(matches!(outcome, Err(Trouble::Fault(fault)) if fault.kind == STILL_THERE), "{kind}");
        assert!((1..=2).contains(&place.count(kind)), "{authentication}, {kind}: {}", place.count(kind));
        assert_eq!(place.content(), "old");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_until_the_workers_have_heard_of_a_new_configuration() {
    let place = Place::new();
    let mut worker = place.worker(|_, _| None).await;
    place.write(&mut worker).await.unwrap();
    place.reconfigure("3, by somebody else");
    let begun = Instant::now();
    place.write(&mut worker).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_writes_before_ours_is_read_first() {
    let place = Place::new();
    let mut worker = place.worker(|_, _| None).await;
    let mut turn = place.turn(&mut worker);
    let before = place.backend.before_write(&mut turn, "k").await.unwrap();
    fs::write(place.data(), "theirs").unwrap();
    place.backend.set(&mut turn, "k", &SecretValue::string("new"), None, &before).await.unwrap();
    let calls = place.calls.lock().unwrap().clone();
    assert_eq!(calls, ["unlock", "info", "unlock", "set", "get"]);
    assert_eq!(place.backend.store.foreign_changes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_not_believed_to_have_found_nothing_where_there_was_something() {
    for (refusals, is_gone) in [(1, true), (usize::MAX, false)] {
        let place = Place::new();
        let mut worker = place
            .worker(move |before, call| {
                (before < refusals).then(|| says(call, "GetSecretNotFound")).flatten()
            })
            .await;
        let outcome = place.remove(&mut worker).await;
        assert_eq!((outcome.is_ok(), place.content().is_empty()), (is_gone, is_gone), "{outcome:?}");
        assert!(is_gone || matches!(outcome, Err(Trouble::Fault(fault)) if fault.kind == STILL_THERE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_stays_also_where_it_can_only_be_looked_at_in_memory() {
    for authentication in ["Password", "None"] {
        let place = Place::new();
        place.backend.store.told(Some(authentication), None);
        let mut worker = place.worker(|_, _| None).await;
        let seen = StoreView { generation: 0, files: place.backend.store.files_now(), unlocked: None };
        worker.notes.of::<StoreNotes>().0 = Some(seen);
        place.remove(&mut worker).await.unwrap();
        assert_eq!((place.content().as_str(), place.count("remove")), ("", 1), "{authentication}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found_at_once() {
    let place = Place::new();
    fs::write(place.data(), "").unwrap();
    place.backend.store.foreign_change();
    let mut worker = place.worker(|_, call| says(call, "GetSecretNotFound")).await;
    let outcome = place.remove(&mut worker).await;
    assert!(matches!(outcome, Err(Trouble::Fault(fault)) if is_not_found(&fault)));
    assert_eq!(place.count("remove"), 1);
}

/// The call as the worker got it: a value that was not read keeps its metadata all the same.
#[tokio::test(start_paused = true)]
async fn a_write_reads_no_value_and_keeps_the_metadata() {
    let place = Place::new();
    let sent = Arc::new(Mutex::new(Value::Null));
    let noted = sent.clone();
    let mut worker = place
        .worker(move |_, call| {
            noted.lock().unwrap().clone_from(&call["op"]["set"]["metadata"]);
            None
        })
        .await;
    place.write(&mut worker).await.unwrap();
    // The first write of a worker is looked at, since somebody else may have written shortly before.
    let gets = place.count("get");
    place.write(&mut worker).await.unwrap();
    assert_eq!((place.content().as_str(), place.count("get")), ("new", gets), "no value was read");
    assert_eq!(*sent.lock().unwrap(), json!({ "kept": { "t": "string", "v": "yes" } }));
}

#[tokio::test(start_paused = true)]
async fn beside_somebody_else_a_write_reads_the_value_first() {
    let place = Place::new();
    let mut worker = place.worker(|_, _| None).await;
    place.write(&mut worker).await.unwrap();
    fs::write(place.data(), "theirs").unwrap();
    let before = place.backend.before_write(&mut place.turn(&mut worker), "k").await.unwrap();
    assert!(matches!(before, Present::There(reply) if reply.value == SecretValue::string("theirs")));
}

fn change(before: &Present) -> Change {
    let Present::Unread(unread) = before else { panic!("{before:?}") };
    let after = Some((Arc::new(SecretValue::string("new")), None));
    Change { before: Before::Unread { table: unread.table }, after }
}

/// What a write leaves that is cut off in it, and what is there once that was looked into.
#[tokio::test(start_paused = true)]
async fn what_a_write_destroyed_that_had_not_read_it_comes_back_with_the_file() {
    for (left, is_back, content) in [("", true, "old"), ("new", false, "new"), ("old", false, "old")] {
        let place = Place::new();
        let spoiled = place.clone();
        let mut worker = place
            .worker(move |_, call| {
                fs::write(spoiled.data(), left).unwrap();
                says(call, "HostFunctionNotImplemented")
            })
            .await;
        let mut turn = place.turn(&mut worker);
        let before = place.backend.before_write(&mut turn, "k").await.unwrap();
        let refused = place.backend.set(&mut turn, "k", &SecretValue::string("new"), None, &before).await;
        assert!(matches!(refused, Err(Trouble::Fault(_))), "{refused:?}");
        place.backend.store.owe_undo("k");
        let recovered = place.backend.recover(&mut turn, "k", &change(&before)).await.unwrap();
        assert_eq!((recovered, place.content().as_str()), (is_back, content), "{left:?}");
        let again = place.backend.before_write(&mut place.turn(&mut worker), "other").await;
        assert!(!matches!(again, Err(Trouble::Owed)), "it is settled");
    }
}

/// Its file would take their write back too.
#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_written_since_is_kept_and_the_loss_is_named() {
    let place = Place::new();
    let spoiled = place.clone();
    let mut worker = place
        .worker(move |_, call| {
            fs::write(spoiled.data(), "").unwrap();
            says(call, "HostFunctionNotImplemented")
        })
        .await;
    let mut turn = place.turn(&mut worker);
    let before = place.backend.before_write(&mut turn, "k").await.unwrap();
    place.backend.set(&mut turn, "k", &SecretValue::string("new"), None, &before).await.unwrap_err();
    fs::write(place.folder.path().join("storefile"), "").unwrap();
    filetime_of_another_write(&place);
    assert!(!place.backend.recover(&mut turn, "k", &change(&before)).await.unwrap());
    assert_eq!((place.content().as_str(), place.backend.store.vanished()), ("", vec!["k".to_owned()]));
}

/// The same content by another process.
fn filetime_of_another_write(place: &Place) {
    let file = fs::File::options().write(true).open(place.data()).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
}

/// Until it is back, a write of another key would make the file of before worthless.
#[tokio::test(start_paused = true)]
async fn nothing_else_is_written_while_a_value_is_still_to_be_put_back() {
    let place = Place::new();
    let spoiled = place.clone();
    let mut worker = place
        .worker(move |before, call| {
            (before == 0).then(|| {
                fs::write(spoiled.data(), "").unwrap();
                says(call, "HostFunctionNotImplemented")
            })?
        })
        .await;
    place.write(&mut worker).await.unwrap_err();
    place.backend.store.owe_undo("k");
    let other = place.backend.before_write(&mut place.turn(&mut worker), "other").await;
    assert!(matches!(other, Err(Trouble::Owed)), "{other:?}");
    // Its own key may be written anew, which settles it.
    place.write(&mut worker).await.unwrap();
    assert!(!place.backend.store.must_undo_first("other"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_put_back_now_is_an_error_of_the_write_and_is_put_back_later() {
    let place = Place::new();
    let store = &place.backend.store;
    store.keep();
    assert!(store.begin_undo("k"));
    fs::remove_file(place.data()).unwrap();
    fs::create_dir(place.data()).unwrap();
    store.wrote(store.files_now());
    let Err(Trouble::Fault(fault)) = undo(store, "v", "k") else { panic!("it is in the way") };
    let said = (fault.id.as_str(), fault.kind.as_str(), fault.category.as_str());
    assert_eq!(said, ("UndoFailed", STILL_THERE, "WriteError"));
    assert!(fault.message.contains("cannot be put back"), "{}", fault.message);
    fs::remove_dir(place.data()).unwrap();
    store.wrote(store.files_now());
    assert!(undo(store, "v", "k").unwrap());
    assert_eq!(place.content(), "old");
}
