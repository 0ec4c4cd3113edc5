//! What a worker may ask while it runs a block, and who answers.
//!
//! There is one method for each ask of [`Ask`]. An ask is answered from the tables, or done in the asking worker by calls
//! nested into the ask. The request's deadline bounds all of it; a write that has begun has its grace beyond. What is asked
//! of vaults and secrets is in `vaults`, `imports`, `secrets` and `values`, what is asked of the server's own tables in
//! `server` and `shared`.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::core::Core;
use super::locks::LockOwner;
use super::protocol::{Ask, AskReply};
use super::seen::{self, SeenAccesses};
use crate::audit::AuditedAccess;
use crate::bridge::Bridge;
use crate::error::BridgeError;
use crate::protocol::{Empty, Fault};
use crate::vault::Began;
use crate::worker::{Asks, BoxFuture, Broken, Worker};

mod asked;
pub(super) mod imports;
mod secrets;
mod server;
mod shared;
mod values;
mod vaults;
mod words;

/// Answers what one call of a worker asks.
pub struct Asking {
    pub(super) core: Arc<Core>,
    /// Who holds the locks that it takes.
    pub(super) owner: LockOwner,
    /// The custom vaults that it is in, by their entries' numbers, outermost first.
    pub(super) chain: Vec<(u64, String)>,
    pub(super) deadline: Instant,
    /// A write has begun somewhere in the call.
    pub(super) began: Began,
    /// What it got at, for the audit trail.
    pub(super) seen: SeenAccesses,
}

/// The status of a service that wants to be left alone for a while.
const TOO_MANY_REQUESTS: u16 = 429;

/// What a command throws.
pub type AskFailure = Box<Fault>;

/// An ask's outcome: what the worker's command returns, or throws.
pub(super) type AskOutcome = Result<AskReply, AskFailure>;

/// A fault of our own.
pub fn refusal(id: &str, message: impl Into<String>) -> AskFailure {
    Box::new(Fault {
        id: id.to_owned(),
        kind: "System.InvalidOperationException".into(),
        category: "InvalidOperation".into(),
        message: message.into(),
        ..Fault::default()
    })
}

/// A bridge's error as a script sees it: the vault's own error, or Pode's words.
pub fn fault_of(error: BridgeError) -> AskFailure {
    match error {
        BridgeError::Vault { mut fault, outcome_unknown, .. } => {
            if outcome_unknown {
                fault.message.push_str("; whether the write took place is unknown");
            }
            fault
        }
        BridgeError::UnknownMount { name } => not_mounted(&name),
        BridgeError::UnknownVault { name } => no_vault(&name),
        error => {
            let mut fault = refusal(error.code(), error.to_string());
            if let BridgeError::Throttled { retry_after, .. } = &error {
                fault.status = Some(TOO_MANY_REQUESTS);
                fault.retry_after = Some(retry_after.as_millis().div_ceil(1000) as u64);
            }
            fault
        }
    }
}

pub(super) fn not_mounted(name: &str) -> AskFailure {
    refusal("unknown_mount", format!("No Secret named '{name}' has been mounted."))
}

pub(super) fn no_vault(name: &str) -> AskFailure {
    refusal("unknown_vault", format!("No Secret Vault with the name '{name}' has been registered."))
}

impl Asking {
    /// For a call with this deadline.
    pub fn new(core: Arc<Core>, deadline: Instant) -> Asking {
        Asking::with_caller(core, deadline, Began::default(), SeenAccesses::default())
    }

    /// As [`Asking::new`], with a caller who may stop waiting.
    pub fn with_caller(core: Arc<Core>, deadline: Instant, began: Began, seen: SeenAccesses) -> Asking {
        let owner = core.locks.owner();
        Asking { core, owner, chain: Vec::new(), deadline, began, seen }
    }

    pub(super) fn bridge(&self) -> Result<Bridge, AskFailure> {
        Ok(self.core.bridge.clone())
    }

    /// Answers an ask, and notes what it got at.
    async fn dispatch(&mut self, what: &RawValue, worker: &mut Worker) -> AskOutcome {
        let ask = Ask::read(what).map_err(|error| refusal("BadAsk", error.to_string()))?;
        let access = seen::access_of(&self.core, &ask);
        let answer = self.answer_to(ask, worker).await;
        if let Some(access) = access {
            // The id of an error may be text that a block threw, so it is not logged.
            let outcome = if answer.is_ok() { "ok" } else { "failed" };
            self.seen.note(AuditedAccess { outcome, ..access });
        }
        answer
    }

    async fn answer_to(&mut self, ask: Ask, worker: &mut Worker) -> AskOutcome {
        match ask {
            Ask::VaultAdd(add) => self.vault_add(*add, worker).await,
            Ask::VaultRemove(named) => self.vault_remove(named, worker).await,
            Ask::VaultUnlock(unlock) => self.vault_unlock(unlock, worker).await,
            Ask::VaultGet(get) => self.vault_get(&get),
            Ask::VaultExport(names) => self.vault_export(&names),
            Ask::Info(info) => self.info(info, worker).await,
            Ask::Mount(add) => self.mount(add),
            Ask::Dismount(dismount) => self.dismount(dismount, worker).await,
            Ask::MountTest(named) => self.mount_test(&named),
            Ask::SecretGet(named) => self.secret_get(named, worker).await,
            Ask::SecretSet(set) => self.secret_set(set, worker).await,
            Ask::Read(read) => self.read(read, worker).await,
            Ask::Set(set) => self.set(set, worker).await,
            Ask::Remove(remove) => self.remove(remove, worker).await,
            Ask::Server(server) => self.server(*server),
            Ask::EndpointAdd(add) => self.endpoint_add(*add).await,
            Ask::RouteAdd(add) => self.route_add(*add),
            Ask::RouteRemove(route) => Ok(self.route_remove(&route)),
            Ask::RouteTest(route) => Ok(self.route_test(&route)),
            Ask::FunctionAdd(function) => Ok(self.declare(|session| session.set_function(function))),
            Ask::ModuleAdd(module) => Ok(self.declare(|session| session.add_module(module.name))),
            Ask::VariableAdd(variable) => Ok(self.declare(|session| session.set_variable(variable))),
            Ask::StateGet(named) => Ok(self.state_get(&named)),
            Ask::StateSet(set) => self.state_set(set, worker),
            Ask::StateRemove(named) => Ok(self.state_remove(&named)),
            Ask::StateNames(scope) => Ok(AskReply::Names { names: self.core.state.names(&scope.scope) }),
            Ask::SharedAdd(add) => self.shared_add(add, worker),
            Ask::SharedGet(get) => self.shared_get(&get, worker),
            Ask::SharedSet(changed) => self.shared_set(changed, worker),
            Ask::Lock(lock) => self.lock(lock).await,
            Ask::Unlock(named) => Ok(self.unlock(&named)),
            Ask::Trust(file) => Self::trust(&file),
            Ask::Logging(logging) => self.logging(&logging),
            Ask::Log(log) => Ok(self.log(&log)),
            Ask::Close(Empty {}) => Ok(self.close()),
        }
    }
}

impl Asks for Asking {
    fn answer<'a>(
        &'a mut self,
        what: &'a RawValue,
        worker: &'a mut Worker,
    ) -> BoxFuture<'a, Result<Result<Box<RawValue>, Fault>, Broken>> {
        // The caller sees it if the worker has broken meanwhile.
        Box::pin(async move {
            let encoded = self.dispatch(what, worker).await.and_then(|reply| {
                to_raw_value(&reply).map_err(|_| refusal("BadAsk", "the answer does not encode"))
            });
            Ok(encoded.map_err(|fault| *fault))
        })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.core.locks.give_all_back(self.owner);
    }
}
