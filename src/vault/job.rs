//! What is done on a vault: what a caller asks, or what the vault's backend has to do for itself.

use std::sync::Arc;

use super::change::{Change, Present};
use super::facts::VaultFacts;
use super::turn::{Trouble, Turn};
use super::verb::Verb;
use crate::protocol::Metadata;
use crate::secret::SecretValue;
use crate::worker::BoxFuture;

/// What is done.
#[derive(Clone)]
pub enum Job {
    /// What a caller asks.
    Verb(Verb),
    /// What the backend has to do for itself.
    Chore(Arc<dyn Chore>),
}

/// Work at one key that a backend has to do for itself. It is done as a write is, in the store's lane. No caller of the
/// bridge can ask for it, and nobody but the backend knows what it is for.
pub trait Chore: Send + Sync {
    /// The key.
    fn key(&self) -> &str;

    /// What is to be done, by what is there now; `None` where nothing is to be done any more.
    fn step<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Option<ChoreStep>, Trouble>>;

    /// Notes that it is done, or was already. The lane is still held.
    fn done(&self, vault: &VaultFacts);
}

/// What a chore comes to.
pub enum ChoreStep {
    /// This is written over what is there.
    Write {
        /// What is there.
        before: Present,
        /// The value.
        value: Arc<SecretValue>,
        /// Its metadata.
        metadata: Option<Metadata>,
    },
    /// What a write has left half done is put right.
    Recover(Change),
}

impl Job {
    /// Whether it may change the vault.
    pub fn writes(&self) -> bool {
        match self {
            Job::Verb(verb) => verb.writes(),
            Job::Chore(_) => true,
        }
    }

    /// The key it is about.
    pub fn key(&self) -> Option<&str> {
        match self {
            Job::Verb(verb) => verb.key(),
            Job::Chore(chore) => Some(chore.key()),
        }
    }

    /// In one word, for counts.
    pub fn action(&self) -> &'static str {
        match self {
            Job::Verb(verb) => verb.action(),
            Job::Chore(_) => "write",
        }
    }
}
