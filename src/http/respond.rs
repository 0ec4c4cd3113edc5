//! Outcomes as answers: the only place that picks a status for an error.

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SERVER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;

use super::message::{DoorFault, Reply};
use crate::error::BridgeError;

/// A vault's own message is cut at so many characters.
const MAX_MESSAGE: usize = 300;

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    Reply { status, headers: common(), body: Bytes::new() }
}

/// A JSON document.
pub fn json(status: StatusCode, document: &serde_json::Value) -> Reply {
    typed(status, "application/json; charset=utf-8", document.to_string())
}

/// A body of some type.
pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Reply { status, headers: common(), body: body.into() };
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// An error of the request itself.
pub fn refusal(status: StatusCode, code: &str, message: &str, hint: &str) -> Reply {
    json(status, &json!({ "error": { "code": code, "message": message, "hint": hint } }))
}

/// 400: what is wrong with the request's body or path.
pub fn bad_input(message: &str, hint: &str) -> Reply {
    refusal(StatusCode::BAD_REQUEST, "bad_input", message, hint)
}

/// 404: no such route.
pub fn no_route() -> Reply {
    refusal(
        StatusCode::NOT_FOUND,
        "no_route",
        "there is no such route",
        "paths are told apart by case and by a slash at their end",
    )
}

/// 405, with the methods that there are.
pub fn method_not_allowed(allow: &str) -> Reply {
    let hint = format!("this route takes {allow}");
    let mut reply = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this route does not take this method",
        &hint,
    );
    if let Ok(allow) = HeaderValue::from_str(allow) {
        reply.headers.insert(ALLOW, allow);
    }
    reply
}

/// 401.
pub fn unauthorized() -> Reply {
    let hint =
        "send the header 'Authorization: Bearer TOKEN'; the server's start tells where the token is kept";
    let mut reply =
        refusal(StatusCode::UNAUTHORIZED, "unauthorized", "the bearer token is missing or wrong", hint);
    reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    reply
}

/// What the door could not bring through.
pub fn door_fault(fault: DoorFault) -> Reply {
    match fault {
        DoorFault::BodySlow => refusal(
            StatusCode::REQUEST_TIMEOUT,
            "body_slow",
            "the body did not arrive in time",
            "send it faster, or raise limits.deadline",
        ),
        DoorFault::BodyTooLarge(limit) => {
            let message = format!("the body is larger than {limit} bytes");
            refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                &message,
                "limits.max_body sets the limit",
            )
        }
        DoorFault::BodyBroken => bad_input("the body ended early", "its length and its framing must agree"),
        DoorFault::Panicked => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed",
            "the server's log says where",
        ),
    }
}

/// An error of the bridge.
pub fn error(error: &BridgeError) -> Reply {
    let mut reply = refusal(status(error), error.code(), &bounded(&error.to_string()), error.hint());
    let seconds = match error {
        BridgeError::Locked { retry_after, .. } => retry_after.as_secs().max(1),
        BridgeError::Saturated | BridgeError::NotReady { .. } => 1,
        _ => return reply,
    };
    reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}

/// The status of an error of the bridge.
pub fn status(error: &BridgeError) -> StatusCode {
    match error {
        BridgeError::Refused { .. } => StatusCode::BAD_REQUEST,
        BridgeError::ReadOnly { .. } => StatusCode::FORBIDDEN,
        BridgeError::UnknownMount { .. }
        | BridgeError::UnknownVault { .. }
        | BridgeError::NotFound { .. }
        | BridgeError::NoMember { .. } => StatusCode::NOT_FOUND,
        BridgeError::Vault { .. } | BridgeError::Worker { .. } | BridgeError::Local { .. } => {
            StatusCode::BAD_GATEWAY
        }
        BridgeError::Locked { .. } | BridgeError::Saturated | BridgeError::NotReady { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        BridgeError::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// A message of a vault's: one line, not too long.
fn bounded(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn common() -> HeaderMap {
    HeaderMap::from_iter([
        (SERVER, HeaderValue::from_static("secretbridge")),
        // A secret must stay in no cache on the way.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
}
