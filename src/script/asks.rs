//! What a worker may ask while it runs a block, and who answers.
//!
//! An ask is answered from the tables, or done in the asking worker by calls nested into the ask. The
//! request's deadline bounds all of it; a write that has begun has its grace beyond. What is asked of
//! vaults and secrets is in `vaults`, `imports`, `secrets` and `values`, of the server's own tables in `server`.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Core;
use super::locks::Owner;
use super::seen::{self, Seen};
use crate::audit::Access;
use crate::bridge::Bridge;
use crate::error::BridgeError;
use crate::protocol::Fault;
use crate::vault::act::Began;
use crate::worker::{Asks, BoxFuture, Broken, Worker};

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
    pub(super) owner: Owner,
    /// The custom vaults that it is in, by their entries' numbers, outermost first.
    pub(super) chain: Vec<(u64, String)>,
    pub(super) deadline: Instant,
    /// A write has begun somewhere in the call.
    pub(super) began: Began,
    /// What it got at, for the audit trail.
    pub(super) seen: Seen,
}

/// The status of a service that wants to be left alone for a while.
const TOO_MANY_REQUESTS: u16 = 429;

/// What a command throws.
pub type Failure = Box<Fault>;

/// An ask's outcome: what the worker's command returns, or throws.
pub(super) type Answer = Result<Value, Failure>;

/// A fault of our own.
pub fn refusal(id: &str, message: impl Into<String>) -> Failure {
    Box::new(Fault {
        id: id.to_owned(),
        kind: "System.InvalidOperationException".into(),
        category: "InvalidOperation".into(),
        message: message.into(),
        ..Fault::default()
    })
}

/// A bridge's error as a script sees it: the vault's own error, or Pode's words.
pub fn fault_of(error: BridgeError) -> Failure {
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

pub(super) fn not_mounted(name: &str) -> Failure {
    refusal("unknown_mount", format!("No Secret named '{name}' has been mounted."))
}

pub(super) fn no_vault(name: &str) -> Failure {
    refusal("unknown_vault", format!("No Secret Vault with the name '{name}' has been registered."))
}

impl Asking {
    /// For a call with this deadline.
    pub fn new(core: Arc<Core>, deadline: Instant) -> Asking {
        Asking::with_caller(core, deadline, Began::default(), Seen::default())
    }

    /// As [`Asking::new`], with a caller who may stop waiting.
    pub fn with_caller(core: Arc<Core>, deadline: Instant, began: Began, seen: Seen) -> Asking {
        let owner = core.locks.owner();
        Asking { core, owner, chain: Vec::new(), deadline, began, seen }
    }

    pub(super) fn bridge(&self) -> Result<Bridge, Failure> {
        self.core.bridge().cloned().ok_or_else(|| refusal("not_ready", "the server is not ready"))
    }

    async fn dispatch(&mut self, what: &RawValue, worker: &mut Worker) -> Answer {
        #[derive(Deserialize)]
        struct Do {
            #[serde(rename = "do")]
            name: String,
        }
        let Do { name } = read(what)?;
        let access = seen::access_of(&self.core, &name, what);
        let answer = self.answer_to(&name, what, worker).await;
        if let Some(access) = access {
            // An error's own id may be the text that a block threw, so it is in no line.
            let outcome = if answer.is_ok() { "ok" } else { "failed" };
            self.seen.note(Access { outcome, ..access });
        }
        answer
    }

    async fn answer_to(&mut self, name: &str, what: &RawValue, worker: &mut Worker) -> Answer {
        match name {
            "vault-add" => self.vault_add(read(what)?, worker).await,
            "vault-remove" => self.vault_remove(read(what)?, worker).await,
            "vault-unlock" => self.vault_unlock(read(what)?, worker).await,
            "vault-get" => self.vault_get(&read(what)?),
            "vault-export" => self.vault_export(&read(what)?),
            "info" => self.info(read(what)?, worker).await,
            "mount" => self.mount(read(what)?),
            "dismount" => self.dismount(read(what)?, worker).await,
            "mount-test" => self.mount_test(&read(what)?),
            "secret-get" => self.secret_get(read(what)?, worker).await,
            "secret-set" => self.secret_set(read(what)?, worker).await,
            "read" => self.read(read(what)?, worker).await,
            "set" => self.set(read(what)?, worker).await,
            "remove" => self.remove(read(what)?, worker).await,
            "lock" => self.lock(read(what)?).await,
            "unlock" => self.unlock(&read(what)?),
            "state-set" => self.state_set(read(what)?, worker),
            "state-remove" => Ok(self.state_remove(&read(what)?)),
            "shared-add" => self.shared_add(read(what)?, worker),
            "shared-get" => self.shared_get(&read(what)?, worker),
            "shared-set" => self.shared_set(read(what)?, worker),
            "endpoint-add" => self.endpoint_add(read(what)?).await,
            name => self.tables(name, what),
        }
    }
}

impl Asks for Asking {
    fn answer<'a>(
        &'a mut self,
        what: &'a RawValue,
        worker: &'a mut Worker,
    ) -> BoxFuture<'a, Result<Result<Value, Fault>, Broken>> {
        // A worker that broke meanwhile is found out by the caller.
        Box::pin(async move { Ok(self.dispatch(what, worker).await.map_err(|fault| *fault)) })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.core.locks.give_all_back(self.owner);
    }
}

/// Reads an ask. The error shows a place, never the text: it may hold a secret.
pub(super) fn read<T: DeserializeOwned>(what: &RawValue) -> Result<T, Failure> {
    serde_json::from_str(what.get()).map_err(|error| {
        let kind = if error.is_data() { "a field is missing or of the wrong type" } else { "no JSON" };
        refusal(
            "BadAsk",
            format!("the worker asked something that cannot be read: {kind} (column {})", error.column()),
        )
    })
}

pub(super) fn nothing() -> Value {
    json!({})
}
