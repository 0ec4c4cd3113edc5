//! No acknowledged write is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::history::History;
use super::{
    Authentication, PASSWORD, count, fresh_values, fresh_values_like, must_put, odd_vault, path, put, report,
    store, together, under_kills,
};
use crate::need_pwsh;
use crate::support::pwsh::Pwsh;
use crate::support::server::Server;
use crate::support::{SOON, soaking, wait_until};

const CLIENTS: usize = 4;
const KEYS: usize = 25;

/// When the kills are over, all is served again within this.
const AGAIN: Duration = Duration::from_secs(45);

#[test]
fn with_a_password_a_fresh_process_finds_every_key() {
    distinct_keys(need_pwsh!(), Authentication::Password);
}

#[test]
fn without_a_password_a_fresh_process_finds_every_key() {
    distinct_keys(need_pwsh!(), Authentication::None);
}

/// Each round adds keys to the same store; a fresh process looks for those of the round, and for all at the end.
/// With a password another vault's reads keep workers busy meanwhile (in a slice in its first round), so that
/// not all is done by one. Without one only the worker that wrote last can serve the store.
fn distinct_keys(pwsh: &Pwsh, authentication: Authentication) {
    let rounds = count(3, 20);
    let odd = tempfile::tempdir().expect("a temporary folder");
    let more = if authentication == Authentication::Password { odd_vault(odd.path()) } else { String::new() };
    let server = store(pwsh, authentication, 4, "", &more).start();
    let mut found = 0;
    for round in 0..rounds {
        let many = authentication == Authentication::Password && (round == 0 || soaking());
        let (begun, before) = (Instant::now(), writes(&server));
        let writing = AtomicUsize::new(CLIENTS);
        together(if many { CLIENTS * 3 } else { CLIENTS }, |client| {
            if client >= CLIENTS {
                let mut reads = 0;
                // In a slice about half of the time.
                while writing.load(Ordering::Acquire) > 0 && (reads < 25 || soaking()) {
                    assert_eq!(server.get(&format!("/vaults/odd/secrets/slow:{}", 20 + client)).status, 200);
                    reads += 1;
                }
                return;
            }
            let _until_the_end = Writer(&writing);
            for key in 0..KEYS {
                must_put(
                    &server,
                    &format!("k{round}-{client}-{key}"),
                    &format!("v{round} of {client} and {key}"),
                );
            }
        });
        let written = begun.elapsed();
        if many {
            several_write(&server, &before, round);
        }
        let last = round + 1 == rounds;
        let looked_for = if last { 0..=round } else { round..=round };
        let names = if last { "*".to_owned() } else { format!("k{round}-*") };
        let values = fresh_values_like(pwsh, server.home(), authentication, &names);
        found = values.len();
        assert_eq!(found, looked_for.clone().count() * CLIENTS * KEYS);
        for (round, client, key) in looked_for
            .flat_map(|round| (0..CLIENTS).map(move |client| (round, client)))
            .flat_map(|(round, client)| (0..KEYS).map(move |key| (round, client, key)))
        {
            assert_eq!(
                values.get(&format!("k{round}-{client}-{key}")),
                Some(&format!("v{round} of {client} and {key}")),
                "{authentication:?}: {}",
                server.stderr()
            );
        }
        if last {
            report(&format!("writes/{authentication:?}: the last 100 writes took {written:.1?}"));
        }
    }
    report(&format!(
        "writes/{authentication:?}: {rounds} rounds, {found} of {} keys",
        rounds * CLIENTS * KEYS
    ));
}

/// A client that writes; the others go on until the last one has ended, by a panic too.
struct Writer<'a>(&'a AtomicUsize);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Writes until more than one worker has written since `before`. A worker that wrote last is given the next write where
/// it is free, so a quick one may rightly write all of a round: then all are kept busy, and the first one that is free
/// again writes.
fn several_write(server: &Server, before: &[u64], round: usize) {
    for attempt in 0..40 {
        let now = writes(server);
        // One that was replaced meanwhile counts anew.
        if now.iter().zip(before).filter(|(now, before)| now != before).count() > 1 {
            return;
        }
        together(5, |client| {
            if client == 4 {
                return must_put(server, &format!("k{round}-0-0"), &format!("v{round} of 0 and 0"));
            }
            let milliseconds = 20 + 40 * ((client + attempt) % 4);
            assert_eq!(server.get(&format!("/vaults/odd/secrets/slow:{milliseconds}")).status, 200);
        });
    }
    panic!("one worker wrote all: {before:?}, {:?}", writes(server));
}

/// Writes so far, by worker.
fn writes(server: &Server) -> Vec<u64> {
    let health = server.get("/health").json();
    let workers = health["workers"].as_array().cloned().unwrap_or_default();
    workers.iter().filter_map(|worker| worker["writes"].as_u64()).collect()
}

#[test]
fn overwrites_under_kills_leave_the_old_or_the_new_value() {
    let pwsh = need_pwsh!();
    let limits = "limits = { deadline = \"10s\", write_grace = \"1s\" }";
    let server = store(pwsh, Authentication::Password, count(3, 4), "", limits).start();
    let keys: Vec<String> = (0..10).map(|key| format!("k{key}")).collect();
    let history = History::default();
    for key in &keys {
        assert!(write(&server, &history, key, "first"));
    }
    let end = Instant::now() + Duration::from_secs(count(3, 60) as u64);
    let work = || {
        together(CLIENTS + 1, |client| {
            let (mut writes, mut acknowledged, mut reads) = (0, 0, 0);
            while Instant::now() < end {
                let key = &keys[(writes + reads + client * 3) % keys.len()];
                if client == CLIENTS {
                    reads += usize::from(read(&server, &history, key));
                } else {
                    writes += 1;
                    acknowledged += usize::from(write(&server, &history, key, &format!("{client}-{writes}")));
                }
            }
            (writes, acknowledged, reads)
        })
    };
    let (counts, kills) = under_kills(&server, Duration::from_millis(1_500), work);
    let sum = |part: fn(&(usize, usize, usize)) -> usize| counts.iter().map(part).sum::<usize>();
    let (writes, acknowledged, reads) = (sum(|c| c.0), sum(|c| c.1), sum(|c| c.2));
    wait_until("all that was cut off is over", SOON, || server.get("/health").json()["waiting"] == 0);
    // Four slots may be waiting to start again, ten seconds each at most.
    let over = Instant::now();
    for key in &keys {
        while !read(&server, &history, key) {
            assert!(over.elapsed() < AGAIN, "{key} is not read again\n{}", server.stderr());
        }
    }
    let again = over.elapsed();
    let values = fresh_values(pwsh, server.home(), Authentication::Password);
    let faults: Vec<String> = keys
        .iter()
        .filter_map(|key| history.fault_of(key, values.get(key).map(String::as_str), Instant::now()))
        .collect();
    assert!(faults.is_empty(), "{faults:?}\n{}", server.stderr());
    assert!(kills > 0 && acknowledged > 0);
    server.assert_never_wrote(&[PASSWORD]);
    report(&format!(
        "writes/overwrites under kills: {kills} workers killed, {writes} writes, {acknowledged} acknowledged, {reads} reads, all read again {again:.1?} after the last kill; {} of {} keys there, 0 lost, 0 stale",
        values.len(),
        keys.len()
    ));
}

/// Writes and notes it; whether it was acknowledged.
fn write(server: &Server, history: &History, key: &str, value: &str) -> bool {
    history.sent(key, value);
    let answer = put(server, key, value);
    let acknowledged = answer.status == 204;
    history.answered(key, value, acknowledged);
    assert!(acknowledged || matches!(answer.status, 502..=504), "{}: {}", answer.status, answer.text());
    acknowledged
}

/// Reads and checks it; whether there was an answer.
fn read(server: &Server, history: &History, key: &str) -> bool {
    let (begun, must_exist) = (Instant::now(), history.must_exist(key));
    let answer = server.get(&path(key));
    let text = answer.text().to_owned();
    let found = match answer.status {
        200 => Some(super::value_in(&answer)),
        404 => None,
        502..=504 => return false,
        status => panic!("{status}: {text}"),
    };
    let fault = history.fault_of(key, found.as_deref(), begun).filter(|_| must_exist);
    assert_eq!(fault, None, "{}", server.stderr());
    true
}
