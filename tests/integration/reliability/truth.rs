//! No answer ever holds another key's value.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Authentication, Dice, count, must_put, path, report, store, together, under_kills};
use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::{StandIn, derived};

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

/// Who asks for what: keys `k0` to `k39` of a vault, some written anew meanwhile.
struct Questions<'a> {
    vault: &'a str,
    /// What a key's value begins with; in it the key and nothing else differs.
    value_of: &'a (dyn Fn(&str) -> String + Sync),
    requests: usize,
    clients: usize,
}

fn ask(server: &Server, questions: &Questions<'_>) -> Seen {
    let all = together(questions.clients, |client| {
        let mut seen = Seen::default();
        let mut dice = Dice(client as u64 + 1);
        for request in 0..questions.requests / questions.clients {
            let key = format!("k{}", dice.below(40));
            if dice.below(20) == 0 {
                write(server, questions, &key, &format!(" #{client}-{request}"), &mut seen);
            } else {
                read(server, questions, &key, &mut seen);
            }
        }
        seen
    });
    Seen::sum(all)
}

fn read(client: &Client, questions: &Questions<'_>, key: &str, seen: &mut Seen) {
    let answer = client.get(&format!("/vaults/{}/secrets/{key}", questions.vault));
    match answer.status {
        200 => {
            let (body, own) = (answer.json(), (questions.value_of)(key));
            let value = body["Value"].as_str().unwrap_or_default();
            let is_own =
                value.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with(" #"));
            if is_own { seen.right += 1 } else { seen.wrong.push(format!("{key}: {body}")) }
        }
        502..=504 => seen.failed += 1,
        status => seen.strange.push(format!("{key}: {status} {}", answer.text())),
    }
}

fn write(client: &Client, questions: &Questions<'_>, key: &str, end: &str, seen: &mut Seen) {
    let value = (questions.value_of)(key) + end;
    let answer = client.put(&format!("/vaults/{}/secrets/{key}", questions.vault), "text/plain", value);
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
"#;

fn of_fake(key: &str) -> String {
    derived("v", key)
}

#[test]
fn under_chaos_no_answer_holds_another_keys_value() {
    let stand_in = StandIn::scenario("chaos");
    let server = Builder::new().config(FAKE).stand_in(&stand_in).start();
    let requests = count(2_000, 100_000);
    let questions = Questions { vault: "v", value_of: &of_fake, requests, clients: 16 };
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
    let questions = Questions { vault: "v", value_of: &of_fake, requests: 800, clients: 4 };
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
    let questions = Questions { vault: "v", value_of: &of_fake, requests: 60, clients: 6 };
    let seen = ask(&server, &questions);
    assert_eq!((seen.wrong, seen.strange), (Vec::new(), Vec::<String>::new()));
}

#[test]
fn with_real_workers_that_die_no_answer_holds_another_keys_value() {
    let pwsh = need_pwsh!();
    // Long, so that a busy machine alone refuses nothing.
    let limits = "limits = { deadline = \"40s\" }";
    // The slice finds most in the cache, the full run little.
    let cache = format!("cache_ttl = \"{}ms\"", count(1_000, 100));
    let server = store(pwsh, Authentication::Password, 3, &cache, limits).start();
    let value_of = |key: &str| format!("value of {key}");
    for key in 0..40 {
        must_put(&server, &format!("k{key}"), &value_of(&format!("k{key}")));
    }
    let requests = count(2_000, 20_000);
    let questions = Questions { vault: "store", value_of: &value_of, requests, clients: 8 };
    let begun = Instant::now();
    let (seen, kills) =
        under_kills(&server, Duration::from_millis(count(4_000, 1_500) as u64), || ask(&server, &questions));
    assert_eq!((seen.wrong, seen.strange), (Vec::new(), Vec::<String>::new()), "{}", server.stderr());
    // A death fails one call at most, and a read is tried again.
    let failed = u64::try_from(seen.failed).expect("a count");
    assert!(kills > 0 && failed <= kills, "{failed} failed, {kills} killed\n{}", server.stderr());
    assert_eq!(server.get(&path("k0")).status, 200);
    report(&format!(
        "truth/real workers: {requests} requests in {:.0?}, {} reads right, {} writes, {} refused or failed, {kills} workers killed, 0 wrong values",
        begun.elapsed(),
        seen.right,
        seen.writes,
        seen.failed
    ));
}
