//! Who may call, and what they may do.
//!
//! Pure, but for the reading of token files: it is given a request's header fields and its connection, and
//! says who calls or why they may not. [`crate::http::Gate`] asks it before anything else of a request is
//! looked at.
//!
//! What is promised:
//!
//! - A web page of another origin gets nothing and changes nothing ([`Guard`]), unless it shows a token,
//!   which no page has by itself.
//! - Tokens are kept as hashes, and compared in constant time.
//! - A named caller may do what its rules allow and nothing else ([`Grants`]).

mod caller;
mod grants;
mod guard;
mod limits;
mod peer;
mod token;

pub use caller::{Caller, Holder};
pub use grants::{GrantRule, GrantVerb, Grants};
pub use guard::Guard;
pub use limits::{CallCounter, CallLimits, CallRefusal, CallSeat};
pub use peer::Peer;
pub use token::{Hash, Token, TokenError};

use std::sync::Arc;

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method};
use thiserror::Error;

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AccessRefusal {
    /// No bearer token.
    #[error("a bearer token is needed")]
    NoToken,
    /// Not the token.
    #[error("the bearer token is not right")]
    WrongToken,
    /// A web page of another origin.
    #[error("requests of web pages of other origins are refused")]
    Browser,
    /// Not a name of this machine.
    #[error("the server was called by a name that is not its own")]
    Host,
    /// Known, but not for this.
    #[error("this caller may not do this")]
    Forbidden,
}

/// Who may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Anyone who can connect may call, as the plan says.
    open: bool,
    tokens: Vec<(Hash, Caller)>,
    peers: Vec<PeerRule>,
    certificates: Vec<CertificateRule>,
    guard: Guard,
    limits: CallLimits,
}

/// A user of this machine, by a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRule {
    /// The user, where the rule names one.
    pub uid: Option<u32>,
    /// The user's first group, where the rule names one.
    pub gid: Option<u32>,
    /// Who that is, and what they may do.
    pub holder: Holder,
}

/// The holder of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// The subject as its text, e.g. `CN=backup, O=Example`; or one name that it is made out to, e.g.
    /// `backup.example` or `spiffe://example/backup`.
    pub names: Vec<String>,
    /// Who that is, and what they may do.
    pub holder: Holder,
}

/// What a client showed by its certificate, which the listener has verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// Subject and names.
    pub names: Vec<String>,
}

/// A request, as far as it says who sends it.
#[derive(Clone, Copy)]
pub struct Knock<'a> {
    /// The method.
    pub method: &'a Method,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The other end.
    pub peer: &'a Peer,
    /// Its certificate, where it showed one.
    pub certificate: Option<&'a Certificate>,
}

// === impl AccessPolicy ===

impl AccessPolicy {
    /// Anyone who can connect, but no web page of another origin.
    pub fn open() -> AccessPolicy {
        AccessPolicy { open: true, ..AccessPolicy::default() }
    }

    /// Nobody, until somebody is added.
    pub fn closed() -> AccessPolicy {
        AccessPolicy::default()
    }

    /// Everybody who shows the token may do everything.
    #[cfg(test)]
    pub fn token(token: &Token) -> AccessPolicy {
        AccessPolicy::closed().with_token(token.hash(), Caller::owner())
    }

    /// One more token, and who holds it.
    pub fn with_token(mut self, hash: Hash, caller: Caller) -> AccessPolicy {
        self.tokens.push((hash, caller));
        self
    }

    /// Users of this machine.
    pub fn with_peers(mut self, peers: Vec<PeerRule>) -> AccessPolicy {
        self.peers = peers;
        self
    }

    /// Holders of client certificates.
    pub fn with_certificates(mut self, certificates: Vec<CertificateRule>) -> AccessPolicy {
        self.certificates = certificates;
        self
    }

    /// The guard against web pages.
    pub fn with_guard(mut self, guard: Guard) -> AccessPolicy {
        self.guard = guard;
        self
    }

    /// How often and how many at once.
    pub fn with_limits(mut self, limits: CallLimits) -> AccessPolicy {
        self.limits = limits;
        self
    }

    /// Whether anyone who can connect may call.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// How often and how many at once.
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// The guard against web pages.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Says who calls, or why they may not.
    pub fn identify(&self, asked: Knock<'_>) -> Result<Caller, AccessRefusal> {
        // No web page has a token by itself: a request with a token is meant.
        if let (false, Some(shown)) = (self.open, shown(asked.headers)) {
            return self.holder_of(shown).ok_or(AccessRefusal::WrongToken);
        }
        self.guard.judge(asked.method, asked.headers)?;
        if self.open {
            return Ok(Caller::Anyone);
        }
        self.by_connection(asked).ok_or(AccessRefusal::NoToken)
    }

    /// All hashes are compared, so that the time does not tell which one it was.
    fn holder_of(&self, shown: &[u8]) -> Option<Caller> {
        let shown = Hash::of(shown);
        let right = |known: &&(Hash, Caller)| known.0.matches(&shown);
        self.tokens.iter().filter(right).fold(None, |first, (_, caller)| first.or(Some(caller.clone())))
    }

    fn by_connection(&self, asked: Knock<'_>) -> Option<Caller> {
        if let Peer::Unix { uid, gid, .. } = *asked.peer {
            let fits = |rule: &&PeerRule| {
                let same = |wanted: Option<u32>, is: Option<u32>| wanted.is_none() || wanted == is;
                (rule.uid.is_some() || rule.gid.is_some()) && same(rule.uid, uid) && same(rule.gid, gid)
            };
            return self.peers.iter().find(fits).map(|rule| Caller::Peer(rule.holder.clone()));
        }
        let names = &asked.certificate?.names;
        let fits = |rule: &&CertificateRule| rule.names.iter().all(|wanted| names.contains(wanted));
        self.certificates.iter().find(fits).map(|rule| Caller::Certificate(rule.holder.clone()))
    }
}

impl Holder {
    /// A named one, with what the rules allow.
    pub fn new(name: &str, rules: Vec<GrantRule>) -> Holder {
        Holder { name: Some(Arc::from(name)), grants: Grants::of(rules) }
    }
}

impl AccessRefusal {
    /// A short stable word.
    pub fn code(self) -> &'static str {
        match self {
            AccessRefusal::NoToken => "token_missing",
            AccessRefusal::WrongToken => "token_wrong",
            AccessRefusal::Browser => "browser_refused",
            AccessRefusal::Host => "host_refused",
            AccessRefusal::Forbidden => "forbidden",
        }
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            AccessRefusal::NoToken | AccessRefusal::WrongToken => {
                "send 'Authorization: Bearer TOKEN'; the server's start says where the token is kept"
            }
            AccessRefusal::Browser => {
                "call it from a program or from a page of its own; --allow-origin opens it to another origin by name"
            }
            AccessRefusal::Host => {
                "call it by an address or a name of its machine; --allow-host opens another name, such as a proxy's"
            }
            AccessRefusal::Forbidden => {
                "the token's 'allow' lists what it may do; whoever runs the server can add to it"
            }
        }
    }
}

/// The bearer token of a request. Several `Authorization` fields are as good as none.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (field, None) = (fields.next()?.as_bytes(), fields.next()) else { return None };
    let (scheme, rest) = field.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests;
