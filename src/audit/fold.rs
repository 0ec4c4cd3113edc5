//! Folds floods: of refusals that are alike the first of a second get lines, the rest are counted.
//!
//! Only what got at no secret is folded; an access always has its own line.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::record::Record;
use crate::access::Peer;

/// Lines that are alike, before the rest of the window is counted.
const FIRST: u64 = 10;

/// How long what is alike is counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// Kinds that are told apart at once. Past that, peers are not.
const KINDS: usize = 1024;

/// What makes two requests alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FoldKey {
    from: String,
    who: String,
    outcome: &'static str,
    status: u16,
}

struct FoldWindow {
    begun: Instant,
    lines: u64,
    rest: Option<Folded>,
}

/// Requests that got no line of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) count: u64,
    /// The peer, without its port.
    pub(super) from: String,
    pub(super) who: String,
    pub(super) outcome: &'static str,
    pub(super) status: u16,
    pub(super) first: Instant,
    pub(super) last: Instant,
}

/// What was seen in each kind's window.
#[derive(Default)]
pub(super) struct Folds(HashMap<FoldKey, FoldWindow>);

// === impl Folds ===

impl Folds {
    /// Whether a record gets a line of its own; if not, it has been counted.
    pub(super) fn wants(&mut self, record: &Record) -> bool {
        if record.status < 400 || !record.accesses.is_empty() {
            return true;
        }
        let at = record.received;
        let mut kind = FoldKey {
            from: from(&record.peer),
            who: record.who.to_string(),
            outcome: record.outcome,
            status: record.status,
        };
        if self.0.len() >= KINDS && !self.0.contains_key(&kind) {
            kind.from = "many".to_owned();
        }
        let seen = self.0.entry(kind).or_insert(FoldWindow { begun: at, lines: 0, rest: None });
        if seen.lines < FIRST {
            seen.lines += 1;
            return true;
        }
        let rest = seen.rest.get_or_insert_with(|| Folded {
            count: 0,
            from: String::new(),
            who: record.who.to_string(),
            outcome: record.outcome,
            status: record.status,
            first: at,
            last: at,
        });
        rest.count += 1;
        rest.last = at;
        false
    }

    /// What the windows that are over have counted; all of them with `all`.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<Folded> {
        let mut done = Vec::new();
        self.0.retain(|kind, seen| {
            if !all && now.saturating_duration_since(seen.begun) < WINDOW {
                return true;
            }
            done.extend(seen.rest.take().map(|rest| Folded { from: kind.from.clone(), ..rest }));
            false
        });
        done
    }
}

/// A peer without its port, which differs with each connection.
fn from(peer: &Peer) -> String {
    match peer {
        Peer::Tcp(address) => address.ip().to_string(),
        Peer::Unix { .. } => peer.to_string(),
    }
}
