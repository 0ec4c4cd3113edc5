//! The embedded vault: a file of our own, read and written in this process. No worker is asked.

use std::sync::Arc;
use std::time::Duration;

use super::{Backend, PROBE_EVERY};
use crate::cache::Changes;
use crate::error::{BridgeError, FileTrouble};
use crate::local::{LocalError, LocalVault};
use crate::plan::Vault;
use crate::protocol::GetReply;
use crate::secret::fold;
use crate::store::Discipline;
use crate::vault::entry::Entry;
use crate::vault::store::Store;
use crate::vault::verb::{Outcome, Verb};

/// See the module.
pub(super) struct LocalBackend(Arc<Store>);

impl LocalBackend {
    pub(super) fn new(vault: &Vault) -> LocalBackend {
        LocalBackend(Arc::new(Store::new(format!("local:{}", fold(&vault.name)), Discipline::Parallel)))
    }
}

impl Backend for LocalBackend {
    fn store(&self) -> &Arc<Store> {
        &self.0
    }

    fn probes(&self) -> Option<Duration> {
        Some(PROBE_EVERY)
    }
}

/// Does a verb on a thread that may block. `changes` is told of a key that it may have changed.
pub(in crate::vault) async fn perform(
    entry: &Entry,
    local: Arc<LocalVault>,
    verb: Verb,
    changes: Changes,
) -> Result<Outcome, BridgeError> {
    let name = entry.plan.name.clone();
    let key = verb.key().map(str::to_owned);
    let (store, writes) = (entry.store.id.clone(), verb.writes());
    let joined = tokio::task::spawn_blocking(move || {
        let key = verb.key().filter(|_| writes).map(str::to_owned);
        let done = in_file(&local, verb);
        // The cache is told here, because the write is done even if its caller has gone.
        if let Some(key) = key {
            changes.wrote(&store, &key);
        }
        done
    })
    .await;
    match joined {
        Ok(Ok(Some(outcome))) => Ok(outcome),
        Ok(Ok(None)) => Err(BridgeError::NotFound { vault: name, key: key.unwrap_or_default() }),
        Ok(Err(LocalError::Refused { reason })) => {
            Err(BridgeError::Refused { vault: name, reason: reason.into() })
        }
        Ok(Err(error)) => {
            let (reason, trouble) = (error.to_string(), error.trouble());
            Err(BridgeError::Local { vault: name, reason, trouble })
        }
        Err(_) => {
            let (reason, trouble) = ("it panicked".to_owned(), FileTrouble::Other);
            Err(BridgeError::Local { vault: name, reason, trouble })
        }
    }
}

fn in_file(local: &LocalVault, verb: Verb) -> Result<Option<Outcome>, LocalError> {
    Ok(match verb {
        Verb::Get { key, .. } => {
            local.get(&key)?.map(|(value, metadata)| Outcome::Value(GetReply { value, metadata }))
        }
        Verb::Set { key, value, metadata, member } => {
            let value = (*value).clone();
            match member {
                Some(member) => local.set_member(&key, &member, value, metadata)?,
                None => local.set(&key, value, metadata)?,
            }
            Some(Outcome::Done)
        }
        Verb::SetInfo { key, metadata } => local.set_metadata(&key, metadata)?.then_some(Outcome::Done),
        Verb::Remove { key } => local.remove(&key)?.then_some(Outcome::Done),
        Verb::List => Some(Outcome::List(local.list()?)),
        Verb::Probe => {
            local.list()?;
            Some(Outcome::Done)
        }
        // Its writes are one step and no other program's, so nothing is ever to be repaired.
        Verb::Repair(_) | Verb::Unlock | Verb::UnlockWith { .. } => Some(Outcome::Done),
    })
}
