use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::*;
use crate::protocol::PingReply;

/// A process that is not there.
struct NoProcess;

impl Process for NoProcess {
    fn id(&self) -> Option<u32> {
        None
    }
    fn kill(&mut self) {}
    fn wait(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A worker whose far side answers each call with the lines that `script` gives for it.
struct Scripted<F>(F);

impl<F: Fn(&Value) -> Vec<String> + Send + Sync + Clone + 'static> Launcher for Scripted<F> {
    fn launch(&self, _number: u64) -> BoxFuture<'_, Result<Link, LaunchError>> {
        let script = self.0.clone();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let (reader, writer) = tokio::io::split(ours);
            tokio::spawn(async move {
                let (reader, mut writer) = tokio::io::split(theirs);
                let mut lines = BufReader::new(reader).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let line: Value = serde_json::from_str(&line).expect("the core sends JSON");
                    for answer in script(&line["call"]) {
                        if writer.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
            let transport = Transport::new(reader, writer);
            Ok(Link { transport, process: Box::new(NoProcess), registry: "/r".into() })
        })
    }
}

fn ok(call: &Value, outcome: &Value) -> String {
    json!({ "reply": { "id": call["id"], "ok": outcome } }).to_string()
}

fn hello(call: &Value, pwsh: &str, protocol: u32) -> Vec<String> {
    vec![ok(call, &json!({ "protocol": protocol, "pwsh": pwsh, "pid": 1 }))]
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn started(
    after: impl Fn(&Value) -> Vec<String> + Send + Sync + Clone + 'static,
) -> Result<Worker, LaunchError> {
    let script = move |call: &Value| match call["op"].get("hello") {
        Some(_) => hello(call, "7.6.1", PROTOCOL_VERSION),
        None => after(call),
    };
    Worker::start(&Scripted(script), 1, soon()).await
}

fn ping() -> Op {
    Op::Ping(Empty {})
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_back_by_id() {
    let mut worker = started(|call| vec![ok(call, &json!({ "heap": call["id"] }))]).await.unwrap();
    assert_eq!(worker.call::<PingReply>(ping(), soon()).await.unwrap().heap, 2);
    assert_eq!(worker.call::<PingReply>(ping(), soon()).await.unwrap().heap, 3);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_id_breaks_the_worker_for_good() {
    let mut worker = started(|_| vec![r#"{"reply":{"id":99,"ok":{"heap":1}}}"#.into()]).await.unwrap();
    for _ in 0..2 {
        let outcome = worker.call::<PingReply>(ping(), soon()).await;
        assert!(matches!(outcome, Err(CallError::Broken(Broken::Protocol(_)))), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_missed_its_time_answers_nothing_more() {
    let mut worker = started(|_| Vec::new()).await.unwrap();
    let outcome = worker.call::<PingReply>(ping(), soon()).await;
    assert!(matches!(outcome, Err(CallError::Broken(Broken::TimedOut))));
    assert_eq!(worker.broken(), Some(Broken::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_half_way_breaks_the_worker() {
    let mut worker = started(|_| Vec::new()).await.unwrap();
    let call = worker.call::<PingReply>(ping(), soon());
    assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    assert!(worker.broken().is_some());
}

#[tokio::test(start_paused = true)]
async fn another_protocol_version_or_an_old_pwsh_is_refused() {
    let old = Worker::start(&Scripted(|call: &Value| hello(call, "7.6.1", 0)), 1, soon()).await;
    assert!(matches!(old, Err(LaunchError::Version { theirs: 0 })));
    let old =
        Worker::start(&Scripted(|call: &Value| hello(call, "7.3.9", PROTOCOL_VERSION)), 1, soon()).await;
    assert!(matches!(old, Err(LaunchError::TooOld { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_after_calls_made_for_it() {
    struct CallsBack;
    impl Asks for CallsBack {
        fn answer<'a>(
            &'a mut self,
            _what: &'a serde_json::value::RawValue,
            worker: &'a mut Worker,
        ) -> BoxFuture<'a, Result<Result<Value, Fault>, Broken>> {
            Box::pin(async move {
                let heap = worker.call::<PingReply>(ping(), soon()).await.map(|reply| reply.heap);
                Ok(Ok(json!(heap.unwrap_or(0))))
            })
        }
    }
    let script = |call: &Value| match (call.is_null(), call["op"].get("invoke")) {
        // The answer to the ask has come: the invoke ends.
        (true, _) => vec![r#"{"reply":{"id":2,"ok":{"heap":5}}}"#.to_owned()],
        (_, Some(_)) => vec![r#"{"ask":{"seq":1,"what":{}}}"#.to_owned()],
        _ => vec![ok(call, &json!({ "heap": 41 }))],
    };
    let mut worker = started(script).await.unwrap();
    let invoke = || Op::Invoke(serde_json::value::to_raw_value(&json!({})).unwrap());
    let reply = worker.call_asking::<PingReply>(invoke(), soon(), Some(&mut CallsBack)).await;
    assert_eq!(reply.unwrap().heap, 5);
    assert_eq!(worker.broken(), None);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_awaits_breaks_the_worker() {
    let mut worker = started(|_| vec![r#"{"ask":{"seq":1,"what":{}}}"#.into()]).await.unwrap();
    let outcome = worker.call::<PingReply>(ping(), soon()).await;
    assert!(matches!(outcome, Err(CallError::Broken(Broken::Protocol(_)))));
}

#[test]
fn versions_from_7_4_are_recent_enough() {
    for (version, recent) in [
        ("7.4.0", true),
        ("7.4.0-preview.2", true),
        ("7.10.1", true),
        ("8.0.0", true),
        ("7.3.9", false),
        ("5.1", false),
        ("", false),
    ] {
        assert_eq!(is_recent(version), recent, "{version}");
    }
}
