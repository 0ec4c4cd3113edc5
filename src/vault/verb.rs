//! What can be asked of a vault, and what comes of it.

use std::sync::Arc;

use crate::protocol::{GetReply, Metadata, SecretInfo};
use crate::secret::{SecretValue, Text};

/// A verb with what it needs.
#[derive(Debug, Clone)]
pub enum Verb {
    /// Read a value.
    Get {
        /// The key.
        key: String,
        /// With its exact type and metadata, which may cost another call.
        detail: bool,
    },
    /// Write a value. Without metadata the present metadata is kept, where the module keeps just what it is
    /// given.
    Set {
        /// The key.
        key: String,
        /// The new value.
        value: Arc<SecretValue>,
        /// Metadata to write.
        metadata: Option<Metadata>,
        /// Only this member of a table; its siblings are kept.
        member: Option<String>,
    },
    /// Put right what was destroyed. No caller of the bridge can ask for it.
    Repair(Repair),
    /// Write metadata in place of what is there, and leave the value as it is.
    SetInfo {
        /// The key, which must be there.
        key: String,
        /// All of the metadata that it is to have.
        metadata: Metadata,
    },
    /// Remove a key.
    Remove {
        /// The key.
        key: String,
    },
    /// List names, types and metadata.
    List,
    /// Ask how the vault is, without reading a secret.
    Probe,
    /// Unlock now.
    Unlock,
    /// Unlock now, with this password in place of the vault's.
    UnlockWith {
        /// The password.
        password: Text,
    },
}

/// A repair of a key.
#[derive(Debug, Clone)]
pub enum Repair {
    /// Write a value that somebody else erased, if the key is still missing then.
    PutBack {
        /// The key.
        key: String,
        /// The value to be there again.
        value: Arc<SecretValue>,
        /// Its metadata.
        metadata: Option<Metadata>,
    },
    /// Put right what a failed write of ours has left, if that is still to be done.
    Settle {
        /// The key.
        key: String,
    },
}

/// What a verb gives.
#[derive(Debug)]
pub enum Outcome {
    /// Of a get.
    Value(GetReply),
    /// Of a list.
    List(Vec<SecretInfo>),
    /// Of the others.
    Done,
}

impl Verb {
    /// Whether it may change the vault.
    pub fn writes(&self) -> bool {
        match self {
            Verb::Set { .. } | Verb::SetInfo { .. } | Verb::Repair(_) | Verb::Remove { .. } => true,
            Verb::Get { .. } | Verb::List | Verb::Probe | Verb::Unlock | Verb::UnlockWith { .. } => false,
        }
    }

    /// The value that it writes.
    pub fn value(&self) -> Option<&SecretValue> {
        match self {
            Verb::Set { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The metadata that its caller wants written.
    pub fn metadata(&self) -> Option<&Metadata> {
        match self {
            Verb::Set { metadata, .. } => metadata.as_ref(),
            Verb::SetInfo { metadata, .. } => Some(metadata),
            _ => None,
        }
    }

    /// In one word, for counts.
    pub fn action(&self) -> &'static str {
        match self {
            Verb::Get { .. } => "read",
            Verb::List => "list",
            Verb::Probe => "probe",
            Verb::Unlock | Verb::UnlockWith { .. } => "unlock",
            Verb::Remove { .. } => "remove",
            Verb::Set { .. } | Verb::SetInfo { .. } | Verb::Repair(_) => "write",
        }
    }

    /// The key it is about.
    pub fn key(&self) -> Option<&str> {
        match self {
            Verb::Get { key, .. }
            | Verb::Set { key, .. }
            | Verb::SetInfo { key, .. }
            | Verb::Repair(Repair::PutBack { key, .. } | Repair::Settle { key })
            | Verb::Remove { key } => Some(key),
            Verb::List | Verb::Probe | Verb::Unlock | Verb::UnlockWith { .. } => None,
        }
    }
}
