//! What can go wrong with a request, in terms of vaults, keys and mounts.
//!
//! One enum for everything a [`crate::bridge::Bridge`] may answer. `http::problem` alone turns it into
//! a status. No variant holds a secret value.

use std::time::Duration;

use thiserror::Error;

use crate::pool::lanes::QueueRefusal;
use crate::protocol::Fault;

/// Why a request was not done.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// No secret is mounted under the name.
    #[error("no secret named '{name}' has been mounted")]
    UnknownMount {
        /// The name asked for.
        name: String,
    },
    /// No vault has the name.
    #[error("no secret vault with the name '{name}' has been registered")]
    UnknownVault {
        /// The name asked for.
        name: String,
    },
    /// The vault has no such secret.
    #[error("the vault '{vault}' has no secret named '{key}'")]
    NotFound {
        /// Friendly name.
        vault: String,
        /// The key.
        key: String,
    },
    /// The value has no such member, or is no table.
    #[error("the secret '{key}' in the vault '{vault}' has no member '{member}'")]
    NoMember {
        /// Friendly name.
        vault: String,
        /// The key.
        key: String,
        /// The member asked for.
        member: String,
    },
    /// The vault cannot hold a secret of that name, or of that name or value safely.
    #[error("the vault '{vault}' cannot hold this: {reason}")]
    Refused {
        /// Friendly name.
        vault: String,
        /// What it cannot hold and why.
        reason: String,
    },
    /// The vault is served for reading only.
    #[error("the vault '{vault}' is served for reading only")]
    ReadOnly {
        /// Friendly name.
        vault: String,
    },
    /// The vault is locked and could not be unlocked.
    #[error("the vault '{vault}' is locked: {reason}")]
    Locked {
        /// Friendly name.
        vault: String,
        /// Why, e.g. that the password was refused.
        reason: String,
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// The service behind the vault asked to be called later.
    #[error("the vault '{vault}' gets too many requests")]
    Throttled {
        /// Friendly name.
        vault: String,
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// The queue is full.
    #[error("too many requests are waiting for a worker: the limit is queue in [pool]")]
    Saturated,
    /// No worker is ready yet, or any more.
    #[error("not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// The deadline passed. Nothing was written, unless `outcome_unknown`.
    #[error("the deadline passed{}", if *.outcome_unknown { "; whether the write took place is unknown" } else { "" })]
    Deadline {
        /// A write had begun.
        outcome_unknown: bool,
    },
    /// A worker ended or broke the protocol. Nothing was written, unless `outcome_unknown`.
    #[error("a worker failed: {reason}{}", if *.outcome_unknown { "; whether the write took place is unknown" } else { "" })]
    Worker {
        /// What happened to it.
        reason: String,
        /// A write had begun.
        outcome_unknown: bool,
    },
    /// The vault's module answered with an error. Nothing was written, unless `outcome_unknown`.
    #[error("the vault '{vault}' failed: {fault}{}", if *.outcome_unknown { "; whether the write took place is unknown" } else { "" })]
    Vault {
        /// Friendly name.
        vault: String,
        /// What PowerShell said.
        fault: Box<Fault>,
        /// A write had begun, and a read does not tell what it came to.
        outcome_unknown: bool,
    },
    /// The embedded vault's file could not be read or written.
    #[error("the local vault '{vault}' failed: {reason}")]
    Local {
        /// Friendly name.
        vault: String,
        /// What failed, with the file's path.
        reason: String,
        /// What is wrong, where it is one of the things that are told apart.
        trouble: FileTrouble,
    },
}

/// What may be wrong with a vault's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FileTrouble {
    /// Something else.
    #[default]
    Other,
    /// There is no room for a write.
    DiskFull,
    /// They are not what was written, or are gone.
    Damaged,
}

impl BridgeError {
    /// The pool did not take a task in.
    pub(crate) fn not_queued(refusal: QueueRefusal) -> BridgeError {
        match refusal {
            QueueRefusal::Full => BridgeError::Saturated,
            QueueRefusal::Closed => BridgeError::NotReady { reason: "the server is stopping".into() },
        }
    }

    /// A short word for logs, metrics and error bodies. Stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            BridgeError::UnknownMount { .. } => "unknown_mount",
            BridgeError::UnknownVault { .. } => "unknown_vault",
            BridgeError::NotFound { .. } => "secret_not_found",
            BridgeError::NoMember { .. } => "no_such_member",
            BridgeError::Refused { .. } => "refused",
            BridgeError::ReadOnly { .. } => "read_only",
            BridgeError::Locked { .. } => "locked",
            BridgeError::Throttled { .. } => "throttled",
            BridgeError::Saturated => "saturated",
            BridgeError::NotReady { .. } => "not_ready",
            BridgeError::Deadline { .. } => "deadline",
            BridgeError::Worker { .. } => "worker_failed",
            BridgeError::Vault { .. } => "vault_failed",
            BridgeError::Local { .. } => "local_vault_failed",
        }
    }

    /// Whether it says that the vault could not answer, rather than what it answered: a value of before may do then.
    #[must_use]
    pub fn may_be_stale(&self) -> bool {
        match self {
            BridgeError::Locked { .. }
            | BridgeError::Throttled { .. }
            | BridgeError::Saturated
            | BridgeError::NotReady { .. }
            | BridgeError::Deadline { .. }
            | BridgeError::Worker { .. }
            | BridgeError::Vault { .. }
            | BridgeError::Local { .. } => true,
            BridgeError::UnknownMount { .. }
            | BridgeError::UnknownVault { .. }
            | BridgeError::NotFound { .. }
            | BridgeError::NoMember { .. }
            | BridgeError::Refused { .. }
            | BridgeError::ReadOnly { .. } => false,
        }
    }

    /// What the administrator can do about it, in a sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            BridgeError::UnknownMount { .. } => "name it under [secrets] in the configuration, or mount it",
            BridgeError::UnknownVault { .. } => "`secretbridge vaults` lists the vaults that there are",
            BridgeError::NotFound { .. } => "check the spelling of the name; case does not count",
            BridgeError::NoMember { .. } => "the secret must be a table with that member",
            BridgeError::Refused { .. } => "docs/types.md lists what each vault can hold",
            BridgeError::ReadOnly { .. } => "expose it with :rw, or drop read_only, to write to it",
            BridgeError::Locked { .. } => {
                "unlock it with `secretbridge unlock`, or check that unlock in the configuration gives the vault's password and that the vault's files or service are whole"
            }
            BridgeError::Throttled { .. } => {
                "come again after Retry-After; a cache_ttl spares the vault, max_stale bridges the time"
            }
            BridgeError::Saturated => "try again shortly; a larger pool or a cache_ttl takes more load",
            BridgeError::NotReady { .. } => "try again shortly; /health tells what is missing",
            BridgeError::Deadline { outcome_unknown: true } => "read the secret before you write it again",
            BridgeError::Deadline { .. } => {
                "the vault is slow or hangs, and the server's log names it; the time is deadline in [limits]"
            }
            BridgeError::Worker { outcome_unknown: true, .. } => "read the secret before you write it again",
            BridgeError::Worker { .. } => "the server has replaced the worker; the log says what it did",
            BridgeError::Vault { outcome_unknown: true, .. } => {
                "read the secret before you write it again; docs/extensions.md tells how to make such a module behave"
            }
            BridgeError::Vault { .. } => "the message is the vault module's own",
            BridgeError::Local { .. } => "check the file's mode, and the room on its disk",
        }
    }
}
