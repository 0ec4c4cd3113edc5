//! A SecretStore in a fresh worker: configured, unlocked, and called once before anybody waits.

use tokio::time::Instant;

use super::session::StoreTurn;
use super::state::{Authentication, KnownStore};
use crate::pool::lanes::LaneMode;
use crate::protocol::{Configure, Info, InfoReply, Op, Parameters, StoreReply};
use crate::secret::SecretValue;
use crate::vault::facts::VaultFacts;
use crate::vault::noted::about;
use crate::vault::turn::{Trouble, is_locked, lacks_password};
use crate::worker::{CallError, Worker};

/// A vault of the user's own, which no plan configures, is asked how it protects itself; nothing is named, so nothing
/// is written.
pub(super) async fn registered(
    store: &KnownStore,
    worker: &mut Worker,
    vault: &VaultFacts,
    until: Instant,
) -> Result<(), CallError> {
    let imported = vault.plan.extension().is_some_and(|extension| extension.imported);
    if !imported || store.is_configured() {
        return Ok(());
    }
    let ask = Configure { parameters: Parameters::default(), password: None };
    match worker.call::<StoreReply>(Op::Configure(ask), until).await {
        Ok(reply) => store.told(reply.authentication.as_deref(), reply.password_timeout),
        Err(CallError::Broken(broken)) => return Err(broken.into()),
        // A store that is locked tells nothing.
        Err(CallError::Fault(_)) => {}
    }
    Ok(())
}

/// The lane for a look at the configuration. If the store is there and the plan names no setting, the configuration is
/// only read, by any number of workers at once: that opens the store as an unlock does.
pub(super) fn mode(store: &KnownStore, vault: &VaultFacts, added: bool) -> Option<LaneMode> {
    if !added && store.is_configured() {
        return None;
    }
    let only_reads = parameters(vault).0.is_empty() && store.files_now().are_there();
    Some(if only_reads { LaneMode::Shared } else { LaneMode::Exclusive })
}

/// What the plan wants of the configuration.
fn parameters(vault: &VaultFacts) -> Parameters {
    let extension = vault.plan.extension().filter(|extension| !extension.imported);
    extension.map(|extension| extension.parameters.clone()).unwrap_or_default()
}

impl StoreTurn<'_, '_> {
    pub(super) async fn prepare(&mut self, opened: bool) -> Result<(), Trouble> {
        let store = self.store;
        let is_due = !opened && self.turn.is_unlocked_at_start();
        if is_due && store.authentication() != Authentication::None {
            match self.unlock().await {
                Ok(_) | Err(Trouble::OldCopy) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        if store.authentication() == Authentication::None {
            // Read by the warm-up, and not refreshable after.
            self.saw(store.generation(), store.files_now(), None);
        }
        self.warm_up().await
    }

    /// Compares the store's configuration with the plan's and writes what differs. Tells whether that has opened it: one
    /// that has a password does not tell its configuration without.
    pub(super) async fn configure(&mut self, added: bool) -> Result<bool, Trouble> {
        let (store, vault) = (self.store, self.turn.vault);
        let (files, generation, now) = (store.files_now(), store.generation(), Instant::now());
        let given = vault.password();
        let password = given.clone().map(SecretValue::SecureString);
        let op = Op::Configure(Configure { parameters: parameters(vault), password });
        let mut opened = false;
        match self.turn.worker.call::<StoreReply>(op, self.turn.until).await {
            Ok(reply) => {
                store.told(reply.authentication.as_deref(), reply.password_timeout);
                store.set_configured();
                opened = store.authentication() == Authentication::Password && given.is_some();
            }
            // A script is told; a plan's other vaults go on without.
            Err(CallError::Fault(fault)) if !added => {
                let lacks = is_locked(&fault) || fault.id == "NoRememberedPassword";
                let why = if lacks { lacks_password(vault) } else { fault.to_string() };
                tracing::warn!(vault = %vault.plan.name, "the store was not configured: {why}");
            }
            Err(error) => return Err(error.into()),
        }
        let files_now = store.files_now();
        let generation = if files_now == files { generation } else { store.wrote(files_now.clone()) };
        let opened = given.filter(|_| opened && vault.plan.unlock_at_start());
        self.saw(generation, files_now, opened.is_some().then_some(now));
        let Some(given) = opened else { return Ok(false) };
        store.unlocked();
        about(self.turn.worker).renewals += 1;
        vault.learn(given);
        Ok(true)
    }

    /// A module's first call is many times slower than the next, so it is made before anybody waits: for the metadata of
    /// a made-up name. A read of such a name would end in an error, which takes longer than the call itself.
    async fn warm_up(&mut self) -> Result<(), Trouble> {
        if self.store.authentication() == Authentication::Unknown {
            return Ok(());
        }
        let (vault, name) = (self.turn.vault.registered(), Some("secretbridge-warm-up".to_owned()));
        let op = Op::Info(Info { vault, name, refresh: false });
        match self.turn.worker.call::<InfoReply>(op, self.turn.until).await {
            Err(CallError::Broken(broken)) => Err(Trouble::Broken(broken)),
            Ok(_) | Err(CallError::Fault(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
