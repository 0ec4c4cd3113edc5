//! Turns outcomes into replies. What a [`Problem`] is worth, its status too, is in its own file.
//!
//! Every reply carries `Cache-Control: no-store` and the server's name. Errors have one shape:
//! `{"error":{"code","message","hint"}}`, with a stable code, one line of message, and what to do.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SERVER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::message::Reply;
use super::problem::Problem;
use super::wiped::WipedBuffer;
use crate::access::AccessRefusal;
use crate::error::BridgeError;

/// The media type of JSON answers.
pub const JSON: &str = "application/json; charset=utf-8";

/// A vault's message is passed on up to this many characters.
const MAX_MESSAGE: usize = 500;

// === replies ===

/// A reply without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(SERVER, HeaderValue::from_static("secretbridge"));
    Reply::new(status, headers, Bytes::new())
}

/// A reply with a body, whose buffer is wiped when it has been sent.
pub fn body(status: StatusCode, media: &'static str, content: Vec<u8>) -> Reply {
    of(status, media, Bytes::from_owner(Zeroizing::new(content)))
}

fn of(status: StatusCode, media: &'static str, content: Bytes) -> Reply {
    let mut reply = empty(status);
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    // A secret in plain text must not be run as a page or script because it looks like one.
    reply.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.body = content;
    reply
}

/// A JSON reply.
pub fn json(status: StatusCode, content: &impl Serialize) -> Reply {
    let mut text = WipedBuffer::with_capacity(256);
    match serde_json::to_writer(&mut text, content) {
        Ok(()) => of(status, JSON, text.into_bytes()),
        // Only a map whose keys are not strings fails, and no answer has one.
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The reply to a problem.
pub fn problem(problem: &Problem) -> Reply {
    let status = problem.status();
    let mut reply = match problem {
        Problem::Options { .. } => empty(status),
        _ => json(status, &ErrorBody::of(problem)),
    };
    fields(problem, &mut reply.headers);
    reply.note.code = problem.code();
    reply
}

/// The header fields that go with a problem's status, whatever its body looks like.
pub fn fields(problem: &Problem, headers: &mut HeaderMap) {
    match problem {
        Problem::Access(AccessRefusal::NoToken) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"secretbridge\""));
        }
        Problem::Access(AccessRefusal::WrongToken) => {
            let challenge = "Bearer realm=\"secretbridge\", error=\"invalid_token\"";
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        Problem::Method { allow } | Problem::Options { allow } => {
            // Made of method names, which are header text.
            HeaderValue::from_str(allow).into_iter().for_each(|allow| _ = headers.insert(ALLOW, allow));
        }
        Problem::TooMany { retry_after, .. } => {
            headers.insert(RETRY_AFTER, seconds(*retry_after));
        }
        Problem::Bridge(error) => {
            if let Some(wait) = retry_after(error) {
                headers.insert(RETRY_AFTER, seconds(wait));
            }
        }
        _ => {}
    }
}

/// The reply to an error of the bridge.
#[cfg(test)]
pub(crate) fn of_bridge(error: BridgeError) -> Reply {
    problem(&Problem::Bridge(error))
}

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorText,
}

#[derive(Serialize)]
struct ErrorText {
    code: &'static str,
    message: String,
    hint: &'static str,
}

impl ErrorBody {
    fn of(problem: &Problem) -> ErrorBody {
        let message = one_line(&problem.to_string());
        ErrorBody { error: ErrorText { code: problem.code(), message, hint: problem.hint() } }
    }
}

/// Bounded and on one line: vault modules write messages of any length and shape.
pub(super) fn one_line(message: &str) -> String {
    let mut line =
        message.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let mut text = line.next().unwrap_or_default().to_owned();
    for word in line {
        text.push(' ');
        text.push_str(word);
    }
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Rounded up: a client that comes back early is refused again.
fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1000).clamp(1, u128::from(u32::MAX)) as u32)
}

fn retry_after(error: &BridgeError) -> Option<Duration> {
    match error {
        BridgeError::Locked { retry_after, .. } | BridgeError::Throttled { retry_after, .. } => {
            Some(*retry_after)
        }
        BridgeError::Saturated => Some(Duration::from_secs(1)),
        BridgeError::NotReady { .. } => Some(Duration::from_secs(2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::Fault;

    fn shown(error: BridgeError) -> (u16, Option<String>, Value) {
        let reply = super::problem(&Problem::Bridge(error));
        let retry = reply.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        (reply.status.as_u16(), retry, serde_json::from_slice(&reply.body).unwrap())
    }

    #[test]
    fn every_bridge_error_has_its_status() {
        let (name, vault, key, reason) =
            (|| "n".to_owned(), || "v".to_owned(), || "k".to_owned(), || "r".to_owned());
        let locked = |millis| BridgeError::Locked {
            vault: vault(),
            reason: reason(),
            retry_after: Duration::from_millis(millis),
        };
        for (error, status, retry) in [
            (BridgeError::Refused { vault: vault(), reason: reason() }, 400, None),
            (BridgeError::ReadOnly { vault: vault() }, 403, None),
            (BridgeError::UnknownMount { name: name() }, 404, None),
            (BridgeError::UnknownVault { name: name() }, 404, None),
            (BridgeError::NotFound { vault: vault(), key: key() }, 404, None),
            (BridgeError::NoMember { vault: vault(), key: key(), member: name() }, 404, None),
            (BridgeError::Vault { vault: vault(), fault: Box::default(), outcome_unknown: false }, 502, None),
            (BridgeError::Worker { reason: reason(), outcome_unknown: false }, 502, None),
            (BridgeError::Local { vault: vault(), reason: reason(), trouble: Default::default() }, 502, None),
            (locked(4001), 503, Some("5")),
            (locked(0), 503, Some("1")),
            (BridgeError::Throttled { vault: vault(), retry_after: Duration::from_secs(9) }, 503, Some("9")),
            (BridgeError::Saturated, 503, Some("1")),
            (BridgeError::NotReady { reason: reason() }, 503, Some("2")),
            (BridgeError::Deadline { outcome_unknown: true }, 504, None),
        ] {
            let (code, hint) = (error.code(), error.hint());
            let (got, wait, body) = shown(error);
            assert_eq!((got, wait.as_deref()), (status, retry), "{code}");
            assert_eq!((&body["error"]["code"], &body["error"]["hint"]), (&json!(code), &json!(hint)));
        }
    }

    #[test]
    fn an_unknown_outcome_is_said() {
        let (_, _, body) = shown(BridgeError::Deadline { outcome_unknown: true });
        assert!(
            body["error"]["message"].as_str().unwrap().contains("whether the write took place is unknown")
        );
    }

    #[test]
    fn a_vaults_message_is_cut_and_put_on_one_line() {
        let message = format!("first\r\n\tsecond\0third {}", "é".repeat(4000));
        let fault = Box::new(Fault { message, ..Fault::default() });
        let (_, _, body) = shown(BridgeError::Vault { vault: "v".to_owned(), fault, outcome_unknown: false });
        let text = body["error"]["message"].as_str().unwrap();
        assert!(text.contains("first second third é"), "{text}");
        assert_eq!(text.chars().count(), MAX_MESSAGE + 1);
    }

    #[test]
    fn every_reply_forbids_caching_and_names_the_server() {
        for reply in
            [empty(StatusCode::OK), super::problem(&AccessRefusal::NoToken.into()), json(StatusCode::OK, &1)]
        {
            assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
            assert_eq!(reply.headers[SERVER], "secretbridge");
        }
        assert!(!empty(StatusCode::OK).headers.contains_key(CONTENT_TYPE));
    }

    #[test]
    fn a_missing_token_and_a_wrong_one_are_challenged() {
        for refusal in [AccessRefusal::NoToken, AccessRefusal::WrongToken] {
            let reply = super::problem(&refusal.into());
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
            assert!(reply.headers[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
        }
    }

    #[test]
    fn options_is_answered_with_allow_and_no_body() {
        let reply = super::problem(&Problem::Options { allow: "GET, OPTIONS".to_owned() });
        assert_eq!(
            (reply.status, &reply.headers[ALLOW]),
            (StatusCode::NO_CONTENT, &HeaderValue::from_static("GET, OPTIONS"))
        );
        assert!(reply.body.is_empty());
    }
}
