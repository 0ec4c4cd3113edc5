//! Writes inside a worker. SecretStore acknowledges some that it does not keep: then they are written again.

use tokio::time::{Instant, sleep};

use super::{DOUBTS, Session, Trouble, is_locked, is_not_found};
use crate::mount::merge;
use crate::protocol::{Empty, Fault, Get, GetReply, Metadata, Op, Remove, Set};
use crate::secret::SecretValue;
use crate::store::{Authentication, Discipline};
use crate::vault::act::Change;
use crate::worker::CallError;

/// Why what was there before a write is put back.
const WIPED: &str = "met a change of the store's configuration by another process";

/// The kind of an error that says not-found of a secret that is there.
const STILL_THERE: &str = "System.InvalidOperationException";

/// How a write went.
struct Attempt {
    outcome: Result<(), CallError>,
    /// Nobody else can have made SecretStore read its file again beside it.
    alone: bool,
    /// Somebody else changed the configuration meanwhile, at which SecretStore drops what it has open.
    reconfigured: bool,
    /// The data file is as it was.
    changed_nothing: bool,
}

impl Session<'_> {
    /// What a write may destroy: the value and metadata now in a store that overwrites in two steps.
    /// `None` where there is none, or where an overwrite is one step.
    pub async fn before_write(&mut self, key: &str) -> Result<Option<GetReply>, Trouble> {
        if self.entry.store.discipline != Discipline::SecretStore {
            return Ok(None);
        }
        let (vault, name) = (self.registered(), key.to_owned());
        // A copy that is as the files are needs no unlock, which costs more than the write itself; unless
        // somebody else writes too.
        let mut always_refresh = self.entry.store.is_shared();
        let mut doubts = 0;
        let present = loop {
            let present = self
                .settled(always_refresh, |refresh| {
                    Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail: true })
                })
                .await;
            doubts += 1;
            // Somebody else has written while we read: what they wrote would not be in what we write.
            if doubts == DOUBTS || !self.can_refresh() || !self.entry.store.foreign_change() {
                break present;
            }
            always_refresh = true;
        };
        match present {
            Ok(reply) => Ok(Some(reply)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// The whole value that an update of one member makes, from the value now.
    pub async fn merged(
        &mut self,
        key: &str,
        member: &str,
        value: &SecretValue,
        before: Option<&GetReply>,
    ) -> Result<SecretValue, Trouble> {
        if let Some(before) = before {
            return Ok(merge(Some(&before.value), member, value.clone()));
        }
        match self.get(key, false).await {
            Ok(now) => Ok(merge(Some(&now.value), member, value.clone())),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(merge(None, member, value.clone())),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes a value; `before` is what [`Session::before_write`] gave, in the same lane. Metadata not
    /// given is kept.
    pub async fn set(
        &mut self,
        key: &str,
        value: &SecretValue,
        metadata: Option<&Metadata>,
        before: Option<&GetReply>,
    ) -> Result<(), Trouble> {
        let known = metadata.or(before.map(|before| &before.metadata));
        let op = Op::Set(Set {
            vault: self.registered(),
            name: key.to_owned(),
            value: value.clone(),
            metadata: known.filter(|metadata| !metadata.is_empty()).cloned(),
            refresh: false,
            keep_metadata: metadata.is_none() && self.entry.store.discipline != Discipline::SecretStore,
        });
        self.write(key, before.is_some(), Some(value), op).await
    }

    /// Removes a key. Call [`Session::before_write`] first, in the same lane.
    pub async fn remove(&mut self, key: &str, was_there: bool) -> Result<(), Trouble> {
        let op = Op::Remove(Remove { vault: self.registered(), name: key.to_owned(), refresh: false });
        self.write(key, was_there, None, op).await
    }

    /// Puts back what was there before a write that was cut off, if that left neither the old value nor the
    /// new one: an overwrite deletes first, and a table is written member by member.
    pub async fn restore(&mut self, key: &str, change: &Change) -> Result<bool, Trouble> {
        let now = self.before_write(key).await?.map(|now| now.value);
        let whole = change.is_whole(now.as_ref());
        match &change.before {
            _ if whole => {}
            Some(before) => self.set(key, &before.value, Some(&before.metadata), None).await?,
            None => self.remove(key, true).await?,
        }
        Ok(!whole)
    }

    /// Writes until the store has it. SecretStore reads its file again when somebody else has changed it, and
    /// drops what it has open when they have changed its configuration, both on a thread of its own and
    /// whatever it is doing: a write that is under way then is refused, or is acknowledged and not in the file.
    async fn write(
        &mut self,
        key: &str,
        was_there: bool,
        after: Option<&SecretValue>,
        op: Op,
    ) -> Result<(), Trouble> {
        let (store, removes) = (self.entry.store.clone(), after.is_none());
        if store.discipline != Discipline::SecretStore {
            return Ok(self.write_once(op).await.outcome?);
        }
        for tries in 1.. {
            self.prepare().await?;
            let attempt = self.write_once(op.clone()).await;
            let lost = match attempt.outcome {
                Err(CallError::Broken(broken)) => return Err(Trouble::Broken(broken)),
                _ if attempt.reconfigured => {
                    store.put_back(WIPED);
                    Trouble::OldCopy
                }
                Ok(()) if attempt.alone || self.has_kept(key, after).await? => return Ok(()),
                // Whoever is near may have erased it: that is looked into, and named.
                Ok(()) if tries == DOUBTS && store.is_shared() => return Ok(()),
                Ok(()) => Trouble::Fault(Box::new(not_kept())),
                // SecretStore calls whatever keeps it from removing a secret not found.
                Err(CallError::Fault(mut fault)) if removes && was_there && is_not_found(&fault) => {
                    if self.has_kept(key, after).await? {
                        return Ok(());
                    }
                    STILL_THERE.clone_into(&mut fault.kind);
                    Trouble::Fault(fault)
                }
                Err(CallError::Fault(fault)) => {
                    // With its default Interaction it may say that it could not ask, by other ids.
                    let may_be_locked =
                        is_locked(&fault) || (attempt.changed_nothing && tries == 1 && !is_not_found(&fault));
                    if !may_be_locked || !self.can_refresh() {
                        return Err(Trouble::Fault(fault));
                    }
                    Trouble::Fault(fault)
                }
            };
            if tries == DOUBTS {
                return Err(lost);
            }
            if self.can_refresh() {
                self.unlock().await?;
            }
        }
        unreachable!("it ends with its last try")
    }

    /// Reads what somebody else has written since we read, and keeps the data that was found readable, so that
    /// it can be put back.
    async fn prepare(&mut self) -> Result<(), Trouble> {
        let store = self.entry.store.clone();
        for _ in 0..DOUBTS {
            // Their change must be looked into, too.
            store.foreign_change();
            let events = store.heard_of_configuration_in();
            if !events.is_zero() {
                sleep(events.min(self.until.saturating_duration_since(Instant::now()))).await;
            }
            store.keep();
            let seen = self.worker.seen.get(&store.id);
            if !store.foreign_change() && seen.is_some_and(|seen| seen.files == store.files_now()) {
                return Ok(());
            }
            match store.authentication() {
                _ if self.can_refresh() => drop(self.unlock().await?),
                Authentication::None => return Err(Trouble::OldCopy),
                _ => return Ok(()),
            }
        }
        // What was kept may be torn: somebody else never stops writing.
        store.is_whole();
        Ok(())
    }

    async fn write_once(&mut self, op: Op) -> Attempt {
        let store = self.entry.store.clone();
        let before = store.files_now();
        let outcome = self.worker.call::<Empty>(op, self.until + self.grace).await;
        // Whatever the outcome, the files may have changed: every other copy is old now. So is this one after
        // another's write: about five seconds after that SecretStore reads the file beside whatever it is doing
        // and may put what it read over what we have just written. Of its own writes it does not.
        let writer = self.worker.number();
        let again = store.last_writer() == Some(writer);
        let files = store.files_now();
        let generation = store.wrote_by(files.clone(), outcome.is_ok().then_some(writer));
        let reconfigured = !files.has_configuration_of(&before);
        if outcome.is_ok() && !reconfigured {
            store.is_whole();
            if again || !self.can_refresh() {
                let unlocked = self.worker.seen.get(&store.id).and_then(|seen| seen.unlocked);
                self.saw(generation, files.clone(), unlocked);
            }
        }
        Attempt {
            outcome: outcome.map(|Empty {}| ()),
            alone: again && !store.is_shared(),
            reconfigured,
            changed_nothing: files.has_data_of(&before),
        }
    }

    /// Whether the store has what was just written, or has been written by somebody else since.
    async fn has_kept(&mut self, key: &str, after: Option<&SecretValue>) -> Result<bool, Trouble> {
        let store = self.entry.store.clone();
        let (left, vault, name) = (store.files_now(), self.registered(), key.to_owned());
        let found: Result<GetReply, Trouble> = self
            .settled(true, |refresh| {
                Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail: false })
            })
            .await;
        let has_it = match found {
            Ok(reply) => after.is_some_and(|after| reply.value.looks_like(after)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => after.is_none(),
            Err(Trouble::Broken(broken)) => return Err(Trouble::Broken(broken)),
            // It cannot be told now, and it was acknowledged.
            Err(_) => true,
        };
        Ok(has_it || !store.files_now().has_data_of(&left))
    }
}

fn not_kept() -> Fault {
    Fault {
        id: "WriteNotKept".into(),
        kind: STILL_THERE.into(),
        category: "WriteError".into(),
        message: "the store acknowledged the write and does not have it".into(),
        ..Fault::default()
    }
}

#[cfg(test)]
mod tests;
