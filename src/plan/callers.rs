//! Who may call, as a plan says it: named tokens, users of this machine, client certificates, and what is
//! opened to web pages.

use std::fmt;
use std::path::PathBuf;

use crate::access::{CallLimits, GrantRule, Hash};

/// Callers beside the one token of [`super::Access`], each with what they may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callers {
    /// `[[tokens]]`
    pub tokens: Vec<NamedToken>,
    /// `[[peers]]`: users of this machine, by Unix sockets.
    pub peers: Vec<NamedPeer>,
    /// `[[certificates]]`: holders of client certificates.
    pub certificates: Vec<NamedCertificate>,
    /// Names beside this machine's own under which it may be called.
    pub hosts: Vec<String>,
    /// Origins whose pages may call.
    pub origins: Vec<String>,
    /// How often and how many at once.
    pub limits: CallLimits,
}

/// A token and what its holder may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedToken {
    /// The holder, as the audit trail names it.
    pub name: String,
    /// Where the token is.
    pub kept: KeptToken,
    /// What its holder may do.
    pub allow: Vec<GrantRule>,
}

/// Where a token is.
#[derive(Clone, PartialEq, Eq)]
pub enum KeptToken {
    /// In a file that nobody else may read. It holds the token, or its hash.
    File(PathBuf),
    /// Its hash.
    Hash(Hash),
}

/// A user of this machine and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPeer {
    /// As the audit trail names it.
    pub name: String,
    /// The user.
    pub uid: Option<u32>,
    /// The user's first group.
    pub gid: Option<u32>,
    /// What they may do.
    pub allow: Vec<GrantRule>,
}

/// The holder of a client certificate and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCertificate {
    /// As the audit trail names it.
    pub name: String,
    /// The certificate's subject, where the rule names one.
    pub subject: Option<String>,
    /// A name that it is made out to, where the rule names one.
    pub san: Option<String>,
    /// What they may do.
    pub allow: Vec<GrantRule>,
}

impl Callers {
    /// Whether it names anybody.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.peers.is_empty() && self.certificates.is_empty()
    }
}

impl fmt::Debug for KeptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeptToken::File(path) => write!(f, "File({})", path.display()),
            KeptToken::Hash(_) => f.write_str("Hash(…)"),
        }
    }
}
