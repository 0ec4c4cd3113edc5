//! How a store is configured, opened and warmed up in a fresh worker, and by which calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::plan::{Extension, SECRET_STORE, Vault, VaultKind};
use crate::vault::backend::InWorker as _;
use crate::vault::backend::secret_store::SecretStoreBackend;
use crate::vault::backend::secret_store::session::StoreNotes;
use crate::vault::turn::Turn;
use crate::vault::{Entry, Means};
use crate::worker::fake::{FakeLauncher, Reaction, fault, ok};

struct Place {
    folder: tempfile::TempDir,
    backend: Arc<SecretStoreBackend>,
    entry: Entry,
    /// The kinds of calls so far.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new(password: Option<&str>, change: impl FnOnce(&mut Extension)) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["storefile", "storeconfig"].map(|name| folder.path().join(name)).into();
        for file in &files {
            std::fs::write(file, "content").unwrap();
        }
        let backend = Arc::new(SecretStoreBackend::over(KnownStore::over(files)));
        backend.store.foreign_change();
        let mut extension = Extension::new("v", SECRET_STORE);
        change(&mut extension);
        let means = Means { password: password.map(Into::into), ..Means::default() };
        let plan = Vault::new("v", VaultKind::Extension(extension));
        let entry = Entry::new(0, plan, backend.clone(), means, Arc::default());
        Place { folder, backend, entry, calls: Arc::default() }
    }

    /// A worker that answers as it is told to.
    async fn worker(&self, answer: impl Fn(&str, &Value) -> Reaction + Send + Sync + 'static) -> Worker {
        let calls = self.calls.clone();
        let script = move |_, call: &Value| {
            let (kind, _) = call["op"].as_object().unwrap().iter().next().unwrap();
            calls.lock().unwrap().push(kind.clone());
            answer(kind, call)
        };
        let until = Instant::now() + Duration::from_secs(5);
        Worker::start(&FakeLauncher::new(script), 1, until).await.unwrap()
    }

    fn turn<'a>(&'a self, worker: &'a mut Worker) -> Turn<'a> {
        let until = Instant::now() + Duration::from_secs(10);
        Turn { worker, vault: &self.entry, until, grace: Duration::ZERO }
    }

    fn calls(&self) -> String {
        self.calls.lock().unwrap().join(" ")
    }
}

fn plain(_: &mut Extension) {}

fn protected_by(authentication: &'static str) -> impl Fn(&str, &Value) -> Reaction {
    move |kind, call| {
        let reply = match kind {
            "info" => json!({ "secrets": [] }),
            _ => json!({ "authentication": authentication }),
        };
        Reaction::Say(vec![ok(call, &reply)])
    }
}

fn refused(id: &'static str) -> impl Fn(&str, &Value) -> Reaction {
    move |_, call| Reaction::Say(vec![fault(call, id)])
}

#[test]
fn a_configuration_is_looked_at_alone_where_that_may_change_the_store() {
    let with = |extension: &mut Extension| {
        extension.parameters.0.insert("PasswordTimeout".into(), 900.into());
    };
    let imported = |extension: &mut Extension| {
        with(extension);
        extension.imported = true;
    };
    let (alone, beside) = (Some(LaneMode::Exclusive), Some(LaneMode::Shared));
    // What the plan says; whether the store is there, was configured, and is added by a script; and how.
    for (number, (change, there, configured, added, expected)) in [
        (&plain as &dyn Fn(&mut Extension), true, false, false, beside),
        (&with, true, false, false, alone),
        (&imported, true, false, false, beside),
        (&plain, false, false, false, alone),
        (&with, true, true, false, None),
        (&with, true, true, true, alone),
        (&plain, true, true, true, beside),
    ]
    .into_iter()
    .enumerate()
    {
        let place = Place::new(None, change);
        if !there {
            std::fs::remove_file(place.folder.path().join("storeconfig")).unwrap();
        }
        if configured {
            place.backend.store.set_configured();
        }
        assert_eq!(place.backend.configures(&place.entry, added), expected, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_of_the_users_own_is_asked_once_how_it_protects_itself() {
    for (imported, configured, calls, known) in [
        (true, false, "configure", Authentication::None),
        (false, false, "", Authentication::Unknown),
        (true, true, "", Authentication::Unknown),
    ] {
        let place = Place::new(None, |extension| extension.imported = imported);
        if configured {
            place.backend.store.set_configured();
        }
        let mut worker = place.worker(protected_by("None")).await;
        let until = Instant::now() + Duration::from_secs(5);
        place.backend.registered(&mut worker, &place.entry, until).await.unwrap();
        assert_eq!((place.calls().as_str(), place.backend.store.authentication()), (calls, known));
    }
    let place = Place::new(None, |extension| extension.imported = true);
    let until = Instant::now() + Duration::from_secs(5);
    let mut worker = place.worker(refused("Locked")).await;
    place.backend.registered(&mut worker, &place.entry, until).await.unwrap();
    let mut worker = place.worker(|_, _| Reaction::Die).await;
    let broken = place.backend.registered(&mut worker, &place.entry, until).await;
    assert!(matches!(broken, Err(CallError::Broken(_))), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn configuring_a_store_opens_it_where_it_has_a_password_that_may_be_used() {
    for (authentication, password, at_start, opened) in [
        ("Password", Some("p"), true, true),
        ("None", Some("p"), true, false),
        ("Password", None, true, false),
        ("Password", Some("p"), false, false),
    ] {
        let place = Place::new(password, |extension| extension.unlock_at_start = at_start);
        let mut worker = place.worker(protected_by(authentication)).await;
        let said = place.backend.configure(&mut place.turn(&mut worker), false).await.unwrap();
        assert_eq!(said, opened, "{authentication}, {password:?}, {at_start}");
        assert!(place.backend.store.is_configured());
        let seen = worker.notes.get::<StoreNotes>().and_then(|notes| notes.0.clone()).unwrap();
        assert_eq!((seen.unlocked.is_some(), about(&mut worker).renewals), (opened, u64::from(opened)));
        assert_eq!(place.entry.store.password().is_some(), opened, "all its vaults know it then");
        assert_eq!(place.backend.store.generation(), 0, "nothing was written");
    }
}

#[tokio::test(start_paused = true)]
async fn what_configuring_writes_is_ours() {
    let place = Place::new(Some("p"), plain);
    let file = place.folder.path().join("storeconfig");
    let mut worker = place
        .worker(move |_, call| {
            std::fs::write(&file, "other content").unwrap();
            Reaction::Say(vec![ok(call, &json!({ "authentication": "Password" }))])
        })
        .await;
    place.backend.configure(&mut place.turn(&mut worker), false).await.unwrap();
    let (store, seen) = (&place.backend.store, worker.notes.get::<StoreNotes>().unwrap().0.clone().unwrap());
    assert!(!store.foreign_change() && store.generation() == 1);
    assert_eq!((seen.generation, seen.files), (1, store.files_now()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_configured_stops_a_script_and_no_plan() {
    const LOCKED: &str = "Microsoft.PowerShell.SecretStore.PasswordRequiredException";
    for id in ["Other", LOCKED, "NoRememberedPassword"] {
        for added in [false, true] {
            let place = Place::new(None, plain);
            let mut worker = place.worker(refused(id)).await;
            let outcome = place.backend.configure(&mut place.turn(&mut worker), added).await;
            match outcome {
                Ok(opened) => assert!(!opened && !added),
                Err(Trouble::Fault(fault)) => assert!(added && fault.id == id),
                Err(other) => panic!("{other:?}"),
            }
            assert!(!place.backend.store.is_configured());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_worker_unlocks_where_it_is_to_and_makes_its_first_call_before_anybody_waits() {
    for (known, opened, password, calls) in [
        (Some("Password"), true, Some("p"), "info"),
        (Some("Password"), false, Some("p"), "unlock info"),
        (Some("Password"), false, None, "info"),
        (Some("None"), false, Some("p"), "info"),
        (None, false, None, ""),
        (None, false, Some("p"), "unlock info"),
    ] {
        let place = Place::new(password, plain);
        place.backend.store.told(known, None);
        let mut worker = place.worker(protected_by("Password")).await;
        place.backend.prepare(&mut place.turn(&mut worker), opened).await.unwrap();
        assert_eq!(place.calls(), calls, "{known:?}, {opened}, {password:?}");
        let seen = worker.notes.get::<StoreNotes>().is_some_and(|notes| notes.0.is_some());
        assert_eq!(seen, known == Some("None") || calls.contains("unlock"), "{known:?}, {opened}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_call_that_fails_is_no_trouble_and_one_that_breaks_the_worker_is() {
    let place = Place::new(None, plain);
    place.backend.store.told(Some("Password"), None);
    let mut worker = place.worker(refused("Any")).await;
    place.backend.prepare(&mut place.turn(&mut worker), false).await.unwrap();
    let mut worker = place.worker(|_, _| Reaction::Die).await;
    let broken = place.backend.prepare(&mut place.turn(&mut worker), false).await;
    assert!(matches!(broken, Err(Trouble::Broken(_))), "{broken:?}");
    let place = Place::new(Some("p"), plain);
    let mut worker = place.worker(refused("SecretStoreUnlockFailed")).await;
    let locked = place.backend.prepare(&mut place.turn(&mut worker), false).await;
    assert!(matches!(locked, Err(Trouble::Locked { .. })), "{locked:?}");
}
