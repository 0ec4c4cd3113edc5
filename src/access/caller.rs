//! Who called, as the audit line names it, and what they may do.

use std::fmt;
use std::sync::Arc;

use super::grants::Grants;

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who holds a token.
    Token(Holder),
    /// A user of this machine, on a Unix socket.
    Peer(Holder),
    /// Somebody who holds a client certificate.
    Certificate(Holder),
    /// Anybody: the plan asks for nothing.
    Anyone,
    /// Somebody who has not shown what the plan asks for.
    Stranger,
}

/// The name that the plan gives a caller, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// None for the one token that may do everything.
    pub name: Option<Arc<str>>,
    /// What they may do.
    pub grants: Grants,
}

impl Caller {
    /// The holder of the one token that may do everything.
    pub fn owner() -> Caller {
        Caller::Token(Holder { name: None, grants: Grants::All })
    }

    /// What they may do.
    pub fn grants(&self) -> &Grants {
        static NOTHING: Grants = Grants::Nothing;
        match self {
            Caller::Token(holder) | Caller::Peer(holder) | Caller::Certificate(holder) => &holder.grants,
            Caller::Anyone => &Grants::All,
            Caller::Stranger => &NOTHING,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Caller::Token(holder) => ("token", &holder.name),
            Caller::Peer(holder) => ("peer", &holder.name),
            Caller::Certificate(holder) => ("certificate", &holder.name),
            Caller::Anyone => ("anyone", &None),
            Caller::Stranger => ("stranger", &None),
        };
        f.write_str(kind)?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}
