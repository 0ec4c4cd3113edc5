//! Another pwsh on the same store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{
    Authentication, PASSWORD, count, fresh_values, must_put, opening, path, report, store, together, value_in,
};
use crate::need_pwsh;
use crate::support::process::Process;
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, wait_until};

/// A change must be known within this.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// A pwsh of somebody else's that stays, and writes a key each time it is told to.
pub(super) struct Foreigner {
    process: Process,
    folder: PathBuf,
    pub(super) turns: usize,
}

impl Foreigner {
    /// `writing` runs at each turn, with `$turn` and `Open`.
    pub(super) fn start(pwsh: &Pwsh, server: &Server, writing: &str) -> Foreigner {
        let folder = server.folder().join("foreigner");
        fs::create_dir(&folder).expect("made");
        let script = format!(
            "{}
            Get-SecretInfo -Vault fresh | Out-Null
            $turn = 0
            while ($true) {{
                [System.IO.File]::WriteAllText(\"{folder}/done$turn\", '')
                $turn++
                while (-not [System.IO.File]::Exists(\"{folder}/go$turn\")) {{ [System.Threading.Thread]::Sleep(3) }}
                {writing}
            }}",
            opening(Authentication::Password),
            folder = folder.display(),
        );
        let mut command = Command::new(&pwsh.program);
        command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-Command", &script]);
        command.env("HOME", server.home()).envs(pwsh.variables());
        let foreigner = Foreigner { process: Process::start(command), folder, turns: 0 };
        foreigner.wait_done(0);
        foreigner
    }

    /// Lets it write, and waits until it has.
    pub(super) fn write(&mut self) {
        self.turns += 1;
        fs::write(self.folder.join(format!("go{}", self.turns)), "").expect("written");
        self.wait_done(self.turns);
    }

    fn wait_done(&self, turn: usize) {
        let done: PathBuf = Path::new(&self.folder).join(format!("done{turn}"));
        let stderr = &self.process.stderr;
        wait_until("the other process has written", SOON * 2, || {
            assert!(stderr.text().is_empty(), "{}", stderr.text());
            done.exists()
        });
    }
}

#[test]
fn a_foreign_writer_that_unlocks_before_each_write_loses_nothing() {
    let pwsh = need_pwsh!();
    let rounds = count(4, 100);
    let server = store(pwsh, Authentication::Password, 2, "", "").start();
    let mut foreigner = Foreigner::start(
        pwsh,
        &server,
        "Open; Set-Secret -Vault fresh -Name \"theirs$turn\" -Secret \"t$turn\"",
    );
    for round in 1..=rounds {
        must_put(&server, &format!("ours{round}"), &format!("o{round}"));
        foreigner.write();
        // At once, through whichever worker.
        for (key, value) in [("theirs", "t"), ("ours", "o")] {
            let answer = server.get(&path(&format!("{key}{round}")));
            assert_eq!(value_in(&answer), format!("{value}{round}"), "{}", server.stderr());
        }
    }
    let values = fresh_values(pwsh, server.home(), Authentication::Password);
    for round in 1..=rounds {
        assert_eq!(values.get(&format!("ours{round}")), Some(&format!("o{round}")));
        assert_eq!(values.get(&format!("theirs{round}")), Some(&format!("t{round}")));
    }
    assert_eq!(server.get("/health").json()["vaults"][0]["vanished"], serde_json::Value::Null);
    report(&format!("foreign/unlocks before each write, in turns: {} of {} keys", values.len(), 2 * rounds));
}

/// It writes from a copy of before ours; what it erases is named, within the time.
fn erase(pwsh: &Pwsh, extra: &str) -> (Server, Duration) {
    let server = store(pwsh, Authentication::Password, 2, extra, "").start();
    must_put(&server, "early", "value of early");
    let mut foreigner =
        Foreigner::start(pwsh, &server, "Set-Secret -Vault fresh -Name theirs -Secret \"t$turn\"");
    for key in ["one", "two", "three"] {
        must_put(&server, key, &format!("value of {key}"));
    }
    foreigner.write();
    let changed = Instant::now();
    let left = || KNOWN_WITHIN.saturating_sub(changed.elapsed());
    wait_until("the change is in the log", left(), || server.stderr().contains("changed by another process"));
    for key in ["one", "two", "three"] {
        wait_until("each erased key is in the log", left(), || {
            server.stderr().lines().any(|line| line.contains("has been erased by") && line.contains(key))
        });
    }
    let known = changed.elapsed();
    let changes = server.get("/health").json()["vaults"][0]["foreign_changes"].as_u64();
    assert!(changes > Some(0), "{changes:?}");
    let counted = |line: &str| {
        line.strip_prefix("secretbridge_foreign_changes_total{vault=\"store\"} ").is_some_and(|n| n != "0")
    };
    assert!(server.get("/metrics").text().lines().any(counted), "{}", server.get("/metrics").text());
    server.assert_never_wrote(&["value of"]);
    (server, known)
}

#[test]
fn what_a_writer_with_a_stale_copy_erases_is_named_within_ten_seconds() {
    let pwsh = need_pwsh!();
    let (server, known) = erase(pwsh, "");
    let named = server.get("/health").json()["vaults"][0]["vanished"].clone();
    let mut named: Vec<&str> = named.as_array().expect("a list").iter().filter_map(|k| k.as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, ["one", "three", "two"]);
    assert!(server.get("/metrics").text().contains("secretbridge_vanished_keys{vault=\"store\"} 3"));
    assert_eq!(server.get(&path("one")).status, 404);
    assert_eq!(value_in(&server.get(&path("early"))), "value of early");
    // What is written again is no longer missed.
    must_put(&server, "one", "value of one");
    let named = server.get("/health").json()["vaults"][0]["vanished"].clone();
    assert_eq!(named.as_array().map(Vec::len), Some(2));
    report(&format!("foreign/stale copy: 3 of 3 erased keys named after {known:.1?}"));
}

#[test]
fn with_repair_what_a_writer_with_a_stale_copy_erases_is_written_again() {
    let pwsh = need_pwsh!();
    let (server, known) = erase(pwsh, "repair = true");
    wait_until("all is back", KNOWN_WITHIN, || {
        server.get("/health").json()["vaults"][0]["vanished"].is_null()
    });
    let values = fresh_values(pwsh, server.home(), Authentication::Password);
    for key in ["early", "one", "two", "three"] {
        assert_eq!(values.get(key), Some(&format!("value of {key}")));
        assert_eq!(value_in(&server.get(&path(key))), format!("value of {key}"));
    }
    assert_eq!(values.get("theirs").map(String::as_str), Some("t1"), "theirs is kept too");
    report(&format!("foreign/stale copy, repair: 3 of 3 erased keys written again, known after {known:.1?}"));
}

/// The first looks into it fail; what was erased is named all the same.
#[test]
fn damage_that_cannot_be_looked_at_yet_is_named_later() {
    let fault = json!({ "id": "Busy", "kind": "System.InvalidOperationException" });
    let stand_in = StandIn::with(&json!({ "password": PASSWORD, "rules": [
        { "op": "info", "up_to": 2, "across": true, "do": { "fault": fault } },
    ] }));
    let toml = "listen = \"127.0.0.1:0\"\nauth = { open = true }\n[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"STORE_PASSWORD\" }\nexpose = true";
    let server = Builder::new().config(toml).stand_in(&stand_in).env("STORE_PASSWORD", PASSWORD).start();
    must_put(&server, "kept", "v");
    let content = fs::read(stand_in.path("store.json")).expect("a store");
    must_put(&server, "erased", "v");
    fs::write(stand_in.path("store.json"), content).expect("erased");
    let store = server.home().join(".secretmanagement/localstore");
    fs::create_dir_all(&store).expect("made");
    fs::write(store.join("storefile"), "changed").expect("changed");
    wait_until("the erased key is named", KNOWN_WITHIN, || {
        server.get("/health").json()["vaults"][0]["vanished"] == json!(["erased"])
    });
    let said = server.stderr();
    assert_eq!(said.matches("could not be looked through").count(), 1, "{said}");
    assert_eq!(said.matches("changed by another process").count(), 1, "{said}");
}

/// Both at once: a write of theirs in our Unlock-to-Set window is lost, which nobody can prevent, and so is
/// one of ours in theirs; those are named, and no other.
#[test]
fn what_a_writer_at_the_same_time_erases_is_named_and_nothing_else() {
    let pwsh = need_pwsh!();
    let rounds = count(3, 100);
    let (server, turns) = at_the_same_time(pwsh, rounds, "");
    // The log names all of them, and health so many.
    let (mut ours, mut theirs) = (Vec::new(), 0);
    wait_until("missing and named are the same", KNOWN_WITHIN + SOON, || {
        (ours, theirs) = missing(pwsh, &server, rounds, turns);
        ours == named_in_log(&server)
    });
    let in_health = server.get("/health").json()["vaults"][0]["vanished"].as_array().map_or(0, Vec::len);
    assert_eq!(in_health, ours.len().min(MOST_NAMED));
    assert!(theirs <= windows(rounds), "{theirs} of theirs are missing");
    report(&format!(
        "foreign/at the same time: {} of {rounds} keys of ours erased, all named; {} of {turns} of theirs",
        ours.len(),
        turns - theirs
    ));
}

#[test]
fn with_repair_no_key_of_ours_is_lost_to_a_writer_at_the_same_time() {
    let pwsh = need_pwsh!();
    let rounds = count(2, 100);
    let (server, turns) = at_the_same_time(pwsh, rounds, "repair = true");
    // Known soon; written again one after the other.
    wait_until("no key of ours is missing", SOON * 6, || missing(pwsh, &server, rounds, turns).0.is_empty());
    let theirs = missing(pwsh, &server, rounds, turns).1;
    let again = server.stderr().matches("the erased secret was written again").count();
    assert!(theirs <= windows(rounds + again), "{theirs} of theirs are missing");
    report(&format!(
        "foreign/at the same time, repair: {rounds} of {rounds} keys of ours ({again} written again), {} of {turns} of theirs",
        turns - theirs
    ));
}

/// How many of their writes so many of ours may erase at most: beside another a write is done twice, and two of
/// theirs fit into the window between our look at the files and our set.
fn windows(writes: usize) -> usize {
    4 * writes
}

/// Most keys that health names.
const MOST_NAMED: usize = 100;

/// The keys that were erased and are named, in order.
fn named_in_log(server: &Server) -> Vec<String> {
    let said = server.stderr();
    let lines = said.lines().filter(|line| line.contains("has been erased by another process"));
    let key = |line: &str| Some(line.split_once("key=\"")?.1.split_once('"')?.0.to_owned());
    let mut named: Vec<String> = lines.filter_map(key).collect();
    named.sort();
    named
}

/// Two clients of ours write, and so does a foreigner who unlocks before each write; gives how often it did.
fn at_the_same_time(pwsh: &Pwsh, rounds: usize, extra: &str) -> (Server, usize) {
    let server = store(pwsh, Authentication::Password, 2, extra, "").start();
    must_put(&server, "early", "0");
    let writing = "Open; Set-Secret -Vault fresh -Name \"theirs$turn\" -Secret \"t$turn\"";
    let mut foreigner = Foreigner::start(pwsh, &server, writing);
    // Its first takes long.
    foreigner.write();
    let turns = std::thread::scope(|scope| {
        let ours = scope.spawn(|| {
            together(2, |client| {
                for round in (client..rounds).step_by(2) {
                    must_put(&server, &format!("ours{round}"), &format!("o{round}"));
                }
            });
        });
        while !ours.is_finished() {
            foreigner.write();
        }
        foreigner.turns
    });
    (server, turns)
}

/// Which keys of ours, and how many of theirs, a fresh process does not find.
fn missing(pwsh: &Pwsh, server: &Server, rounds: usize, turns: usize) -> (Vec<String>, usize) {
    let values = fresh_values(pwsh, server.home(), Authentication::Password);
    let mut ours: Vec<String> = Vec::new();
    for round in 0..rounds {
        match values.get(&format!("ours{round}")) {
            Some(value) => assert_eq!(*value, format!("o{round}")),
            None => ours.push(format!("ours{round}")),
        }
    }
    ours.sort();
    let theirs = (1..=turns).filter(|turn| !values.contains_key(&format!("theirs{turn}"))).count();
    (ours, theirs)
}
