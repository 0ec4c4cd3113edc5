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
            Verb::Set { .. } | Verb::SetInfo { .. } | Verb::Remove { .. } => true,
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
            Verb::Set { .. } | Verb::SetInfo { .. } => "write",
        }
    }

    /// The key it is about.
    pub fn key(&self) -> Option<&str> {
        match self {
            Verb::Get { key, .. }
            | Verb::Set { key, .. }
            | Verb::SetInfo { key, .. }
            | Verb::Remove { key } => Some(key),
            Verb::List | Verb::Probe | Verb::Unlock | Verb::UnlockWith { .. } => None,
        }
    }

    /// Whether what is there `now` is what the verb was to leave; `None` where a read cannot tell.
    pub fn is_done_by(&self, now: Option<&SecretValue>) -> Option<bool> {
        match self {
            // It is not read back whether metadata was written too.
            Verb::Set { metadata: Some(_), .. } => Some(false),
            Verb::Set { value, member: None, .. } => Some(now.is_some_and(|now| now.looks_like(value))),
            Verb::Set { value, member: Some(member), .. } => {
                let there = now.and_then(|now| now.member(member));
                Some(there.is_some_and(|now| now.looks_like(value)))
            }
            Verb::Remove { .. } => Some(now.is_none()),
            Verb::SetInfo { .. }
            | Verb::Get { .. }
            | Verb::List
            | Verb::Probe
            | Verb::Unlock
            | Verb::UnlockWith { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_write_is_known_to_be_done_by_what_is_there() {
        let text = |text: &str| SecretValue::string(text);
        let table = |value| SecretValue::Hashtable(BTreeMap::from([("m".to_owned(), text(value))]));
        let set = |member: Option<&str>, metadata: Option<Metadata>| Verb::Set {
            key: "k".into(),
            value: Arc::new(text("new")),
            metadata,
            member: member.map(str::to_owned),
        };
        let remove = Verb::Remove { key: "k".into() };
        for (verb, now, expected) in [
            (set(None, None), Some(text("new")), Some(true)),
            (set(None, None), Some(text("old")), Some(false)),
            (set(None, None), None, Some(false)),
            (set(None, Some(Metadata::new())), Some(text("new")), Some(false)),
            (set(Some("m"), None), Some(table("new")), Some(true)),
            (set(Some("m"), None), Some(table("old")), Some(false)),
            (set(Some("x"), None), Some(table("new")), Some(false)),
            (remove.clone(), None, Some(true)),
            (remove, Some(text("old")), Some(false)),
            (Verb::SetInfo { key: "k".into(), metadata: Metadata::new() }, Some(text("old")), None),
        ] {
            assert_eq!(verb.is_done_by(now.as_ref()), expected, "{verb:?}, {now:?}");
        }
    }

    #[test]
    fn every_verb_has_its_word_and_says_what_it_writes() {
        let key = || "k".to_owned();
        let some = Metadata::new();
        let set = |metadata: Option<Metadata>| Verb::Set {
            key: key(),
            value: Arc::new(SecretValue::string("v")),
            metadata,
            member: None,
        };
        // The verb, its word, whether it writes, has a key, a value, metadata.
        for (verb, word, writes, has_key, has_value, has_metadata) in [
            (Verb::Get { key: key(), detail: true }, "read", false, true, false, false),
            (Verb::List, "list", false, false, false, false),
            (Verb::Probe, "probe", false, false, false, false),
            (Verb::Unlock, "unlock", false, false, false, false),
            (Verb::UnlockWith { password: "p".into() }, "unlock", false, false, false, false),
            (Verb::Remove { key: key() }, "remove", true, true, false, false),
            (set(None), "write", true, true, true, false),
            (set(Some(some.clone())), "write", true, true, true, true),
            (Verb::SetInfo { key: key(), metadata: some.clone() }, "write", true, true, false, true),
        ] {
            assert_eq!((verb.action(), verb.writes()), (word, writes), "{verb:?}");
            assert_eq!(verb.key().is_some(), has_key, "{verb:?}");
            assert_eq!((verb.value().is_some(), verb.metadata().is_some()), (has_value, has_metadata));
            assert_eq!(crate::vault::job::Job::Verb(verb).action(), word);
        }
    }
}
