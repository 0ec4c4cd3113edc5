//! A worker's turn at a vault: the calls that all kinds of vaults share, and what goes wrong in them. What differs
//! between kinds is in [`super::backend`]. The caller holds the store's lane.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::change::{Before, Change, Present};
use super::entry::Entry;
use crate::error::BridgeError;
use crate::mount::merge;
use crate::protocol::{Fault, GetReply, Metadata, Op, StoreReply, Unlock};
use crate::secret::{SecretValue, Text};
use crate::store::{Authentication, Fingerprint, StoreShape, shape_of_secret_store};
use crate::worker::{Broken, CallError, StoreView, Worker};

/// The wait before a refused unlock is tried again: about the time of one write.
const MID_WRITE: Duration = Duration::from_millis(30);

/// Why what was there before a write is put back.
const TORN: &str = "that failed has left the store unreadable";

/// The kind that is substituted where a vault wrongly says that a secret is not found.
pub(super) const STILL_THERE: &str = "System.InvalidOperationException";

/// A worker doing verbs on a vault.
pub struct Turn<'a> {
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
    /// The service behind the vault throttles.
    Throttled {
        /// When to come again.
        retry_after: Duration,
    },
    /// The worker's copy is old and cannot be refreshed: ask a fresh worker.
    OldCopy,
    /// Vaults of this kind are not called in a worker.
    NotInWorker,
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
            Trouble::Fault(fault) if is_locked(&fault) => BridgeError::Locked {
                vault,
                reason: lacks_password(entry),
                retry_after: Duration::from_secs(10),
            },
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
            Trouble::Throttled { retry_after } => BridgeError::Throttled { vault, retry_after },
            Trouble::GivenUp => BridgeError::Deadline { outcome_unknown: false },
            Trouble::Owed => BridgeError::NotReady {
                reason: "a write of this secret was cut off, and its old value is still being put back"
                    .into(),
            },
            Trouble::NotInWorker => {
                BridgeError::Refused { vault, reason: "it is not called in a worker".into() }
            }
            Trouble::OldCopy => BridgeError::Worker {
                reason: "the store changes faster than it can be read".into(),
                outcome_unknown: false,
            },
        }
    }
}

/// A failed unlock, and what was seen around it.
#[derive(Debug)]
pub struct UnlockFailure<'a> {
    /// The error.
    pub fault: &'a Fault,
    /// How often it has failed, this time included.
    pub doubts: u32,
    /// Somebody else is writing to the store's files, or has just done so.
    pub moving: bool,
}

/// What a failed unlock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlockRefusal {
    /// The password is wrong, which counts for the lock-out.
    LockOut,
    /// It proves nothing: it is tried again after a while.
    Wait,
    /// It failed for another reason.
    Fail,
}

/// The texts of a vault's parameters, which its module may quote in an error and which are secrets too, save where
/// they are known to say only which vault is meant.
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
    if let Some(extension) = entry.plan.extension().filter(|_| entry.backend.has_secret_parameters()) {
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

impl Turn<'_> {
    /// Reads a value.
    pub async fn get(&mut self, key: &str, detail: bool) -> Result<GetReply, Trouble> {
        self.entry.backend.get(self, key, detail).await
    }

    /// What is there before a write, as far as a write needs to know.
    pub async fn before_write(&mut self, key: &str) -> Result<Present, Trouble> {
        self.entry.backend.before_write(self, key).await
    }

    /// Writes a value; `before` is what [`Turn::before_write`] gave, in the same lane.
    pub async fn set(
        &mut self,
        key: &str,
        value: &SecretValue,
        metadata: Option<&Metadata>,
        before: &Present,
    ) -> Result<(), Trouble> {
        self.entry.backend.set(self, key, value, metadata, before).await
    }

    /// Gives a secret this metadata and leaves its value, which is this.
    pub async fn set_info(
        &mut self,
        key: &str,
        value: &SecretValue,
        metadata: &Metadata,
        before: &Present,
    ) -> Result<(), Trouble> {
        self.entry.backend.set_info(self, key, value, metadata, before).await
    }

    /// Removes a key; `before` is what [`Turn::before_write`] gave, in the same lane.
    pub async fn remove(&mut self, key: &str, before: &Present) -> Result<(), Trouble> {
        self.entry.backend.remove(self, key, before).await
    }

    /// Unlocks with the vault's password.
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
            let fault = match self.worker.call::<StoreReply>(op, self.until).await {
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
                Err(CallError::Fault(fault)) => fault,
                Err(broken) => return Err(broken.into()),
            };
            // SecretStore also refuses the right password if a write was cut off.
            if is_refused_unlock(&fault) && store.put_back(TORN) {
                continue;
            }
            doubts += 1;
            let moving = store.files_now() != files || store.changed_lately();
            match self.entry.backend.unlock_failed(&UnlockFailure { fault: &fault, doubts, moving }) {
                UnlockRefusal::LockOut => return Err(self.refused(&fault, files)),
                UnlockRefusal::Wait => sleep(MID_WRITE).await,
                UnlockRefusal::Fail => return Err(Trouble::Fault(fault)),
            }
        }
    }

    /// Unlocks where the plan wants it at the start, and there is something to unlock.
    pub(super) async fn unlock_at_start(&mut self) -> Result<(), Trouble> {
        let wanted = self.entry.plan.extension().is_some_and(|extension| extension.unlock_at_start);
        let has_password = self.entry.password().is_some();
        if wanted && has_password && self.entry.store.authentication() != Authentication::None {
            match self.unlock().await {
                Ok(_) | Err(Trouble::OldCopy) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// The whole value that an update of one member makes, from the value now.
    pub(super) async fn merged(
        &mut self,
        key: &str,
        member: &str,
        value: &SecretValue,
        before: &Present,
    ) -> Result<SecretValue, Trouble> {
        match before {
            Present::There(before) => return Ok(merge(Some(&before.value), member, value.clone())),
            Present::Missing => return Ok(merge(None, member, value.clone())),
            Present::Unknown | Present::Unread(_) => {}
        }
        match self.get(key, false).await {
            Ok(now) => Ok(merge(Some(&now.value), member, value.clone())),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(merge(None, member, value.clone())),
            Err(trouble) => Err(trouble),
        }
    }

    /// Puts back what was there before a write that was cut off, if that left neither the old value nor the
    /// new one: an overwrite deletes first, and a table is written member by member.
    pub async fn recover(&mut self, key: &str, change: &Change) -> Result<bool, Trouble> {
        let now = self.entry.backend.look(self, key).await?;
        let whole = change.is_whole(now.reply().map(|now| &now.value));
        match &change.before {
            _ if whole => self.entry.store.forget_undo(key),
            Before::Value(before) => {
                let (value, metadata) = (&before.value, Some(&before.metadata));
                self.set(key, value, metadata, &Present::Missing).await?;
            }
            Before::Nothing => self.remove(key, &now).await?,
            Before::Unread { .. } => return self.entry.backend.undo(self, key),
        }
        Ok(!whole)
    }

    /// Whether an unlock brings the worker's copy up to date.
    pub(super) fn can_refresh(&self) -> bool {
        self.entry.may_unlock() && self.entry.store.authentication() != Authentication::None
    }

    /// Whether the worker's copy is older than our last write or than the files, or its unlock is due.
    pub(super) fn is_old(&self) -> Result<bool, Trouble> {
        let store = &self.entry.store;
        let seen = self.worker.seen.get(&store.id);
        let old_copy = store.has_files()
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

    pub(super) fn heed_lockout(&self) -> Result<(), Trouble> {
        let now = Instant::now();
        match self.entry.store.lockout(now) {
            Some(lockout) => Err(Trouble::Locked {
                reason: lockout.reason,
                retry_after: lockout.until.saturating_duration_since(now),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn refused(&self, fault: &Fault, files: Fingerprint) -> Trouble {
        let now = Instant::now();
        let reason = why_refused(self.entry.backend.overwrites_in_steps(), &fault.id, &files);
        let lockout = self.entry.store.unlock_failed(&reason, files, now);
        Trouble::Locked { reason, retry_after: lockout.until.saturating_duration_since(now) }
    }

    pub(super) fn saw(&mut self, generation: u64, files: Fingerprint, unlocked: Option<Instant>) {
        self.worker.seen.insert(self.entry.store.id.clone(), StoreView { generation, files, unlocked });
    }

    pub(super) fn registered(&self) -> String {
        self.entry
            .plan
            .extension()
            .map_or_else(|| self.entry.plan.name.clone(), |extension| extension.registered.clone())
    }
}

/// What a refused unlock may mean. SecretStore gives one error for a wrong password and for torn files.
fn why_refused(is_secret_store: bool, id: &str, files: &Fingerprint) -> String {
    let folder = crate::platform::secret_store();
    let folder = folder.display();
    if !is_secret_store {
        return format!("it did not unlock ({id}): the password may be wrong, or the vault out of reach");
    }
    if files.lacks_data() {
        return format!("it did not unlock ({id}): the store's files in {folder} are gone");
    }
    match shape_of_secret_store() {
        StoreShape::Broken => format!(
            "it did not unlock ({id}): the store's file {folder}/storefile is damaged: restore the folder from a backup"
        ),
        StoreShape::Whole => {
            format!(
                "it did not unlock ({id}): the password is wrong (the store's files in {folder} look whole)"
            )
        }
        StoreShape::Unknown => format!(
            "it did not unlock ({id}): the password may be wrong, or the store's files in {folder} are damaged"
        ),
    }
}

/// What a vault lacks that was asked for its password.
pub(in crate::vault) fn lacks_password(entry: &Entry) -> String {
    if entry.password().is_some() {
        return "it needs a password".to_owned();
    }
    let missing = "it needs a password, and none was given";
    let Some(module) =
        entry.plan.extension().filter(|extension| extension.imported).map(|known| known.module_name())
    else {
        return missing.to_owned();
    };
    let name = &entry.plan.name;
    let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let name = if is_bare { name.clone() } else { format!("{name:?}") };
    format!(
        "{missing}: where it is exposed (--expose-vault, auto_import.expose) write a block of its own: [vaults.{name}] with \
         module = {module:?}, unlock = {{ file = \"password.txt\" }} and expose = true"
    )
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

/// An acknowledged write that is not found.
pub(super) fn not_kept(finding: &str) -> Box<Fault> {
    Box::new(Fault {
        id: "WriteNotKept".into(),
        kind: STILL_THERE.into(),
        category: "WriteError".into(),
        message: format!("the vault acknowledged the write and does not show it: {finding}"),
        ..Fault::default()
    })
}
