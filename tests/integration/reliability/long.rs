//! The long run: all kinds of requests at once, and one fault after the other.
//!
//! `scripts/soak --minutes 10` runs it for ten minutes and prints the table of `docs/reliability.md`; without
//! a number of minutes it is short, and shows that it works.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::foreign::Foreigner;
use super::history::History;
use super::{
    Authentication, Dice, PASSWORD, fresh_values, opening, report, together, value_in, workers_that_are,
};
use crate::need_pwsh;
use crate::support::http::Response;
use crate::support::process::{alive, resident};
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::{SOON, fixture, soaking, wait_until};

const CLIENTS: usize = 8;
const WORKERS: usize = 3;

/// Keys of each vault.
const KEYS: usize = 10;

/// Of a request, in the plan; an answer that takes much longer comes from a server that is stuck.
const DEADLINE: Duration = Duration::from_secs(10);

/// After a fault all workers are up again within this, on a machine that is busy with other things too.
const RECOVERY: Duration = Duration::from_secs(180);

/// How often memory is looked at, and how often the run tells how it goes.
const SAMPLE: Duration = Duration::from_secs(1);
const PROGRESS: Duration = Duration::from_secs(10);

const KILLED: &str = "a worker killed (SIGKILL)";
const STOPPED: &str = "a worker stopped (SIGSTOP)";
const HANGS: &str = "a vault that hangs in a .NET call";
const EXITS: &str = "a vault that runs `exit`";
const FAILS_FAST: &str = "a vault that runs `FailFast`";
const WRITTEN: &str = "another pwsh writes to the store";
const CONFIGURED: &str = "another pwsh configures the store: `PasswordTimeout` 3 s or 900 s";
const RELOADED: &str = "the plan reloaded (SIGHUP)";

const FAULTS: [&str; 8] = [KILLED, STOPPED, HANGS, EXITS, FAILS_FAST, WRITTEN, CONFIGURED, RELOADED];

/// The values of these routes are cached, the same keys under `/vaults/store` are not.
fn plan(odd: &Path, azure: bool, reloads: usize) -> String {
    let mut toml = format!(
        r#"
        listen = "127.0.0.1:0"
        auth = {{ open = true }}
        limits = {{ deadline = "{}s", write_grace = "{}ms" }}
        [pwsh]
        module_path = ["{}"]
        init = [{}]
        [pool]
        min = {WORKERS}
        max = {WORKERS}
        [vaults.store]
        module = "Microsoft.PowerShell.SecretStore"
        unlock = {{ env = "STORE_PASSWORD" }}
        expose = true
        [vaults.odd]
        module = "TestVault"
        parameters = {{ Folder = "{}" }}
        parallel = true
        expose = true
        "#,
        DEADLINE.as_secs(),
        // A reload that changes nothing would say so.
        1000 + reloads,
        fixture("vaults").display(),
        if azure { "'Connect-AzAccount -Identity -Subscription sub-1 | Out-Null'" } else { "" },
        odd.display(),
    );
    if azure {
        toml.push_str(
            "[vaults.azure]\nmodule = \"Az.KeyVault\"\nexpose = true\nparameters = { AZKVaultName = \"soak\", SubscriptionId = \"sub-1\" }\n",
        );
    }
    for key in 0..KEYS {
        toml.push_str(&format!(
            "[secrets.m{key}]\nvault = \"store\"\nkey = \"store{key}\"\ncache_ttl = \"1h\"\n"
        ));
        for method in ["GET", "POST", "DELETE"] {
            toml.push_str(&format!(
                "[[routes]]\nmethod = \"{method}\"\npath = \"/mounted/{key}\"\nsecret = \"m{key}\"\n"
            ));
        }
    }
    toml
}

/// What the clients do together.
struct Run<'a> {
    server: &'a Server,
    pwsh: &'a Pwsh,
    vaults: Vec<&'static str>,
    history: History,
    /// A foreign writer writes when none of ours is under way: what it erases in mid-write nobody can prevent.
    writing: RwLock<()>,
    done: AtomicBool,
    begun: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: BTreeMap<&'static str, usize>,
    /// By status and code.
    errors: BTreeMap<String, usize>,
    /// Those of good requests that the death or the hanging of a worker does not account for.
    refusals: Vec<String>,
    /// Milliseconds of those that were answered well.
    latencies: Vec<u32>,
    worst: Duration,
    /// Lost, wrong or stale values, answers that no fault accounts for, answers far past the deadline.
    wrong: Vec<String>,
    /// The last fault.
    doing: &'static str,
    faults: BTreeMap<&'static str, usize>,
    restarts: u64,
    restarts_at_last_look: u64,
    memory: Vec<Memory>,
}

#[derive(Debug, Clone, Copy)]
struct Memory {
    server: u64,
    workers: u64,
}

#[test]
fn a_long_run_of_mixed_load_and_faults_loses_nothing_and_sticks_nowhere() {
    let pwsh = need_pwsh!();
    let odd = tempfile::tempdir().unwrap();
    let azure = pwsh.stand_in_azure && soaking();
    let builder =
        Builder::new().config(&plan(odd.path(), azure, 0)).pwsh(pwsh).env("STORE_PASSWORD", PASSWORD);
    // A line for each access is not what this is about.
    let mut server = builder.args(["--log", "warn,secretbridge::server=info"]).start();
    let seen = {
        let vaults = if azure { vec!["store", "odd", "azure"] } else { vec!["store", "odd"] };
        let run = Run {
            server: &server,
            pwsh,
            vaults,
            history: History::default(),
            writing: RwLock::default(),
            done: AtomicBool::new(false),
            begun: Instant::now(),
            seen: Mutex::default(),
        };
        run.begin();
        run.go(time_of_run(), odd.path());
        run.look_at_the_end();
        run.seen.into_inner().unwrap()
    };
    let workers = server.pids_of_workers();
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    assert!(!workers.iter().any(|pid| alive(*pid)), "no worker outlives the server");
    server.assert_never_wrote(&[PASSWORD]);
    seen.report();
    assert!(seen.wrong.is_empty(), "{:#?}\n{}", seen.wrong, server.stderr());
    // Beyond the first writes and the last reads of each key.
    assert!(seen.latencies.len() > 2 * KEYS * 3 && !seen.faults.is_empty(), "{:?}", seen.faults);
    seen.judge_memory();
}

fn time_of_run() -> Duration {
    let minutes = std::env::var("SECRETBRIDGE_SOAK_MINUTES").ok();
    match minutes.map(|minutes| minutes.parse::<f64>().expect("a number of minutes")) {
        Some(minutes) => Duration::from_secs_f64(minutes * 60.0),
        None => Duration::from_secs(if soaking() { 60 } else { 1 }),
    }
}

impl Run<'_> {
    /// A value for each key, so that a key that is missing was lost or removed.
    fn begin(&self) {
        for vault in &self.vaults {
            for key in 0..KEYS {
                assert!(self.write(vault, &format!("{vault}{key}"), &format!("first of {vault}{key}")));
            }
        }
    }

    fn go(&self, time: Duration, odd: &Path) {
        let end = Instant::now() + time;
        let working = std::panic::AssertUnwindSafe(|| {
            thread::scope(|scope| {
                scope.spawn(|| self.watch(end));
                scope.spawn(|| together(CLIENTS, |client| self.client(client)));
                // Whatever goes wrong here must end the clients, or the scope waits for ever.
                let faults = std::panic::AssertUnwindSafe(|| self.faults(end, odd));
                let outcome = std::panic::catch_unwind(faults);
                self.done.store(true, Ordering::Release);
                outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        });
        working();
    }

    // === load ===

    fn client(&self, client: usize) {
        let mut dice = Dice(client as u64 + 1);
        let mut request = 0;
        while !self.done.load(Ordering::Acquire) {
            request += 1;
            let vault = self.vaults[dice.below(self.vaults.len())];
            let number = dice.below(KEYS);
            let (key, value) = (format!("{vault}{number}"), format!("{client}-{request} of {vault}{number}"));
            match dice.below(20) {
                0..5 => {
                    self.read("cached read", &format!("/mounted/{number}"), &format!("store{number}"));
                }
                5..14 => self.read("read", &path_of(vault, &key), &key),
                14..17 => {
                    self.write(vault, &key, &value);
                }
                17 => self.write_mounted(number, &format!("{client}-{request} of store{number}")),
                // An Azure vault does not let a removed name be used again at once.
                18 if client == 0 && vault != "azure" => self.remove(vault, &key),
                18 => self.list(vault),
                _ => self.misbehave(["throw", "slow:50", "error", "babble"][dice.below(4)]),
            }
        }
    }

    fn read(&self, what: &'static str, path: &str, key: &str) {
        let begun = Instant::now();
        let answer = self.ask(what, "GET", path, b"");
        let fault = match answer.status {
            200 => self.history.fault_of(key, Some(&value_in(&answer)), begun),
            404 => self.history.fault_of(key, None, begun),
            _ => None,
        };
        self.note_wrong(fault);
    }

    fn write(&self, vault: &str, key: &str, value: &str) -> bool {
        let _ours = self.writing.read().unwrap();
        self.history.sent(key, value);
        let answer = self.ask("write", "PUT", &path_of(vault, key), value.as_bytes());
        self.history.answered(key, value, answer.status == 204);
        answer.status == 204
    }

    fn write_mounted(&self, number: usize, value: &str) {
        let _ours = self.writing.read().unwrap();
        let key = format!("store{number}");
        self.history.sent(&key, value);
        let body = serde_json::json!({ "Value": value }).to_string();
        let answer = self.ask("write", "POST", &format!("/mounted/{number}"), body.as_bytes());
        self.history.answered(&key, value, answer.status == 200);
    }

    fn remove(&self, vault: &str, key: &str) {
        let _ours = self.writing.read().unwrap();
        self.history.removing(key);
        let answer = self.ask("removal", "DELETE", &path_of(vault, key), b"");
        self.history.removed(key, matches!(answer.status, 204 | 404));
    }

    /// What was acknowledged and is not in the list is lost; values it has none.
    fn list(&self, vault: &str) {
        let begun = Instant::now();
        let answer = self.ask("list", "GET", &format!("/vaults/{vault}/secrets"), b"");
        if answer.status != 200 {
            return;
        }
        let body = answer.json();
        let listed = body["Secrets"].as_array().into_iter().flatten();
        let names: Vec<&str> = listed.filter_map(|secret| secret["Name"].as_str()).collect();
        for key in (0..KEYS).map(|key| format!("{vault}{key}")).filter(|key| !names.contains(&key.as_str())) {
            self.note_wrong(self.history.fault_of(&key, None, begun).map(|fault| format!("listed: {fault}")));
        }
    }

    /// Its own request may fail; others must not.
    fn misbehave(&self, quirk: &str) {
        self.ask("misbehaving read", "GET", &path_of("odd", quirk), b"");
    }

    fn ask(&self, what: &'static str, method: &str, path: &str, body: &[u8]) -> Response {
        let media = if method == "POST" { "application/json" } else { "text/plain; charset=utf-8" };
        let begun = Instant::now();
        let answer = self
            .server
            .try_send(method, path, &[("Content-Type", media)], body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.server.stderr()));
        let took = begun.elapsed();
        let mut seen = self.seen.lock().unwrap();
        *seen.requests.entry(what).or_default() += 1;
        seen.worst = seen.worst.max(took);
        match answer.status {
            200 | 204 => seen.latencies.push(u32::try_from(took.as_millis()).unwrap_or(u32::MAX)),
            404 => {}
            502..=504 => {
                let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
                let kind = match what {
                    "misbehaving read" => format!(", {what}"),
                    "removal" if answer.text().contains("TestVaultNotFound") => {
                        ", already removed".to_owned()
                    }
                    _ => String::new(),
                };
                if kind.is_empty() && !matches!(code.as_str(), "deadline" | "worker_failed") {
                    seen.refusals.push(format!("{method} {path}: {}", answer.text()));
                }
                *seen.errors.entry(format!("{} {code}{kind}", answer.status)).or_default() += 1;
            }
            status => seen.wrong.push(format!("{method} {path}: {status} {}", answer.text())),
        }
        if took > DEADLINE * 2 {
            seen.wrong.push(format!("{method} {path} was answered after {took:.1?}"));
        }
        answer
    }

    fn note_wrong(&self, fault: Option<String>) {
        let mut seen = self.seen.lock().unwrap();
        let doing = seen.doing;
        seen.wrong.extend(fault.map(|fault| format!("{fault} ({:.1?}, {doing})", self.begun.elapsed())));
    }

    // === faults ===

    /// One after the other, each when what the last one broke is mended. All come before one comes again.
    fn faults(&self, end: Instant, odd: &Path) {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let mut foreigner = None;
        let (mut reloads, mut left) = (0, Vec::new());
        loop {
            if left.is_empty() {
                left = FAULTS.to_vec();
            }
            let fault = left.swap_remove(dice.below(left.len()));
            self.seen.lock().unwrap().doing = fault;
            match fault {
                KILLED => drop(self.strike(&mut dice, Signal::KILL)),
                STOPPED => {
                    let stopped = self.strike(&mut dice, Signal::STOP);
                    wait_until("the stopped worker is replaced", RECOVERY, || !stopped.is_some_and(alive));
                }
                HANGS => self.misbehave("hang-dotnet"),
                EXITS => self.misbehave("exit"),
                FAILS_FAST => self.misbehave("failfast"),
                WRITTEN => self.write_elsewhere(foreigner.get_or_insert_with(|| self.foreigner())),
                CONFIGURED => self.reconfigure(if dice.below(2) == 0 { 3 } else { 900 }),
                _ => {
                    reloads += 1;
                    self.reload(&plan(odd, self.vaults.contains(&"azure"), reloads));
                }
            }
            *self.seen.lock().unwrap().faults.entry(fault).or_default() += 1;
            self.wait_for_recovery();
            if Instant::now() >= end {
                return;
            }
        }
    }

    /// Sends a worker a signal, one that is at work if there is one.
    fn strike(&self, dice: &mut Dice, with: Signal) -> Option<u32> {
        let busy = workers_that_are(self.server, &["busy"]);
        let workers = if busy.is_empty() { self.server.pids_of_workers() } else { busy };
        let victim = *workers.get(dice.below(workers.len().max(1)))?;
        // It may have ended meanwhile.
        let pid = i32::try_from(victim).ok().and_then(Pid::from_raw)?;
        kill_process(pid, with).is_ok().then_some(victim)
    }

    fn foreigner(&self) -> Foreigner {
        let writing = "Open; Set-Secret -Vault fresh -Name theirs -Secret \"t$turn\"";
        Foreigner::start(self.pwsh, self.server, writing)
    }

    fn write_elsewhere(&self, foreigner: &mut Foreigner) {
        let _theirs = self.writing.write().unwrap();
        wait_until("no write of ours can still take effect", RECOVERY, || self.history.is_quiet());
        foreigner.write();
        let answer = self.ask("read", "GET", &path_of("store", "theirs"), b"");
        let (expected, found) = (format!("t{}", foreigner.turns), answer.json()["Value"].clone());
        if answer.status == 200 && found != expected {
            self.note_wrong(Some(format!("theirs holds {found}, not {expected}")));
        }
    }

    fn reconfigure(&self, seconds: u64) {
        // The stand-in writes the secrets too, those of its copy: then it erases as any foreign writer does.
        let _theirs = self.pwsh.stand_in_store.then(|| self.writing.write().unwrap());
        let configure = format!(
            "Set-SecretStoreConfiguration -PasswordTimeout {seconds} -Interaction None -Password $password -Confirm:$false"
        );
        self.pwsh.output_of(&(opening(Authentication::Password) + &configure), self.server.home());
    }

    fn reload(&self, plan: &str) {
        let in_force = || self.server.stderr().matches("the changed configuration is in force").count();
        let before = in_force();
        let file = self.server.folder().join("secretbridge.toml");
        fs::write(file.with_extension("new"), plan).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
        self.server.signal(Signal::HUP);
        wait_until("the new plan is in force", RECOVERY, || in_force() > before);
    }

    fn wait_for_recovery(&self) {
        let until = Instant::now() + RECOVERY;
        loop {
            let health = self.server.get("/health").json();
            let workers = health["workers"].as_array().cloned().unwrap_or_default();
            let up = workers.iter().filter(|worker| worker["state"] == "ready" || worker["state"] == "busy");
            if up.count() == WORKERS {
                return;
            }
            assert!(Instant::now() < until, "the workers do not come up: {health}\n{}", self.server.stderr());
            thread::sleep(Duration::from_millis(100));
        }
    }

    // === watching ===

    fn watch(&self, end: Instant) {
        let begun = Instant::now();
        let mut told = begun;
        while !self.done.load(Ordering::Acquire) && Instant::now() < end {
            self.sample();
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                self.seen.lock().unwrap().tell(begun.elapsed());
            }
            thread::sleep(SAMPLE);
        }
    }

    fn sample(&self) {
        let restarts = self.server.get("/health").json()["restarts"].as_u64().unwrap_or(0);
        let server = resident(self.server.pid());
        let workers = self.server.pids_of_workers().into_iter().filter_map(resident).sum();
        let mut seen = self.seen.lock().unwrap();
        // A reload begins to count anew.
        let new = restarts.checked_sub(seen.restarts_at_last_look).unwrap_or(restarts);
        seen.restarts += new;
        seen.restarts_at_last_look = restarts;
        seen.memory.extend(server.map(|server| Memory { server, workers }));
    }

    /// When all is quiet, a fresh process and the server find the same, and what was acknowledged.
    fn look_at_the_end(&self) {
        wait_until("no write of ours can still take effect", RECOVERY, || self.history.is_quiet());
        self.wait_for_recovery();
        self.sample();
        let health = self.server.get("/health").json();
        let now = Instant::now();
        let values = fresh_values(self.pwsh, self.server.home(), Authentication::Password);
        for key in (0..KEYS).map(|key| format!("store{key}")) {
            let found = values.get(&key).map(String::as_str);
            self.note_wrong(
                self.history.fault_of(&key, found, now).map(|fault| format!("fresh process: {fault}")),
            );
        }
        for vault in &self.vaults {
            for key in (0..KEYS).map(|key| format!("{vault}{key}")) {
                let path = path_of(vault, &key);
                wait_until("each key can be read", RECOVERY, || {
                    matches!(self.server.get(&path).status, 200 | 404)
                });
                self.read("read", &path, &key);
            }
        }
        for vault in health["vaults"].as_array().into_iter().flatten() {
            if (vault["state"] == "locked" || vault["state"] == "locked_out") || !vault["vanished"].is_null()
            {
                self.note_wrong(Some(format!("health at the end: {vault}")));
            }
        }
    }
}

impl Seen {
    fn tell(&self, time: Duration) {
        let memory = self.memory.last().map_or(0, |memory| memory.server / 1024);
        report(&format!(
            "long/after {:.0} s: {} requests, {} errors, {} faults, {} restarts, {} wrong, server {memory} KiB",
            time.as_secs_f64(),
            self.requests.values().sum::<usize>(),
            self.errors.values().sum::<usize>(),
            self.faults.values().sum::<usize>(),
            self.restarts,
            self.wrong.len(),
        ));
    }

    /// The table of `docs/reliability.md`.
    fn report(&self) {
        let mut lines = vec![String::from("| long run | |"), String::from("| --- | --- |")];
        let mut line = |what: &str, count: String| lines.push(format!("| {what} | {count} |"));
        for (what, count) in &self.requests {
            line(&format!("requests: {what}"), count.to_string());
        }
        for (what, count) in &self.errors {
            line(&format!("answers: {what}"), count.to_string());
        }
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or(0);
        line("answered well: median, 99 of 100, worst of all", {
            format!("{} ms, {} ms, {:.1?}", at(0.5), at(0.99), self.worst)
        });
        for (what, count) in &self.faults {
            line(&format!("fault: {what}"), count.to_string());
        }
        line("workers started again", self.restarts.to_string());
        for (name, third) in ["first", "second", "last"].iter().zip(self.thirds()) {
            let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0);
            line(
                &format!("memory, {name} third (median): server, all workers"),
                format!("{}, {}", mebibytes(third.server), mebibytes(third.workers)),
            );
        }
        line("lost, stale or wrong values, answers that were too late or made no sense", {
            self.wrong.len().to_string()
        });
        report(&lines.join("\n"));
        self.refusals.iter().for_each(|refusal| report(&format!("long/refused: {refusal}")));
    }

    fn thirds(&self) -> [Memory; 3] {
        let length = self.memory.len() / 3;
        [0, 1, 2].map(|third| {
            let part = &self.memory[third * length..(third + 1) * length];
            let median = |of: fn(&Memory) -> u64| {
                let mut all: Vec<u64> = part.iter().map(of).collect();
                all.sort_unstable();
                all.get(all.len() / 2).copied().unwrap_or(0)
            };
            Memory { server: median(|memory| memory.server), workers: median(|memory| memory.workers) }
        })
    }

    /// A server that grows and grows shows it late in the run; a short one says nothing.
    fn judge_memory(&self) {
        if self.memory.len() < 60 {
            return;
        }
        let [_, second, last] = self.thirds();
        assert!(last.server * 10 <= second.server * 11, "the server grows: {second:?}, {last:?}");
    }
}

fn path_of(vault: &str, key: &str) -> String {
    format!("/vaults/{vault}/secrets/{key}")
}
