//! Writes to a SecretStore. It acknowledges some that it does not keep: then they are written again.

use tokio::time::{Instant, sleep};

use super::judge::{self, AfterWrite, Attempt, Complaint, CopyUse, WriteEnd, WrittenFiles};
use super::kept::{Undone, WIPED};
use super::session::StoreTurn;
use super::state::KnownStore;
use crate::protocol::{Empty, Fault, Metadata, Op, Remove, Set};
use crate::secret::{SecretType, SecretValue};
use crate::vault::backend::{Present, UnreadValue};
use crate::vault::fingerprint::Fingerprint;
use crate::vault::turn::{STILL_THERE, Trouble, is_not_found, not_kept};
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

impl WriteCall {
    /// Why the store does not have it.
    fn fault(self, wanted: &WantedState<'_>) -> Box<Fault> {
        match self.outcome {
            Ok(()) => not_there(),
            Err(fault) => judge::write_fault(fault, wanted.after.is_none(), wanted.before.is_there()),
        }
    }
}

fn not_there() -> Box<Fault> {
    not_kept("it is not there")
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
    /// What a write must know of the secret that it may destroy: whether it is there, and its metadata. Its value is read
    /// only if the store's file of before the write could not bring it back: see [`KnownStore::can_undo`].
    pub(super) async fn read_before_write(&mut self, key: &str) -> Result<Present, Trouble> {
        if self.store.must_undo_first(key) {
            return Err(Trouble::Owed);
        }
        // Waits before the read, so that nothing that is read is old when the write begins.
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

    /// Writes until the store has it. SecretStore reads its file again after another program has changed it, and locks
    /// itself after a change of its configuration. It does both on a thread of its own, at any moment: a write that is
    /// under way then is refused, or is acknowledged and not in the file.
    async fn write(&mut self, op: Op, wanted: &WantedState<'_>) -> Result<(), Trouble> {
        let (mut tries, mut lost) = (0, None);
        loop {
            tries += 1;
            let files = match self.prepare_try(tries).await {
                Ok(files) => files,
                Err(trouble) => return Err(judge::given_up(lost, trouble)),
            };
            if tries == 1 && wanted.needs_undo() && !self.store.begin_undo(wanted.key) {
                // Somebody else never stops writing: the value is to be read first.
                return Err(Trouble::OldCopy);
            }
            let call = self.write_once(op.clone(), &files).await?;
            let attempt = self.observe(tries, &call, wanted);
            let (end, fault) = match attempt.judge() {
                AfterWrite::End(end) => (end, call.fault(wanted)),
                AfterWrite::Look => (self.look_after(attempt, wanted).await?, call.fault(wanted)),
                AfterWrite::PutBack => {
                    self.store.put_back(WIPED);
                    (attempt.after_put_back(), not_there())
                }
            };
            match end {
                WriteEnd::Done => {
                    self.store.forget_undo(wanted.key);
                    return Ok(());
                }
                WriteEnd::Failed => return Err(Trouble::Fault(fault)),
                WriteEnd::Again => lost = Some(fault),
            }
        }
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

    /// Looks whether the store has what was written.
    async fn look_after(&mut self, attempt: Attempt, wanted: &WantedState<'_>) -> Result<WriteEnd, Trouble> {
        let store = self.store;
        if attempt.error.is_none() && !self.can_refresh() {
            // What is read then comes from memory, and says nothing of the file.
            store.found_whole();
        }
        let kept = match self.has_kept(wanted).await {
            Ok(kept) => Some(kept),
            // It cannot be read now. That it was acknowledged has to do.
            Err(trouble) if attempt.error.is_none() && !matches!(trouble, Trouble::Broken(_)) => None,
            Err(trouble) => return Err(trouble),
        };
        Ok(attempt.after_look(kept, store.is_shared()))
    }

    /// As [`Self::prepare_write`]. After a try that was lost the store is unlocked first, which reads it anew.
    async fn prepare_try(&mut self, tries: u32) -> Result<Fingerprint, Trouble> {
        if tries > 1 && self.can_refresh() {
            self.unlock().await?;
        }
        self.prepare_write().await
    }

    /// Reads what somebody else has written since we read, and keeps the data that was found readable, so that
    /// it can be put back. Gives the files as they are then.
    async fn prepare_write(&mut self) -> Result<Fingerprint, Trouble> {
        let store = self.store;
        for _ in 0..LOOKS {
            self.let_events_come().await;
            store.keep();
            let (foreign, files) = (store.foreign_change(), store.files_now());
            let is_old = foreign || self.seen().is_none_or(|seen| seen.files != files);
            match judge::copy(is_old, false, self.can_refresh(), store.has_no_password()) {
                CopyUse::AsItIs => return Ok(files),
                CopyUse::Refresh => drop(self.unlock().await?),
                CopyUse::AnotherWorker => return Err(Trouble::OldCopy),
            }
        }
        // What was kept may be torn: somebody else never stops writing.
        store.found_whole();
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
        // Whatever the outcome, the files may have changed: the copies of all other workers are old now. So is this
        // one, if another worker or program wrote before: about five seconds after that SecretStore reads the file
        // again, at any moment, and what it reads may replace what we have just written. It does not do so after its
        // own writes.
        let writer = self.turn.worker.number();
        let again = store.last_writer() == Some(writer);
        let files = store.files_now();
        let generation = store.wrote_secret(files.clone(), outcome.is_ok().then_some(writer));
        let reconfigured = !files.has_configuration_of(before);
        let changed_nothing = files.has_data_of(before);
        let call = WrittenFiles {
            again,
            reconfigured,
            changed_nothing,
            shared: store.is_shared(),
            refreshes: self.can_refresh(),
        };
        let alone = call.is_alone();
        if outcome.is_ok() {
            if alone {
                store.found_whole();
            }
            if call.is_seen() {
                let unlocked = self.seen().and_then(|seen| seen.unlocked);
                self.saw(generation, files, unlocked);
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
