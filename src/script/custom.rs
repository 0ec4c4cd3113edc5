//! Custom vaults: script blocks, called in the worker that asks.
//!
//! One call at a time for each vault, as in Pode. The vaults that a call has entered are its chain; one that
//! is entered again is refused by name, and so is a wait that would close a circle ([`super::locks`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::asks::{Asking, Failure, fault_of, refusal};
use super::locks::{Key, Refused};
use super::value::Portable;
use super::{Core, STEP_LIMIT};
use crate::error::BridgeError;
use crate::mount::merge;
use crate::plan::{Custom, VaultKind};
use crate::protocol::{Metadata, Op, Parameters};
use crate::secret::{SecretValue, Text};
use crate::store::Fingerprint;
use crate::vault::set_up::ready;
use crate::vault::{Entry, Hooks};
use crate::worker::{BoxFuture, CallError, Seen, Worker};

/// The block of a custom vault to call, with what it is given.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Call<'a> {
    /// `init read set remove unlock unregister`.
    pub kind: &'static str,
    /// The secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'a SecretValue>,
    /// The new value is one member of this whole, which only PowerShell can look into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<Member<'a>>,
    /// Its metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a Metadata>,
    /// The mount's arguments.
    pub arguments: &'a [Portable],
    /// The unlock secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<&'a Text>,
}

/// A member of a value, to be changed by itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// The value that it is in, as it is now.
    pub whole: &'a SecretValue,
}

#[derive(Serialize)]
struct Invocation<'a> {
    vault: &'a str,
    block: u64,
    parameters: &'a Parameters,
    #[serde(flatten)]
    call: &'a Call<'a>,
}

/// What a block gives.
#[derive(Debug, Default, Deserialize)]
pub struct Reply {
    /// The value read.
    #[serde(default)]
    pub value: Option<Portable>,
    /// Until when it is unlocked, in round-trip form.
    #[serde(default)]
    pub expiry: Option<String>,
}

/// When each custom vault was unlocked, by its entry's number.
#[derive(Default)]
pub struct Unlocks(Mutex<HashMap<u64, Unlocked>>);

#[derive(Debug, Clone, Copy)]
struct Unlocked {
    /// A worker with a lower one unlocks before its next call.
    generation: u64,
    /// When the next one begins.
    next: Option<Instant>,
}

/// What a script does for one of its vaults in each worker.
pub struct VaultHooks {
    /// The tables.
    pub core: Weak<Core>,
    /// The vault's name.
    pub name: String,
    /// The first argument of its blocks.
    pub parameters: Parameters,
    /// The init block.
    pub init: Option<u64>,
    /// The unregister block of a custom vault.
    pub unregister: Option<u64>,
}

/// Loads the session into each fresh worker.
pub struct Loader(pub Weak<Core>);

impl Unlocks {
    /// The generation that a worker must have.
    fn due(&self, entry: &Entry, now: Instant) -> u64 {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unlocked = table.entry(entry.number).or_insert(Unlocked { generation: 1, next: None });
        if unlocked.next.is_some_and(|next| next <= now) {
            *unlocked = Unlocked { generation: unlocked.generation + 1, next: None };
        }
        unlocked.generation
    }

    /// Has every worker unlock again.
    pub fn again(&self, entry: &Entry) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unlocked = table.entry(entry.number).or_insert(Unlocked { generation: 0, next: None });
        *unlocked = Unlocked { generation: unlocked.generation + 1, next: None };
    }

    fn until(&self, entry: &Entry, next: Option<Instant>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unlocked) = table.get_mut(&entry.number) {
            unlocked.next = next;
        }
    }
}

/// The custom vault behind an entry.
pub fn of(entry: &Entry) -> Option<&Custom> {
    match &entry.plan.kind {
        VaultKind::Custom(custom) => Some(custom),
        _ => None,
    }
}

impl Asking {
    /// Calls a block of a custom vault in this worker, alone, unlocked first where that is due.
    pub(super) async fn custom(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        call: Call<'_>,
    ) -> Result<Reply, Failure> {
        let name = &entry.plan.name;
        let Some(block) = of(entry).and_then(|custom| custom.blocks.get(call.kind)).copied() else {
            return Err(no_block(call.kind, name));
        };
        if self.chain.iter().any(|(number, _)| *number == entry.number) {
            let way: Vec<&str> =
                self.chain.iter().map(|(_, name)| name.as_str()).chain([name.as_str()]).collect();
            let message = format!("The custom Secret Vault '{name}' uses itself: {}", way.join(" -> "));
            return Err(refusal("SecretVaultCycle", message));
        }
        let key = self.enter(worker, entry).await?;
        self.chain.push((entry.number, name.clone()));
        let outcome = self.alone(worker, entry, block, call).await;
        self.chain.pop();
        self.core.locks.give_back(&key, self.owner);
        outcome
    }

    /// Makes a vault ready in this worker, then takes its lock; in this order, since the init block may need
    /// another vault.
    async fn enter(&mut self, worker: &mut Worker, entry: &Arc<Entry>) -> Result<Key, Failure> {
        ready(worker, entry, self.deadline).await.map_err(as_fault)?;
        let (key, locks) = (Key::Vault(entry.number), self.core.locks.clone());
        let taken = locks.take(key.clone(), self.owner, Some(self.deadline)).await;
        taken.map_err(|refused| self.not_had(&entry.plan.name, refused))?;
        Ok(key)
    }

    /// Stores one member of a value; its siblings stay, also those that another changes meanwhile.
    pub(super) async fn custom_member(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        set: Call<'_>,
        member: &str,
    ) -> Result<(), Failure> {
        let key = self.enter(worker, entry).await?;
        let outcome = self.custom_merged(worker, entry, set, member).await;
        self.core.locks.give_back(&key, self.owner);
        outcome
    }

    async fn custom_merged(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        set: Call<'_>,
        name: &str,
    ) -> Result<(), Failure> {
        let whole = self.value_now(worker, entry, set.key.unwrap_or_default(), set.arguments).await?;
        let merged;
        let set = if is_opaque(&whole) {
            Call { member: Some(Member { name, whole: &whole }), ..set }
        } else {
            merged = set.value.map(|value| merge(Some(&whole), name, value.clone()));
            Call { value: merged.as_ref(), ..set }
        };
        self.custom(worker, entry, set).await.map(drop)
    }

    /// Unlocks a custom vault now, in this worker; the others follow before their next call.
    pub(super) async fn unlock_custom(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        secret: Option<Text>,
    ) -> Result<(), Failure> {
        entry.allow_unlock();
        self.core.unlocks.again(entry);
        let call = Call { kind: "unlock", secret: secret.as_ref(), ..Call::default() };
        self.custom(worker, entry, call).await?;
        if let Some(secret) = secret {
            entry.learn(secret);
        }
        Ok(())
    }

    async fn alone(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        block: u64,
        call: Call<'_>,
    ) -> Result<Reply, Failure> {
        self.core.clone().session.load(worker, self.deadline).await.map_err(as_fault)?;
        if call.kind == "unlock" {
            return self.unlock_now(worker, entry, block, call.secret).await;
        }
        if let Some(unlock) = of(entry).and_then(|custom| custom.blocks.get("unlock")).copied() {
            let due = self.core.unlocks.due(entry, Instant::now());
            let has = worker.seen.get(&entry.store.id).map_or(0, |seen| seen.generation);
            if entry.may_unlock() && has < due {
                let secret = entry.password();
                self.unlock_now(worker, entry, unlock, secret.as_ref()).await?;
            }
        }
        let writes = matches!(call.kind, "set" | "remove");
        if writes && !self.began.note() {
            return Err(fault_of(BridgeError::Deadline { outcome_unknown: false }));
        }
        let until = if writes { self.deadline + self.core.options.limits.write_grace } else { self.deadline };
        let outcome = self.call(worker, entry, block, &call, until).await;
        if writes {
            // What a block changes beside its key is its own business.
            if let Some(bridge) = self.core.bridge() {
                bridge.cache().touched_all(&entry.store.id);
            }
        }
        outcome
    }

    async fn unlock_now(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        block: u64,
        secret: Option<&Text>,
    ) -> Result<Reply, Failure> {
        let call = Call { kind: "unlock", secret, ..Call::default() };
        let (now, due) = (Instant::now(), self.core.unlocks.due(entry, Instant::now()));
        let reply = self.call(worker, entry, block, &call, self.deadline).await?;
        let interval = of(entry).map_or(Duration::ZERO, |custom| custom.unlock_interval);
        let next = match reply.expiry.as_deref().map(remaining) {
            Some(Some(left)) if left.is_zero() => {
                let message =
                    format!("The unlock expiry of the Secret Vault '{}' is in the past", entry.plan.name);
                return Err(refusal("UnlockExpired", message));
            }
            Some(Some(left)) => Some(now + left),
            Some(None) | None => (!interval.is_zero()).then(|| now + interval),
        };
        self.core.unlocks.until(entry, next);
        let seen = Seen { generation: due, files: Fingerprint::default(), unlocked: Some(now) };
        worker.seen.insert(entry.store.id.clone(), seen);
        Ok(reply)
    }

    async fn call(
        &mut self,
        worker: &mut Worker,
        entry: &Entry,
        block: u64,
        call: &Call<'_>,
        until: Instant,
    ) -> Result<Reply, Failure> {
        let empty = Parameters::default();
        let parameters = of(entry).map_or(&empty, |custom| &custom.parameters);
        let op = invocation(&entry.plan.name, block, parameters, call)?;
        worker.call_asking::<Reply>(op, until, Some(self)).await.map_err(as_fault)
    }

    fn not_had(&self, name: &str, refused: Refused) -> Failure {
        let held: Vec<&str> = self.chain.iter().map(|(_, name)| name.as_str()).collect();
        let held = if held.is_empty() { "a lock".to_owned() } else { format!("'{}'", held.join("', '")) };
        match refused {
            Refused::Circle => refusal(
                "SecretVaultCycle",
                format!(
                    "The custom Secret Vault '{name}' waits for {held}, which this request holds, and would wait for good"
                ),
            ),
            Refused::Late => refusal(
                "Deadline",
                format!("The deadline passed while waiting for the custom Secret Vault '{name}'"),
            ),
        }
    }
}

impl VaultHooks {
    /// Runs one of the blocks by itself, outside any request.
    async fn run(
        &self,
        worker: &mut Worker,
        kind: &'static str,
        block: Option<u64>,
        until: Instant,
    ) -> Result<(), CallError> {
        let (Some(block), Some(core)) = (block, self.core.upgrade()) else { return Ok(()) };
        core.session.load(worker, until).await?;
        let call = Call { kind, ..Call::default() };
        let op = invocation(&self.name, block, &self.parameters, &call).map_err(CallError::Fault)?;
        let mut asking = Asking::new(core, until);
        worker.call_asking::<Reply>(op, until, Some(&mut asking)).await.map(drop)
    }
}

impl Hooks for VaultHooks {
    fn before<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.run(worker, "init", self.init, until))
    }

    fn has_before(&self) -> bool {
        self.init.is_some()
    }

    fn after<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.run(worker, "unregister", self.unregister, until.min(Instant::now() + STEP_LIMIT)))
    }
}

impl Hooks for Loader {
    fn before<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            let Some(core) = self.0.upgrade() else { return Ok(()) };
            core.session.load(worker, until).await
        })
    }

    fn after<'a>(&'a self, _worker: &'a mut Worker, _until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }
}

fn invocation(vault: &str, block: u64, parameters: &Parameters, call: &Call<'_>) -> Result<Op, Failure> {
    #[derive(Serialize)]
    struct Custom<'a> {
        custom: Invocation<'a>,
    }
    let custom = Invocation { vault, block, parameters, call };
    let raw = serde_json::value::to_raw_value(&Custom { custom });
    raw.map(Op::Invoke).map_err(|_| refusal("BadCall", "the call does not encode"))
}

/// A broken worker's own error is never seen: its call ends with it.
pub fn as_fault(error: CallError) -> Failure {
    match error {
        CallError::Fault(fault) => fault,
        CallError::Broken(broken) => refusal("WorkerFailed", broken.to_string()),
    }
}

fn no_block(kind: &str, vault: &str) -> Failure {
    let what = match kind {
        "set" => "No Set ScriptBlock supplied for updating/creating secrets in the vault",
        "remove" => "No Remove ScriptBlock supplied for removing secrets from the vault",
        "unlock" => "No Unlock ScriptBlock supplied for unlocking the vault",
        _ => "No such ScriptBlock supplied for the vault",
    };
    refusal("SecretVaultNoBlock", format!("{what} '{vault}'"))
}

/// Something that only PowerShell can look into, and not just `$null`.
fn is_opaque(value: &SecretValue) -> bool {
    matches!(value, SecretValue::Clixml(document) if !document.expose().ends_with("\"><Nil /></Objs>"))
}

/// How long until then; nothing if it is no date.
fn remaining(expiry: &str) -> Option<Duration> {
    let then = time::OffsetDateTime::parse(expiry, &time::format_description::well_known::Rfc3339).ok()?;
    Some(Duration::try_from(then - crate::clock::now()).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;

    use super::*;
    use crate::clock;

    #[test]
    fn debug_of_a_call_and_of_its_reply_shows_no_value() {
        let value = SecretValue::string("canary");
        let (arguments, secret) = ([Portable::from(&value)], Text::from("canary"));
        let call = Call {
            value: Some(&value),
            member: Some(Member { name: "m", whole: &value }),
            arguments: &arguments,
            secret: Some(&secret),
            ..Call::default()
        };
        let reply = Reply { value: Some(Portable::from(&value)), expiry: None };
        assert!(!format!("{call:?} {reply:?}").contains("canary"));
    }

    #[test]
    fn an_expiry_is_a_length_of_time_from_the_clock_as_it_is_at_that_moment() {
        for jump in [0, 4_000, -8_000] {
            clock::jump(time::Duration::days(jump));
            let minute = (clock::now() + Duration::from_secs(60)).format(&Rfc3339).unwrap();
            let left = remaining(&minute).unwrap();
            assert!((50..=60).contains(&left.as_secs()), "{left:?}");
            let past = (clock::now() - Duration::from_secs(60)).format(&Rfc3339).unwrap();
            assert_eq!(remaining(&past), Some(Duration::ZERO));
        }
        assert_eq!(remaining("tomorrow"), None);
    }
}
