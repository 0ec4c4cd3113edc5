//! `audit show`: who got at which secret, out of the files of a trail.

use std::fs::OpenOptions;

use super::*;
use crate::support::process::Process;
use crate::support::{SOON, wait_until};

/// A line of a trail, as a server writes it.
fn entry(seq: u64, minute: u64, who: &str, action: &str, name: &str, outcome: &str) -> String {
    let (vault, key) = name.split_once('/').unwrap();
    let status = if outcome == "ok" { 200 } else { 404 };
    format!(
        "{{\"seq\":{seq},\"time\":\"2026-11-30T03:{minute:02}:00.000Z\",\"event\":\"access\",\"request\":{seq},\"who\":\"{who}\",\
         \"peer\":\"10.0.0.7:50412\",\"method\":\"GET\",\"path\":\"/x\",\"route\":\"/x\",\"action\":\"{action}\",\"vault\":\"{vault}\",\
         \"key\":\"{key}\",\"mount\":\"\",\"outcome\":\"{outcome}\",\"status\":{status},\"latency_ms\":0.1}}\n"
    )
}

/// Time, who, from where, action, secret, outcome.
fn rows(told: &str) -> Vec<Vec<&str>> {
    told.lines().map(|line| line.split('\t').collect()).collect()
}

/// The secrets of what is shown, in order.
fn secrets(told: &str) -> Vec<&str> {
    rows(told).into_iter().map(|row| row[4]).collect()
}

#[test]
fn who_read_or_wrote_a_secret_is_told_from_the_configuration_s_own_trail() {
    let toml = "listen = \"127.0.0.1:0\"\n[audit]\nfile = \"audit.jsonl\"\n[vaults.team]\nlocal = true\nfolder = \"team\"\nexpose = true\n";
    let server = Builder::new().config(toml).start();
    let line = Line::beside(&server);
    line.ok(&["set", "team/db"], b"hidden-canary");
    line.ok(&["get", "team/db"], b"");
    line.ok(&["get", "team/DB"], b"");
    line.fails(66, &["get", "team/none"], b"");
    let config = server.folder().join("secretbridge.toml");
    let config = config.to_str().unwrap();
    let show = |args: &[&str]| line.ok(&[&["audit", "show", "--config", config], args].concat(), b"");
    wait_until("the last line is written", SOON, || show(&[]).contains("none"));
    let told = show(&["team/db"]);
    let actions: Vec<_> = rows(&told).iter().map(|row| [row[3], row[4], row[5]]).collect();
    assert_eq!(actions, [["write", "team/db", "ok"], ["read", "team/db", "ok"], ["read", "team/DB", "ok"]]);
    assert!(rows(&told).iter().all(|row| row[1] == "token" && !row[2].is_empty()), "{told}");
    assert_eq!(
        rows(&show(&["--failed", "--vault", "team"]))[0][3..],
        ["read", "team/none", "secret_not_found (404)"]
    );
    assert!(!show(&[]).contains("canary"));
    // The trail that a command finds by itself, as every command finds its configuration.
    let found = Line::beside(&server).env("SECRETBRIDGE_CONFIG", config);
    assert_eq!(found.ok(&["audit", "show", "team/db"], b""), told);
    let verify = found.run(&["audit", "verify"], b"");
    assert_eq!(verify.status.code(), Some(1), "it has no chain");
    assert!(text(&verify.stderr).contains("has no chain"), "{}", text(&verify.stderr));
}

#[test]
fn rotated_files_are_read_in_their_order_and_a_broken_line_is_told_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("audit.jsonl.2"), entry(1, 1, "web", "read", "team/a", "ok")).unwrap();
    let packed = Command::new("gzip").arg(at("audit.jsonl.2")).stdin(Stdio::null()).status().unwrap();
    assert!(packed.success());
    let broken = [&b"{\"seq\":2,\"time\":\"secret-canary"[..], b"\n\xff\xfe\n"].concat();
    let with_broken = [&broken[..], entry(2, 2, "web", "write", "team/b", "ok").as_bytes()].concat();
    std::fs::write(at("audit.jsonl.1"), with_broken).unwrap();
    let last = entry(3, 3, "ops", "read", "team/c", "secret_not_found")
        + &entry(4, 4, "ops", "list", "other/", "ok");
    std::fs::write(at("audit.jsonl"), last).unwrap();
    let run = |args: &[&str]| {
        let output = line.run(&[&["audit", "show", "--file", "audit.jsonl"], args].concat(), b"");
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (told, said) = run(&[]);
    let name = |row: &str| row.rsplit('/').next().unwrap().to_owned();
    let shown: Vec<_> = secrets(&told).into_iter().map(name).collect();
    assert_eq!(shown, ["a", "audit.jsonl.1:1", "audit.jsonl.1:2", "b", "c", "other"], "{told}");
    assert!(told.contains("not a line of the trail") && !told.contains("canary"), "{told}");
    assert!(said.contains("2 of 6 lines") && said.contains("audit verify"), "{said}");
    let kept = |args: &[&str]| -> Vec<String> {
        let told = run(args).0;
        secrets(&told).into_iter().filter(|name| !name.contains("jsonl")).map(str::to_owned).collect()
    };
    assert_eq!(kept(&["--last", "2"]), ["team/c", "other"]);
    assert_eq!(kept(&["--since", "2026-11-30T03:02", "--until", "2026-11-30T03:03"]), ["team/b", "team/c"]);
    assert_eq!(kept(&["--who", "OPS", "--action", "read"]), ["team/c"]);
    assert_eq!(kept(&["--key", "[abc]"]), Vec::<String>::new(), "only * and ? stand for others");
    assert_eq!(kept(&["team/?"]), ["team/a", "team/b", "team/c"]);
    assert_eq!(kept(&["--failed"]), ["team/c"]);
    let json = run(&["--json"]).0;
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 6);
    assert_eq!(
        (&events[0]["key"], &events[1]["event"], &events[1]["line"]),
        (&json!("a"), &json!("broken"), &json!(1))
    );
    // Standard input, and nothing that is like it.
    let input = entry(9, 9, "web", "read", "team/z", "ok");
    let output = line.run(&["audit", "show", "--file", "-", "team/nothing"], input.as_bytes());
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(text(&output.stderr).contains("none of the 1 lines"), "{}", text(&output.stderr));
}

#[test]
fn a_trail_is_followed_through_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let path = folder.path().join("audit.jsonl");
    let write = |path: &Path, text: &str| {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    for seq in 1..=12 {
        write(&path, &entry(seq, seq, "web", "read", &format!("team/old{seq:02}"), "ok"));
    }
    let mut process = Process::start(line.command(&[
        "audit",
        "show",
        "--follow",
        "--file",
        "audit.jsonl",
        "--vault",
        "team",
    ]));
    let shows =
        |process: &Process, what: &str| wait_until(what, SOON, || process.stdout.text().contains(what));
    shows(&process, "team/old12");
    assert_eq!(process.stdout.text().lines().count(), 10, "it begins with the last ten");
    // A line that is not whole yet is not shown by halves.
    let next = entry(13, 13, "web", "read", "team/halves", "ok");
    write(&path, &next[..40]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    write(&path, &next[40..]);
    shows(&process, "team/halves");
    // Renamed: what is written to the old file until the server opens the new one is not lost.
    let old = folder.path().join("audit.jsonl.1");
    std::fs::rename(&path, &old).unwrap();
    std::fs::write(&path, "").unwrap();
    write(&old, &entry(15, 15, "web", "read", "team/late", "ok"));
    shows(&process, "team/late");
    write(&path, &entry(16, 16, "web", "read", "team/new", "ok"));
    shows(&process, "team/new");
    process.signal(rustix::process::Signal::TERM);
    process.wait_exit(SOON);
    let told = process.stdout.text();
    assert_eq!(told.matches("team/late").count(), 1, "{told}");
    assert!(!told.contains("broken"), "{told}");
}

#[test]
fn a_trail_that_is_not_there_says_where_it_is_to_be_found() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let told = line.fails(64, &["audit", "show"], b"");
    assert!(told.contains("no configuration") && told.contains("--file"), "{told}");
    std::fs::write(
        folder.path().join("secretbridge.toml"),
        "[vaults.v]\nlocal = true\nfolder = \"v\"\nexpose = true\n",
    )
    .unwrap();
    let told = line.fails(64, &["audit", "show"], b"");
    assert!(told.contains("standard error") && told.contains("[audit] file"), "{told}");
    let told = line.fails(66, &["audit", "show", "--file", "none.jsonl"], b"");
    assert!(told.contains("none.jsonl"), "{told}");
    let told = line.fails(64, &["audit", "show", "--since", "soon"], b"");
    assert!(told.contains("2h"), "{told}");
}
