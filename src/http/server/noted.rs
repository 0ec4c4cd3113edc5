//! What the audit trail is told of a request.

use crate::access::Caller;
use crate::audit::Record;
use crate::http::message::{Head, Reply};

/// What a request came to. Takes the note out of the reply.
pub(super) fn record(head: &Head, caller: Option<Caller>, reply: &mut Reply) -> Record {
    let note = std::mem::take(&mut reply.note);
    let status = reply.status;
    let failed = status.is_client_error() || status.is_server_error();
    let outcome = match note.code {
        "" if failed => "failed",
        "" => "ok",
        code => code,
    };
    let trace = head.headers.get("traceparent").and_then(|value| value.to_str().ok());
    Record {
        request: head.id,
        who: note.who.or(caller).unwrap_or(Caller::Stranger),
        peer: head.peer,
        method: head.method.clone(),
        path: head.path.clone(),
        route: note.route,
        accesses: note.accesses,
        outcome,
        status: status.as_u16(),
        received: head.received,
        latency: head.received.elapsed(),
        trace: trace.filter(|trace| is_trace(trace)).map(str::to_owned),
    }
}

/// Whether a text is a `traceparent` as W3C has it.
fn is_trace(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = text.split('-').map(str::len);
    text.len() == 55 && lengths.eq([2, 32, 16, 2]) && text.split('-').all(is_hex)
}
