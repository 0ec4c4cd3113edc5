//! No value that is older than an acknowledged write plus its bound: another program writes, workers are killed, and each
//! read is held against the history.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::http::Response;
use crate::support::pwsh::say;
use crate::support::server::{Builder, Server};
use crate::support::{fixture, soaking};

/// As the plan says: a value is kept, and served beyond that where the vault fails.
const TTL: Duration = Duration::from_secs(1);
const MAX_STALE: Duration = Duration::from_secs(2);

/// When each value was there for all to read.
type Acknowledged = Mutex<HashMap<u64, Instant>>;

/// Ten minutes in a soak that says nothing else.
fn time_of_run() -> Duration {
    let minutes =
        std::env::var("SECRETBRIDGE_SOAK_MINUTES").ok().and_then(|minutes| minutes.parse::<u64>().ok());
    match (soaking(), minutes) {
        (_, Some(minutes)) => Duration::from_secs(60 * minutes),
        (true, None) => Duration::from_secs(600),
        (false, None) => Duration::from_secs(6),
    }
}

fn write(path: &Path, number: u64) {
    put(path, &format!("{{\"k\":\"{number}\"}}"));
}

fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// What an answer says of its value.
#[derive(Clone, Copy)]
struct Told {
    /// `Age`, in whole seconds.
    age: Duration,
    /// `Cache-Status`: the age that it may have, which it has none of where the vault was asked for it.
    bound: Option<Duration>,
}

impl Told {
    fn of(answer: &Response) -> Told {
        let age = answer.header("Age").expect("each answer says its age").parse().expect("seconds");
        let status = answer.header("Cache-Status").expect("and where it comes from");
        let bound = if status.contains("ttl=-") { TTL + MAX_STALE } else { TTL };
        Told { age: Duration::from_secs(age), bound: status.contains("hit").then_some(bound) }
    }

    fn is_stale(self) -> bool {
        self.bound.is_some_and(|bound| bound > TTL)
    }
}

/// What is wrong with an answer that began then, if anything.
///
/// A value is as old as the call that gave it: what was acknowledged before that call began is in it. So an answer may miss
/// only what was acknowledged within its age, and its age has a bound.
fn fault_of(begun: Instant, number: u64, told: Told, acknowledged: &Acknowledged) -> Option<String> {
    if told.bound.is_some_and(|bound| told.age > bound) {
        return Some(format!("value {number} says that it is {:?} old", told.age));
    }
    let next = acknowledged.lock().unwrap().get(&(number + 1)).copied()?;
    let late = begun.saturating_duration_since(next);
    let is_late = late >= told.age + Duration::from_secs(1);
    is_late.then(|| format!("value {number} was read {late:?} after the next one, and says {:?}", told.age))
}

fn read(server: &Server, acknowledged: &Acknowledged, counts: &[AtomicUsize; 3]) -> Option<String> {
    let begun = Instant::now();
    let answer = server.get("/vaults/bare/secrets/k");
    match answer.status {
        200 => counts[0].fetch_add(1, Ordering::Relaxed),
        // Workers are killed while they read.
        502..=504 => {
            counts[2].fetch_add(1, Ordering::Relaxed);
            return None;
        }
        other => return Some(format!("{other}: {}", answer.text())),
    };
    let number = answer.json()["Value"].as_str()?.parse().ok()?;
    let told = Told::of(&answer);
    counts[1].fetch_add(told.is_stale().into(), Ordering::Relaxed);
    fault_of(begun, number, told, acknowledged)
}

#[test]
fn no_read_is_older_than_an_acknowledged_write_plus_its_bound() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.json");
    write(&path, 0);
    let plan = format!(
        "listen = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = 2, max = 2 }}\nlimits = {{ deadline = \"5s\" }}\n\
         [pwsh]\nmodule_path = [\"{}\"]\n[vaults.bare]\nmodule = \"Bare\"\nexpose = true\nparallel = true\ncache_ttl = \"1s\"\n\
         max_stale = \"2s\"\nrefresh_ahead = \"200ms\"\nparameters = {{ Path = \"{}\" }}\n",
        fixture("vaults").display(),
        path.display()
    );
    let server = Builder::new().config(&plan).pwsh(pwsh).start();
    let (acknowledged, done) = (Acknowledged::default(), AtomicBool::new(false));
    let failing = AtomicBool::new(false);
    let (counts, wrong) = (<[AtomicUsize; 3]>::default(), Mutex::<Vec<String>>::default());
    let end = Instant::now() + time_of_run();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Acquire) {
                if failing.load(Ordering::Acquire) {
                    // The module cannot read this: each call of the vault fails.
                    put(&path, "{");
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                number += 1;
                write(&path, number);
                acknowledged.lock().unwrap().insert(number, Instant::now());
                thread::sleep(Duration::from_millis(20));
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    wrong.lock().unwrap().extend(read(&server, &acknowledged, &counts));
                }
            });
        }
        let mut turn = 0;
        while Instant::now() < end && wrong.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(700));
            // In turns: workers are killed, all is well, the vault fails for longer than a value is kept.
            let (killing, fails) = (turn % 9 < 3, turn % 9 >= 6);
            failing.store(fails, Ordering::Release);
            let workers = if killing { server.pids_of_workers() } else { Vec::new() };
            if let Some(pid) =
                workers.get(turn % workers.len().max(1)).and_then(|pid| Pid::from_raw(*pid as i32))
            {
                let _ = kill_process(pid, Signal::KILL);
            }
            turn += 1;
        }
        done.store(true, Ordering::Release);
    });
    let [good, stale, failed] = counts.map(AtomicUsize::into_inner);
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    let written = acknowledged.into_inner().unwrap().len();
    say(&format!("{written} writes; {good} reads, {stale} of them stale; {failed} failed"));
    assert!(stale > 0 || time_of_run() < Duration::from_secs(60), "none was stale: nothing was tried");
    assert!(good > 10 && written > 10, "{good} reads, {failed} failed, {written} writes");
}

#[test]
fn the_checker_finds_a_value_that_is_too_old() {
    let acknowledged = Acknowledged::default();
    let now = Instant::now();
    acknowledged.lock().unwrap().insert(2, now);
    let after = |millis| now + Duration::from_millis(millis);
    let told = |age, bound| Told { age: Duration::from_secs(age), bound };
    let (kept, stale) = (Some(TTL), Some(TTL + MAX_STALE));
    assert_eq!(fault_of(after(900), 1, told(0, kept), &acknowledged), None);
    assert_eq!(fault_of(after(9000), 2, told(0, kept), &acknowledged), None, "nothing newer is there");
    assert!(fault_of(after(1100), 1, told(0, kept), &acknowledged).is_some(), "older than it says");
    assert!(fault_of(now, 2, told(2, kept), &acknowledged).is_some(), "older than it may be");
    assert_eq!(fault_of(after(2500), 1, told(2, stale), &acknowledged), None);
    assert!(fault_of(now, 2, told(4, stale), &acknowledged).is_some());
    // One that was waited for is as old as its load.
    assert_eq!(fault_of(after(4500), 1, told(4, None), &acknowledged), None);
    assert!(fault_of(after(4500), 1, told(0, None), &acknowledged).is_some());
}
