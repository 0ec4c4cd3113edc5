//! Any extension module: what an answer is worth, and what a vault that has locked itself or lost its login needs
//! before it is asked once more ([`session`]). What its writes come to is in [`checked`], and what answers mean in [`judge`].

use std::sync::Arc;

use tokio::time::Instant;

use super::kind::Kind;
use super::{Backend, CallAnswer, InWorker, Present, ServedBy};
use crate::plan::{Vault, VaultKind};
use crate::protocol::{GetReply, Info, InfoReply, Metadata, Op, Remove, SecretInfo, Set, StoreReply};
use crate::secret::{SecretValue, Text, fold};
use crate::store::Discipline;
use crate::vault::facts::VaultFacts;
use crate::vault::store::Store;
use crate::vault::turn::Turn;
use crate::vault::verb::Verb;
use crate::worker::{BoxFuture, CallError, Worker};
use checked::Checked;
pub(super) use session::ModuleQuirks;
use session::{ModuleNotes, ModuleTurn, ModuleVault};

mod checked;
mod judge;
mod renewal;
mod session;

/// See the module.
pub(super) struct ModuleKind;

/// Serves a vault of a module.
pub(super) struct ModuleBackend {
    store: Arc<Store>,
    vault: ModuleVault,
}

impl Kind for ModuleKind {
    fn has(&self, kind: &VaultKind) -> bool {
        matches!(kind, VaultKind::Extension(_))
    }

    fn open(&self, vault: &Vault) -> Arc<dyn Backend> {
        Arc::new(ModuleBackend::new(vault))
    }
}

impl ModuleBackend {
    /// One that is unknown takes one call at a time, until the plan says otherwise.
    fn new(vault: &Vault) -> ModuleBackend {
        let store = Store::new(id(vault), discipline(vault, Discipline::Serial));
        ModuleBackend::over(store, ModuleQuirks::default())
    }

    /// One of which more is known.
    pub(super) fn over(store: Store, quirks: ModuleQuirks) -> ModuleBackend {
        ModuleBackend { store: Arc::new(store), vault: ModuleVault { quirks, ..ModuleVault::default() } }
    }

    fn at<'a, 'w>(&'a self, turn: &'a mut Turn<'w>) -> ModuleTurn<'a, 'w> {
        ModuleTurn { turn, module: &self.vault }
    }
}

/// The lane of a module: the plan's word, or else this.
pub(super) fn discipline(vault: &Vault, by_default: Discipline) -> Discipline {
    match vault.extension().and_then(|extension| extension.parallel) {
        Some(true) => Discipline::Parallel,
        Some(false) => Discipline::Serial,
        None => by_default,
    }
}

/// The identity of a store that has no other name than its vault's registered one.
pub(super) fn id(vault: &Vault) -> String {
    format!("vault:{}", fold(vault.registered()))
}

impl Backend for ModuleBackend {
    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn served_by(&self) -> ServedBy<'_> {
        ServedBy::Worker(self)
    }

    fn refusal(&self, verb: &Verb) -> Option<String> {
        self.vault.quirks.refusal.and_then(|refusal| refusal(verb))
    }

    fn has_secret_parameters(&self) -> bool {
        !self.vault.quirks.has_plain_parameters
    }
}

impl InWorker for ModuleBackend {
    fn registered<'a>(
        &'a self,
        worker: &'a mut Worker,
        vault: &'a VaultFacts,
        _until: Instant,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        // Of an earlier vault of this name.
        worker.notes.of::<ModuleNotes>().unlocked.remove(&vault.store.id);
        Box::pin(async { Ok(()) })
    }

    fn unlock<'a>(&'a self, turn: &'a mut Turn<'_>, password: Option<Text>) -> CallAnswer<'a, StoreReply> {
        Box::pin(async move { self.at(turn).unlock(password).await })
    }

    fn get<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, detail: bool) -> CallAnswer<'a, GetReply> {
        Box::pin(async move { self.at(turn).get(key, detail).await })
    }

    fn list<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>> {
        Box::pin(async move {
            let doubt = |reply: &InfoReply| reply.warned && reply.secrets.is_empty();
            let op = Op::Info(Info { vault: turn.vault.registered(), name: None, refresh: false });
            Ok(self.at(turn).answered(&op, doubt).await?.secrets)
        })
    }

    fn before_write<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(async move { self.at(turn).present(key).await })
    }

    fn set<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: Option<&'a Metadata>,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async move {
            let known = metadata.or(before.reply().map(|before| &before.metadata));
            let keeps = turn.vault.plan.extension().is_some_and(|extension| extension.keep_metadata);
            let op = Op::Set(Set {
                vault: turn.vault.registered(),
                name: key.to_owned(),
                value: value.clone(),
                metadata: known.filter(|metadata| !metadata.is_empty()).cloned(),
                refresh: false,
                // Others take computed metadata for their own, or refuse what they report.
                keep_metadata: metadata.is_none() && keeps,
                metadata_only: false,
            });
            let with_metadata = metadata.is_some_and(|metadata| !metadata.is_empty());
            self.at(turn).write_checked(op, &Checked { key, before, after: Some(value), with_metadata }).await
        })
    }

    fn set_info<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: &'a Metadata,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async move {
            let op = Op::Set(Set {
                vault: turn.vault.registered(),
                name: key.to_owned(),
                value: value.clone(),
                metadata: Some(metadata.clone()),
                refresh: false,
                keep_metadata: false,
                metadata_only: true,
            });
            self.at(turn)
                .write_checked(op, &Checked { key, before, after: Some(value), with_metadata: true })
                .await
        })
    }

    fn remove<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, before: &'a Present) -> CallAnswer<'a, ()> {
        Box::pin(async move {
            let op =
                Op::Remove(Remove { vault: turn.vault.registered(), name: key.to_owned(), refresh: false });
            self.at(turn).write_checked(op, &Checked { key, before, after: None, with_metadata: false }).await
        })
    }
}

#[cfg(test)]
mod tests;
