//! Calls on modules other than SecretStore: what an answer is worth, and what a vault that has locked itself
//! or lost its login needs before it is asked once more.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Session, Trouble, is_locked, is_not_found};
use crate::protocol::{Fault, Op, TestReply, VaultName};
use crate::store::Cause;
use crate::vault::set_up::run_init;
use crate::worker::{CallError, LaunchError};

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

impl Session<'_> {
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
        let (mut renewed, mut again) = (None, self.is_azure());
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
            // Az.KeyVault's first read after a change of subscription fails, the next one does not.
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
