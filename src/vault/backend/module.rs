//! Any extension module: what an answer is worth, and what a vault that has locked itself or lost its login needs
//! before it is asked once more. What its writes come to is in [`checked`].

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Backend, CallAnswer, discipline};
use crate::plan::{Extension, Vault};
use crate::protocol::{
    Fault, Get, GetReply, Info, InfoReply, Metadata, Op, Remove, SecretInfo, Set, TestReply, VaultName,
};
use crate::secret::{SecretValue, fold};
use crate::store::{Cause, Discipline, Store};
use crate::vault::change::Present;
use crate::vault::condition::is_throttled;
use crate::vault::set_up::run_init;
use crate::vault::turn::{Trouble, Turn, is_locked, is_not_found};
use crate::worker::{CallError, LaunchError};
use checked::Checked;

pub mod checked;

/// A login is renewed in a worker at most this often.
const LOGIN_INTERVAL: Duration = Duration::from_secs(30);

/// The worker's own refusals: nothing was called.
const OWN_IDS: [&str; 7] = [
    "BadCall",
    "NoRememberedPassword",
    "ProtocolMismatch",
    "SecretManagementMissing",
    "SetSecretMetadataCommandNotSupported",
    "ValueNotRepresentable",
    "ValueTypeNotSupported",
];

/// See the module.
pub(super) struct ModuleBackend;

/// The identity of a store that has no other name than its vault's registered one.
pub(super) fn id(extension: &Extension) -> String {
    format!("vault:{}", fold(&extension.registered))
}

impl Backend for ModuleBackend {
    /// One that is unknown takes one call at a time, until the plan says otherwise.
    fn store(&self, vault: &Vault) -> Store {
        let Some(extension) = vault.extension() else {
            return Store::new(format!("vault:{}", fold(&vault.name)), Discipline::Serial);
        };
        Store::new(id(extension), discipline(extension, Discipline::Serial))
    }

    fn get<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, detail: bool) -> CallAnswer<'a, GetReply> {
        Box::pin(async move {
            let op = Op::Get(Get { vault: turn.registered(), name: key.to_owned(), refresh: false, detail });
            turn.answered(&op, |_| false).await
        })
    }

    fn list<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>> {
        Box::pin(async move {
            let doubt = |reply: &InfoReply| reply.warned && reply.secrets.is_empty();
            let op = Op::Info(Info { vault: turn.registered(), name: None, refresh: false });
            Ok(turn.answered(&op, doubt).await?.secrets)
        })
    }

    fn before_write<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(turn.present(key))
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
            let keeps = turn.entry.plan.extension().is_some_and(|extension| extension.keep_metadata);
            let op = Op::Set(Set {
                vault: turn.registered(),
                name: key.to_owned(),
                value: value.clone(),
                metadata: known.filter(|metadata| !metadata.is_empty()).cloned(),
                refresh: false,
                // Others take computed metadata for their own, or refuse what they report.
                keep_metadata: metadata.is_none() && keeps,
                metadata_only: false,
            });
            let with_metadata = metadata.is_some_and(|metadata| !metadata.is_empty());
            turn.write_checked(op, &Checked { key, before, after: Some(value), with_metadata }).await
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
                vault: turn.registered(),
                name: key.to_owned(),
                value: value.clone(),
                metadata: Some(metadata.clone()),
                refresh: false,
                keep_metadata: false,
                metadata_only: true,
            });
            turn.write_checked(op, &Checked { key, before, after: Some(value), with_metadata: true }).await
        })
    }

    fn remove<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, before: &'a Present) -> CallAnswer<'a, ()> {
        Box::pin(async move {
            let op = Op::Remove(Remove { vault: turn.registered(), name: key.to_owned(), refresh: false });
            turn.write_checked(op, &Checked { key, before, after: None, with_metadata: false }).await
        })
    }
}

impl Turn<'_> {
    /// Calls, and calls once more where the vault had locked itself or its login was over and could be
    /// renewed. `doubt` picks answers that look like success and may be none.
    pub(super) async fn answered<T: DeserializeOwned>(
        &mut self,
        op: &Op,
        doubt: impl Fn(&T) -> bool,
    ) -> Result<T, Trouble> {
        let store = self.entry.store.clone();
        if self.is_old()? {
            self.unlock().await?;
        }
        let (mut renewed, mut again) = (None, self.entry.backend.first_read_may_fail());
        loop {
            let outcome = self.worker.call::<T>(op.clone(), self.until).await;
            let missing =
                matches!(&outcome, Err(CallError::Fault(fault)) if is_not_found(fault) && !fault.warned);
            let doubtful = matches!(&outcome, Ok(reply) if doubt(reply));
            if missing || (outcome.is_ok() && (!doubtful || self.is_ready().await?)) {
                if let Some(cause) = renewed {
                    store.renewed(cause, true, Instant::now());
                }
                return outcome.map_err(Trouble::from);
            }
            let fault = match outcome {
                Ok(_) => not_ready(),
                Err(CallError::Fault(fault)) if is_own(&fault) => return Err(Trouble::Fault(fault)),
                Err(CallError::Fault(fault)) => fault,
                Err(broken) => return Err(broken.into()),
            };
            // A vault that asked its callers to wait is not probed either.
            if is_throttled(&fault) {
                return Err(Trouble::Fault(fault));
            }
            // The next one does not.
            if std::mem::take(&mut again) && fault.id == "GetSecretInvalidOperation" {
                continue;
            }
            if let Some(cause) = renewed {
                store.renewed(cause, false, Instant::now());
            } else {
                renewed = self.renew(&fault).await?;
                if renewed.is_some() {
                    continue;
                }
            }
            return Err(Trouble::Fault(fault));
        }
    }

    /// Whether the vault's own test finds it ready; where it is not asked, nothing is known against it.
    pub(super) async fn is_ready(&mut self) -> Result<bool, Trouble> {
        if !self.entry.plan.extension().is_some_and(|extension| extension.probe) {
            return Ok(true);
        }
        let op = Op::Test(VaultName { vault: self.registered() });
        match self.worker.call::<TestReply>(op, self.until).await {
            Ok(reply) => Ok(reply.ready),
            Err(CallError::Fault(_)) => Ok(false),
            Err(broken) => Err(broken.into()),
        }
    }

    /// Asks the module's own test how the vault is. One that is locked is unlocked, as after a call that failed.
    pub(in crate::vault) async fn probe(&mut self) -> Result<(), Trouble> {
        if self.is_ready().await? {
            return Ok(());
        }
        if self.can_refresh() && self.entry.may_unlock() {
            return self.unlock().await.map(|_| ());
        }
        let reason = "its own test (Test-SecretVault) does not find it ready".to_owned();
        Err(Trouble::Locked { reason, retry_after: Duration::from_secs(10) })
    }

    /// After a call that failed: unlocks the vault, or logs in again where it has nothing to be unlocked with.
    /// Tells why, if it was done.
    async fn renew(&mut self, fault: &Fault) -> Result<Option<Cause>, Trouble> {
        if !self.can_refresh() && !self.has_login() {
            return Ok(None);
        }
        let cause =
            if needs_login(fault) || !self.is_ready().await? { Cause::Locked } else { Cause::Suspected };
        let (store, now) = (self.entry.store.clone(), Instant::now());
        let believed = is_not_found(fault) && cause == Cause::Suspected;
        if believed || !store.may_renew(cause, now) {
            return Ok(None);
        }
        if !self.can_refresh() {
            return Ok(self.log_in().await?.then_some(cause));
        }
        if cause == Cause::Locked {
            store.locked_itself(now);
        }
        tracing::info!(vault = %self.entry.plan.name, id = %fault.id, "a call failed as if the vault had locked itself; it is unlocked again");
        self.unlock().await?;
        Ok(Some(cause))
    }

    fn has_login(&self) -> bool {
        !self.entry.login.is_empty() || self.entry.hooks.as_ref().is_some_and(|hooks| hooks.has_before())
    }

    /// Runs again what logged in when the worker started. Tells whether it went well; not soon after the last.
    async fn log_in(&mut self) -> Result<bool, Trouble> {
        let (entry, now) = (self.entry, Instant::now());
        if self.worker.logged_in.is_some_and(|at| now < at + LOGIN_INTERVAL) {
            return Ok(false);
        }
        self.worker.logged_in = Some(now);
        let vault = entry.plan.name.as_str();
        tracing::warn!(vault, "a call failed as if its login were over; the init script runs again");
        for script in entry.login.iter() {
            match run_init(self.worker, script, self.until).await {
                Ok(()) => {}
                Err(LaunchError::SetUp { what, fault }) => {
                    tracing::warn!(vault, "{what} failed: {fault}");
                    return Ok(false);
                }
                Err(LaunchError::BrokenIn { broken, .. } | LaunchError::Broken(broken)) => {
                    return Err(Trouble::Broken(broken));
                }
                Err(_) => return Ok(false),
            }
        }
        if let Some(hooks) = entry.hooks.as_ref().filter(|hooks| hooks.has_before()) {
            match hooks.before(self.worker, self.until).await {
                Ok(()) => {}
                Err(CallError::Fault(fault)) => {
                    tracing::warn!(vault, "the init block failed: {fault}");
                    return Ok(false);
                }
                Err(broken) => return Err(broken.into()),
            }
        }
        self.worker.renewals += 1;
        Ok(true)
    }
}

/// Whether it is the worker's own refusal, before anything was called.
pub(super) fn is_own(fault: &Fault) -> bool {
    OWN_IDS.contains(&fault.id.as_str())
}

/// Whether an error says, by its kinds and categories, that somebody has to unlock or log in.
pub fn needs_login(fault: &Fault) -> bool {
    let says = |text: &str| {
        ["Authentication", "Unauthorized", "CredentialUnavailable"].iter().any(|word| text.contains(word))
    };
    is_locked(fault)
        || says(&fault.id)
        || says(&fault.kind)
        || fault.category == "AuthenticationError"
        || fault.inner.iter().any(|inner| says(&inner.kind))
        || fault.more.iter().any(needs_login)
}

/// An answer that was none.
fn not_ready() -> Box<Fault> {
    Box::new(Fault {
        id: "TestSecretVaultFalse".into(),
        category: "ResourceUnavailable".into(),
        message: "the module gave a warning and nothing else, and its own test (Test-SecretVault) does not find the vault ready".into(),
        ..Fault::default()
    })
}

#[cfg(test)]
mod tests;
