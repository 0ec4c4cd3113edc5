use std::path::Path;
use std::sync::atomic::AtomicUsize;

use serde_json::Value;

use hyper::Method;

use super::*;
use crate::access::{Caller, Peer};

const PEER: Peer =
    Peer::Tcp(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 5000));

fn record(status: u16, outcome: &'static str, accesses: Vec<AuditedAccess>) -> Record {
    Record {
        request: 7,
        who: Caller::owner(),
        peer: PEER,
        method: Method::GET,
        path: "/secret".into(),
        route: "/secret".into(),
        accesses: accesses.into(),
        outcome,
        status,
        received: Instant::now(),
        latency: Duration::from_micros(1500),
        trace: None,
    }
}

fn access(key: &str) -> AuditedAccess {
    AuditedAccess { action: "read", vault: "v".into(), key: key.into(), mount: "".into(), outcome: "ok" }
}

fn to(path: &Path) -> AuditSettings {
    AuditSettings { to: Destination::File(path.to_owned()), chain: true }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

fn of_event<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// Records from as many tasks as there are given, and closes.
async fn written(path: &Path, records: Vec<Record>) -> Vec<Value> {
    let trail = Trail::start(&to(path), None).unwrap();
    for record in records {
        trail.record(record).await;
    }
    trail.close();
    lines(path)
}

#[tokio::test]
async fn a_line_holds_who_what_and_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let both = vec![access("a"), AuditedAccess { outcome: "not_found", ..access("b") }];
    let all = written(&file, vec![record(200, "ok", both), record(404, "unknown_route", vec![])]).await;
    let line = &all[1];
    for (member, expected) in [
        ("seq", serde_json::json!(2)),
        ("event", "access".into()),
        ("who", "token".into()),
        ("peer", "192.0.2.7:5000".into()),
        ("method", "GET".into()),
        ("path", "/secret".into()),
        ("route", "/secret".into()),
        ("action", "read".into()),
        ("vault", "v".into()),
        ("key", "a".into()),
        ("outcome", "ok".into()),
        ("status", 200.into()),
        ("latency_ms", 1.5.into()),
    ] {
        assert_eq!(line[member], expected, "{member}");
    }
    assert_eq!((&all[2]["key"], &all[2]["outcome"]), (&"b".into(), &"not_found".into()));
    assert_eq!((&all[3]["event"], &all[3]["outcome"]), (&"request".into(), &"unknown_route".into()));
    assert_eq!((&all[0]["event"], &all[4]["event"]), (&"start".into(), &"stop".into()));
    let numbers: Vec<u64> = all.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn no_text_forges_or_splits_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let evil = "a\r\n{\"seq\":9}\u{85}\u{2028}\u{2029}\u{1b}[2J\0\"\\\u{202e}\u{7f}é\u{10ffff}";
    let hostile = Record { path: evil.into(), ..record(200, "ok", vec![access(evil)]) };
    let all = written(&file, vec![hostile]).await;
    assert_eq!(all.len(), 3);
    assert_eq!((&all[1]["key"], &all[1]["path"]), (&evil.into(), &evil.into()));
    let text = std::fs::read_to_string(&file).unwrap();
    let hidden = |c: char| c.is_control() && c != '\n' || ('\u{2028}'..='\u{202e}').contains(&c);
    assert!(!text.contains(hidden), "{text:?}");
}

#[tokio::test]
async fn a_long_name_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let long = Record { path: "/x".repeat(20_000), ..record(404, "unknown_route", vec![]) };
    let all = written(&file, vec![long]).await;
    assert_eq!(all[1]["path"].as_str().unwrap().chars().count(), 1025);
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_accesses_never_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let mut flood: Vec<Record> = (0..500).map(|_| record(401, "token_wrong", vec![])).collect();
    flood.extend((0..50).map(|_| record(404, "ok", vec![access("k")])));
    flood.extend((0..50).map(|_| record(200, "ok", vec![])));
    let all = written(&file, flood).await;
    let refused = all.iter().filter(|line| line["status"] == 401 && line["event"] == "request").count();
    let folded: u64 = of_event(&all, "folded").iter().map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!(refused as u64 + folded, 500);
    assert!(refused < 100, "{refused} lines");
    assert_eq!(of_event(&all, "folded")[0]["peer"], "192.0.2.7");
    assert_eq!(of_event(&all, "access").len(), 50);
    assert_eq!(all.iter().filter(|line| line["status"] == 200).count(), 50);
}

#[tokio::test]
async fn a_line_is_there_within_a_hundred_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let trail = Trail::start(&to(&file), None).unwrap();
    // The best of some: a busy machine only ever adds.
    let mut best = Duration::MAX;
    for count in 1..=5 {
        let begun = Instant::now();
        trail.record(record(200, "ok", vec![access("k")])).await;
        let there = || std::fs::read_to_string(&file).is_ok_and(|text| text.lines().count() > count);
        while !there() {
            assert!(begun.elapsed() < Duration::from_secs(20), "never written");
            tokio::task::yield_now().await;
        }
        best = best.min(begun.elapsed());
    }
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[tokio::test]
async fn numbers_and_chain_go_on_over_restarts_and_renamed_files() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("audit"), folder.path().join("audit.1"));
    written(&file, vec![record(200, "ok", vec![access("a")])]).await;
    let trail = Trail::start(&to(&file), None).unwrap();
    trail.record(record(200, "ok", vec![access("b")])).await;
    trail.flush(Duration::from_secs(20)).await;
    std::fs::rename(&file, &old).unwrap();
    trail.reopen();
    trail.record(record(200, "ok", vec![access("c")])).await;
    trail.close();
    let numbers: Vec<u64> =
        lines(&old).iter().chain(&lines(&file)).map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let verdict = verify(&[old, file]).unwrap();
    assert_eq!((verdict.broken.as_slice(), verdict.lines), (&[][..], numbers.len() as u64));
    assert_eq!((verdict.continues.as_str(), verdict.link.len()), ("", 64));
}

#[tokio::test]
async fn whatever_is_changed_put_in_or_taken_out_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    written(&file, ["a", "b", "c", "d"].map(|key| record(200, "ok", vec![access(key)])).into()).await;
    let right = std::fs::read_to_string(&file).unwrap();
    let all: Vec<&str> = right.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let broken = |text: String| {
        std::fs::write(&file, text).unwrap();
        verify(std::slice::from_ref(&file)).unwrap().broken.len()
    };
    assert_eq!(broken(right.clone()), 0);
    for index in 0..all.len() - 1 {
        let without = [&all[..index], &all[index + 1..]].concat();
        assert!(broken(joined(&without)) > 0, "line {index} taken out");
        let twice = [&all[..=index], &all[index..]].concat();
        assert!(broken(joined(&twice)) > 0, "line {index} put in");
        let changed = right.replacen(all[index], &all[index].replace("\"time\":\"2", "\"time\":\"1"), 1);
        assert!(broken(changed) > 0, "line {index} changed");
    }
    assert!(broken(right.replacen("\n", "\nforged\n", 1)) > 0);
    assert!(broken(right.trim_end().to_owned()) > 0, "the last line is cut");
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_told_and_the_trail_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    written(&file, vec![record(200, "ok", vec![access("a")])]).await;
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"seq\":4,\"time\":\"20");
    std::fs::write(&file, text).unwrap();
    let trail = Trail::start(&to(&file), None).unwrap();
    trail.close();
    let verdict = verify(std::slice::from_ref(&file)).unwrap();
    assert_eq!((verdict.broken.len(), verdict.torn), (0, 1), "{verdict:?}");
}

#[tokio::test]
async fn a_file_is_its_owners_alone_and_one_servers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let trail = Trail::start(&to(&file), None).unwrap();
    assert_eq!(crate::platform::testing::mode(&file), 0o600);
    let second = Trail::start(&to(&file), None).unwrap_err().to_string();
    assert!(second.contains("another server"), "{second}");
    drop(trail);
    assert!(Trail::start(&to(&file), None).is_ok(), "the last handle let it go");
    let folder_error = Trail::start(&to(folder.path()), None).unwrap_err().to_string();
    assert!(folder_error.contains("not a regular file"), "{folder_error}");
}

/// Counts, as slowly as a disk that hangs, while there are fewer than so many.
struct Slow(AtomicUsize, Duration, usize);

impl Counts for Slow {
    fn take(&self, records: &mut dyn Iterator<Item = &Record>) {
        let count = records.count();
        // A few times only: the end has to come.
        if self.0.fetch_add(count, Ordering::Relaxed) < self.2 && count > 0 {
            std::thread::sleep(self.1);
        }
    }
}

#[tokio::test]
async fn whoever_meets_a_full_queue_waits_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let counts = Arc::new(Slow(AtomicUsize::new(0), Duration::from_millis(50), usize::MAX));
    let trail = Trail::start(&to(&file), Some(counts.clone())).unwrap();
    let all = 3 * QUEUE;
    for _ in 0..all {
        trail.record(record(200, "ok", vec![])).await;
    }
    let (dropped, waited) = trail.pressure();
    trail.close();
    assert_eq!((dropped, counts.0.load(Ordering::Relaxed)), (0, all));
    assert!(waited > 0, "the queue was never full, so nothing was shown");
    assert_eq!(lines(&file).len(), all + 2);
}

#[tokio::test]
async fn what_is_given_up_is_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let counts = Arc::new(Slow(AtomicUsize::new(0), PATIENCE + Duration::from_millis(1500), 1));
    let trail = Trail::start(&to(&file), Some(counts)).unwrap();
    // The writer takes a first batch and hangs; then the queue fills.
    trail.record(record(200, "ok", vec![])).await;
    let until = Instant::now() + Duration::from_secs(30);
    while trail.pressure().0 == 0 {
        assert!(Instant::now() < until, "nothing was given up");
        trail.record(record(200, "ok", vec![])).await;
    }
    let (dropped, _) = trail.pressure();
    trail.close();
    let told: u64 =
        of_event(&lines(&file), "dropped").iter().map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!(told, dropped);
}
