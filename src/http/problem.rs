//! Why a request is not answered as it wants, and what status, word and hint that makes.

use std::time::Duration;

use hyper::StatusCode;
use thiserror::Error;

use super::body_error::BodyError;
use super::bounds::BodyBound;
use crate::access::AccessRefusal;
use crate::error::BridgeError;

/// Why a request is answered without, or instead of, the bridge.
#[derive(Debug, Error)]
pub enum Problem {
    /// The caller is not let in.
    #[error(transparent)]
    Access(#[from] AccessRefusal),
    /// Two fields where a proxy may have believed the one and we the other.
    #[error("the request has more than one Host field")]
    TwoHosts,
    /// Too many requests of the caller, or from its address.
    #[error("{}", too_many(.limit))]
    TooMany {
        /// The key in `[limits]` that has struck; none for wrong tokens.
        limit: Option<&'static str>,
        /// When another is heard.
        retry_after: Duration,
    },
    /// No such route.
    #[error("there is no such route")]
    UnknownRoute,
    /// The path's place holds no text.
    #[error("the path is not UTF-8 text in percent encoding")]
    BadPath,
    /// The route does not take the method.
    #[error("the route does not take this method")]
    Method {
        /// The methods that it takes.
        allow: String,
    },
    /// The question which methods the route takes; no error.
    #[error("the methods that the route takes")]
    Options {
        /// The methods that it takes.
        allow: String,
    },
    /// The value has no such form.
    #[error("the secret cannot be shown in any of the media types asked for")]
    NotAcceptable,
    /// The body does not hold what it should.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body holds too much.
    #[error(transparent)]
    Bound(#[from] BodyBound),
    /// The bridge's answer.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The door's.
    #[error("{}", door_message(*.0))]
    Door(DoorFault),
}

/// Why the door could not bring a request through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorFault {
    /// The body did not arrive before the deadline: 408.
    BodySlow,
    /// The body is larger than this many bytes: 413.
    BodyTooLarge(usize),
    /// The body ended early or its framing is wrong: 400.
    BodyBroken,
    /// The service panicked: 500.
    Panicked,
}

// === impl Problem ===

impl Problem {
    /// The status of its reply.
    pub fn status(&self) -> StatusCode {
        match self {
            Problem::Access(AccessRefusal::NoToken | AccessRefusal::WrongToken) => StatusCode::UNAUTHORIZED,
            Problem::Access(_) => StatusCode::FORBIDDEN,
            Problem::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Problem::UnknownRoute => StatusCode::NOT_FOUND,
            Problem::BadPath | Problem::TwoHosts | Problem::Body(_) => StatusCode::BAD_REQUEST,
            Problem::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Options { .. } => StatusCode::NO_CONTENT,
            Problem::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Problem::Bound(bound) if bound.is_size() => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::Bound(_) => StatusCode::BAD_REQUEST,
            Problem::Bridge(error) => bridge_status(error),
            Problem::Door(fault) => door_status(*fault),
        }
    }

    /// A short stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::Access(refusal) => refusal.code(),
            Problem::TwoHosts => "two_hosts",
            Problem::TooMany { .. } => "too_many_requests",
            Problem::UnknownRoute => "unknown_route",
            Problem::BadPath => "bad_path",
            Problem::Method { .. } => "method_not_allowed",
            Problem::Options { .. } => "options",
            Problem::NotAcceptable => "not_acceptable",
            Problem::Body(_) => "bad_body",
            Problem::Bound(bound) => bound.code(),
            Problem::Bridge(error) => error.code(),
            Problem::Door(DoorFault::BodySlow) => "body_slow",
            Problem::Door(DoorFault::BodyTooLarge(_)) => "body_too_large",
            Problem::Door(DoorFault::BodyBroken) => "body_broken",
            Problem::Door(DoorFault::Panicked) => "internal",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Problem::Access(refusal) => refusal.hint(),
            Problem::TwoHosts => "send one Host field",
            Problem::TooMany { .. } => "come back after the seconds of Retry-After",
            Problem::UnknownRoute => "routes are in the configuration; a trailing slash and case count",
            Problem::BadPath => "encode the name as UTF-8, then with percent signs; a slash is %2F",
            Problem::Method { .. } | Problem::Options { .. } => "the Allow header lists the methods",
            Problem::NotAcceptable => "ask for application/json",
            Problem::Body(error) => error.hint(),
            Problem::Bound(bound) => bound.hint(),
            Problem::Bridge(error) => error.hint(),
            Problem::Door(DoorFault::BodySlow) => "send the body faster, or raise the deadline",
            Problem::Door(DoorFault::BodyTooLarge(_)) => "send less, or raise max_body",
            Problem::Door(DoorFault::BodyBroken) => "send the length that you declare, or correct chunks",
            Problem::Door(DoorFault::Panicked) => "this is a fault of the server; its log has the place",
        }
    }
}

fn bridge_status(error: &BridgeError) -> StatusCode {
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
        BridgeError::Locked { .. }
        | BridgeError::Throttled { .. }
        | BridgeError::Saturated
        | BridgeError::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
        BridgeError::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
    }
}

fn door_status(fault: DoorFault) -> StatusCode {
    match fault {
        DoorFault::BodySlow => StatusCode::REQUEST_TIMEOUT,
        DoorFault::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        DoorFault::BodyBroken => StatusCode::BAD_REQUEST,
        DoorFault::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn too_many(limit: &Option<&'static str>) -> String {
    match limit {
        Some(limit) => format!("too many requests: the limit is {limit} in [limits]"),
        None => "too many wrong tokens from this address".to_owned(),
    }
}

fn door_message(fault: DoorFault) -> String {
    match fault {
        DoorFault::BodySlow => "the body did not arrive in time".to_owned(),
        DoorFault::BodyTooLarge(limit) => {
            format!("the body is larger than {limit} bytes, which is max_body in [limits]")
        }
        DoorFault::BodyBroken => "the body ended early or is framed wrongly".to_owned(),
        DoorFault::Panicked => "the request could not be handled".to_owned(),
    }
}
