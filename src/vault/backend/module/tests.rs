//! Which errors ask for an unlock or a login, and what a vault is asked again after its login was over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::judge::needs_login;
use crate::plan::{AZ_KEY_VAULT, Extension, InitScript, Vault, VaultKind};
use crate::protocol::{Empty, Fault, GetReply, Init, InnerFault, Metadata, MetadataValue, Op};
use crate::secret::SecretValue;
use crate::vault::backend::{Present, kinds};
use crate::vault::turn::{Trouble, Turn};
use crate::vault::{Entry, Hooks, Means};
use crate::worker::fake::{FakeLauncher, Reaction, fault, ok};
use crate::worker::{BoxFuture, CallError, Worker};

fn fault_of(id: &str, kind: &str, category: &str, inner: &str) -> Fault {
    let inner = vec![InnerFault { kind: inner.into(), message: String::new() }];
    Fault { id: id.into(), kind: kind.into(), category: category.into(), inner, ..Fault::default() }
}

#[test]
fn a_login_that_is_over_is_known_by_kinds_and_categories() {
    let yes = [
        fault_of(
            "GetSecretInvalidOperation",
            "System.InvalidOperationException",
            "",
            "Azure.Identity.AuthenticationFailedException",
        ),
        fault_of("GetSecretInvalidOperation", "", "", "System.UnauthorizedAccessException"),
        fault_of("Any", "", "AuthenticationError", ""),
        fault_of("Any", "System.Security.Authentication.InvalidCredentialException", "", ""),
        fault_of("CredentialUnavailable", "", "", ""),
        fault_of("Microsoft.PowerShell.SecretManagement.PasswordRequiredException", "", "", ""),
    ];
    for fault in yes {
        assert!(needs_login(&fault), "{fault:?}");
        let outer = Fault { id: "Outer".into(), more: vec![fault], ..Fault::default() };
        assert!(needs_login(&outer));
    }
    assert!(!needs_login(&fault_of(
        "GetSecretInvalidOperation",
        "",
        "InvalidOperation",
        "System.IO.IOException"
    )));
}

/// How the login ends that runs again.
#[derive(Clone, Copy, PartialEq)]
enum Login {
    Opens,
    Fails,
    Hangs,
}

/// A vault in a worker.
struct Module {
    open: bool,
    login: Login,
    /// The error of each read, whether it is open or not.
    fault: Option<&'static str>,
    kept: &'static str,
    /// It locks itself at the next write, which it acknowledges.
    locks_itself: bool,
    list: Value,
    calls: Vec<String>,
}

impl Module {
    fn closed() -> Arc<Mutex<Module>> {
        let (login, fault, list) = (Login::Opens, None, json!({ "secrets": [] }));
        let module =
            Module { open: false, login, fault, kept: "old", locks_itself: false, list, calls: Vec::new() };
        Arc::new(Mutex::new(module))
    }

    fn react(&mut self, call: &Value) -> Reaction {
        let (op, _) = call["op"].as_object().and_then(|op| op.iter().next()).unwrap();
        self.calls.push(op.clone());
        let said = match op.as_str() {
            "init" if self.login == Login::Hangs => return Reaction::Hang,
            "init" if self.login == Login::Fails => Err("InitFailed"),
            "init" | "unlock" => {
                self.open = true;
                Ok(json!({}))
            }
            "test" => Ok(json!({ "ready": self.open })),
            "info" => Ok(self.list.clone()),
            "get" => match self.fault {
                Some(id) => Err(id),
                None if self.open => {
                    Ok(json!({ "value": { "t": "string", "v": self.kept }, "metadata": {} }))
                }
                None => Err("GetSecretInvalidOperation"),
            },
            "set" if self.locks_itself => {
                (self.open, self.locks_itself) = (false, false);
                Ok(json!({}))
            }
            "set" => {
                self.kept = "new";
                Ok(json!({}))
            }
            other => panic!("{other}"),
        };
        Reaction::Say(vec![said.map_or_else(|id| fault(call, id), |reply| ok(call, &reply))])
    }
}

/// A script's init block.
struct Block {
    runs: bool,
}

impl Hooks for Block {
    fn before<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        let init = Op::Init(Init { script: Some("the block".into()), file: None });
        Box::pin(async move { worker.call::<Empty>(init, until).await.map(drop) })
    }

    fn has_before(&self) -> bool {
        self.runs
    }

    fn after<'a>(&'a self, _: &'a mut Worker, _: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }
}

async fn worker(module: &Arc<Mutex<Module>>) -> Worker {
    let module = module.clone();
    let launcher = FakeLauncher::new(move |_, call: &Value| module.lock().unwrap().react(call));
    Worker::start(&launcher, 1, Instant::now() + Duration::from_secs(5)).await.unwrap()
}

/// A vault without a password, save of this one, and with what logs it in.
fn entry(name: &str, password: Option<&str>, init_script: bool, block: Option<bool>) -> Entry {
    let plan = Vault::new("v", VaultKind::Extension(Extension::new("v", name)));
    let hooks = block.map(|runs| Arc::new(Block { runs }) as Arc<dyn Hooks>);
    let means = Means { password: password.map(Into::into), hooks };
    let login: Vec<_> =
        init_script.then(|| InitScript::Text("Connect-AzAccount".into())).into_iter().collect();
    Entry::new(0, plan.clone(), kinds::of(&plan).open(&plan), means, login.into())
}

fn turn<'a>(worker: &'a mut Worker, entry: &'a Entry) -> Turn<'a> {
    Turn { worker, vault: entry, until: Instant::now() + Duration::from_secs(10), grace: Duration::ZERO }
}

/// What a read came to, and the calls that it took.
async fn read(module: &Arc<Mutex<Module>>, worker: &mut Worker, entry: &Entry) -> (String, Vec<String>) {
    let outcome = entry.calls().unwrap().get(&mut turn(worker, entry), "k", false).await;
    let told = match outcome {
        Ok(_) => "read".to_owned(),
        Err(Trouble::Fault(fault)) => fault.id,
        Err(Trouble::Broken(_)) => "broken".to_owned(),
        Err(other) => panic!("{other:?}"),
    };
    (told, std::mem::take(&mut module.lock().unwrap().calls))
}

const FAILED: &str = "GetSecretInvalidOperation";

#[tokio::test(start_paused = true)]
async fn a_vault_without_a_password_is_logged_in_again_by_whatever_logged_it_in() {
    for (init_script, block, told, calls) in [
        (true, None, "read", "get test init get"),
        (false, Some(true), "read", "get test init get"),
        (true, Some(true), "read", "get test init init get"),
        (false, Some(false), FAILED, "get"),
        (false, None, FAILED, "get"),
    ] {
        let (module, entry) = (Module::closed(), entry("My.Vault", None, init_script, block));
        let found = read(&module, &mut worker(&module).await, &entry).await;
        assert_eq!(
            (found.0.as_str(), found.1.join(" ")),
            (told, calls.to_owned()),
            "{init_script}, {block:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_runs_again_at_most_every_thirty_seconds() {
    let (module, entry) = (Module::closed(), entry("My.Vault", None, true, None));
    let mut worker = worker(&module).await;
    for (seconds, told, logins) in [(0, "read", 1), (29, FAILED, 0), (1, "read", 1)] {
        advance(Duration::from_secs(seconds)).await;
        module.lock().unwrap().open = false;
        let (found, calls) = read(&module, &mut worker, &entry).await;
        let logins_now = calls.iter().filter(|call| *call == "init").count();
        assert_eq!((found.as_str(), logins_now), (told, logins), "{seconds}: {calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_fails_leaves_the_vaults_own_error_and_one_that_hangs_a_broken_worker() {
    for (init_script, block) in [(true, None), (false, Some(true))] {
        for (login, told) in [(Login::Fails, FAILED), (Login::Hangs, "broken")] {
            let (module, entry) = (Module::closed(), entry("My.Vault", None, init_script, block));
            module.lock().unwrap().login = login;
            let (found, calls) = read(&module, &mut worker(&module).await, &entry).await;
            assert_eq!((found.as_str(), calls.len()), (told, 3), "{init_script}: {calls:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_vault_lost_whose_login_was_over_is_done_once_more() {
    let (module, entry) = (Module::closed(), entry("My.Vault", None, true, None));
    (module.lock().unwrap().open, module.lock().unwrap().locks_itself) = (true, true);
    let mut worker = worker(&module).await;
    let mut turn = turn(&mut worker, &entry);
    let before = entry.calls().unwrap().before_write(&mut turn, "k").await.unwrap();
    entry.calls().unwrap().set(&mut turn, "k", &SecretValue::string("new"), None, &before).await.unwrap();
    assert_eq!(module.lock().unwrap().kept, "new");
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_with_a_warning_is_believed_only_of_a_vault_that_is_ready() {
    let entry = entry("My.Vault", None, false, None);
    let some = json!([{ "name": "k", "type": "String" }]);
    for (warned, secrets, open, told) in [
        (true, json!([]), false, Err("TestSecretVaultFalse")),
        (true, json!([]), true, Ok(0)),
        (true, some.clone(), false, Ok(1)),
        (false, json!([]), false, Ok(0)),
        (false, some, true, Ok(1)),
    ] {
        let module = Module::closed();
        module.lock().unwrap().open = open;
        module.lock().unwrap().list = json!({ "secrets": secrets, "warned": warned });
        let mut worker = worker(&module).await;
        let found = match entry.calls().unwrap().list(&mut turn(&mut worker, &entry)).await {
            Ok(list) => Ok(list.len()),
            Err(Trouble::Fault(fault)) => {
                assert_eq!(fault.category, "ResourceUnavailable");
                assert!(fault.message.contains("Test-SecretVault"), "{}", fault.message);
                Err(fault.id)
            }
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, told.map_err(str::to_owned), "{warned}, {secrets}, {open}");
    }
}

/// Nothing blocks a write but a vault that is not ready for any call.
#[tokio::test(start_paused = true)]
async fn what_was_there_before_a_write_is_read_where_it_tells_what_the_write_came_to() {
    const LOCKED: &str = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
    for (module_name, password, fault, open, told, calls) in [
        ("My.Vault", None, None, true, "there", 1),
        ("My.Vault", None, Some("GetSecretNotFound"), true, "missing", 1),
        ("My.Vault", None, Some(LOCKED), true, LOCKED, 1),
        ("My.Vault", None, Some("Other"), false, "Other", 2),
        ("My.Vault", None, Some("Other"), true, "unknown", 2),
        (AZ_KEY_VAULT, None, None, true, "unknown", 0),
        (AZ_KEY_VAULT, Some("p"), None, true, "unknown", 1),
    ] {
        let (module, entry) = (Module::closed(), entry(module_name, password, false, None));
        (module.lock().unwrap().open, module.lock().unwrap().fault) = (open, fault);
        let mut worker = worker(&module).await;
        let found = match entry.calls().unwrap().before_write(&mut turn(&mut worker, &entry), "k").await {
            Ok(Present::There(_)) => "there".to_owned(),
            Ok(Present::Missing) => "missing".to_owned(),
            Ok(Present::Unknown | Present::Unread(_)) => "unknown".to_owned(),
            Err(Trouble::Fault(fault)) => fault.id,
            Err(other) => panic!("{other:?}"),
        };
        let calls_now = module.lock().unwrap().calls.len();
        assert_eq!((found.as_str(), calls_now), (told, calls), "{module_name}, {fault:?}, {open}");
    }
}

/// A worker of a module of which one verb is of interest.
async fn worker_of(answer: impl Fn(&str, &Value) -> Reaction + Send + Sync + 'static) -> Worker {
    let launcher = FakeLauncher::new(move |_, call: &Value| {
        let (op, _) = call["op"].as_object().and_then(|op| op.iter().next()).unwrap();
        answer(op, call)
    });
    Worker::start(&launcher, 1, Instant::now() + Duration::from_secs(5)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_workers_own_is_no_refusal_of_the_password() {
    const OWN: &str = "NoRememberedPassword";
    let entry = entry("My.Vault", Some("p"), false, None);
    let mut worker = worker_of(|_, call| Reaction::Say(vec![fault(call, OWN)])).await;
    for _ in 0..3 {
        let outcome = entry.calls().unwrap().unlock(&mut turn(&mut worker, &entry), entry.password()).await;
        assert!(matches!(&outcome, Err(Trouble::Fault(fault)) if fault.id == OWN), "{outcome:?}");
    }
    assert_eq!(entry.store.lockout(Instant::now()), None);
}

/// A warning beside it may mean that the vault could not look.
#[tokio::test(start_paused = true)]
async fn a_missing_secret_with_a_warning_is_believed_of_a_vault_that_is_ready() {
    for (ready, calls) in [(true, "unlock get test"), (false, "unlock get test unlock get")] {
        let entry = entry("My.Vault", Some("p"), false, None);
        let called = Arc::new(Mutex::new(Vec::new()));
        let noted = called.clone();
        let mut worker = worker_of(move |op, call| {
            noted.lock().unwrap().push(op.to_owned());
            let warned = json!({ "id": "GetSecretNotFound", "message": "m", "warned": true });
            Reaction::Say(vec![match op {
                "get" => json!({ "reply": { "id": call["id"], "fault": warned } }).to_string(),
                "test" => ok(call, &json!({ "ready": ready })),
                _ => ok(call, &json!({})),
            }])
        })
        .await;
        let missing = entry.calls().unwrap().get(&mut turn(&mut worker, &entry), "k", false).await;
        assert!(matches!(missing, Err(Trouble::Fault(_))), "{missing:?}");
        assert_eq!(called.lock().unwrap().join(" "), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_unlocks_where_there_is_a_password_and_else_says_that_it_is_not_ready() {
    for (open, password, calls, well) in [
        (true, Some("p"), "test", true),
        (false, Some("p"), "test unlock", true),
        (false, None, "test", false),
    ] {
        let (module, entry) = (Module::closed(), entry("My.Vault", password, false, None));
        module.lock().unwrap().open = open;
        let mut worker = worker(&module).await;
        let outcome = entry.calls().unwrap().probe(&mut turn(&mut worker, &entry)).await;
        assert_eq!((outcome.is_ok(), module.lock().unwrap().calls.join(" ").as_str()), (well, calls));
        assert!(well || matches!(outcome, Err(Trouble::Locked { .. })), "{outcome:?}");
    }
}

/// The call as the worker got it, for what the caller gave and what was there.
#[tokio::test(start_paused = true)]
async fn a_write_sends_the_metadata_that_it_was_given_or_else_what_was_there() {
    let some = |name: &str| Metadata::from([(name.to_owned(), MetadataValue::Int(1))]);
    let there = |metadata: Metadata| Present::There(GetReply { value: SecretValue::string("old"), metadata });
    for (given, before, keeps, sent, kept) in [
        (Some(some("new")), there(some("old")), true, Some("new"), false),
        (None, there(some("old")), true, Some("old"), true),
        (None, there(some("old")), false, Some("old"), false),
        (None, there(Metadata::new()), true, None, true),
        (Some(Metadata::new()), there(some("old")), true, None, false),
        (None, Present::Missing, false, None, false),
    ] {
        let mut extension = Extension::new("v", "My.Vault");
        (extension.keep_metadata, extension.verify) = (keeps, Some(false));
        let entry = Entry::bare(Vault::new("v", VaultKind::Extension(extension)));
        let set = Arc::new(Mutex::new(Value::Null));
        let noted = set.clone();
        let mut worker = worker_of(move |_, call| {
            noted.lock().unwrap().clone_from(&call["op"]["set"]);
            Reaction::Say(vec![ok(call, &json!({}))])
        })
        .await;
        let value = SecretValue::string("new");
        let mut turn = turn(&mut worker, &entry);
        entry.calls().unwrap().set(&mut turn, "k", &value, given.as_ref(), &before).await.unwrap();
        let set = set.lock().unwrap();
        let names = set["metadata"].as_object().and_then(|all| all.keys().next());
        assert_eq!((names.map(String::as_str), set["keep_metadata"] == true), (sent, kept), "{given:?}");
    }
}

/// It is not read back whether metadata was written too.
#[tokio::test(start_paused = true)]
async fn an_error_of_a_write_with_metadata_leaves_it_unknown_though_the_value_is_there() {
    for (metadata, done) in [
        (None, true),
        (Some(Metadata::new()), true),
        (Some(Metadata::from([("m".to_owned(), MetadataValue::Int(1))])), false),
    ] {
        let entry = entry("My.Vault", None, false, None);
        let mut worker = worker_of(|op, call| {
            Reaction::Say(vec![match op {
                "get" => ok(call, &json!({ "value": { "t": "string", "v": "new" }, "metadata": {} })),
                _ => fault(call, "SetSecretInvalidOperation"),
            }])
        })
        .await;
        let (value, mut turn) = (SecretValue::string("new"), turn(&mut worker, &entry));
        let outcome =
            entry.calls().unwrap().set(&mut turn, "k", &value, metadata.as_ref(), &Present::Missing).await;
        assert_eq!(outcome.is_ok(), done, "{metadata:?}: {outcome:?}");
        assert!(done || matches!(outcome, Err(Trouble::Unknown(_))), "{outcome:?}");
    }
}
