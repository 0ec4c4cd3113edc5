//! The guard against web pages: what a browser sends on behalf of a page of another origin.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Whether a page sent it.
pub(super) fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
}

/// Whether the name that was called is not this machine's own, which is how a page gets round the
/// same-origin rule (DNS rebinding).
pub(super) fn is_rebound(headers: &HeaderMap) -> bool {
    // HTTP/1.0 programs send no Host; browsers always do.
    let Some(host) = headers.get(HOST) else { return false };
    let Ok(host) = host.to_str() else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let name = name.to_ascii_lowercase();
    let own = name.is_empty() || name == "localhost" || name.ends_with(".localhost");
    !own && name.parse::<IpAddr>().is_err()
}
