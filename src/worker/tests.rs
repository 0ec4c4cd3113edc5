use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{FakeLauncher, Reaction, ok};
use super::*;
use crate::protocol::PingReply;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn started(
    after: impl Fn(&Value) -> Vec<String> + Send + Sync + 'static,
) -> Result<Worker, LaunchError> {
    let script = move |_, call: &Value| Reaction::Say(after(call));
    Worker::start(&FakeLauncher::new(script), 1, soon()).await
}

async fn greeting(pwsh: &'static str, protocol: u32) -> Result<Worker, LaunchError> {
    let hello = json!({ "protocol": protocol, "pwsh": pwsh, "pid": 1 });
    let launcher = FakeLauncher::with_hello(hello, |_, _: &Value| Reaction::Say(Vec::new()));
    Worker::start(&launcher, 1, soon()).await
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
    assert!(matches!(greeting("7.6.1", 0).await, Err(LaunchError::Version { theirs: 0 })));
    assert!(matches!(greeting("7.3.9", PROTOCOL_VERSION).await, Err(LaunchError::TooOld { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_after_calls_made_for_it() {
    struct CallsBack;
    impl Asks for CallsBack {
        fn answer<'a>(
            &'a mut self,
            _what: &'a serde_json::value::RawValue,
            worker: &'a mut Worker,
        ) -> BoxFuture<'a, Result<Result<Box<serde_json::value::RawValue>, Fault>, Broken>> {
            Box::pin(async move {
                let heap = worker.call::<PingReply>(ping(), soon()).await.map(|reply| reply.heap);
                Ok(Ok(serde_json::value::to_raw_value(&heap.unwrap_or(0)).unwrap()))
            })
        }
    }
    let script = |call: &Value| match (call.get("answer").is_some(), call["op"].get("invoke")) {
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
