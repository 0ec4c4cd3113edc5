//! A SecretStore in a fresh worker: configured, unlocked, and called once before anybody waits.

use tokio::time::Instant;

use crate::pool::lanes::LaneMode;
use crate::protocol::{Configure, Info, InfoReply, Op, Parameters, StoreReply};
use crate::secret::SecretValue;
use crate::store::Authentication;
use crate::vault::entry::Entry;
use crate::vault::turn::{Trouble, Turn, is_locked, lacks_password};
use crate::worker::{CallError, Worker};

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

/// How the configuration is looked at. Where the plan names nothing that a store which is there could lack, it is read
/// alone, by as many workers as start: that opens the store as well as an unlock does.
pub(super) fn mode(entry: &Entry, added: bool) -> Option<LaneMode> {
    if !added && entry.store.is_configured() {
        return None;
    }
    let only_reads = parameters(entry).0.is_empty() && entry.store.files_now().are_there();
    Some(if only_reads { LaneMode::Shared } else { LaneMode::Exclusive })
}

/// What the plan wants of the configuration.
fn parameters(entry: &Entry) -> Parameters {
    let extension = entry.plan.extension().filter(|extension| !extension.imported);
    extension.map(|extension| extension.parameters.clone()).unwrap_or_default()
}

pub(super) async fn prepare(turn: &mut Turn<'_>, opened: bool) -> Result<(), Trouble> {
    let store = turn.entry.store.clone();
    if !opened {
        turn.unlock_at_start().await?;
    }
    if store.authentication() == Authentication::None {
        // Read by the warm-up, and not refreshable after.
        turn.saw(store.generation(), store.files_now(), None);
    }
    turn.warm_up().await
}

impl Turn<'_> {
    /// Compares the store's configuration with the plan's and writes what differs. Tells whether that has opened it: one
    /// that has a password does not tell its configuration without.
    pub(super) async fn configure(&mut self, added: bool) -> Result<bool, Trouble> {
        let store = self.entry.store.clone();
        let (files, generation, now) = (store.files_now(), store.generation(), Instant::now());
        let given = self.entry.password();
        let password = given.clone().map(SecretValue::SecureString);
        let op = Op::Configure(Configure { parameters: parameters(self.entry), password });
        let mut opened = false;
        match self.worker.call::<StoreReply>(op, self.until).await {
            Ok(reply) => {
                store.told(reply.authentication.as_deref(), reply.password_timeout);
                store.set_configured();
                opened = store.authentication() == Authentication::Password && given.is_some();
            }
            // A script is told; a plan's other vaults go on without.
            Err(CallError::Fault(fault)) if !added => {
                let lacks = is_locked(&fault) || fault.id == "NoRememberedPassword";
                let why = if lacks { lacks_password(self.entry) } else { fault.to_string() };
                tracing::warn!(vault = %self.entry.plan.name, "the store was not configured: {why}");
            }
            Err(error) => return Err(error.into()),
        }
        let files_now = store.files_now();
        let generation = if files_now == files { generation } else { store.wrote(files_now.clone()) };
        let opened = given.filter(|_| opened && self.entry.plan.unlock_at_start());
        self.saw(generation, files_now, opened.is_some().then_some(now));
        let Some(given) = opened else { return Ok(false) };
        store.unlocked();
        self.worker.renewals += 1;
        self.entry.learn(given);
        Ok(true)
    }

    /// The first call of a module is many times slower than the next, so it is made before anybody waits: about a
    /// made-up name, which goes to no network. Not a read, whose error takes longer than all the rest of it.
    async fn warm_up(&mut self) -> Result<(), Trouble> {
        if self.entry.store.authentication() == Authentication::Unknown {
            return Ok(());
        }
        let (vault, name) = (self.registered(), Some("secretbridge-warm-up".to_owned()));
        let op = Op::Info(Info { vault, name, refresh: false });
        match self.worker.call::<InfoReply>(op, self.until).await {
            Err(CallError::Broken(broken)) => Err(Trouble::Broken(broken)),
            Ok(_) | Err(CallError::Fault(_)) => Ok(()),
        }
    }
}
