//! No lost write, no wrong secret, no stuck server: shown with real processes, under load and faults.
//!
//! `cargo test` runs a slice of each; with `SECRETBRIDGE_SOAK=1` (`scripts/soak`) the full numbers are run,
//! and what came out goes into `docs/reliability.md`. Each test prints what it counted in one line.

mod foreign;
mod fresh;
mod history;
mod long;
mod reads;
mod truth;
mod unlock;
mod writes;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::http::{Client, Response};
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::{fixture, soaking};

const PASSWORD: &str = "a password 'with' \"quotes\"";

/// How SecretStore protects itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authentication {
    Password,
    None,
}

/// The number of a slice, or the full one.
fn count(slice: usize, full: usize) -> usize {
    if soaking() { full } else { slice }
}

/// Past the capture of test output: these lines are the result.
fn report(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What a vault of SecretStore needs in the plan.
fn keys(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Password => "unlock = { env = \"STORE_PASSWORD\" }",
        Authentication::None => "parameters = { Authentication = \"None\" }",
    }
}

/// A server over one SecretStore, not yet started. `extra` are more keys of the vault, `more` more tables.
pub(crate) fn store(
    pwsh: &Pwsh,
    authentication: Authentication,
    workers: usize,
    extra: &str,
    more: &str,
) -> Builder {
    let keys = keys(authentication);
    let toml = format!(
        r#"
        listen = "127.0.0.1:0"
        auth = {{ open = true }}
        {more}
        [pool]
        min = {workers}
        max = {workers}
        [vaults.store]
        module = "Microsoft.PowerShell.SecretStore"
        expose = true
        {keys}
        {extra}
        "#
    );
    let builder = Builder::new().config(&toml).pwsh(pwsh);
    match authentication {
        Authentication::Password => builder.env("STORE_PASSWORD", PASSWORD),
        Authentication::None => builder,
    }
}

/// The tables of a second vault `odd`, of which any number of workers read at once.
fn odd_vault(folder: &Path) -> String {
    format!(
        r#"
        [pwsh]
        module_path = ["{}"]
        [vaults.odd]
        module = "TestVault"
        parameters = {{ Folder = "{}" }}
        parallel = true
        expose = true
        "#,
        fixture("vaults").display(),
        folder.display(),
    )
}

/// A script's first lines: the user's store registered as `fresh`; with a password `Open` unlocks it.
fn opening(authentication: Authentication) -> String {
    let mut script = String::from(
        "$ErrorActionPreference = 'Stop'
        Register-SecretVault -Name fresh -ModuleName Microsoft.PowerShell.SecretStore -AllowClobber\n",
    );
    if authentication == Authentication::Password {
        let escaped = PASSWORD.replace('\'', "''");
        script.push_str(&format!(
            "$password = [securestring]::new()
            foreach ($c in '{escaped}'.ToCharArray()) {{ $password.AppendChar($c) }}
            function Open {{ Unlock-SecretVault -Name fresh -Password $password }}
            Open\n"
        ));
    }
    script
}

/// All strings in the user's store, as a fresh process finds them.
pub(crate) fn fresh_values(
    pwsh: &Pwsh,
    home: &Path,
    authentication: Authentication,
) -> BTreeMap<String, String> {
    fresh_values_like(pwsh, home, authentication, "*")
}

/// Those whose names match the wildcard.
fn fresh_values_like(
    pwsh: &Pwsh,
    home: &Path,
    authentication: Authentication,
    names: &str,
) -> BTreeMap<String, String> {
    let read = format!(
        "foreach ($i in Get-SecretInfo -Vault fresh -Name '{names}') {{
            $i.Name + '=' + (Get-Secret -Vault fresh -Name $i.Name -AsPlainText)
        }}"
    );
    let text = pwsh.output_of(&(opening(authentication) + &read), home);
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn path(key: &str) -> String {
    format!("/vaults/store/secrets/{key}")
}

/// A write, which may be refused.
fn put(client: &Client, key: &str, value: &str) -> Response {
    client.put(&path(key), "text/plain; charset=utf-8", value)
}

/// A write that must be acknowledged.
#[track_caller]
fn must_put(client: &Client, key: &str, value: &str) {
    let answer = put(client, key, value);
    assert_eq!(answer.status, 204, "{key}: {}", answer.text());
}

/// The value in an answer to a read that succeeded.
#[track_caller]
fn value_in(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Value"].as_str().expect("a string").to_owned()
}

/// Dice that give the same throws for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // Xorshift: good enough to choose a victim.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }
}

/// Runs `work` while workers are killed, one about every `pace`; gives its outcome and how many died.
fn under_kills<T>(server: &Server, pace: Duration, work: impl FnOnce() -> T) -> (T, u64) {
    let kills = AtomicU64::new(0);
    let strike = |victim, _: &mut Dice| {
        // It may have ended meanwhile.
        if kill_process(victim, Signal::KILL).is_ok() {
            kills.fetch_add(1, Ordering::Relaxed);
        }
    };
    let outcome = under_strikes(server, pace, strike, work);
    (outcome, kills.into_inner())
}

/// Runs `work` while workers are struck, one about every `pace`. Never the last one that is up: where starts
/// are slow the strikes would else come faster than the starts, and nothing but that would be seen.
fn under_strikes<T>(
    server: &Server,
    pace: Duration,
    strike: impl Fn(Pid, &mut Dice) + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
            while !done.load(Ordering::Acquire) {
                thread::sleep(pace.mul_f64(0.5 + dice.below(100) as f64 / 100.0));
                let victims = victims(server, &mut dice);
                if victims.is_empty() || done.load(Ordering::Acquire) {
                    continue;
                }
                let victim = i32::try_from(victims[dice.below(victims.len())]).ok().and_then(Pid::from_raw);
                strike(victim.expect("a process id"), &mut dice);
            }
        });
        // The killer must end when the work panics, or the scope waits for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Release);
        outcome
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Whom to kill one of: now and then those that are starting, else those at work, else those that are up.
fn victims(server: &Server, dice: &mut Dice) -> Vec<u32> {
    let up = workers_that_are(server, &["ready", "busy"]);
    if dice.below(4) == 0 {
        let mut starting = server.pids_of_workers();
        starting.retain(|pid| !up.contains(pid));
        return starting;
    }
    let busy = workers_that_are(server, &["busy"]);
    match up.len() {
        0 | 1 => Vec::new(),
        _ if busy.is_empty() => up,
        _ => busy,
    }
}

/// The processes of workers in one of these states, as `/health` has them.
fn workers_that_are(server: &Server, states: &[&str]) -> Vec<u32> {
    let health = server.get("/health").json();
    let workers = health["workers"].as_array().cloned().unwrap_or_default();
    let there = workers.iter().filter(|worker| states.iter().any(|state| worker["state"] == *state));
    there.filter_map(|worker| worker["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())).collect()
}

/// Runs `work(0)`, `work(1)`, … at once, and gives what they gave.
fn together<T: Send>(clients: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(move || work(client))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
