//! A worker's turn at a vault: the calls that all kinds of vaults share, and what goes wrong in them. What differs
//! between kinds is in [`super::backend`]. The caller holds the store's lane.

use std::time::Duration;

use tokio::time::Instant;

use super::facts::VaultFacts;
use super::noted::about;
use crate::error::BridgeError;
use crate::protocol::{Fault, Op, StoreReply, TestReply, Unlock, VaultName};
use crate::secret::{SecretValue, Text};
use crate::vault::fingerprint::Fingerprint;
use crate::worker::{Broken, CallError, Worker};

/// The kind that is substituted where a vault wrongly says that a secret is not found.
pub(super) const STILL_THERE: &str = "System.InvalidOperationException";

/// A worker doing verbs on a vault.
pub struct Turn<'a> {
    /// The worker.
    pub worker: &'a mut Worker,
    /// The vault.
    pub vault: &'a VaultFacts,
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
    /// PowerShell's error of a write whose outcome is unknown.
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
    pub fn into_error(self, vault: &VaultFacts, key: Option<&str>, writing: bool) -> BridgeError {
        let name = vault.plan.name.clone();
        match self {
            Trouble::Fault(fault) if is_not_found(&fault) => {
                BridgeError::NotFound { vault: name, key: key.unwrap_or_default().to_owned() }
            }
            Trouble::Fault(fault) if is_locked(&fault) => BridgeError::Locked {
                vault: name,
                reason: lacks_password(vault),
                retry_after: Duration::from_secs(10),
            },
            Trouble::Fault(mut fault) => {
                fault.hide(&secret_parameters(vault));
                BridgeError::Vault { vault: name, fault, outcome_unknown: false }
            }
            Trouble::Unknown(mut fault) => {
                fault.hide(&secret_parameters(vault));
                BridgeError::Vault { vault: name, fault, outcome_unknown: true }
            }
            Trouble::Broken(Broken::TimedOut) => BridgeError::Deadline { outcome_unknown: writing },
            Trouble::Broken(broken) => {
                BridgeError::Worker { reason: broken.to_string(), outcome_unknown: writing }
            }
            Trouble::Locked { reason, retry_after } => {
                BridgeError::Locked { vault: name, reason, retry_after }
            }
            Trouble::Throttled { retry_after } => BridgeError::Throttled { vault: name, retry_after },
            Trouble::GivenUp => BridgeError::Deadline { outcome_unknown: false },
            Trouble::Owed => BridgeError::NotReady {
                reason: "a write of this secret was cut off, and its old value is still being put back"
                    .into(),
            },
            Trouble::NotInWorker => {
                BridgeError::Refused { vault: name, reason: "it is not called in a worker".into() }
            }
            Trouble::OldCopy => BridgeError::Worker {
                reason: "the store changes faster than it can be read".into(),
                outcome_unknown: false,
            },
        }
    }
}

/// The texts of a vault's parameters, which its module may quote in an error and which are secrets too, save where
/// they are known to say only which vault is meant.
fn secret_parameters(vault: &VaultFacts) -> Vec<&str> {
    fn texts<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        match value {
            serde_json::Value::String(text) => found.push(text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            serde_json::Value::Object(members) => members.values().for_each(|item| texts(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(extension) = vault.plan.extension().filter(|_| vault.has_secret_parameters) {
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
    /// One call that unlocks with this password; one that works is the vault's from then on.
    pub(super) async fn call_unlock(&mut self, password: Option<Text>) -> Result<StoreReply, CallError> {
        let given = password.clone();
        let password = password.map(SecretValue::SecureString);
        let op = Op::Unlock(Unlock { vault: self.vault.registered(), password });
        let reply = self.worker.call::<StoreReply>(op, self.until).await?;
        about(self.worker).renewals += 1;
        if let Some(given) = given {
            self.vault.learn(given);
        }
        Ok(reply)
    }

    /// Whether the vault's own test finds it ready; where it is not asked, nothing is known against it.
    pub(super) async fn is_ready(&mut self) -> Result<bool, Trouble> {
        if !self.vault.plan.extension().is_some_and(|extension| extension.probe) {
            return Ok(true);
        }
        let op = Op::Test(VaultName { vault: self.vault.registered() });
        match self.worker.call::<TestReply>(op, self.until).await {
            Ok(reply) => Ok(reply.ready),
            Err(CallError::Fault(_)) => Ok(false),
            Err(broken) => Err(broken.into()),
        }
    }

    /// Whether the plan wants it unlocked at the start, and there is something to unlock it with.
    pub(super) fn is_unlocked_at_start(&self) -> bool {
        let wanted = self.vault.plan.extension().is_some_and(|extension| extension.unlock_at_start);
        wanted && self.vault.password().is_some()
    }

    /// The plan's time between unlocks; zero where it has none.
    pub(super) fn unlock_interval(&self) -> Duration {
        self.vault.plan.extension().map_or(Duration::ZERO, |extension| extension.unlock_interval)
    }

    /// An error while the store is locked out.
    pub(super) fn heed_lockout(&self) -> Result<(), Trouble> {
        let now = Instant::now();
        match self.vault.store.lockout(now) {
            Some(lockout) => Err(Trouble::Locked {
                reason: lockout.reason,
                retry_after: lockout.until.saturating_duration_since(now),
            }),
            None => Ok(()),
        }
    }

    /// Notes an unlock that was refused, for this reason; `files` are those of before the try.
    pub(super) fn refused(&self, reason: String, files: Fingerprint) -> Trouble {
        let now = Instant::now();
        let lockout = self.vault.store.unlock_failed(&reason, files, now);
        Trouble::Locked { reason, retry_after: lockout.until.saturating_duration_since(now) }
    }
}

/// What a vault lacks that was asked for its password.
pub(in crate::vault) fn lacks_password(vault: &VaultFacts) -> String {
    if vault.password().is_some() {
        return "it needs a password".to_owned();
    }
    let missing = "it needs a password, and none was given";
    let Some(module) =
        vault.plan.extension().filter(|extension| extension.imported).map(|known| known.module_name())
    else {
        return missing.to_owned();
    };
    let name = &vault.plan.name;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Extension, SECRET_STORE, Vault, VaultKind};
    use crate::protocol::InnerFault;
    use crate::vault::{Entry, Means};
    use crate::worker::fake::{FakeLauncher, Reaction};

    const LOCKED: &str = "Microsoft.PowerShell.SecretStore.PasswordRequiredException";

    fn entry(name: &str, password: Option<&str>, change: impl FnOnce(&mut Extension)) -> Entry {
        let mut extension = Extension::new("v", SECRET_STORE);
        change(&mut extension);
        let plan = Vault::new(name, VaultKind::Extension(extension));
        let backend = crate::vault::backend::kinds::of(&plan).open(&plan);
        let means = Means { password: password.map(Into::into), ..Means::default() };
        Entry::new(0, plan, backend, means, Default::default())
    }

    #[test]
    fn a_vault_is_locked_where_its_error_or_one_within_names_the_password() {
        let by_id = Fault { id: LOCKED.into(), ..Fault::default() };
        let by_kind = Fault { kind: LOCKED.into(), ..Fault::default() };
        let inner = vec![InnerFault { kind: LOCKED.into(), message: String::new() }];
        let within = Fault { inner, ..Fault::default() };
        let beside = Fault { more: vec![by_id.clone()], ..Fault::default() };
        let entry = entry("v", None, |_| ());
        for (fault, locked) in
            [(by_id, true), (by_kind, true), (within, true), (beside, true), (Fault::default(), false)]
        {
            assert_eq!(is_locked(&fault), locked, "{fault:?}");
            let error = Trouble::Fault(Box::new(fault)).into_error(&entry, Some("k"), false);
            assert_eq!(matches!(error, BridgeError::Locked { .. }), locked, "{error:?}");
        }
    }

    #[test]
    fn a_vault_that_lacks_its_password_says_where_to_write_it() {
        let imported = |extension: &mut Extension| extension.imported = true;
        assert_eq!(lacks_password(&entry("v", Some("p"), imported)), "it needs a password");
        assert_eq!(lacks_password(&entry("v", None, |_| ())), "it needs a password, and none was given");
        for (name, block) in
            [("my-v_1", "[vaults.my-v_1]"), ("my v", "[vaults.\"my v\"]"), ("a.b", "[vaults.\"a.b\"]")]
        {
            let said = lacks_password(&entry(name, None, imported));
            let with = format!("{block} with module = {SECRET_STORE:?}");
            assert!(said.contains(&with), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_is_unlocked_at_the_start_where_the_plan_says_so_and_there_is_a_password() {
        let until = Instant::now() + Duration::from_secs(5);
        let mut worker = Worker::start(&FakeLauncher::new(|_, _| Reaction::Hang), 1, until).await.unwrap();
        let minute = Duration::from_secs(60);
        for (wanted, password, interval) in
            [(true, Some("p"), minute), (true, None, Duration::ZERO), (false, Some("p"), minute)]
        {
            let entry = entry("v", password, |extension| {
                extension.unlock_at_start = wanted;
                extension.unlock_interval = interval;
            });
            let turn = Turn { worker: &mut worker, vault: &entry, until, grace: Duration::ZERO };
            assert_eq!(turn.is_unlocked_at_start(), wanted && password.is_some(), "{wanted}, {password:?}");
            assert_eq!(turn.unlock_interval(), interval);
        }
    }

    #[test]
    fn a_write_that_is_not_shown_is_an_error_and_says_what_was_found() {
        let fault = not_kept("it is not there");
        let said = (fault.id.as_str(), fault.kind.as_str(), fault.category.as_str());
        assert_eq!(said, ("WriteNotKept", STILL_THERE, "WriteError"));
        assert!(fault.message.ends_with("does not show it: it is not there"), "{}", fault.message);
        assert!(!is_not_found(&fault) && !is_locked(&fault));
    }
}
