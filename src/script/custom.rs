//! Custom vaults: script blocks, called in the worker that asks.
//!
//! One call at a time for each vault, as in Pode, save that blocks whose syntax shows that they only read the
//! vault's table run beside each other. The vaults that a call has entered are its chain; one that
//! is entered again is refused by name, and so is a wait that would close a circle ([`super::locks`]).

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::asks::{AskFailure, Asking, fault_of, refusal};
use super::expiry::{pode_date, unlock_end};
use super::live::Live;
use super::locks::{LockKey, LockMode, Refused};
use super::noted::about;
use super::protocol::Invoke;
use super::protocol::call::{CustomCall, CustomInvoke, CustomReply, Member, MergeReply};
use super::protocol::shape::ChangedObject;
use super::session::Session;
use super::{Core, STEP_LIMIT};
use crate::error::BridgeError;
use crate::mount::merge;
use crate::plan::{BlockKind, Custom};
use crate::secret::{SecretValue, Text};
use crate::vault::set_up::ready;
use crate::vault::{Entry, Hooks};
use crate::worker::{BoxFuture, CallError, Worker};

/// What a script does for one of its vaults in each worker.
pub struct VaultHooks {
    /// The tables.
    pub core: Weak<Core>,
    /// The vault's name.
    pub name: String,
    /// What is kept of it.
    pub live: Arc<Live>,
    /// It is made of blocks: what its init block changes in the table was taken over when it was registered.
    pub custom: bool,
    /// The init block.
    pub init: Option<u64>,
    /// The unregister block of a custom vault.
    pub unregister: Option<u64>,
}

/// Loads the session into each fresh worker.
pub struct Loader(pub Arc<Session>);

/// The custom vault behind an entry.
fn of(entry: &Entry) -> Option<&Custom> {
    entry.plan.custom()
}

impl Asking {
    /// Calls a block of a custom vault in this worker, alone, unlocked first where that is due.
    pub(super) async fn custom(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        call: CustomCall<'_>,
    ) -> Result<CustomReply, AskFailure> {
        let name = &entry.plan.name;
        let Some(block) = of(entry).and_then(|custom| custom.blocks.get(&call.kind)).copied() else {
            return Err(no_block(call.kind, name));
        };
        if self.chain.iter().any(|(number, _)| *number == entry.number) {
            let way: Vec<&str> =
                self.chain.iter().map(|(_, name)| name.as_str()).chain([name.as_str()]).collect();
            let message = format!("The custom Secret Vault '{name}' uses itself: {}", way.join(" -> "));
            return Err(refusal("SecretVaultCycle", message));
        }
        let admitted = entry.admit(call.kind.action()).map_err(fault_of)?;
        let live = self.core.lives.get(entry.number);
        let reads = live.only_reads(call.kind) && !self.is_unlock_due(&live, entry);
        let key = self.enter(worker, entry, if reads { LockMode::Shared } else { LockMode::Alone }).await?;
        self.chain.push((entry.number, name.clone()));
        let outcome = self.inside(worker, entry, &live, block, call).await;
        self.chain.pop();
        self.core.locks.give_back(&key, self.owner);
        let failed = |fault| BridgeError::Vault { vault: name.clone(), fault, outcome_unknown: false };
        admitted.ended(outcome.map_err(failed)).map_err(fault_of)
    }

    /// Makes a vault ready in this worker, then takes its lock; in this order, since the init block may need
    /// another vault.
    async fn enter(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        mode: LockMode,
    ) -> Result<LockKey, AskFailure> {
        ready(worker, entry, self.deadline).await.map_err(as_fault)?;
        let (key, locks) = (LockKey::Vault(entry.number), self.core.locks.clone());
        let taken = locks.take_as(key.clone(), self.owner, mode, Some(self.deadline)).await;
        taken.map_err(|refused| self.not_had(&entry.plan.name, refused))?;
        Ok(key)
    }

    /// Stores one member of a value; its siblings stay, also those that another changes meanwhile.
    pub(super) async fn custom_member(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        set: CustomCall<'_>,
        member: &str,
    ) -> Result<(), AskFailure> {
        let key = self.enter(worker, entry, LockMode::Alone).await?;
        let outcome = self.custom_merged(worker, entry, set, member).await;
        self.core.locks.give_back(&key, self.owner);
        outcome
    }

    async fn custom_merged(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        set: CustomCall<'_>,
        name: &str,
    ) -> Result<(), AskFailure> {
        let whole = self.value_now(worker, entry, set.key.unwrap_or_default(), set.arguments).await?;
        let merged;
        let set = if is_opaque(&whole) {
            CustomCall { member: Some(Member { name, whole: &whole }), ..set }
        } else {
            merged = set.value.map(|value| merge(Some(&whole), name, value.clone()));
            CustomCall { value: merged.as_ref(), ..set }
        };
        self.custom(worker, entry, set).await.map(drop)
    }

    /// Unlocks a custom vault now, for all workers.
    pub(super) async fn unlock_custom(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        secret: Option<Text>,
    ) -> Result<(), AskFailure> {
        entry.allow_unlock();
        let call = CustomCall { kind: BlockKind::Unlock, secret: secret.as_ref(), ..CustomCall::default() };
        self.custom(worker, entry, call).await?;
        if let Some(secret) = secret {
            entry.learn(secret);
        }
        Ok(())
    }

    /// Unlocks a vault whose time is over, where no call does.
    pub(super) async fn renew_unlock(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
    ) -> Result<(), AskFailure> {
        let Some(unlock) = of(entry).and_then(|custom| custom.blocks.get(&BlockKind::Unlock)).copied() else {
            return Ok(());
        };
        let live = self.core.lives.get(entry.number);
        let key = self.enter(worker, entry, LockMode::Alone).await?;
        self.chain.push((entry.number, entry.plan.name.clone()));
        let outcome = match self.core.clone().session.load(worker, self.deadline).await {
            Ok(()) => self.keep_unlocked(worker, entry, &live, unlock).await,
            Err(error) => Err(as_fault(error)),
        };
        self.chain.pop();
        self.core.locks.give_back(&key, self.owner);
        outcome
    }

    /// Whether the unlock block goes before the next call.
    fn is_unlock_due(&self, live: &Live, entry: &Entry) -> bool {
        entry.may_unlock() && live.is_due(Instant::now())
    }

    /// Calls a block, with the vault's lock.
    async fn inside(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        live: &Live,
        block: u64,
        call: CustomCall<'_>,
    ) -> Result<CustomReply, AskFailure> {
        self.core.clone().session.load(worker, self.deadline).await.map_err(as_fault)?;
        if call.kind == BlockKind::Unlock {
            return self.unlock_now(worker, entry, live, block, call.secret).await;
        }
        if let Some(unlock) = of(entry).and_then(|custom| custom.blocks.get(&BlockKind::Unlock)).copied() {
            self.keep_unlocked(worker, entry, live, unlock).await?;
        }
        let writes = call.kind.writes();
        if writes && !self.began.note() {
            return Err(fault_of(BridgeError::Deadline { outcome_unknown: false }));
        }
        let until = if writes { self.deadline + self.core.options.limits.write_grace } else { self.deadline };
        let outcome = self.call(worker, entry, live, block, &call, until).await;
        if writes {
            // A block may change other keys; clear the whole store.
            self.core.bridge.vaults().changes().wrote_by_block(&entry.store.id);
        }
        outcome
    }

    /// Unlocks where the time is over, and makes sure of what the unlock block leaves in each worker. A vault
    /// that does not unlock is asked all the same, as in Pode: its own error says what is wrong.
    async fn keep_unlocked(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        live: &Live,
        unlock: u64,
    ) -> Result<(), AskFailure> {
        let secret = entry.password();
        if self.is_unlock_due(live, entry) {
            let unlocked = self.unlock_now(worker, entry, live, unlock, secret.as_ref()).await;
            if worker.broken().is_some() {
                return unlocked.map(drop);
            }
            if let Err(fault) = unlocked {
                live.not_unlocked(Instant::now());
                tracing::warn!(vault = %entry.plan.name, "the vault did not unlock again: {fault}");
            }
        }
        let seen = about(worker).ran.get(&entry.number).copied().unwrap_or_default();
        if live.lacks_unlock(seen) && entry.may_unlock() {
            let unlocks = live.unlocks();
            let call =
                CustomCall { kind: BlockKind::Unlock, secret: secret.as_ref(), ..CustomCall::default() };
            let step = BlockRun { vault: &entry.plan.name, live, local: true };
            step.run(self, worker, unlock, &call, self.deadline).await?;
            about(worker).ran.insert(entry.number, unlocks);
        }
        Ok(())
    }

    async fn unlock_now(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        live: &Live,
        block: u64,
        secret: Option<&Text>,
    ) -> Result<CustomReply, AskFailure> {
        let call = CustomCall { kind: BlockKind::Unlock, secret, ..CustomCall::default() };
        let now = Instant::now();
        let reply = self.call(worker, entry, live, block, &call, self.deadline).await?;
        let interval = of(entry).map_or(Duration::ZERO, |custom| custom.unlock_interval);
        let end = unlock_end(reply.expiry.as_deref(), interval).map_err(|then| {
            let message =
                format!("Secret Vault unlock expiry date is in the past (UTC): {}", pode_date(&then));
            refusal("UnlockExpired", message)
        })?;
        let unlocks = live.unlocked(end.left.map(|left| now + left), end.expiry);
        about(worker).ran.insert(entry.number, unlocks);
        Ok(reply)
    }

    async fn call(
        &mut self,
        worker: &mut Worker,
        entry: &Entry,
        live: &Live,
        block: u64,
        call: &CustomCall<'_>,
        until: Instant,
    ) -> Result<CustomReply, AskFailure> {
        BlockRun { vault: &entry.plan.name, live, local: false }.run(self, worker, block, call, until).await
    }

    fn not_had(&self, name: &str, refused: Refused) -> AskFailure {
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

/// One run of a block, with the table that it is given.
struct BlockRun<'a> {
    vault: &'a str,
    live: &'a Live,
    local: bool,
}

impl BlockRun<'_> {
    /// Runs it; what it has changed in the table is kept, also where it throws.
    async fn run(
        &self,
        asking: &mut Asking,
        worker: &mut Worker,
        block: u64,
        call: &CustomCall<'_>,
        until: Instant,
    ) -> Result<CustomReply, AskFailure> {
        let core = asking.core.clone();
        let table = self.live.table.and_then(|id| core.shared.give(id, &mut about(worker).copies));
        let reads = self.live.only_reads(call.kind);
        let invocation = CustomInvoke { vault: self.vault, block, table, reads, local: self.local, call };
        let op = Invoke::Custom(invocation).op().ok_or_else(not_encoded)?;
        let outcome = worker.call_asking::<CustomReply>(op, until, Some(asking)).await;
        let mut reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                // It gave no table back, so the state of its copy is unknown.
                self.live.table.map(|id| about(worker).copies.remove(&id));
                return Err(as_fault(error));
            }
        };
        if let Some(changed) = reply.table.take() {
            core.shared_changed(worker, changed, until).await?;
        }
        say_what_stays(self.live, self.vault, call.kind, std::mem::take(&mut reply.stays));
        match reply.failed.take() {
            Some(fault) => Err(fault),
            None => Ok(reply),
        }
    }
}

impl Core {
    /// Keeps what a worker has changed. Where another was faster, the worker merges its own change with the
    /// other's.
    pub(super) async fn shared_changed(
        &self,
        worker: &mut Worker,
        mut changed: ChangedObject,
        until: Instant,
    ) -> Result<(), AskFailure> {
        loop {
            // The vault was unregistered meanwhile.
            let Some(now) = self.shared.change(changed, &mut about(worker).copies) else { return Ok(()) };
            if now.value.is_none() {
                return Ok(());
            }
            let op = Invoke::Merge(now).op().ok_or_else(not_encoded)?;
            changed = worker.call::<MergeReply>(op, until).await.map_err(as_fault)?.table;
        }
    }
}

impl VaultHooks {
    /// Runs one of the blocks by itself, outside any request.
    async fn run(
        &self,
        worker: &mut Worker,
        kind: BlockKind,
        block: Option<u64>,
        until: Instant,
    ) -> Result<(), CallError> {
        let (Some(block), Some(core)) = (block, self.core.upgrade()) else { return Ok(()) };
        core.session.load(worker, until).await?;
        let call = CustomCall { kind, ..CustomCall::default() };
        let mut asking = Asking::new(core, until);
        let step = BlockRun { vault: &self.name, live: &self.live, local: kind == BlockKind::Init };
        match step.run(&mut asking, worker, block, &call, until).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(worker.broken().map_or(CallError::Fault(fault), CallError::Broken)),
        }
    }

    /// The init block of a custom vault ran when it was registered; it runs again only for what that has left
    /// in the process. A module is prepared in each.
    fn init(&self) -> Option<u64> {
        self.init.filter(|_| !self.custom || self.live.is_local(BlockKind::Init))
    }
}

impl Hooks for VaultHooks {
    fn before<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.run(worker, BlockKind::Init, self.init(), until))
    }

    fn has_before(&self) -> bool {
        self.init().is_some()
    }

    fn after<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.run(
            worker,
            BlockKind::Unregister,
            self.unregister,
            until.min(Instant::now() + STEP_LIMIT),
        ))
    }
}

impl Hooks for Loader {
    fn before<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move { self.0.load(worker, until).await })
    }

    fn after<'a>(&'a self, _worker: &'a mut Worker, _until: Instant) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }
}

fn not_encoded() -> AskFailure {
    refusal("BadCall", "the call does not encode")
}

/// A broken worker's own error is never seen: its call ends with it.
pub fn as_fault(error: CallError) -> AskFailure {
    match error {
        CallError::Fault(fault) => fault,
        CallError::Broken(broken) => refusal("WorkerFailed", broken.to_string()),
    }
}

fn no_block(kind: BlockKind, vault: &str) -> AskFailure {
    let what = match kind {
        BlockKind::Set => "No Set ScriptBlock supplied for updating/creating secrets in the vault",
        BlockKind::Remove => "No Remove ScriptBlock supplied for removing secrets from the vault",
        BlockKind::Unlock => "No Unlock ScriptBlock supplied for unlocking the vault",
        BlockKind::Init | BlockKind::Read | BlockKind::Unregister => {
            "No such ScriptBlock supplied for the vault"
        }
    };
    refusal("SecretVaultNoBlock", format!("{what} '{vault}'"))
}

/// Notes what a block has left that cannot leave its worker, and says so once by name.
pub fn say_what_stays(live: &Live, vault: &str, kind: BlockKind, things: Vec<String>) {
    for thing in live.leaves(kind, things) {
        tracing::warn!(
            vault,
            "{thing} cannot leave the worker that made it: the block that made it runs again in each worker"
        );
    }
}

/// Something that only PowerShell can look into, and not just `$null`.
fn is_opaque(value: &SecretValue) -> bool {
    matches!(value, SecretValue::Clixml(document) if !document.expose().ends_with("\"><Nil /></Objs>"))
}
