//! Start, stop and reload: every request is answered, and nothing is left behind.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::json;

use crate::need_pwsh;
use crate::reliability::{Authentication, fresh_values, store};
use crate::support::http::{Client, Response};
use crate::support::process::alive;
use crate::support::pwsh::say;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::{StandIn, derived};
use crate::support::{SOON, free_port, soaking, wait_until};

const PLAN: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }
limits = { deadline = "10s", drain = "10s" }
[pool]
min = 2
max = 2
[vaults.v]
module = "My.Vault"
parallel = true
expose = true
"#;

/// Each call takes a moment, so that some are always under way.
fn slow() -> StandIn {
    StandIn::with(&json!({ "derived": true, "rules": [{ "op": "get", "do": { "delay": { "ms": 20 } } }] }))
}

fn serve(stand_in: &StandIn) -> Server {
    Builder::new().config(PLAN).stand_in(stand_in).start()
}

/// What becomes of the server's door while it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DoorWill {
    /// It stays open: who is not let in, or put out, was dropped.
    Stay,
    /// It closes, and nobody is let in any more.
    Close,
}

/// What a client asks in one round, and which answer is right.
struct Question {
    key: String,
    request: Vec<u8>,
    is_right: fn(&str, &Response) -> bool,
}

/// Clients that ask without a pause, with a new connection each time, until they are told to stop, or until
/// nobody listens.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Told>>,
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// The keys of requests that were answered right.
    right: Vec<String>,
    /// What went wrong: requests that were accepted and not answered well.
    wrong: Vec<String>,
}

impl Load {
    /// Four clients that read.
    fn on(server: &Server, door: DoorWill) -> Load {
        Load::of(server, door, |client, number, round| {
            let key = format!("k{number}-{round}");
            let request = client.request("GET", &format!("/vaults/v/secrets/{key}"), &[], b"");
            let is_right = |key: &str, answer: &Response| {
                answer.status == 200 && answer.json()["Value"] == derived("v", key)
            };
            Question { key, request, is_right }
        })
    }

    /// Four clients that ask what `question` says, of their number and the round.
    fn of(server: &Server, door: DoorWill, question: fn(&Client, usize, usize) -> Question) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4).map(|number| {
            let (client, stop, answered) = (server.client(), stop.clone(), answered.clone());
            let question = move |round| question(&client, number, round);
            let client = server.client();
            std::thread::spawn(move || ask(&client, door, question, &stop, &answered))
        });
        Load { clients: clients.collect(), stop, answered }
    }

    fn wait_for_more(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        wait_until("more answers", SOON, || self.answered.load(Ordering::Relaxed) >= goal);
    }

    fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for client in self.clients {
            let told = client.join().unwrap();
            all.right.extend(told.right);
            all.wrong.extend(told.wrong);
        }
        all
    }
}

fn ask(
    client: &Client,
    door: DoorWill,
    question: impl Fn(usize) -> Question,
    stop: &AtomicBool,
    answered: &AtomicUsize,
) -> Told {
    let mut told = Told::default();
    for round in 0.. {
        let Question { key, request, is_right } = question(round);
        let stream = match client.connect() {
            Ok(stream) => stream,
            // Nobody accepts: the server has closed its door, and the request was never its.
            Err(_) if door == DoorWill::Close => break,
            Err(error) => {
                told.wrong.push(format!("{key}: {error}"));
                break;
            }
        };
        match crate::support::http::exchange(stream, &request) {
            Ok(answer) if is_right(&key, &answer) => told.right.push(key),
            Ok(answer) => told.wrong.push(format!("{key}: {} {}", answer.status, answer.text())),
            // The kernel had taken the connection and the server had not when it closed its door.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && door == DoorWill::Close => break,
            Err(error) => told.wrong.push(format!("{key}: {error}")),
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    told
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The private folders of servers.
fn private_folders(server: &Server) -> Vec<String> {
    folders_below(&server.folder().join("run"))
}

/// The folders in the folders of a folder. The server's own socket is there too, and is none.
fn folders_below(folder: &Path) -> Vec<String> {
    let inner = |name: &String| {
        let place = folder.join(name);
        entries(&place).into_iter().filter(move |name| place.join(name).is_dir()).collect::<Vec<_>>()
    };
    entries(folder).iter().flat_map(inner).collect()
}

#[test]
fn a_stop_under_load_answers_all_that_was_accepted() {
    let stand_in = slow();
    let mut server = serve(&stand_in);
    let load = Load::on(&server, DoorWill::Close);
    load.wait_for_more(20);
    let workers = server.pids_of_workers();
    let status = server.stop(SOON);
    assert!(status.success(), "{status}");
    assert_eq!(load.end().wrong, [""; 0]);
    assert!(!workers.iter().any(|pid| alive(*pid)));
    let calls = stand_in.events("call");
    let mut ops = calls.iter().filter_map(|call| call["op"].as_str());
    let last = ops.rfind(|op| *op != "shutdown");
    assert_eq!(last, Some("unregister"), "after the last request");
    assert!(private_folders(&server).is_empty());
}

/// Two read and two write.
fn mixed(client: &Client, number: usize, round: usize) -> Question {
    if number < 2 {
        let request = client.request("GET", "/vaults/store/secrets/there", &[], b"");
        let is_right = |_: &str, answer: &Response| answer.status == 200 && answer.json()["Value"] == "there";
        return Question { key: "there".into(), request, is_right };
    }
    let key = format!("k{number}-{round}");
    let headers = [("Content-Type", "text/plain; charset=utf-8")];
    let request = client.request(
        "PUT",
        &format!("/vaults/store/secrets/{key}"),
        &headers,
        format!("v {key}").as_bytes(),
    );
    Question { key, request, is_right: |_, answer| answer.status == 204 }
}

#[test]
fn a_stop_under_load_answers_reads_and_writes_and_what_it_acknowledged_is_there() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mut server = store(pwsh, Authentication::Password, 2, "", "").home(home.path()).start();
    assert_eq!(server.put("/vaults/store/secrets/there", "text/plain", "there").status, 204);
    let load = Load::of(&server, DoorWill::Close, mixed);
    load.wait_for_more(if soaking() { 400 } else { 30 });
    let workers = server.pids_of_workers();
    let status = server.stop(SOON);
    assert!(status.success(), "{status}");
    assert!(!workers.iter().any(|pid| alive(*pid)));
    let Told { right, wrong } = load.end();
    assert_eq!(wrong, [""; 0]);
    let found = fresh_values(pwsh, home.path(), Authentication::Password);
    let lost = |key: &&String| **key != "there" && found.get(*key) != Some(&format!("v {key}"));
    assert_eq!(right.iter().filter(lost).collect::<Vec<_>>(), [""; 0]);
    let writes = right.iter().filter(|key| *key != "there").count();
    assert!(writes > 0 && writes < right.len());
    say(&format!("lifecycle/stop under load: {} reads, {writes} writes, all there", right.len() - writes));
}

#[test]
fn a_stop_ends_within_the_drain_limit_whatever_hangs() {
    const DRAIN: Duration = Duration::from_secs(4);
    let stand_in = StandIn::with(&json!({ "derived": true, "rules": [{ "op": "get", "do": "hang" }] }));
    let toml = PLAN.replace("drain = \"10s\"", "drain = \"4s\"");
    let mut server = Builder::new().config(&toml).stand_in(&stand_in).start();
    let client = server.client();
    let asked = std::thread::spawn(move || client.get("/vaults/v/secrets/a"));
    wait_until("a call is under way", SOON, || stand_in.calls("get") > 0);
    let workers = server.pids_of_workers();
    // The last second is what a busy machine may add.
    let status = server.stop(DRAIN + Duration::from_secs(1));
    assert!(status.success(), "{status}");
    assert!(!workers.iter().any(|pid| alive(*pid)));
    let answer = asked.join().unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("not_ready")));
}

#[test]
fn a_stop_ends_with_the_last_request_and_does_not_wait_for_the_drain_limit() {
    let rule = json!({ "op": "get", "name": "a", "do": { "wait_for_file": { "path": "go" } } });
    let stand_in = StandIn::with(&json!({ "derived": true, "rules": [rule] }));
    // Far beyond what is waited for here.
    let toml = PLAN.replace("drain = \"10s\"", "drain = \"10m\"");
    let mut server = Builder::new().config(&toml).stand_in(&stand_in).start();
    let client = server.client();
    let asked = std::thread::spawn(move || client.get("/vaults/v/secrets/a"));
    wait_until("a call is under way", SOON, || stand_in.calls("get") > 0);
    server.signal(Signal::TERM);
    wait_until("it stops", SOON, || server.stderr().contains("stopping"));
    stand_in.release("go");
    let status = server.wait_exit(SOON);
    assert!(status.success(), "{status}");
    assert_eq!(asked.join().unwrap().status, 200);
    // And at once, where nothing is asked for.
    let mut server = Builder::new().config(&toml).stand_in(&stand_in).start();
    assert!(server.stop(SOON).success());
}

#[test]
fn a_script_that_is_stopped_answers_what_it_accepted_and_then_takes_its_vaults_out() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let events = home.path().join("events");
    let script = format!(
        "Start-PodeServer {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            Register-PodeSecretVault -Name v -ScriptBlock {{ 'value' }} -UnregisterScriptBlock {{
                Add-Content -LiteralPath '{events}' -Value 'unregistered'
            }}
            Add-PodeRoute -Method Get -Path '/slow' -ScriptBlock {{
                Add-Content -LiteralPath '{events}' -Value 'asked'
                Start-Sleep -Milliseconds 500
                Add-Content -LiteralPath '{events}' -Value 'answered'
                Write-PodeTextResponse (Read-PodeSecret -Key k -Vault v)
            }}
        }}",
        port = free_port(),
        events = events.display(),
    );
    let builder = Builder::new().pwsh(pwsh).home(home.path());
    let path = builder.file("server.ps1", script);
    let mut server = builder.arg("run").arg(path).start();
    let told = || fs::read_to_string(&events).unwrap_or_default();
    let client = server.client();
    let asked = std::thread::spawn(move || client.get("/slow"));
    wait_until("a block runs", SOON, || told().contains("asked"));
    let workers = server.pids_of_workers();
    let status = server.stop(SOON);
    assert!(status.success(), "{status}");
    let answer = asked.join().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "value"));
    assert_eq!(told().lines().collect::<Vec<_>>(), ["asked", "answered", "unregistered"]);
    assert!(!workers.iter().any(|pid| alive(*pid)));
}

#[test]
fn a_stop_that_is_signalled_twice_at_once_still_drains() {
    let delay = json!({ "op": "get", "do": { "delay": { "ms": 500 } } });
    let stand_in = StandIn::with(&json!({ "derived": true, "rules": [delay] }));
    let mut server = serve(&stand_in);
    let client = server.client();
    let asked = std::thread::spawn(move || client.get("/vaults/v/secrets/a").status);
    wait_until("a call is under way", SOON, || stand_in.calls("get") > 0);
    // Two that differ, because two of the same may be delivered as one.
    server.signal(Signal::INT);
    server.signal(Signal::TERM);
    let status = server.wait_exit(SOON);
    assert!(status.success(), "{status}");
    assert_eq!(asked.join().unwrap(), 200);
    assert!(!server.stderr().contains("second signal"), "{}", server.stderr());
}

#[test]
fn what_a_killed_server_leaves_is_swept_by_the_next() {
    let stand_in = slow();
    let run = tempfile::tempdir().unwrap();
    let start = || Builder::new().config(PLAN).stand_in(&stand_in).env("XDG_RUNTIME_DIR", run.path()).start();
    let private = || folders_below(run.path());
    let mut first = start();
    let left = private();
    assert_eq!(left.len(), 1);
    let workers = first.pids_of_workers();
    first.signal(Signal::KILL);
    first.wait_exit(SOON);
    wait_until("the workers are gone", Duration::from_secs(2), || !workers.iter().any(|pid| alive(*pid)));
    assert_eq!(private(), left);
    let mut second = start();
    let now = private();
    assert!(now.len() == 1 && now != left, "{now:?}");
    assert!(second.stop(SOON).success());
    assert!(private().is_empty());
}

#[test]
fn cycles_of_start_and_stop_leave_nothing() {
    let cycles = if soaking() { 1_000 } else { 20 };
    let stand_in = StandIn::with(&json!({ "derived": true }));
    let home = tempfile::tempdir().unwrap();
    for _ in 0..cycles {
        let mut server = Builder::new().config(PLAN).stand_in(&stand_in).home(home.path()).start();
        assert_eq!(server.get("/vaults/v/secrets/k").status, 200);
        assert!(server.stop(SOON).success());
        assert!(private_folders(&server).is_empty());
        assert_eq!(entries(&server.folder().join("tmp")), [""; 0]);
    }
    assert_eq!(entries(home.path()), [""; 0], "nothing is registered, nothing is kept");
    // Once for each vault: a worker's own registry goes with its folder.
    assert_eq!(stand_in.calls("unregister"), cycles);
    assert!(!stand_in.workers().iter().any(|pid| alive(*pid)));
    say(&format!("lifecycle/stand-in: {cycles} starts and stops left nothing"));
}

#[test]
fn cycles_of_start_and_stop_with_a_real_pwsh_leave_nothing() {
    let pwsh = need_pwsh!();
    let cycles = if soaking() { 50 } else { 2 };
    let toml = "listen = \"127.0.0.1:0\"\nauth = { open = true }\n[pool]\nmin = 2\nmax = 2\n\
        [vaults.v]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"STORE_PASSWORD\" }\nexpose = true\n";
    let home = tempfile::tempdir().unwrap();
    for cycle in 0..cycles {
        let builder = Builder::new().config(toml).pwsh(pwsh).env("STORE_PASSWORD", "open sesame");
        let mut server = builder.home(home.path()).start();
        assert_eq!(server.put("/vaults/v/secrets/k", "text/plain", format!("v{cycle}")).status, 204);
        let workers = server.pids_of_workers();
        assert_eq!(workers.len(), 2);
        assert!(server.stop(SOON).success(), "{}", server.stderr());
        assert!(!workers.iter().any(|pid| alive(*pid)));
        assert!(private_folders(&server).is_empty());
        assert_eq!(entries(&server.folder().join("tmp")), [""; 0]);
        // The store is the user's, and no vault was registered.
        assert_eq!(entries(&home.path().join(".secretmanagement")), ["localstore"]);
    }
    say(&format!("lifecycle/real pwsh: {cycles} starts and stops left nothing"));
}

/// The user's store as it lies on the disk: of each file its name, its bytes and its time.
fn store_files(home: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
    let folder = home.join(".secretmanagement/localstore");
    let mut names = entries(&folder);
    names.sort();
    let file = |name: String| {
        let path = folder.join(&name);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        (name, fs::read(path).unwrap(), time)
    };
    names.into_iter().map(file).collect()
}

#[test]
fn a_start_that_finds_the_configuration_as_the_plan_wants_it_writes_no_file_of_the_store() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let start = || {
        let extra = "parameters = { PasswordTimeout = 600, Interaction = \"None\" }";
        store(pwsh, Authentication::Password, 2, extra, "").home(home.path()).start()
    };
    let mut server = start();
    assert_eq!(server.put("/vaults/store/secrets/k", "text/plain", "v").status, 204);
    assert!(server.stop(SOON).success());
    let before = store_files(home.path());
    assert!(before.iter().any(|(name, ..)| name == "storefile"), "{before:?}");
    let mut server = start();
    assert_eq!(server.get("/vaults/store/secrets/k").json()["Value"], "v");
    assert!(server.stop(SOON).success());
    assert_eq!(store_files(home.path()), before);
}

#[test]
fn a_reload_under_load_drops_no_request() {
    let stand_in = slow();
    let server = serve(&stand_in);
    let file = server.folder().join("secretbridge.toml");
    let load = Load::on(&server, DoorWill::Stay);
    for round in 0..3 {
        load.wait_for_more(10);
        let vault = format!("\n[vaults.new{round}]\nmodule = \"Other.Vault\"\nexpose = true\n");
        let plan = format!("{PLAN}{vault}");
        // As an editor does it: never half a file.
        fs::write(file.with_extension("new"), plan).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
        // The first change is noticed by itself.
        if round > 0 {
            server.signal(Signal::HUP);
        }
        wait_until("the new plan is in force", SOON, || {
            server.get(&format!("/vaults/new{round}/secrets/k")).status == 200
        });
    }
    load.wait_for_more(10);
    assert_eq!(load.end().wrong, [""; 0]);
    wait_until("the old workers are gone", SOON, || server.pids_of_workers().len() == 2);
    wait_until("the old folders are gone", SOON, || private_folders(&server).len() == 1);
}

const STORE_PLAN: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }
limits = { deadline = "10s", drain = "10s" }
[pool]
min = 2
max = 2
[vaults.store]
module = "Microsoft.PowerShell.SecretStore"
unlock = { env = "STORE_PASSWORD" }
expose = true
"#;

/// Each writes a key of its own in one round, and reads it in the next.
fn write_and_read(client: &Client, number: usize, round: usize) -> Question {
    let (key, path) = (format!("v{number}-{}", round / 2), format!("/vaults/store/secrets/k{number}"));
    if round.is_multiple_of(2) {
        let headers = [("Content-Type", "text/plain; charset=utf-8")];
        let request = client.request("PUT", &path, &headers, key.as_bytes());
        return Question { key, request, is_right: |_, answer| answer.status == 204 };
    }
    let request = client.request("GET", &path, &[], b"");
    let is_right = |key: &str, answer: &Response| answer.status == 200 && answer.json()["Value"] == key;
    Question { key, request, is_right }
}

/// The new workers have read the store while the old ones still wrote to it.
#[test]
fn a_reload_under_load_reads_what_was_written_before_it() {
    let stand_in = StandIn::scenario("stale-copies");
    let server =
        Builder::new().config(STORE_PLAN).stand_in(&stand_in).env("STORE_PASSWORD", "open sesame").start();
    let file = server.folder().join("secretbridge.toml");
    let load = Load::of(&server, DoorWill::Stay, write_and_read);
    for round in 0..4 {
        load.wait_for_more(20);
        let vault = format!("\n[vaults.new{round}]\nmodule = \"Other.Vault\"\nexpose = true\n");
        fs::write(file.with_extension("new"), format!("{STORE_PLAN}{vault}")).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
        server.signal(Signal::HUP);
        wait_until("the new plan is in force", SOON, || {
            server.get("/vaults").text().contains(&format!("new{round}"))
        });
    }
    load.wait_for_more(20);
    assert_eq!(load.end().wrong, [""; 0]);
}

/// A file that looks as it did: the same length and time.
fn replace_unseen(file: &Path, content: &str) {
    let old = fs::metadata(file).unwrap();
    assert_eq!(old.len(), content.len() as u64);
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::File::options().write(true).open(&new).unwrap().set_modified(old.modified().unwrap()).unwrap();
    fs::rename(&new, file).unwrap();
}

#[test]
fn a_sighup_reads_the_file_again_whether_or_not_it_looks_changed() {
    let stand_in = slow();
    let plan = format!("{PLAN}\n[vaults.one]\nmodule = \"Other.Vault\"\nexpose = true\n");
    let server = Builder::new().config(&plan).stand_in(&stand_in).start();
    let load = Load::on(&server, DoorWill::Stay);
    let in_force = || server.stderr().matches("the changed configuration is in force").count();
    let first = server.pids_of_workers();
    assert_eq!((in_force(), first.len()), (0, 2));
    server.signal(Signal::HUP);
    wait_until("the untouched file is read again", SOON, || {
        server.stderr().contains("the configuration is unchanged; workers and vaults are new")
    });
    wait_until("all workers are new", SOON, || {
        let now = server.pids_of_workers();
        now.len() == 2 && !now.iter().any(|pid| first.contains(pid))
    });
    replace_unseen(&server.folder().join("secretbridge.toml"), &plan.replace("vaults.one", "vaults.two"));
    server.signal(Signal::HUP);
    wait_until("what only looks untouched is read too", SOON, || in_force() == 1);
    assert_eq!(server.get("/vaults/two/secrets/k").status, 200);
    load.wait_for_more(10);
    assert_eq!(load.end().wrong, [""; 0]);
}

#[test]
fn a_bad_new_file_keeps_the_old_plan_and_says_why() {
    let stand_in = slow();
    let server = serve(&stand_in);
    let load = Load::on(&server, DoorWill::Stay);
    fs::write(server.folder().join("secretbridge.toml"), format!("{PLAN}\nnonsense = 1\n")).unwrap();
    server.signal(Signal::HUP);
    wait_until("the log says why", SOON, || {
        let log = server.stderr();
        log.contains("the old one stays in force") && log.contains("nonsense")
    });
    load.wait_for_more(10);
    assert_eq!(load.end().wrong, [""; 0]);
}
