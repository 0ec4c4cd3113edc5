//! Rules that need a second process: locks, death in mid-write, limits of the system.
//!
//! A child is this test program again, started with one test as its filter and its job in the
//! environment. What it has acknowledged it tells on its standard output.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::platform::testing;

const JOB: &str = "SECRETBRIDGE_LOCAL_TEST_JOB";
const FOLDER: &str = "SECRETBRIDGE_LOCAL_TEST_FOLDER";

fn start(job: &str, folder: &Path) -> Child {
    let entry = concat!(module_path!(), "::does_the_job_of_a_child");
    let (_, entry) = entry.split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", entry, "--nocapture", "--test-threads=1"])
        .env(JOB, job)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<&str> {
    line.split_once("ack ").map(|(_, what)| what)
}

/// What the child acknowledged until its end; it must have ended well.
fn finish(mut child: Child) -> Vec<String> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = lines.filter_map(|line| acknowledged(&line).map(str::to_owned)).collect();
    assert!(child.wait().unwrap().success());
    told
}

/// Tells the parent, past the test harness, which only catches `print!`.
fn acknowledge(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {what}").unwrap();
    out.flush().unwrap();
}

/// Without a job there is no parent, and nothing to do.
#[test]
fn does_the_job_of_a_child() {
    let (Ok(job), Ok(folder)) = (std::env::var(JOB), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let (job, argument) = job.split_once(' ').unwrap_or((&job, ""));
    match job {
        "write" => write_keys(folder, argument, 25),
        "write-on" => write_keys(folder, argument, usize::MAX),
        "create" => create(folder, argument),
        "limit" => write_beyond_the_limit(folder, argument),
        "no-access" => write_without_access(folder),
        _ => panic!("no such job"),
    }
}

fn write_keys(folder: &Path, prefix: &str, count: usize) {
    let vault = LocalVault::open(folder).unwrap();
    for key in 0..count {
        let name = format!("{prefix}-{key}");
        vault.set(&name, text(&name), None).unwrap();
        acknowledge(&name);
    }
}

fn create(folder: &Path, name: &str) {
    // The modes must not depend on a careful umask.
    testing::open_umask();
    let vault = LocalVault::open(folder).unwrap();
    vault.set(name, text(name), None).unwrap();
    acknowledge(if vault.created() { "created" } else { "opened" });
}

fn write_beyond_the_limit(folder: &Path, signal: &str) {
    let vault = LocalVault::open(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    // Caught, the write fails with EFBIG; if not, the system kills the process.
    testing::limit_file_size(4096, signal == "handled");
    let error = refusal(vault.set("large", text(&"x".repeat(9000)), None), "vault.age");
    let LocalError::Write { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("ulimit -f"), "{error}");
    assert_eq!(read(&vault, "kept"), Some(text(CANARY)));
    assert_eq!(files(folder), ["key.txt", "vault.age", "vault.lock", "vault.mark"]);
    vault.set("small", text("s"), None).unwrap();
    acknowledge("refused");
}

fn write_without_access(folder: &Path) {
    testing::be_bound_by_modes();
    let vault = LocalVault::open(folder).unwrap();
    let error = refusal(vault.set("new", text("n"), None), "vault.age");
    assert!(matches!(error, LocalError::Write { .. }), "{error}");
    assert!(error.to_string().contains("give this user access"), "{error}");
    assert_eq!(read(&vault, "kept"), Some(text(CANARY)));
    acknowledge("refused");
}

#[test]
fn writers_in_several_processes_and_threads_lose_nothing() {
    let (_dir, vault) = fresh();
    let children: Vec<Child> =
        (0..3).map(|child| start(&format!("write child{child}"), vault.folder())).collect();
    thread::scope(|scope| {
        for writer in 0..2 {
            let vault = &vault;
            scope.spawn(move || {
                for key in 0..25 {
                    let name = format!("thread{writer}-{key}");
                    vault.set(&name, text(&name), None).unwrap();
                }
            });
        }
    });
    let told: Vec<String> = children.into_iter().flat_map(finish).collect();
    assert_eq!(told.len(), 75);
    let found = names(&vault);
    assert_eq!(found.len(), 126);
    for name in found.iter().filter(|name| *name != "kept") {
        assert_eq!(read(&vault, name), Some(text(name)));
    }
    assert!(told.iter().all(|name| found.contains(name)));
}

#[test]
fn of_processes_that_open_a_new_folder_at_once_one_makes_the_key() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let children: Vec<Child> = (0..4).map(|child| start(&format!("create {child}"), &folder)).collect();
        let told: Vec<String> = children.into_iter().flat_map(finish).collect();
        assert_eq!(told.iter().filter(|what| *what == "created").count(), 1, "{told:?}");
        let vault = LocalVault::open(&folder).unwrap();
        assert_eq!(names(&vault), ["0", "1", "2", "3"]);
        assert_eq!(testing::mode(&folder), 0o700);
        for file in files(&folder) {
            assert_eq!(testing::mode(&folder.join(&file)), 0o600, "{file}");
        }
    }
}

/// Kills a writer when it has told of some writes, a little later each round so that all phases of a
/// write are met; returns what it had told.
fn kill_after(mut child: Child, writes: usize, later: Duration) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = told_by(&mut lines, writes);
    thread::sleep(later);
    child.kill().unwrap();
    assert!(testing::was_killed(child.wait().unwrap()), "the writer went on until it was killed");
    told.extend(told_by(&mut lines, usize::MAX));
    told
}

fn told_by(lines: &mut std::io::Lines<BufReader<ChildStdout>>, count: usize) -> Vec<String> {
    lines.map(Result::unwrap).filter_map(|line| acknowledged(&line).map(str::to_owned)).take(count).collect()
}

#[test]
fn writers_killed_at_any_moment_lose_nothing_they_told_of() {
    const ROUNDS: u32 = 24;
    let (_dir, vault) = fresh();
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        let one = start(&format!("write-on a{round}"), vault.folder());
        let two = start(&format!("write-on b{round}"), vault.folder());
        let later = Duration::from_micros(u64::from(round) * 150);
        told.extend(kill_after(one, 1 + round as usize % 4, later));
        told.extend(kill_after(two, 1, later));
        let name = format!("parent{round}");
        vault.set(&name, text(&name), None).unwrap();
        told.push(name);
        let found = names(&LocalVault::open(vault.folder()).unwrap());
        assert!(told.iter().all(|name| found.contains(name)), "round {round}");
    }
    assert!(told.len() >= 3 * ROUNDS as usize);
    assert!(told.iter().all(|name| read(&vault, name) == Some(text(name))));
    assert_eq!(
        files(vault.folder()),
        ["key.txt", "vault.age", "vault.lock", "vault.mark"],
        "the torn files are swept"
    );
}

#[test]
fn a_file_that_may_not_grow_keeps_the_old_content() {
    if !testing::LIMITS_BIND {
        return;
    }
    let (_dir, vault) = fresh();
    assert_eq!(finish(start("limit handled", vault.folder())), ["refused"]);
    assert_eq!(names(&vault), ["kept", "small"]);
}

#[test]
fn a_writer_killed_by_the_limit_leaves_the_old_content() {
    if !testing::LIMITS_BIND {
        return;
    }
    let (_dir, vault) = fresh();
    let mut child = start("limit unhandled", vault.folder());
    assert!(testing::hit_the_limit(child.wait().unwrap()));
    assert_eq!(files(vault.folder()).len(), 5, "it left its temporary file");
    assert_eq!(names(&vault), ["kept"]);
    vault.set("next", text("n"), None).unwrap();
    assert_eq!(files(vault.folder()), ["key.txt", "vault.age", "vault.lock", "vault.mark"]);
}

#[test]
fn a_folder_that_may_not_be_written_can_still_be_read() {
    if !testing::LIMITS_BIND {
        return;
    }
    let (_dir, vault) = fresh();
    testing::set_mode(vault.folder(), 0o500);
    let told = finish(start("no-access", vault.folder()));
    testing::set_mode(vault.folder(), 0o700);
    assert_eq!(told, ["refused"]);
    assert_eq!(names(&vault), ["kept"]);
}
