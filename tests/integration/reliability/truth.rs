//! No answer ever holds another key's value.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

use super::{Authentication, Dice, count, odd_vault, path, report, store, together, under_strikes};
use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::{StandIn, derived};
use crate::support::{SOON, soaking, wait_until};

/// What a client saw.
#[derive(Debug, Default)]
struct Seen {
    right: usize,
    /// Refused or failed, which is no lie.
    failed: usize,
    writes: usize,
    wrong: Vec<String>,
    /// A status that no fault accounts for.
    strange: Vec<String>,
}

impl Seen {
    fn sum(all: Vec<Seen>) -> Seen {
        all.into_iter().fold(Seen::default(), |mut sum, seen| {
            sum.right += seen.right;
            sum.failed += seen.failed;
            sum.writes += seen.writes;
            sum.wrong.extend(seen.wrong);
            sum.strange.extend(seen.strange);
            sum
        })
    }
}

/// Who asks for what: keys `k0` to `k39` of two vaults, some written anew meanwhile.
struct Questions {
    vaults: [&'static str; 2],
    requests: usize,
    clients: usize,
}

/// What a key's value begins with; in it the vault and the key differ, and nothing else.
fn value_of(vault: &str, key: &str) -> String {
    derived(vault, key)
}

fn ask(server: &Server, questions: &Questions) -> Seen {
    let all = together(questions.clients, |client| {
        let mut seen = Seen::default();
        let mut dice = Dice(client as u64 + 1);
        for request in 0..questions.requests / questions.clients {
            let (vault, key) = (questions.vaults[dice.below(2)], format!("k{}", dice.below(40)));
            if dice.below(20) == 0 {
                write(server, vault, &key, &format!(" #{client}-{request}"), &mut seen);
            } else {
                read(server, vault, &key, &mut seen);
            }
        }
        seen
    });
    Seen::sum(all)
}

fn read(client: &Client, vault: &str, key: &str, seen: &mut Seen) {
    let answer = client.get(&format!("/vaults/{vault}/secrets/{key}"));
    match answer.status {
        200 => {
            let (body, own) = (answer.json(), value_of(vault, key));
            let value = body["Value"].as_str().unwrap_or_default();
            let is_own =
                value.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with(" #"));
            if is_own { seen.right += 1 } else { seen.wrong.push(format!("{key}: {body}")) }
        }
        502..=504 => seen.failed += 1,
        status => seen.strange.push(format!("{key}: {status} {}", answer.text())),
    }
}

fn write(client: &Client, vault: &str, key: &str, end: &str, seen: &mut Seen) {
    let value = value_of(vault, key) + end;
    let answer = client.put(&format!("/vaults/{vault}/secrets/{key}"), "text/plain", value);
    seen.writes += 1;
    match answer.status {
        204 => {}
        502..=504 => seen.failed += 1,
        status => seen.strange.push(format!("{key}: {status} {}", answer.text())),
    }
}

const FAKE: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }
limits = { deadline = "1s", write_grace = "500ms" }
[pool]
min = 4
max = 4
[vaults.v]
module = "My.Vault"
parallel = true
expose = true
[vaults.w]
module = "My.Vault"
parallel = true
expose = true
"#;

const FAKE_VAULTS: [&str; 2] = ["v", "w"];

#[test]
fn under_chaos_no_answer_holds_another_keys_value() {
    let stand_in = StandIn::scenario("chaos");
    let server = Builder::new().config(FAKE).stand_in(&stand_in).start();
    let requests = count(2_000, 100_000);
    let questions = Questions { vaults: FAKE_VAULTS, requests, clients: 16 };
    let begun = Instant::now();
    let seen = ask(&server, &questions);
    assert_eq!((seen.wrong, seen.strange), (Vec::new(), Vec::<String>::new()));
    assert!(seen.right > requests / 2, "{} right, {} failed", seen.right, seen.failed);
    assert!(stand_in.workers().len() > 4, "nothing died, so nothing was shown");
    report(&format!(
        "truth/stand-in, chaos: {requests} requests in {:.0?}, {} reads right, {} writes, {} refused or failed, {} workers died, 0 wrong values",
        begun.elapsed(),
        seen.right,
        seen.writes,
        seen.failed,
        stand_in.workers().len() - 4
    ));
}

/// The control: the same questions to a vault that lies.
#[test]
fn a_vault_that_lies_is_found_out() {
    let stand_in = StandIn::scenario("lying-vault");
    let server = Builder::new().config(FAKE).stand_in(&stand_in).start();
    let questions = Questions { vaults: FAKE_VAULTS, requests: 800, clients: 4 };
    let seen = ask(&server, &questions);
    assert!(!seen.wrong.is_empty() && seen.wrong.iter().all(|wrong| wrong.starts_with("k1:")), "{seen:?}");
}

/// Late and wrong replies must not outlive their worker: the reply that was held comes with the next call.
#[test]
fn a_reply_that_comes_late_is_nobodys_answer() {
    let stand_in = StandIn::with(&json!({ "derived": true, "rules": [
        { "op": "get", "every": 3, "do": "hold" },
        { "op": "get", "every": 5, "do": "duplicate" },
    ] }));
    let server = Builder::new().config(FAKE).stand_in(&stand_in).start();
    let questions = Questions { vaults: FAKE_VAULTS, requests: 60, clients: 6 };
    let seen = ask(&server, &questions);
    assert_eq!((seen.wrong, seen.strange), (Vec::new(), Vec::<String>::new()));
}

/// How long a worker is stopped at most. In the full run that is longer than the deadline, so that requests
/// time out, and replies come late.
fn longest_stop() -> Duration {
    Duration::from_millis(count(800, 8_000) as u64)
}

#[test]
fn with_real_workers_that_die_or_stop_no_answer_holds_another_keys_value() {
    let pwsh = need_pwsh!();
    let odd = tempfile::tempdir().expect("a temporary folder");
    // The slice finds most in the cache, the full run little.
    let cache = format!("cache_ttl = \"{}ms\"\n", count(1_000, 100));
    // In the slice the deadline is long, so that a busy machine alone refuses nothing.
    let more = format!("limits = {{ deadline = \"{}s\" }}\n{}{cache}", count(40, 5), odd_vault(odd.path()));
    let server = store(pwsh, Authentication::Password, count(2, 3), &cache, &more).start();
    let vaults = ["store", "odd"];
    for vault in vaults {
        for key in (0..40).map(|key| format!("k{key}")) {
            let path = format!("/vaults/{vault}/secrets/{key}");
            assert_eq!(server.put(&path, "text/plain", value_of(vault, &key)).status, 204);
        }
    }
    let (requests, clients) = (count(2_000, 20_000), 8);
    let questions = Questions { vaults, requests, clients };
    let (kills, stops) = (AtomicU64::new(0), AtomicU64::new(0));
    let strike = |victim, dice: &mut Dice| {
        // In turns. It may have ended meanwhile.
        if kills.load(Ordering::Relaxed) <= stops.load(Ordering::Relaxed) {
            kills.fetch_add(u64::from(kill_process(victim, Signal::KILL).is_ok()), Ordering::Relaxed);
        } else if kill_process(victim, Signal::STOP).is_ok() {
            stops.fetch_add(1, Ordering::Relaxed);
            thread::sleep(longest_stop().mul_f64(dice.below(100) as f64 / 100.0));
            let _ = kill_process(victim, Signal::CONT);
        }
    };
    let begun = Instant::now();
    let pace = Duration::from_millis(count(700, 1_500) as u64);
    let seen = under_strikes(&server, pace, strike, || ask(&server, &questions));
    let took = begun.elapsed();
    assert_eq!((seen.wrong, seen.strange), (Vec::new(), Vec::<String>::new()), "{}", server.stderr());
    let (kills, stops) = (kills.into_inner(), stops.into_inner());
    // A death fails one call at most, and a read is tried again; a stop fails whoever waits for that worker.
    let failed = u64::try_from(seen.failed).expect("a count");
    let excused = kills + if soaking() { stops * clients as u64 } else { 0 };
    assert!(
        kills + stops > 0 && failed <= excused,
        "{failed} failed, {kills} killed, {stops} stopped\n{}",
        server.stderr()
    );
    wait_until("all is served again", SOON, || server.get(&path("k0")).status == 200);
    report(&format!(
        "truth/real workers: {requests} requests in {took:.0?}, {} reads right, {} writes, {} refused or failed, {kills} workers killed, {stops} stopped, 0 wrong values",
        seen.right, seen.writes, seen.failed
    ));
}
