//! Unlocking: renewed in time, refused in clear words, right again when the password is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::foreign::Foreigner;
use super::{Authentication, count, must_put, path, put, report, store, together, value_in};
use crate::need_pwsh;
use crate::support::http::Response;
use crate::support::server::Server;
use crate::support::{SOON, wait_until};

const CLIENTS: usize = 4;

fn workers() -> usize {
    count(2, 3)
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Load {
    requests: usize,
    /// Values of the writer's that somebody else put an older one in the place of. The stand-in of SecretStore
    /// keeps its configuration with the secrets, so that who changes it in another process writes those of its
    /// own copy too; the genuine module writes the configuration's file and no other.
    reverted: usize,
}

/// What clients got until `done`: all read, and one writes too where it `writes`. Nothing may fail.
fn load(server: &Server, writes: bool, done: &AtomicBool) -> Load {
    let reverted = AtomicUsize::new(0);
    let requests = together(CLIENTS, |client| {
        let mut requests = 0;
        while !done.load(Ordering::Acquire) {
            let (key, value) = (format!("k{client}"), format!("v{requests}"));
            let changes = foreign_changes(server);
            let writer = writes && client == 0;
            if writer {
                must_put(server, &key, &value);
            }
            let answer = server.get(&path(&key));
            assert_eq!(answer.status, 200, "{}\n{}", answer.text(), server.stderr());
            let wanted = if writer { &value } else { "first" };
            if writer && value_in(&answer) != wanted && foreign_changes(server) > changes {
                reverted.fetch_add(1, Ordering::Relaxed);
            } else {
                assert_eq!(value_in(&answer), wanted, "{}", server.stderr());
            }
            requests += 1 + usize::from(writer);
        }
        requests
    });
    Load { requests: requests.iter().sum(), reverted: reverted.into_inner() }
}

/// How often the store was changed by somebody else.
fn foreign_changes(server: &Server) -> u64 {
    server.get("/health").json()["vaults"][0]["foreign_changes"].as_u64().unwrap_or(0)
}

/// Runs `meanwhile` under load, and gives what clients saw and what it gave.
fn under_load<T>(server: &Server, writes: bool, meanwhile: impl FnOnce() -> T) -> (Load, T) {
    (0..CLIENTS).for_each(|client| must_put(server, &format!("k{client}"), "first"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| load(server, writes, &done));
        let given = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        done.store(true, Ordering::Release);
        let load = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (load, given.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Lets the clock go on under load; time is what this is about.
fn let_pass(time: Duration) {
    let end = Instant::now() + time;
    wait_until("time passes", time + SOON, || Instant::now() >= end);
}

#[test]
fn an_unlock_that_expires_under_load_fails_no_request() {
    let pwsh = need_pwsh!();
    let extra = "parameters = { PasswordTimeout = 2 }";
    let server = store(pwsh, Authentication::Password, workers(), extra, "").start();
    // Reads alone first: a write makes the other workers' copies old, and so has them unlocked again anyway.
    let [reading, writing] = [(false, count(3, 60)), (true, count(1, 20))].map(|(writes, seconds)| {
        let (Load { requests, reverted }, ()) =
            under_load(&server, writes, || let_pass(Duration::from_secs(seconds as u64)));
        assert_eq!(reverted, 0);
        (requests, seconds)
    });
    // And after a rest in which every unlock has expired.
    let_pass(Duration::from_secs(3));
    together(CLIENTS, |client| assert_eq!(server.get(&path(&format!("k{client}"))).status, 200));
    report(&format!(
        "unlock/PasswordTimeout 2 s: {} reads in the first {} s after the start, {} requests with a writer in {} s, 0 failed",
        reading.0, reading.1, writing.0, writing.1
    ));
}

/// Somebody changes the store's password, or takes it away, and puts it right again.
#[test]
fn a_password_changed_or_taken_away_by_somebody_else_is_503_until_it_is_put_right() {
    let pwsh = need_pwsh!();
    let server = store(pwsh, Authentication::Password, 2, "", "").start();
    must_put(&server, "k", "v");
    let changes = "
        $other = ConvertTo-SecureString -String 'another one' -AsPlainText -Force
        $quiet = @{ Interaction = 'None'; Password = $password; Confirm = $false }
        switch ($turn) {
            1 { Set-SecretStorePassword -Password $password -NewPassword $other }
            2 { Set-SecretStorePassword -Password $other -NewPassword $password }
            3 { Open; Set-SecretStoreConfiguration -Authentication None @quiet }
            4 { Set-SecretStoreConfiguration -Authentication Password @quiet }
        }";
    let mut somebody = Foreigner::start(pwsh, &server, changes);
    for what in ["its password changed", "its password taken away"] {
        let before = value_in(&server.get(&path("k")));
        somebody.write();
        for _ in 0..3 {
            refused(&server.get(&path("k")));
            refused(&put(&server, "k", "lost"));
        }
        let health = server.get("/health").json();
        assert_eq!(health["vaults"][0]["state"], "locked_out", "{what}: {health}");
        assert!(server.get("/metrics").text().contains("secretbridge_vault_ok{vault=\"store\"} 0"));
        somebody.write();
        assert_eq!(value_in(&server.get(&path("k"))), before, "{what}: at once, for the file has changed");
        must_put(&server, "k", what);
        assert_eq!(server.get("/health").json()["vaults"][0]["state"], "ok");
        report(&format!(
            "unlock/{what} elsewhere: 503 locked with Retry-After, right again with the first request after it was put right"
        ));
    }
}

#[track_caller]
fn refused(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "locked");
    assert!(answer.header("Retry-After").is_some());
}

/// SecretStore drops what it has open at each change of its configuration, in the middle of a write too; and
/// a shorter time-out must be heeded.
#[test]
fn a_store_reconfigured_by_somebody_else_fails_no_request() {
    let pwsh = need_pwsh!();
    let server = store(pwsh, Authentication::Password, workers(), "", "").start();
    must_put(&server, "early", "v");
    // It reads before it writes, see `Load::reverted`.
    let configure = "Open; Set-SecretStoreConfiguration -PasswordTimeout (2, 900, 901)[($turn - 1) % 3] -Interaction None -Password $password -Confirm:$false";
    let mut other = Foreigner::start(pwsh, &server, configure);
    let times = count(2, 45);
    let (Load { requests, reverted }, ()) = under_load(&server, true, || {
        for time in 0..times {
            other.write();
            // With a time-out of two seconds until it has run out.
            let_pass(Duration::from_secs(if time % 3 == 0 { 3 } else { 1 }));
        }
    });
    assert_eq!(value_in(&server.get(&path("early"))), "v");
    assert!(reverted <= times, "{reverted}");
    report(&format!(
        "unlock/reconfigured {times} times elsewhere: {requests} requests, 0 failed, {reverted} writes undone by it"
    ));
}
