//! What an administrator does with vaults beside reading and writing: metadata, locks, the cache.

use std::sync::Arc;

use tokio::time::Instant;

use super::Bridge;
use crate::error::BridgeError;
use crate::protocol::Metadata;
use crate::secret::{SecretValue, Text};
use crate::vault::{Entry, Verb};

impl Bridge {
    /// As [`Bridge::set`]; with a member, that one of a table alone, and its siblings are kept.
    pub async fn set_member(
        &self,
        vault: &str,
        key: &str,
        member: Option<String>,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let entry = self.vaults().get(vault)?;
        let verb = Verb::Set { key: key.to_owned(), value: Arc::new(value), metadata, member };
        self.vaults().perform(&entry, verb, deadline).await.map(drop)
    }

    /// Gives a secret this metadata in place of what it has, and leaves its value.
    pub async fn set_metadata(
        &self,
        vault: &str,
        key: &str,
        metadata: Metadata,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let entry = self.vaults().get(vault)?;
        let verb = Verb::SetInfo { key: key.to_owned(), metadata };
        self.vaults().perform(&entry, verb, deadline).await.map(drop)
    }

    /// Unlocks a vault, with this password or with its own, and ends a [`Bridge::lock`]. If that fails a
    /// vault that was locked stays locked.
    pub async fn unlock(
        &self,
        vault: &str,
        password: Option<Text>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let entry = self.vaults().get(vault)?;
        let was_closed = entry.is_closed();
        let all = self.of_same_store(&entry);
        all.iter().for_each(|entry| entry.open());
        let verb = match password {
            Some(password) => Verb::UnlockWith { password },
            None => Verb::Unlock,
        };
        let done = self.vaults().perform(&entry, verb, deadline).await.map(drop);
        if done.is_err() && was_closed {
            all.iter().for_each(|entry| entry.close());
        }
        done
    }

    /// Locks a vault: it answers nothing, cached values included, until [`Bridge::unlock`]. All vaults of one
    /// store are locked together. What a PowerShell worker holds open stays in its memory.
    pub fn lock(&self, vault: &str) -> Result<(), BridgeError> {
        let entry = self.vaults().get(vault)?;
        self.of_same_store(&entry).iter().for_each(|entry| entry.close());
        self.vaults().changes().locked(&entry.store.id);
        Ok(())
    }

    /// Forgets every cached value.
    pub fn clear_cache(&self) {
        for backend in self.vaults().stores() {
            self.vaults().changes().forgotten(&backend.store().id);
        }
    }

    fn of_same_store(&self, entry: &Entry) -> Vec<Arc<Entry>> {
        self.vaults().all().into_iter().filter(|other| other.store.id == entry.store.id).collect()
    }
}
