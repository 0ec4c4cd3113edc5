//! What a write came to, and what is done about a vault that locks itself.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::plan::{AZ_KEY_VAULT, Extension, Vault, VaultKind};
use crate::protocol::Metadata;
use crate::vault::backend::kinds;
use crate::vault::backend::module::session::ModuleVault;
use crate::vault::turn::Turn;
use crate::vault::{Entry, Means};
use crate::worker::Worker;
use crate::worker::fake::{FakeLauncher, Reaction, fault, ok};

fn text(value: &str) -> SecretValue {
    SecretValue::string(value)
}

fn there(value: &str) -> Present {
    Present::There(GetReply { value: text(value), metadata: Metadata::new() })
}

#[test]
fn what_a_write_came_to_is_what_a_read_shows() {
    use Present::{Missing, Unknown};
    let (old, new, odd) = (there("old"), there("new"), there("odd"));
    let after = text("new");
    let set = [
        // before, now, what it came to
        (&old, &new, WriteVerdict::Written),
        (&Missing, &new, WriteVerdict::Written),
        (&Unknown, &new, WriteVerdict::Written),
        (&old, &old, WriteVerdict::Refused),
        (&Missing, &Missing, WriteVerdict::Refused),
        (&old, &Missing, WriteVerdict::Unknown),
        (&old, &odd, WriteVerdict::Unknown),
        (&Missing, &odd, WriteVerdict::Unknown),
        (&Unknown, &odd, WriteVerdict::Unknown),
        (&Unknown, &Missing, WriteVerdict::Unknown),
        (&old, &Unknown, WriteVerdict::Unknown),
    ];
    for (before, now, expected) in set {
        for failed in [false, true] {
            let came_to = verdict(before, now, Some(&after), failed, false);
            assert_eq!(came_to, expected, "{before:?} {now:?} {failed}");
        }
    }
    let remove = [
        (&old, &Missing, WriteVerdict::Written),
        (&Unknown, &Missing, WriteVerdict::Written),
        (&old, &old, WriteVerdict::Refused),
        (&Unknown, &old, WriteVerdict::Refused),
        (&old, &odd, WriteVerdict::Unknown),
        (&Missing, &odd, WriteVerdict::Unknown),
        (&old, &Unknown, WriteVerdict::Unknown),
    ];
    for (before, now, expected) in remove {
        assert_eq!(verdict(before, now, None, true, false), expected, "{before:?} {now:?}");
    }
    assert_eq!(verdict(&Unknown, &odd, Some(&after), true, true), WriteVerdict::Refused, "it reports all");
}

#[test]
fn what_a_caller_is_told_is_what_a_write_came_to_whatever_the_module_reported() {
    use WriteVerdict::{Refused, Unknown, Written};
    let (new, missing, old) = (text("new"), Present::Missing, there("old"));
    let set = Checked { key: "k", before: &old, after: Some(&new), with_metadata: false };
    let with_metadata = Checked { with_metadata: true, ..set };
    let remove = Checked { after: None, ..set };
    let remove_nothing = Checked { before: &missing, ..remove };
    const OTHER: &str = "SetSecretInvalidOperation";
    for (write, verdict, id, told) in [
        (set, Written, None, "done"),
        (set, Refused, None, "WriteNotKept"),
        (set, Unknown, None, "unknown WriteNotKept"),
        (set, Written, Some(OTHER), "done in spite of SetSecretInvalidOperation"),
        (with_metadata, Written, Some(OTHER), "unknown SetSecretInvalidOperation"),
        (set, Refused, Some(OTHER), OTHER),
        (set, Unknown, Some(OTHER), "unknown SetSecretInvalidOperation"),
        (set, Refused, Some("GetSecretNotFound"), "WriteRefused"),
        (remove, Written, Some(OTHER), "done in spite of SetSecretInvalidOperation"),
        (remove, Written, Some("GetSecretNotFound"), "GetSecretNotFound"),
        (remove_nothing, Written, Some(OTHER), "GetSecretNotFound"),
        (remove, Refused, Some("GetSecretNotFound"), "WriteRefused"),
    ] {
        let fault = id.map(|id| Box::new(Fault { id: id.to_owned(), ..Fault::default() }));
        let found = match conclusion(&write, verdict, fault) {
            Ok(None) => "done".to_owned(),
            Ok(Some(fault)) => format!("done in spite of {}", fault.id),
            Err(Trouble::Fault(fault)) => fault.id,
            Err(Trouble::Unknown(fault)) => format!("unknown {}", fault.id),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, told, "{verdict:?}, {id:?}");
    }
}

/// A module in the worker: what it keeps, whether it is open, and how it writes.
struct Module {
    kept: Option<&'static str>,
    open: bool,
    opens: bool,
    calls: Vec<String>,
    writes: fn(&mut Module, &'static str) -> Option<&'static str>,
}

impl Module {
    fn call(&mut self, call: &Value) -> Result<Value, String> {
        let (op, _) = call["op"].as_object().and_then(|op| op.iter().next()).unwrap();
        self.calls.push(op.clone());
        match op.as_str() {
            "unlock" if self.opens => self.open = true,
            "unlock" => return Err("UnlockSecretVaultInvalidOperation".into()),
            "test" => return Ok(json!({ "ready": self.open })),
            _ if !self.open => return Err("GetSecretInvalidOperation".into()),
            "get" => {
                let kept = self.kept.ok_or("GetSecretNotFound")?;
                return Ok(json!({ "value": { "t": "string", "v": kept }, "metadata": {} }));
            }
            "set" => {
                assert_eq!(call["op"]["set"].get("keep_metadata"), None);
                if let Some(id) = (self.writes)(self, "new") {
                    return Err(id.into());
                }
            }
            "remove" => {
                self.kept = None;
            }
            other => panic!("{other}"),
        }
        Ok(json!({}))
    }
}

fn module(writes: fn(&mut Module, &'static str) -> Option<&'static str>) -> Arc<Mutex<Module>> {
    let module = Module { kept: Some("old"), open: true, opens: true, calls: Vec::new(), writes };
    Arc::new(Mutex::new(module))
}

async fn worker(module: &Arc<Mutex<Module>>) -> Worker {
    let module = module.clone();
    let launcher = FakeLauncher::new(move |_, call: &Value| {
        Reaction::Say(vec![match module.lock().unwrap().call(call) {
            Ok(reply) => ok(call, &reply),
            Err(id) => fault(call, &id),
        }])
    });
    Worker::start(&launcher, 1, Instant::now() + Duration::from_secs(5)).await.unwrap()
}

fn entry(module: &str, password: Option<&str>) -> Entry {
    let plan = Vault::new("v", VaultKind::Extension(Extension::new("v", module)));
    let means = Means { password: password.map(Into::into), ..Means::default() };
    Entry::new(0, plan.clone(), kinds::of(&plan).open(&plan), means, Arc::default())
}

async fn put(entry: &Entry, worker: &mut Worker) -> Result<(), Trouble> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut turn = Turn { worker, vault: entry, until, grace: Duration::ZERO };
    let before = entry.calls().unwrap().before_write(&mut turn, "k").await?;
    entry.calls().unwrap().set(&mut turn, "k", &text("new"), None, &before).await
}

fn says(outcome: Result<(), Trouble>, entry: &Entry) -> String {
    outcome
        .map_or_else(|trouble| trouble.into_error(entry, Some("k"), true).to_string(), |()| "written".into())
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_ends_as_written_refused_or_unknown() {
    type Write = fn(&mut Module, &'static str) -> Option<&'static str>;
    const FAILED: Option<&str> = Some("SetSecretInvalidOperation");
    let ways: [(Write, &str); 6] = [
        (
            |module, new| {
                module.kept = Some(new);
                None
            },
            "written",
        ),
        (
            |module, new| {
                module.kept = Some(new);
                FAILED
            },
            "written",
        ),
        (|_, _| FAILED, "refused"),
        (|_, _| None, "refused"),
        (
            |module, _| {
                module.kept = None;
                FAILED
            },
            "unknown",
        ),
        (
            |module, _| {
                module.kept = Some("cut off");
                None
            },
            "unknown",
        ),
    ];
    for (number, (write, expected)) in ways.into_iter().enumerate() {
        let (module, entry) = (module(write), entry("Any.Module", None));
        let said = says(put(&entry, &mut worker(&module).await).await, &entry);
        let came_to = match said.as_str() {
            "written" => "written",
            said if said.contains("unknown") => "unknown",
            _ => "refused",
        };
        assert_eq!(came_to, expected, "{number}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_that_is_known_to_report_failure_is_read_only_after_one() {
    let (module, entry) = (
        module(|module, new| {
            module.kept = Some(new);
            None
        }),
        entry(AZ_KEY_VAULT, None),
    );
    put(&entry, &mut worker(&module).await).await.unwrap();
    assert_eq!(module.lock().unwrap().calls, ["set"]);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_has_locked_itself_is_unlocked_before_it_is_written() {
    let (module, entry) = (
        module(|module, new| {
            module.kept = Some(new);
            None
        }),
        entry("Any.Module", Some("p")),
    );
    let mut worker = worker(&module).await;
    put(&entry, &mut worker).await.unwrap();
    module.lock().unwrap().open = false;
    module.lock().unwrap().calls.clear();
    put(&entry, &mut worker).await.unwrap();
    assert_eq!(module.lock().unwrap().calls, ["get", "test", "unlock", "get", "set", "get"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_locks_itself_before_the_write_is_written_after_the_unlock() {
    // It closes at the first write, which it acknowledges.
    let (module, entry) = (
        module(|module, new| {
            let first = module.calls.iter().filter(|call| *call == "set").count() == 1;
            (module.open, module.kept) = if first { (false, module.kept) } else { (true, Some(new)) };
            None
        }),
        entry("Any.Module", Some("p")),
    );
    put(&entry, &mut worker(&module).await).await.unwrap();
    assert_eq!(module.lock().unwrap().kept, Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_password_is_tried_less_and_less_often() {
    let (module, entry) = (module(|_, _| None), entry("Any.Module", Some("p")));
    let mut worker = worker(&module).await;
    (module.lock().unwrap().open, module.lock().unwrap().opens) = (false, false);
    for _ in 0..20 {
        let outcome = put(&entry, &mut worker).await;
        assert!(matches!(outcome, Err(Trouble::Locked { .. })), "{outcome:?}");
    }
    let tries = module.lock().unwrap().calls.iter().filter(|call| *call == "unlock").count();
    assert_eq!(tries, 2);
}

#[tokio::test(start_paused = true)]
async fn an_unlock_that_does_not_help_is_not_repeated_at_each_call() {
    let (module, entry) = (module(|_, _| Some("SetSecretInvalidOperation")), entry("Any.Module", Some("p")));
    let mut worker = worker(&module).await;
    let until = Instant::now() + Duration::from_secs(10);
    // Only this key cannot be read: the vault's own test is content.
    module.lock().unwrap().kept = None;
    let mut turn = Turn { worker: &mut worker, vault: &entry, until, grace: Duration::ZERO };
    let vault = ModuleVault::default();
    let mut turn = ModuleTurn { turn: &mut turn, module: &vault };
    turn.unlock(entry.password()).await.unwrap();
    for _ in 0..20 {
        let op = Op::Remove(crate::protocol::Remove { vault: "v".into(), name: "k".into(), refresh: false });
        module.lock().unwrap().open = true;
        let outcome: Result<Empty, _> = turn.answered(&op, |_| true).await;
        outcome.unwrap();
    }
    assert_eq!(module.lock().unwrap().calls.iter().filter(|call| *call == "unlock").count(), 1);
}

/// A vault that writes as it is told to, what is read of it after, and the calls.
async fn written(
    module: &'static str,
    verify: Option<bool>,
    write: Result<(), &'static str>,
    after: Result<&'static str, &'static str>,
    after_is: Option<&SecretValue>,
) -> (&'static str, String) {
    let mut extension = Extension::new("v", module);
    extension.verify = verify;
    let entry = Entry::bare(Vault::new("v", VaultKind::Extension(extension)));
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let launcher = FakeLauncher::new(move |_, call: &Value| {
        let (op, _) = call["op"].as_object().and_then(|op| op.iter().next()).unwrap();
        let mut calls = noted.lock().unwrap();
        let has_written = calls.iter().any(|call| call == "set" || call == "remove");
        calls.push(op.clone());
        let value = |text: &str| json!({ "value": { "t": "string", "v": text }, "metadata": {} });
        let said = match op.as_str() {
            "get" if has_written => after.map(value),
            "get" => Ok(value("old")),
            "test" => Ok(json!({ "ready": true })),
            _ => write.map(|()| json!({})),
        };
        Reaction::Say(vec![said.map_or_else(|id| fault(call, id), |reply| ok(call, &reply))])
    });
    let until = Instant::now() + Duration::from_secs(10);
    let mut worker = Worker::start(&launcher, 1, until).await.unwrap();
    let mut turn = Turn { worker: &mut worker, vault: &entry, until, grace: Duration::ZERO };
    let before = entry.calls().unwrap().before_write(&mut turn, "k").await.unwrap();
    let outcome = match after_is {
        Some(value) => entry.calls().unwrap().set(&mut turn, "k", value, None, &before).await,
        None => entry.calls().unwrap().remove(&mut turn, "k", &before).await,
    };
    let told = match outcome {
        Ok(()) => "written",
        Err(Trouble::Fault(_)) => "refused",
        Err(Trouble::Unknown(_)) => "unknown",
        Err(other) => panic!("{other:?}"),
    };
    (told, calls.lock().unwrap().join(" "))
}

#[tokio::test(start_paused = true)]
async fn an_error_is_believed_of_a_module_that_reports_every_failure_and_is_not_to_be_verified() {
    const MISSING: Result<&str, &str> = Err("GetSecretNotFound");
    const FAILED: Result<(), &str> = Err("SetSecretInvalidOperation");
    let new = text("new");
    for (module, verify, after, told) in [
        (AZ_KEY_VAULT, None, Ok("old"), "refused"),
        (AZ_KEY_VAULT, Some(true), MISSING, "unknown"),
        ("Any.Module", Some(false), Ok("old"), "unknown"),
        ("Any.Module", None, Ok("old"), "refused"),
    ] {
        let (found, calls) = written(module, verify, FAILED, after, Some(&new)).await;
        assert_eq!(found, told, "{module}, {verify:?}");
        assert_eq!(calls.matches("set").count(), 1, "it is not tried again: {calls}");
    }
    let (found, calls) =
        written("Any.Module", None, Err("ValueNotRepresentable"), Ok("new"), Some(&new)).await;
    assert_eq!((found, calls.as_str()), ("refused", "get set"), "nothing was called");
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_done_where_the_key_is_missing_and_unknown_where_it_cannot_be_read() {
    for (after, told) in [
        (Err("GetSecretNotFound"), "written"),
        (Err("GetSecretInvalidOperation"), "unknown"),
        (Ok("old"), "refused"),
        (Ok("odd"), "unknown"),
    ] {
        assert_eq!(written("Any.Module", None, Ok(()), after, None).await.0, told, "{after:?}");
    }
}
