//! Writes to a SecretStore. It acknowledges some that it does not keep: then they are written again.

use tokio::time::{Instant, sleep};

use super::judge::{AfterWrite, Attempt, Complaint};
use super::kept::{Undone, WIPED};
use super::session::StoreTurn;
use super::state::{Authentication, KnownStore};
use crate::protocol::{Empty, Fault, Metadata, Op, Remove, Set};
use crate::secret::{SecretType, SecretValue};
use crate::store::Fingerprint;
use crate::vault::backend::{Present, UnreadValue};
use crate::vault::turn::{STILL_THERE, Trouble, is_locked, is_not_found, not_kept};
use crate::worker::CallError;

/// How often the store is read again before a write while somebody else goes on changing it.
const LOOKS: u32 = 2;

/// The state that a write must leave.
struct WantedState<'a> {
    key: &'a str,
    before: &'a Present,
    /// Nothing for a removal.
    after: Option<&'a SecretValue>,
}

/// What a call that writes came to, and what it did to the files.
struct WriteCall {
    outcome: Result<(), Box<Fault>>,
    /// See [`Attempt`].
    alone: bool,
    reconfigured: bool,
    changed_nothing: bool,
}

impl WantedState<'_> {
    /// Whether a write that is cut off may destroy what was not read. A removal takes one step, save that of a table.
    fn needs_undo(&self) -> bool {
        matches!(self.before, Present::Unread(unread) if self.after.is_some() || unread.table)
    }
}

/// Puts the store's file of before a write back; tells whether it did.
pub(super) fn undo(store: &KnownStore, vault: &str, key: &str) -> Result<bool, Trouble> {
    match store.undo(key) {
        Undone::Back => Ok(true),
        Undone::Unchanged => Ok(false),
        Undone::TooLate => {
            store.note_vanished(key);
            tracing::error!(
                vault,
                key,
                "a write was cut off, and its old value cannot be put back: another process has written to the store since"
            );
            Ok(false)
        }
        Undone::NotNow(error) => Err(Trouble::Fault(Box::new(Fault {
            id: "UndoFailed".into(),
            kind: STILL_THERE.into(),
            category: "WriteError".into(),
            message: format!("the store's file of before the write cannot be put back: {error}"),
            ..Fault::default()
        }))),
    }
}

impl StoreTurn<'_, '_> {
    /// What a write must know of what it may destroy: whether it is there, and its metadata. Its value only where the
    /// store's file of before could not put it back: see [`KnownStore::can_undo`].
    pub(super) async fn read_before_write(&mut self, key: &str) -> Result<Present, Trouble> {
        if self.store.must_undo_first(key) {
            return Err(Trouble::Owed);
        }
        // Here already, so that nothing of what is read is old when it is written.
        self.let_events_come().await;
        if !self.store.can_undo() {
            return self.look_at(key).await;
        }
        let info = match self.info_from_store(key, false).await {
            Ok(info) => info,
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => return Ok(Present::Missing),
            Err(trouble) => return Err(trouble),
        };
        // Somebody else has written while we looked.
        if self.store.foreign_change() {
            return self.look_at(key).await;
        }
        let table = matches!(info.kind, SecretType::Hashtable | SecretType::Unknown);
        Ok(Present::Unread(UnreadValue { metadata: info.metadata, table }))
    }

    /// What is there now, its value included.
    pub(super) async fn look_at(&mut self, key: &str) -> Result<Present, Trouble> {
        self.let_events_come().await;
        // A copy that is as the files are needs no unlock, which costs more than the write itself; unless
        // somebody else writes too.
        let mut always_refresh = self.store.is_shared();
        let mut looks = 0;
        let present = loop {
            let present = self.read_from_store(key, always_refresh, true).await;
            looks += 1;
            // Somebody else has written while we read: what they wrote would not be in what we write.
            if looks == LOOKS || !self.can_refresh() || !self.store.foreign_change() {
                break present;
            }
            always_refresh = true;
        };
        match present {
            Ok(reply) => Ok(Present::There(reply)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(Present::Missing),
            Err(trouble) => Err(trouble),
        }
    }

    /// Metadata not given is kept: a set without any erases it.
    pub(super) async fn set_in_store(
        &mut self,
        key: &str,
        value: &SecretValue,
        metadata: Option<&Metadata>,
        before: &Present,
    ) -> Result<(), Trouble> {
        let known = metadata.or(before.metadata());
        let op = Op::Set(Set {
            vault: self.turn.vault.registered(),
            name: key.to_owned(),
            value: value.clone(),
            metadata: known.filter(|metadata| !metadata.is_empty()).cloned(),
            refresh: false,
            keep_metadata: false,
            metadata_only: false,
        });
        self.write(op, &WantedState { key, before, after: Some(value) }).await
    }

    /// The metadata alone: the store writes its file anew, but not the value.
    pub(super) async fn set_info_in_store(
        &mut self,
        key: &str,
        value: &SecretValue,
        metadata: &Metadata,
        before: &Present,
    ) -> Result<(), Trouble> {
        let op = Op::Set(Set {
            vault: self.turn.vault.registered(),
            name: key.to_owned(),
            value: value.clone(),
            metadata: Some(metadata.clone()),
            refresh: false,
            keep_metadata: false,
            metadata_only: true,
        });
        self.write(op, &WantedState { key, before, after: Some(value) }).await
    }

    pub(super) async fn remove_from_store(&mut self, key: &str, before: &Present) -> Result<(), Trouble> {
        let op =
            Op::Remove(Remove { vault: self.turn.vault.registered(), name: key.to_owned(), refresh: false });
        self.write(op, &WantedState { key, before, after: None }).await
    }

    /// Writes until the store has it. It reads its file again when somebody else has changed it, and drops what it
    /// has open when they have changed its configuration, both on a thread of its own and whatever it is doing: a
    /// write that is under way then is refused, or is acknowledged and not in the file.
    async fn write(&mut self, op: Op, wanted: &WantedState<'_>) -> Result<(), Trouble> {
        let mut lost: Option<Box<Fault>> = None;
        let given_up = |lost: Option<Box<Fault>>, trouble| match lost {
            // What was tried may have left something half done.
            Some(fault) if !is_locked(&fault) => Trouble::Fault(fault),
            _ => trouble,
        };
        for tries in 1.. {
            let files = match self.prepare_write().await {
                Ok(files) => files,
                Err(trouble) => return Err(given_up(lost, trouble)),
            };
            if tries == 1 && wanted.needs_undo() && !self.store.begin_undo(wanted.key) {
                // Somebody else never stops writing: the value is to be read first.
                return Err(Trouble::OldCopy);
            }
            let call = self.write_once(op.clone(), &files).await?;
            let attempt = self.observe(tries, &call, wanted);
            let last = attempt.is_last();
            let Some(fault) = self.act_on(call, attempt, wanted).await? else {
                self.store.forget_undo(wanted.key);
                return Ok(());
            };
            if last {
                return Err(Trouble::Fault(fault));
            }
            lost = Some(fault);
            if self.can_refresh()
                && let Err(trouble) = self.unlock().await
            {
                return Err(given_up(lost, trouble));
            }
        }
        unreachable!("it ends with its last try")
    }

    fn observe(&self, tries: u32, call: &WriteCall, wanted: &WantedState<'_>) -> Attempt {
        let store = self.store;
        let may_be_wiped = call.reconfigured || (tries == 1 && !call.alone);
        Attempt {
            tries,
            error: call.outcome.as_ref().err().map(|fault| Complaint::of(fault)),
            alone: call.alone,
            reconfigured: call.reconfigured,
            changed_nothing: call.changed_nothing,
            shared: store.is_shared(),
            wiped: may_be_wiped && store.is_wiped(),
            removes: wanted.after.is_none(),
            was_there: wanted.before.is_there(),
            can_refresh: self.can_refresh(),
        }
    }

    /// Acts on the judgement of an attempt: nothing where the store has it, and else the fault, if another try may
    /// help. An error is one that will not pass.
    async fn act_on(
        &mut self,
        call: WriteCall,
        attempt: Attempt,
        wanted: &WantedState<'_>,
    ) -> Result<Option<Box<Fault>>, Trouble> {
        let judgement = match attempt.judge() {
            AfterWrite::Look => self.look_after(attempt, wanted).await?,
            judgement => judgement,
        };
        let fault = match call.outcome {
            Ok(()) => not_kept("it is not there"),
            Err(mut fault) => {
                if is_not_found(&fault) && (wanted.before.is_there() || wanted.after.is_some()) {
                    // SecretStore calls whatever keeps it from a write or a removal not found.
                    STILL_THERE.clone_into(&mut fault.kind);
                }
                fault
            }
        };
        match judgement {
            AfterWrite::Done => Ok(None),
            AfterWrite::Failed => Err(Trouble::Fault(fault)),
            AfterWrite::PutBack => {
                self.store.put_back(WIPED);
                Ok(Some(not_kept("it is not there")))
            }
            AfterWrite::Again | AfterWrite::Look => Ok(Some(fault)),
        }
    }

    /// Looks whether the store has what was written.
    async fn look_after(
        &mut self,
        mut attempt: Attempt,
        wanted: &WantedState<'_>,
    ) -> Result<AfterWrite, Trouble> {
        let (store, last) = (self.store, attempt.is_last());
        if attempt.error.is_none() && !self.can_refresh() {
            // What is read then comes from memory, and says nothing of the file.
            store.is_whole();
        }
        let kept = match self.has_kept(wanted).await {
            Ok(kept) => Some(kept),
            // Where it cannot be read now, it was acknowledged.
            Err(trouble) if attempt.error.is_none() && !matches!(trouble, Trouble::Broken(_)) => None,
            Err(trouble) => return Err(trouble),
        };
        attempt.shared = store.is_shared();
        Ok(attempt.after_look(kept, last))
    }

    /// Reads what somebody else has written since we read, and keeps the data that was found readable, so that
    /// it can be put back. Gives the files as they are then.
    async fn prepare_write(&mut self) -> Result<Fingerprint, Trouble> {
        let store = self.store;
        for _ in 0..LOOKS {
            self.let_events_come().await;
            store.keep();
            let (foreign, files) = (store.foreign_change(), store.files_now());
            let seen = self.turn.seen();
            if !foreign && seen.is_some_and(|seen| seen.files == files) {
                return Ok(files);
            }
            match store.authentication() {
                _ if self.can_refresh() => drop(self.unlock().await?),
                Authentication::None => return Err(Trouble::OldCopy),
                _ => return Ok(files),
            }
        }
        // What was kept may be torn: somebody else never stops writing.
        store.is_whole();
        Ok(store.files_now())
    }

    /// Waits until every worker has heard of a change of the configuration by somebody else.
    async fn let_events_come(&mut self) {
        let store = self.store;
        // Their change must be looked into, too.
        store.foreign_change();
        let events = store.heard_of_configuration_in();
        if !events.is_zero() {
            sleep(events.min(self.turn.until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// One call. The error is a worker that broke.
    async fn write_once(&mut self, op: Op, before: &Fingerprint) -> Result<WriteCall, Trouble> {
        let store = self.store;
        let outcome = self.turn.worker.call::<Empty>(op, self.turn.until + self.turn.grace).await;
        // Whatever the outcome, the files may have changed: every other copy is old now. So is this one after
        // another's write: about five seconds after that SecretStore reads the file beside whatever it is doing
        // and may put what it read over what we have just written. Of its own writes it does not.
        let writer = self.turn.worker.number();
        let again = store.last_writer() == Some(writer);
        let files = store.files_now();
        let generation = store.wrote_secret(files.clone(), outcome.is_ok().then_some(writer));
        let reconfigured = !files.has_configuration_of(before);
        let changed_nothing = files.has_data_of(before);
        let alone = again && !reconfigured && !changed_nothing && !store.is_shared();
        if outcome.is_ok() {
            if alone {
                store.is_whole();
            }
            if !reconfigured && (again || !self.can_refresh()) {
                let unlocked = self.turn.seen().and_then(|seen| seen.unlocked);
                self.turn.saw(generation, files, unlocked);
            }
        }
        let outcome = match outcome {
            Ok(Empty {}) => Ok(()),
            Err(CallError::Fault(fault)) => Err(fault),
            Err(CallError::Broken(broken)) => return Err(Trouble::Broken(broken)),
        };
        Ok(WriteCall { outcome, alone, reconfigured, changed_nothing })
    }

    /// Whether the store has what was just written, or has been written by somebody else since; errors are those
    /// of a read.
    async fn has_kept(&mut self, wanted: &WantedState<'_>) -> Result<bool, Trouble> {
        let store = self.store;
        let (left, changes) = (store.files_now(), store.foreign_changes());
        let found = self.read_from_store(wanted.key, true, false).await;
        let has_it = match found {
            Ok(reply) => wanted.after.is_some_and(|after| reply.value.looks_like(after)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => wanted.after.is_none(),
            Err(trouble) => return Err(trouble),
        };
        let by_others = store.foreign_change() || store.foreign_changes() != changes;
        Ok(has_it || (by_others && !store.files_now().has_data_of(&left)))
    }
}

#[cfg(test)]
mod tests;
