//! A worker's turn at a vault of an extension module: a call, and what a vault that has locked itself or lost its login
//! needs before it is asked once more.

use std::collections::HashMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::judge::{self, AnswerContext, AnswerJudgement, FailedCall, ModuleAnswer, Remedy, is_own};
use super::renewal::{Cause, VaultRenewal};
use crate::protocol::{Fault, Get, GetReply, Op, StoreReply};
use crate::secret::Text;
use crate::store::StoreId;
use crate::vault::init::run_init;
use crate::vault::noted::about;
use crate::vault::turn::{Trouble, Turn, is_not_found};
use crate::vault::verb::Verb;
use crate::worker::{CallError, LaunchError};

/// A login is renewed in a worker at most this often.
const LOGIN_INTERVAL: Duration = Duration::from_secs(30);

/// What is known of a module.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::vault::backend) struct ModuleQuirks {
    /// It reports every failure of a write, and its writes are one step.
    pub reports_failures: bool,
    /// The first read in a worker may fail with the module's general error, although the next one works.
    pub first_read_may_fail: bool,
    /// Its parameters only say which vault is meant.
    pub has_plain_parameters: bool,
    /// Why it cannot hold, or would change in silence, what a verb names.
    pub refusal: Option<fn(&Verb) -> Option<String>>,
}

/// What is known of a vault of a module.
#[derive(Debug, Default)]
pub(super) struct ModuleVault {
    pub(super) quirks: ModuleQuirks,
    pub(super) renewal: VaultRenewal,
}

/// What is noted about a worker.
#[derive(Debug, Default)]
pub(super) struct ModuleNotes {
    /// When each store was last unlocked in it.
    pub(super) unlocked: HashMap<StoreId, Instant>,
    /// When what logs it in ran again.
    logged_in: Option<Instant>,
}

/// A turn at it.
pub(super) struct ModuleTurn<'a, 'w> {
    pub(super) turn: &'a mut Turn<'w>,
    pub(super) module: &'a ModuleVault,
}

impl ModuleTurn<'_, '_> {
    fn notes(&mut self) -> &mut ModuleNotes {
        self.turn.worker.notes.of()
    }

    /// When this worker last unlocked the store.
    fn unlocked(&self) -> Option<Instant> {
        let notes = self.turn.worker.notes.get::<ModuleNotes>()?;
        notes.unlocked.get(&self.turn.vault.store.id).copied()
    }

    /// Unlocks with this password. One that is refused counts for the lock-out.
    pub(super) async fn unlock(&mut self, password: Option<Text>) -> Result<StoreReply, Trouble> {
        self.turn.vault.allow_unlock();
        self.turn.heed_lockout()?;
        let now = Instant::now();
        match self.turn.call_unlock(password).await {
            Ok(reply) => {
                self.turn.vault.store.unlocked();
                let store = self.turn.vault.store.id.clone();
                self.notes().unlocked.insert(store, now);
                Ok(reply)
            }
            Err(CallError::Fault(fault)) if is_own(&fault) => Err(Trouble::Fault(fault)),
            Err(CallError::Fault(fault)) => {
                let reason = format!(
                    "it did not unlock ({}): the password may be wrong, or the vault out of reach",
                    fault.id
                );
                let files = self.turn.vault.store.files_now();
                Err(self.turn.refused(reason, files))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    /// Unlocks with the vault's password where its last unlock in this worker is due to be renewed.
    pub(super) async fn renew_old_unlock(&mut self) -> Result<(), Trouble> {
        let unlocked = self.unlocked();
        let (interval, now) = (self.turn.unlock_interval(), Instant::now());
        let is_old = unlocked.is_none_or(|at| self.module.renewal.unlock_is_old(at, interval, now));
        if self.turn.vault.may_unlock() && is_old {
            self.unlock(self.turn.vault.password()).await?;
        }
        Ok(())
    }

    /// Reads a value.
    pub(super) async fn get(&mut self, key: &str, detail: bool) -> Result<GetReply, Trouble> {
        let (vault, name) = (self.turn.vault.registered(), key.to_owned());
        let op = Op::Get(Get { vault, name, refresh: false, detail });
        self.answered(&op, |_| false).await
    }

    /// Calls, and calls once more where the vault had locked itself or its login was over and could be
    /// renewed. `doubt` picks answers that look like success and may be none.
    pub(super) async fn answered<T: DeserializeOwned>(
        &mut self,
        op: &Op,
        doubt: impl Fn(&T) -> bool,
    ) -> Result<T, Trouble> {
        self.renew_old_unlock().await?;
        let (mut renewed, mut may_fail_once) = (None, self.module.quirks.first_read_may_fail);
        loop {
            let (answer, outcome) = self.ask(op, &doubt).await?;
            let context = AnswerContext { renewed: renewed.is_some(), may_fail_once };
            let judgement = judge::answer(answer, context);
            if let (Some(cause), Some(helped)) = (renewed, judgement.tells_of_renewal()) {
                self.module.renewal.renewed(cause, helped, Instant::now());
            }
            match (judgement, outcome) {
                (AnswerJudgement::Again, _) => {}
                (AnswerJudgement::Renew, Err(fault)) => {
                    renewed = self.renew(&fault).await?;
                    if renewed.is_none() {
                        return Err(Trouble::Fault(fault));
                    }
                }
                (_, outcome) => return outcome.map_err(Trouble::Fault),
            }
            may_fail_once = false;
        }
    }

    /// One call: how its answer looks, and the answer.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        op: &Op,
        doubt: impl Fn(&T) -> bool,
    ) -> Result<(ModuleAnswer, Result<T, Box<Fault>>), Trouble> {
        match self.turn.worker.call::<T>(op.clone(), self.turn.until).await {
            Ok(reply) if doubt(&reply) && !self.turn.is_ready().await? => {
                Ok((ModuleAnswer::Failed, Err(not_ready())))
            }
            Ok(reply) => Ok((ModuleAnswer::Reply, Ok(reply))),
            Err(CallError::Fault(fault)) => Ok((ModuleAnswer::of(&fault), Err(fault))),
            Err(broken) => Err(broken.into()),
        }
    }

    /// After a call that failed: unlocks the vault, or logs in again where it has nothing to be unlocked with.
    /// Tells why, if it was done.
    async fn renew(&mut self, fault: &Fault) -> Result<Option<Cause>, Trouble> {
        let may_unlock = self.turn.vault.may_unlock();
        if !may_unlock && !self.has_login() {
            return Ok(None);
        }
        let is_locked = judge::needs_login(fault) || !self.turn.is_ready().await?;
        let (cause, now) = (if is_locked { Cause::Locked } else { Cause::Suspected }, Instant::now());
        let may_renew = self.module.renewal.may_renew(cause, now);
        match judge::remedy(FailedCall { cause, not_found: is_not_found(fault), may_renew, may_unlock }) {
            Remedy::Nothing => Ok(None),
            Remedy::LogIn => Ok(self.log_in().await?.then_some(cause)),
            Remedy::Unlock => {
                if is_locked {
                    self.module.renewal.locked_itself(now);
                }
                tracing::info!(vault = %self.turn.vault.plan.name, id = %fault.id, "a call failed as if the vault had locked itself; it is unlocked again");
                self.unlock(self.turn.vault.password()).await?;
                Ok(Some(cause))
            }
        }
    }

    fn has_login(&self) -> bool {
        !self.turn.vault.login.is_empty()
            || self.turn.vault.hooks.as_ref().is_some_and(|hooks| hooks.has_before())
    }

    /// Runs again what logged in when the worker started. Tells whether it went well; not soon after the last.
    async fn log_in(&mut self) -> Result<bool, Trouble> {
        let (vault, now) = (self.turn.vault, Instant::now());
        if self.notes().logged_in.is_some_and(|at| now < at + LOGIN_INTERVAL) {
            return Ok(false);
        }
        self.notes().logged_in = Some(now);
        let name = vault.plan.name.as_str();
        tracing::warn!(vault = name, "a call failed as if its login were over; the init script runs again");
        for script in vault.login.iter() {
            match run_init(self.turn.worker, script, self.turn.until).await {
                Ok(()) => {}
                Err(LaunchError::SetUp { what, fault }) => {
                    tracing::warn!(vault = name, "{what} failed: {fault}");
                    return Ok(false);
                }
                Err(LaunchError::BrokenIn { broken, .. } | LaunchError::Broken(broken)) => {
                    return Err(Trouble::Broken(broken));
                }
                Err(_) => return Ok(false),
            }
        }
        if let Some(hooks) = vault.hooks.as_ref().filter(|hooks| hooks.has_before()) {
            match hooks.before(self.turn.worker, self.turn.until).await {
                Ok(()) => {}
                Err(CallError::Fault(fault)) => {
                    tracing::warn!(vault = name, "the init block failed: {fault}");
                    return Ok(false);
                }
                Err(broken) => return Err(broken.into()),
            }
        }
        about(self.turn.worker).renewals += 1;
        Ok(true)
    }
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
