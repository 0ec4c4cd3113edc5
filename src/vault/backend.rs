//! The kinds of vaults: where their calls go, who may be in them together, and what their answers are worth.
//!
//! A kind is one implementation of [`Backend`] in a folder of its own. To add one: write it, and name it in
//! [`of`] or, where it is an extension module, in [`MODULES`]. Nothing else in the program asks what kind a vault is.

use std::time::Duration;

use crate::plan::{Extension, Vault, VaultKind};
use crate::pool::lanes::LaneMode;
use crate::protocol::{GetReply, Metadata, SecretInfo};
use crate::secret::SecretValue;
use crate::store::{Discipline, Store};
use crate::worker::{BoxFuture, CallError, Worker};

use super::change::Change;
use super::entry::Entry;
use super::turn::{Trouble, Turn, UnlockFailure, UnlockRefusal};
use super::verb::Verb;

mod azure;
mod custom;
pub(super) mod local;
pub mod module;
pub mod secret_store;

pub use super::change::{Present, UnreadValue};

/// What a call in a worker gives.
pub type CallAnswer<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// Extension modules with rules of their own, by the bare name of the module. Every other is [`module::ModuleBackend`].
static MODULES: [(&str, &dyn Backend); 2] =
    [(secret_store::MODULE, &secret_store::SecretStoreBackend), (azure::MODULE, &azure::AzureBackend)];

/// The kind of a vault.
pub fn of(vault: &Vault) -> &'static dyn Backend {
    match &vault.kind {
        VaultKind::Extension(extension) => of_module(extension),
        VaultKind::Local { .. } => &local::LocalBackend,
        VaultKind::Custom(_) => &custom::CustomBackend,
    }
}

/// The kind of a vault behind an extension module.
pub fn of_module(extension: &Extension) -> &'static dyn Backend {
    let name = extension.module_name();
    let known = MODULES.iter().find(|(module, _)| module.eq_ignore_ascii_case(name));
    known.map_or(&module::ModuleBackend, |(_, backend)| *backend)
}

/// The configuration that a module takes in place of VaultParameters.
#[derive(Debug)]
pub struct ModuleSettings {
    /// The names of the parameters, as the module spells them. Their values are no secrets.
    pub names: &'static [&'static str],
    /// Completes what a script says: the rules that Pode has for the module. An error is what the script is told.
    pub complete: fn(&mut Extension) -> Result<(), String>,
    /// Takes out what [`ModuleSettings::complete`] puts in.
    pub without_defaults: fn(&mut Extension),
}

/// What differs between kinds of vaults. The calls are made in a worker that holds the vault's lane.
pub trait Backend: Sync {
    /// The store behind a vault: its identity, who may be in its lane together, and its files.
    fn store(&self, vault: &Vault) -> Store;

    /// Why a vault cannot hold, or would change in silence, what the verb names.
    fn refusal(&self, _verb: &Verb) -> Option<String> {
        None
    }

    /// The configuration that its parameters are; `None` where they are VaultParameters.
    fn settings(&self) -> Option<&'static ModuleSettings> {
        None
    }

    /// Whether what its module may quote of its parameters is secret.
    fn has_secret_parameters(&self) -> bool {
        true
    }

    /// Whether a script knows its errors by ids and messages of the module's own, not by SecretManagement's.
    fn has_own_words(&self) -> bool {
        false
    }

    /// Whether a value's exact type costs no call of its own.
    fn tells_types(&self) -> bool {
        false
    }

    /// Whether an overwrite is more than one step: one that is cut off may leave neither the old nor the new value.
    fn overwrites_in_steps(&self) -> bool {
        false
    }

    /// Whether the module reports every failure of a write, and its writes are one step.
    fn reports_failures(&self) -> bool {
        false
    }

    /// Whether the first read of a worker may fail with the module's general error, and the next one not.
    fn first_read_may_fail(&self) -> bool {
        false
    }

    /// Whether nothing that a call had begun can still come to pass once its worker is gone.
    fn ends_with_its_worker(&self) -> bool {
        false
    }

    /// After how long without a call the vault is asked how it is, where the plan does not say; `None` for vaults whose
    /// service may bill each call.
    fn probes(&self) -> Option<Duration> {
        None
    }

    /// What a failed unlock means.
    fn unlock_failed(&self, failure: &UnlockFailure<'_>) -> UnlockRefusal {
        if module::is_own(failure.fault) { UnlockRefusal::Fail } else { UnlockRefusal::LockOut }
    }

    /// How its configuration is looked at in a worker that starts, or that a script has just `added` it in: alone where
    /// that may change the store, beside others where it only reads; `None` where nothing is to be configured.
    fn configures(&self, _entry: &Entry, _added: bool) -> Option<LaneMode> {
        None
    }

    /// Brings the store to what the plan says. Tells whether that has opened it too.
    fn configure<'a>(&'a self, _turn: &'a mut Turn<'_>, _added: bool) -> CallAnswer<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    /// Once in a worker, after the vault was registered there.
    fn registered<'a>(
        &'a self,
        worker: &'a mut Worker,
        entry: &'a Entry,
        _until: tokio::time::Instant,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        // Of an earlier vault of this name.
        worker.seen.remove(&entry.store.id);
        Box::pin(async { Ok(()) })
    }

    /// Makes a registered vault ready in a worker; `opened` is what [`Backend::configure`] told.
    fn prepare<'a>(&'a self, turn: &'a mut Turn<'_>, _opened: bool) -> CallAnswer<'a, ()> {
        Box::pin(turn.unlock_at_start())
    }

    /// Reads a value; with `detail` its exact type and metadata, which may cost another call.
    fn get<'a>(&'a self, _turn: &'a mut Turn<'_>, _key: &'a str, _detail: bool) -> CallAnswer<'a, GetReply> {
        Box::pin(async { Err(Trouble::NotInWorker) })
    }

    /// Lists names, types and metadata.
    fn list<'a>(&'a self, _turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>> {
        Box::pin(async { Err(Trouble::NotInWorker) })
    }

    /// What is there before a write, as far as a write needs to know.
    fn before_write<'a>(&'a self, _turn: &'a mut Turn<'_>, _key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(async { Err(Trouble::NotInWorker) })
    }

    /// What is there now, its value included, after a write that was cut off.
    fn look<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        self.before_write(turn, key)
    }

    /// Puts back a value that was not read before a write. Tells whether it did.
    fn undo(&self, _turn: &Turn<'_>, _key: &str) -> Result<bool, Trouble> {
        Ok(false)
    }

    /// Writes a value; `before` is what [`Backend::before_write`] gave, in the same lane.
    fn set<'a>(
        &'a self,
        _turn: &'a mut Turn<'_>,
        _key: &'a str,
        _value: &'a SecretValue,
        _metadata: Option<&'a Metadata>,
        _before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async { Err(Trouble::NotInWorker) })
    }

    /// Gives a secret this metadata and leaves its value, which is this.
    fn set_info<'a>(
        &'a self,
        _turn: &'a mut Turn<'_>,
        _key: &'a str,
        _value: &'a SecretValue,
        _metadata: &'a Metadata,
        _before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async { Err(Trouble::NotInWorker) })
    }

    /// Removes a key; `before` is what [`Backend::before_write`] gave, in the same lane.
    fn remove<'a>(
        &'a self,
        _turn: &'a mut Turn<'_>,
        _key: &'a str,
        _before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async { Err(Trouble::NotInWorker) })
    }

    /// Puts back what was there before a write that was cut off, if that left neither the old value nor the new
    /// one. Tells whether it did.
    fn recover<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        change: &'a Change,
    ) -> CallAnswer<'a, bool> {
        Box::pin(turn.recover(key, change))
    }
}

/// After how long without a call a vault that costs nothing is asked how it is.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// The lane of an extension module that has no rules of its own.
fn discipline(extension: &Extension, by_default: Discipline) -> Discipline {
    match extension.parallel {
        Some(true) => Discipline::Parallel,
        Some(false) => Discipline::Serial,
        None => by_default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AZ_KEY_VAULT, SECRET_STORE};

    fn extension(name: &str, module: &str) -> Vault {
        Vault::new(name, VaultKind::Extension(Extension::new(name, module)))
    }

    fn store(vault: &Vault) -> Store {
        of(vault).store(vault)
    }

    #[test]
    fn two_names_of_secret_store_are_one_store() {
        let (a, b) = (extension("a", SECRET_STORE), extension("b", "/x/Microsoft.PowerShell.SecretStore"));
        assert_eq!(store(&a).id, store(&b).id);
        assert_ne!(store(&extension("a", "My.Vault")).id, store(&extension("b", "My.Vault")).id);
    }

    #[test]
    fn azure_vaults_are_parallel_and_known_by_their_real_name() {
        let mut vaults = [extension("a", AZ_KEY_VAULT), extension("b", AZ_KEY_VAULT)];
        for (vault, name) in vaults.iter_mut().zip(["Real", "REAL"]) {
            let VaultKind::Extension(extension) = &mut vault.kind else { unreachable!() };
            extension.parameters.0.insert("AZKVaultName".into(), name.into());
        }
        let stores = vaults.each_ref().map(store);
        assert_eq!(stores[0].id, stores[1].id);
        assert_eq!(stores[0].discipline, Discipline::Parallel);
        assert_eq!(store(&extension("c", "My.Vault")).discipline, Discipline::Serial);
    }

    /// What is refused for one kind is not for another: a table of kinds cannot be mixed up unnoticed.
    #[test]
    fn each_kind_has_its_own_rules() {
        let kinds = [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"].map(|module| of(&extension("v", module)));
        assert_eq!(kinds.map(|kind| kind.overwrites_in_steps()), [true, false, false]);
        assert_eq!(kinds.map(|kind| kind.settings().is_some()), [true, false, false]);
        assert_eq!(kinds.map(|kind| kind.has_secret_parameters()), [false, false, true]);
        assert_eq!(kinds.map(|kind| kind.reports_failures()), [false, true, false]);
        assert_eq!(kinds.map(|kind| kind.tells_types()), [true, false, false]);
    }
}
