//! A SecretStore in a fresh worker: configured, unlocked, and called once before anybody waits.

use tokio::time::Instant;

use crate::protocol::{Configure, Get, GetReply, Op, Parameters, StoreReply};
use crate::secret::SecretValue;
use crate::store::Authentication;
use crate::vault::entry::Entry;
use crate::vault::turn::{Trouble, Turn};
use crate::worker::{CallError, StoreView, Worker};

/// A vault of the user's own, which no plan configures, is asked how it protects itself; nothing is named, so nothing
/// is written.
pub(super) async fn registered(worker: &mut Worker, entry: &Entry, until: Instant) -> Result<(), CallError> {
    let imported = entry.plan.extension().is_some_and(|extension| extension.imported);
    if !imported || entry.store.is_configured() {
        return Ok(());
    }
    let ask = Configure { parameters: Parameters::default(), password: None };
    match worker.call::<StoreReply>(Op::Configure(ask), until).await {
        Ok(reply) => entry.store.told(reply.authentication.as_deref(), reply.password_timeout),
        Err(CallError::Broken(broken)) => return Err(broken.into()),
        // A store that is locked tells nothing.
        Err(CallError::Fault(_)) => {}
    }
    Ok(())
}

pub(super) async fn prepare(turn: &mut Turn<'_>, added: bool) -> Result<(), Trouble> {
    let store = turn.entry.store.clone();
    if added || !store.is_configured() {
        turn.configure(added).await?;
    }
    turn.unlock_at_start().await?;
    if store.authentication() == Authentication::None {
        // Read by the warm-up, and not refreshable after.
        turn.saw(store.generation(), store.files_now(), None);
    }
    turn.warm_up().await
}

impl Turn<'_> {
    /// Compares the store's configuration with the plan's and writes what differs.
    async fn configure(&mut self, added: bool) -> Result<(), Trouble> {
        let store = self.entry.store.clone();
        let (files, generation) = (store.files_now(), store.generation());
        let extension = self.entry.plan.extension().filter(|extension| !extension.imported);
        let parameters = extension.map(|extension| extension.parameters.clone()).unwrap_or_default();
        let password = self.entry.password().map(SecretValue::SecureString);
        let op = Op::Configure(Configure { parameters, password });
        match self.worker.call::<StoreReply>(op, self.until).await {
            Ok(reply) => {
                store.told(reply.authentication.as_deref(), reply.password_timeout);
                store.set_configured();
            }
            // A script is told; a plan's other vaults go on without.
            Err(CallError::Fault(fault)) if !added => {
                tracing::warn!(vault = %self.entry.plan.name, "the store was not configured: {fault}");
            }
            Err(error) => return Err(error.into()),
        }
        let files_now = store.files_now();
        let generation = if files_now == files { generation } else { store.wrote(files_now.clone()) };
        let seen = StoreView { generation, files: files_now, unlocked: None };
        self.worker.seen.insert(store.id.clone(), seen);
        Ok(())
    }

    /// The first call of a module is many times slower than the next, so it is made before anybody waits: of a
    /// made-up name, which goes to no network.
    async fn warm_up(&mut self) -> Result<(), Trouble> {
        if self.entry.store.authentication() == Authentication::Unknown {
            return Ok(());
        }
        let (vault, name) = (self.registered(), "secretbridge-warm-up".to_owned());
        let op = Op::Get(Get { vault, name, refresh: false, detail: false });
        match self.worker.call::<GetReply>(op, self.until).await {
            Err(CallError::Broken(broken)) => Err(Trouble::Broken(broken)),
            Ok(_) | Err(CallError::Fault(_)) => Ok(()),
        }
    }
}
