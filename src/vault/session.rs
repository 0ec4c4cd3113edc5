//! Verbs inside a worker: which calls they are, and when an answer is believed.
//!
//! A worker keeps its own copy of a SecretStore. Before a read its copy is refreshed if it is older than
//! our own last write or than the files; before a write always. A not-found, a locked or a failed unlock
//! that came while the files changed is asked again; after a write that failed, so is any error, once what
//! was there before is back. The caller holds the store's lane.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Entry;
use crate::error::BridgeError;
use crate::protocol::{Fault, Get, GetReply, Info, InfoReply, Op, SecretInfo, StoreReply, Unlock};
use crate::secret::{SecretValue, Text};
use crate::store::{Authentication, Discipline, Fingerprint};
use crate::worker::{Broken, CallError, Seen, Worker};

/// How often a doubtful answer is asked again while the files go on changing.
const DOUBTS: u32 = 8;

/// The wait before it is asked again: about the time of one write.
const MID_WRITE: Duration = Duration::from_millis(30);

/// Why what was there before a write is put back.
const TORN: &str = "that failed has left the store unreadable";

/// A worker doing verbs on a vault.
pub struct Session<'a> {
    /// The worker.
    pub worker: &'a mut Worker,
    /// The vault.
    pub entry: &'a Entry,
    /// The deadline.
    pub until: Instant,
    /// Extra time for a write that has begun.
    pub grace: Duration,
}

/// Why a verb gave nothing.
#[derive(Debug)]
pub enum Trouble {
    /// PowerShell's error. Of a write: nothing was changed.
    Fault(Box<Fault>),
    /// PowerShell's error of a write of which it is not known what it came to.
    Unknown(Box<Fault>),
    /// The worker is broken. Nothing was written, if the verb had not begun to write.
    Broken(Broken),
    /// The store does not unlock.
    Locked {
        /// Why.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The worker's copy is old and cannot be refreshed: ask a fresh worker.
    OldCopy,
    /// The caller was told that nothing is written, so nothing is.
    GivenUp,
    /// A write of this key was cut off, and its old value is not back yet.
    Owed,
}

impl Trouble {
    /// As the caller sees it.
    pub fn into_error(self, entry: &Entry, key: Option<&str>, writing: bool) -> BridgeError {
        let vault = entry.plan.name.clone();
        match self {
            Trouble::Fault(fault) if is_not_found(&fault) => {
                BridgeError::NotFound { vault, key: key.unwrap_or_default().to_owned() }
            }
            Trouble::Fault(fault) if is_locked(&fault) => {
                let missing = if entry.password().is_none() { ", and none was given" } else { "" };
                let reason = format!("it needs a password{missing}");
                BridgeError::Locked { vault, reason, retry_after: Duration::from_secs(10) }
            }
            Trouble::Fault(mut fault) => {
                fault.hide(&secret_parameters(entry));
                BridgeError::Vault { vault, fault, outcome_unknown: false }
            }
            Trouble::Unknown(mut fault) => {
                fault.hide(&secret_parameters(entry));
                BridgeError::Vault { vault, fault, outcome_unknown: true }
            }
            Trouble::Broken(Broken::TimedOut) => BridgeError::Deadline { outcome_unknown: writing },
            Trouble::Broken(broken) => {
                BridgeError::Worker { reason: broken.to_string(), outcome_unknown: writing }
            }
            Trouble::Locked { reason, retry_after } => BridgeError::Locked { vault, reason, retry_after },
            Trouble::GivenUp => BridgeError::Deadline { outcome_unknown: false },
            Trouble::Owed => BridgeError::NotReady {
                reason: "a write of this secret was cut off, and its old value is still being put back"
                    .into(),
            },
            Trouble::OldCopy => BridgeError::Worker {
                reason: "the store changes faster than it can be read".into(),
                outcome_unknown: false,
            },
        }
    }
}

/// The texts of a vault's parameters, which its module may quote in an error and which are secrets too. What
/// SecretStore and Az.KeyVault take says only which vault is meant.
fn secret_parameters(entry: &Entry) -> Vec<&str> {
    fn texts<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        match value {
            serde_json::Value::String(text) => found.push(text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            serde_json::Value::Object(members) => members.values().for_each(|item| texts(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    let extension = entry.plan.extension();
    if let Some(extension) = extension.filter(|it| !it.is_secret_store() && !it.is_az_key_vault()) {
        extension.parameters.0.values().for_each(|value| texts(value, &mut found));
    }
    found
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Trouble {
        match error {
            CallError::Fault(fault) => Trouble::Fault(fault),
            CallError::Broken(broken) => Trouble::Broken(broken),
        }
    }
}

impl Session<'_> {
    /// Reads a value.
    pub async fn get(&mut self, key: &str, detail: bool) -> Result<GetReply, Trouble> {
        let (vault, name) = (self.registered(), key.to_owned());
        if !self.is_secret_store() {
            return self.answered(&Op::Get(Get { vault, name, refresh: false, detail }), |_| false).await;
        }
        self.settled(false, |refresh| {
            Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail })
        })
        .await
    }

    /// Lists names, types and metadata.
    pub async fn list(&mut self) -> Result<Vec<SecretInfo>, Trouble> {
        let vault = self.registered();
        if !self.is_secret_store() {
            let doubt = |reply: &InfoReply| reply.warned && reply.secrets.is_empty();
            let op = Op::Info(Info { vault, name: None, refresh: false });
            return Ok(self.answered(&op, doubt).await?.secrets);
        }
        let reply: InfoReply = self
            .settled(false, |refresh| Op::Info(Info { vault: vault.clone(), name: None, refresh }))
            .await?;
        Ok(reply.secrets)
    }

    /// Unlocks with the vault's password. A refusal that came while the files changed is asked again.
    pub async fn unlock(&mut self) -> Result<StoreReply, Trouble> {
        self.unlock_with(self.entry.password()).await
    }

    /// Unlocks with this password; one that works is the vault's from then on.
    pub async fn unlock_with(&mut self, password: Option<Text>) -> Result<StoreReply, Trouble> {
        let store = self.entry.store.clone();
        self.entry.allow_unlock();
        let given = password.clone();
        let password = password.map(SecretValue::SecureString);
        let mut doubts = 0;
        loop {
            self.heed_lockout()?;
            let (generation, files, now) = (store.generation(), store.files_now(), Instant::now());
            let op = Op::Unlock(Unlock { vault: self.registered(), password: password.clone() });
            match self.worker.call::<StoreReply>(op, self.until).await {
                Ok(reply) => {
                    store.told(reply.authentication.as_deref(), reply.password_timeout);
                    store.unlocked();
                    self.saw(generation, files, Some(now));
                    self.worker.renewals += 1;
                    if let Some(given) = given {
                        self.entry.learn(given);
                    }
                    return Ok(reply);
                }
                Err(CallError::Fault(fault)) if !self.is_secret_store() && !any::is_own(&fault) => {
                    // Every failed try counts with the service behind it, so none is made in vain.
                    return Err(self.refused(&fault, files));
                }
                Err(CallError::Fault(fault)) if is_refused_unlock(&fault) => {
                    // The right password is refused too where a write was cut off.
                    if store.put_back(TORN) {
                        continue;
                    }
                    doubts += 1;
                    let moving = store.files_now() != files || store.changed_lately();
                    // Once proves nothing: a foreign write may stand still for as long as the unlock takes.
                    if doubts == DOUBTS || (doubts > 1 && !moving) {
                        return Err(self.refused(&fault, files));
                    }
                    sleep(MID_WRITE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Calls a SecretStore until the answer can be believed.
    async fn settled<T: serde::de::DeserializeOwned>(
        &mut self,
        always_refresh: bool,
        op: impl Fn(bool) -> Op,
    ) -> Result<T, Trouble> {
        let store = self.entry.store.clone();
        // Before our own write makes the files look like ours again.
        store.foreign_change();
        let mut refresh = (always_refresh && self.can_refresh()) || self.is_old()?;
        let (mut doubts, mut unlocked_now) = (0, false);
        loop {
            if refresh && self.worker.seen.get(&store.id).is_none_or(|seen| seen.unlocked.is_none()) {
                // A worker remembers a password only once it has opened the store.
                self.unlock().await?;
                (refresh, unlocked_now) = (false, true);
            }
            if refresh {
                self.heed_lockout()?;
            }
            let (generation, files, now) = (store.generation(), store.files_now(), Instant::now());
            let outcome = self.worker.call::<T>(op(refresh), self.until).await;
            let refused = matches!(&outcome, Err(CallError::Fault(fault)) if is_refused_unlock(fault));
            let read = match &outcome {
                Ok(_) => true,
                Err(CallError::Fault(fault)) => is_not_found(fault),
                Err(CallError::Broken(_)) => false,
            };
            if refresh && read {
                store.unlocked();
                self.saw(generation, files.clone(), Some(now));
            }
            let fault = match outcome {
                Ok(reply) => {
                    // What comes from memory says nothing of the file.
                    if refresh || unlocked_now || !self.can_refresh() {
                        store.is_whole();
                    }
                    return Ok(reply);
                }
                Err(CallError::Fault(fault)) => fault,
                Err(error) => return Err(error.into()),
            };
            // A worker that cannot unlock may say not-found of a file that it cannot read.
            if store.put_back(TORN) {
                refresh = self.can_refresh();
                continue;
            }
            let moving = store.files_now() != files || store.changed_lately();
            // With its default Interaction a locked SecretStore may say that it could not ask, by other ids.
            let may_be_locked = is_locked(&fault) || !is_not_found(&fault);
            doubts += 1;
            // A change of its configuration by somebody else locks it between the unlock and the read.
            let locked_again = is_locked(&fault) && doubts <= 2;
            let fresh = refresh || unlocked_now;
            let locked = self.can_refresh() && may_be_locked && (!fresh || locked_again);
            let doubtful = refused || is_locked(&fault) || is_not_found(&fault);
            let once_refused = refused && doubts == 1;
            if locked || once_refused || (doubtful && moving && doubts < DOUBTS) {
                if moving || once_refused {
                    sleep(MID_WRITE).await;
                }
                refresh = self.can_refresh() || self.is_old()?;
                continue;
            }
            return Err(if refused { self.refused(&fault, files) } else { Trouble::Fault(fault) });
        }
    }

    fn is_secret_store(&self) -> bool {
        self.entry.store.discipline == Discipline::SecretStore
    }

    fn is_azure(&self) -> bool {
        self.entry.plan.extension().is_some_and(crate::plan::Extension::is_az_key_vault)
    }

    /// Whether an unlock brings the worker's copy up to date.
    fn can_refresh(&self) -> bool {
        self.entry.may_unlock() && self.entry.store.authentication() != Authentication::None
    }

    /// Whether the worker's copy is older than our last write or than the files, or its unlock is due.
    fn is_old(&self) -> Result<bool, Trouble> {
        let store = &self.entry.store;
        let seen = self.worker.seen.get(&store.id);
        let old_copy = store.discipline == Discipline::SecretStore
            && seen
                .is_none_or(|seen| seen.generation < store.generation() || seen.files != store.files_now());
        if self.can_refresh() {
            let interval =
                self.entry.plan.extension().map_or(Duration::ZERO, |extension| extension.unlock_interval);
            let unlocked = seen.and_then(|seen| seen.unlocked);
            return Ok(
                old_copy || unlocked.is_none_or(|at| store.unlock_is_old(at, interval, Instant::now()))
            );
        }
        if old_copy && store.authentication() == Authentication::None {
            return Err(Trouble::OldCopy);
        }
        Ok(false)
    }

    fn heed_lockout(&self) -> Result<(), Trouble> {
        let now = Instant::now();
        match self.entry.store.lockout(now) {
            Some(lockout) => Err(Trouble::Locked {
                reason: lockout.reason,
                retry_after: lockout.until.saturating_duration_since(now),
            }),
            None => Ok(()),
        }
    }

    fn refused(&self, fault: &Fault, files: Fingerprint) -> Trouble {
        let now = Instant::now();
        let reason = format!("the unlock password was refused ({})", fault.id);
        let lockout = self.entry.store.unlock_failed(&reason, files, now);
        Trouble::Locked { reason, retry_after: lockout.until.saturating_duration_since(now) }
    }

    fn saw(&mut self, generation: u64, files: Fingerprint, unlocked: Option<Instant>) {
        self.worker.seen.insert(self.entry.store.id.clone(), Seen { generation, files, unlocked });
    }

    fn registered(&self) -> String {
        self.entry
            .plan
            .extension()
            .map_or_else(|| self.entry.plan.name.clone(), |extension| extension.registered.clone())
    }
}

/// The vault has no such secret.
pub fn is_not_found(fault: &Fault) -> bool {
    fault.id == "GetSecretNotFound" || fault.kind == "System.Management.Automation.ItemNotFoundException"
}

/// The vault wants a password.
pub fn is_locked(fault: &Fault) -> bool {
    let names_it = |text: &str| text.contains("PasswordRequiredException");
    names_it(&fault.id)
        || names_it(&fault.kind)
        || fault.inner.iter().any(|inner| names_it(&inner.kind))
        || fault.more.iter().any(is_locked)
}

/// The vault refused the password.
pub fn is_refused_unlock(fault: &Fault) -> bool {
    fault.id == "SecretStoreUnlockFailed"
        || fault.kind == "System.Security.Authentication.AuthenticationException"
}

mod any;
mod checked;
mod write;

pub use checked::{Present, Verdict, verdict};

#[cfg(test)]
mod tests;
