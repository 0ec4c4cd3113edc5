//! The status page, and the events that keep it live.
//!
//! The page is one embedded file that fetches nothing but its events, and holds no data by itself. The events are
//! server-sent: one at once, then one a second, each the whole state; never a key or a value of a secret.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::message::Reply;
use super::respond;
use crate::bridge::Health;
use crate::clock;
use crate::metrics::Overview;

const PAGE: &str = include_str!("status/page.html");
const HTML: &str = "text/html; charset=utf-8";
const EVENTS: &str = "text/event-stream";

/// Nothing from elsewhere, nothing but its own events, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How often the state is told.
const BEAT: Duration = Duration::from_secs(1);

/// The page.
pub(super) fn page() -> Reply {
    let mut reply = respond::body(StatusCode::OK, HTML, PAGE.as_bytes().to_vec());
    reply.headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    reply.headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// The events: `look` gives the state, and nothing once the server stops, which ends them.
pub(super) fn events(look: impl Fn() -> Option<(Health, Overview)> + Send + 'static) -> Reply {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let Some((health, overview)) = look() else { return };
            // It waits where the page reads slowly, and ends when the page is closed.
            if sender.send(event(&health, &overview)).await.is_err() {
                return;
            }
        }
    });
    let mut reply = respond::body(StatusCode::OK, EVENTS, Vec::new());
    reply.stream = Some(receiver);
    reply
}

fn event(health: &Health, overview: &Overview) -> Bytes {
    let at = clock::now().replace_nanosecond(0).unwrap_or_else(|_| clock::now());
    let state: Value = json!({
        "at": at.format(&Rfc3339).unwrap_or_default(),
        "health": health,
        "latency": overview.latency,
        "errors": overview.errors,
    });
    Bytes::from(format!("data: {state}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_fetches_nothing_from_elsewhere() {
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            let at = PAGE.find(outside).map(|at| &PAGE[at..(at + 60).min(PAGE.len())]);
            assert!(at.is_none_or(|text| text.starts_with("http://www.w3.org/2000/svg")), "{at:?}");
        }
        let reply = page();
        assert!(reply.headers[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_is_told_at_once_then_each_second_until_the_server_stops() {
        let left = std::sync::atomic::AtomicUsize::new(3);
        let look = move || {
            use std::sync::atomic::Ordering::SeqCst;
            let more = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            more.then(|| (Health { waiting: 7, ..Health::default() }, Overview::default()))
        };
        let mut events = events(look).stream.unwrap();
        let begun = tokio::time::Instant::now();
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            let text = String::from_utf8(event.to_vec()).unwrap();
            let state: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim_end()).unwrap();
            assert_eq!(state["health"]["waiting"], 7);
            told.push(begun.elapsed().as_secs());
        }
        assert_eq!(told, [0, 1, 2]);
    }
}
