//! Writes inside a worker. SecretStore acknowledges some that it does not keep: then they are written again.

use tokio::time::{Instant, sleep};

use super::checked::{Checked, Present};
use super::{DOUBTS, Session, Trouble, is_locked, is_not_found};
use crate::mount::merge;
use crate::protocol::{Empty, Fault, Get, GetReply, Metadata, Op, Remove, Set};
use crate::secret::SecretValue;
use crate::store::{Authentication, Fingerprint, WIPED};
use crate::vault::act::Change;
use crate::worker::CallError;

/// The kind of an error that says not-found of a secret that is there.
pub(super) const STILL_THERE: &str = "System.InvalidOperationException";

/// How often a write is done that is acknowledged and not kept while somebody else writes too.
const BESIDE_ANOTHER: u32 = 2;

/// How often the store is read again before a write while somebody else goes on changing it.
const LOOKS: u32 = 2;

/// What a write is to come to.
struct Wanted<'a> {
    key: &'a str,
    was_there: bool,
    /// Nothing for a removal.
    after: Option<&'a SecretValue>,
}

/// How a try to write went.
struct Attempt {
    outcome: Result<(), CallError>,
    /// Nobody else can have made SecretStore read its file again beside it.
    alone: bool,
    /// Somebody else changed the configuration meanwhile, at which SecretStore drops what it has open.
    reconfigured: bool,
    /// The data file is as it was.
    changed_nothing: bool,
}

impl Attempt {
    fn is_locked(&self) -> bool {
        matches!(&self.outcome, Err(CallError::Fault(fault)) if is_locked(fault))
    }
}

impl Session<'_> {
    /// What a write may destroy: the value now and, in a SecretStore, which overwrites in two steps, its
    /// metadata.
    pub async fn before_write(&mut self, key: &str) -> Result<Present, Trouble> {
        if !self.is_secret_store() {
            return self.present(key).await;
        }
        // Here already, so that nothing of what is read is old when it is written.
        self.let_events_come().await;
        let (vault, name) = (self.registered(), key.to_owned());
        // A copy that is as the files are needs no unlock, which costs more than the write itself; unless
        // somebody else writes too.
        let mut always_refresh = self.entry.store.is_shared();
        let mut looks = 0;
        let present = loop {
            let present = self
                .settled(always_refresh, |refresh| {
                    Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail: true })
                })
                .await;
            looks += 1;
            // Somebody else has written while we read: what they wrote would not be in what we write.
            if looks == LOOKS || !self.can_refresh() || !self.entry.store.foreign_change() {
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

    /// The whole value that an update of one member makes, from the value now.
    pub async fn merged(
        &mut self,
        key: &str,
        member: &str,
        value: &SecretValue,
        before: &Present,
    ) -> Result<SecretValue, Trouble> {
        match before {
            Present::There(before) => return Ok(merge(Some(&before.value), member, value.clone())),
            Present::Missing => return Ok(merge(None, member, value.clone())),
            Present::Unknown => {}
        }
        match self.get(key, false).await {
            Ok(now) => Ok(merge(Some(&now.value), member, value.clone())),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(merge(None, member, value.clone())),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes a value; `before` is what [`Session::before_write`] gave, in the same lane. Metadata not given is
    /// kept where the module is known to keep just what it is given.
    pub async fn set(
        &mut self,
        key: &str,
        value: &SecretValue,
        metadata: Option<&Metadata>,
        before: &Present,
    ) -> Result<(), Trouble> {
        let known = metadata.or(before.reply().map(|before| &before.metadata));
        let keeps = self.entry.plan.extension().is_some_and(|extension| extension.keep_metadata);
        let op = Op::Set(Set {
            vault: self.registered(),
            name: key.to_owned(),
            value: value.clone(),
            metadata: known.filter(|metadata| !metadata.is_empty()).cloned(),
            refresh: false,
            // Others take computed metadata for their own, or refuse what they report.
            keep_metadata: metadata.is_none() && keeps && !self.is_secret_store(),
        });
        if !self.is_secret_store() {
            let with_metadata = metadata.is_some_and(|metadata| !metadata.is_empty());
            return self.write_checked(op, &Checked { key, before, after: Some(value), with_metadata }).await;
        }
        self.write(op, &Wanted { key, was_there: before.reply().is_some(), after: Some(value) }).await
    }

    /// Removes a key. Call [`Session::before_write`] first, in the same lane.
    pub async fn remove(&mut self, key: &str, before: &Present) -> Result<(), Trouble> {
        let op = Op::Remove(Remove { vault: self.registered(), name: key.to_owned(), refresh: false });
        if !self.is_secret_store() {
            return self.write_checked(op, &Checked { key, before, after: None, with_metadata: false }).await;
        }
        self.write(op, &Wanted { key, was_there: before.reply().is_some(), after: None }).await
    }

    /// Puts back what was there before a write that was cut off, if that left neither the old value nor the
    /// new one: an overwrite deletes first, and a table is written member by member.
    pub async fn restore(&mut self, key: &str, change: &Change) -> Result<bool, Trouble> {
        let now = self.before_write(key).await?;
        let whole = change.is_whole(now.reply().map(|now| &now.value));
        match &change.before {
            _ if whole => {}
            Some(before) => self.set(key, &before.value, Some(&before.metadata), &Present::Missing).await?,
            None => self.remove(key, &now).await?,
        }
        Ok(!whole)
    }

    /// Writes until the SecretStore has it. It reads its file again when somebody else has changed it, and
    /// drops what it has open when they have changed its configuration, both on a thread of its own and
    /// whatever it is doing: a write that is under way then is refused, or is acknowledged and not in the file.
    async fn write(&mut self, op: Op, wanted: &Wanted<'_>) -> Result<(), Trouble> {
        let mut lost: Option<Box<Fault>> = None;
        let given_up = |lost: Option<Box<Fault>>, trouble| match lost {
            // What was tried may have left something half done.
            Some(fault) if !is_locked(&fault) => Trouble::Fault(fault),
            _ => trouble,
        };
        for tries in 1.. {
            let files = match self.prepare().await {
                Ok(files) => files,
                Err(trouble) => return Err(given_up(lost, trouble)),
            };
            let attempt = self.write_once(op.clone(), &files).await;
            let last = self.is_last(tries, &attempt);
            let Some(fault) = self.judge(attempt, wanted, tries == 1, last).await? else { return Ok(()) };
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

    /// Whether a write that this try did not do is given up.
    fn is_last(&self, tries: u32, attempt: &Attempt) -> bool {
        let is_shared = self.entry.store.is_shared();
        // Something that lasts keeps it from writing.
        let in_vain = tries > 1 && attempt.changed_nothing && !attempt.is_locked() && !is_shared;
        // Who erases it once, with a stale copy or in a tight loop, does so again.
        let beside_another = tries == BESIDE_ANOTHER && attempt.outcome.is_ok() && is_shared;
        tries == DOUBTS || in_vain || beside_another
    }

    /// Whether the store has it: nothing if so, and else the fault, if another try may help. An error is one
    /// that will not pass.
    async fn judge(
        &mut self,
        attempt: Attempt,
        wanted: &Wanted<'_>,
        first: bool,
        last: bool,
    ) -> Result<Option<Box<Fault>>, Trouble> {
        let store = self.entry.store.clone();
        let locked = attempt.is_locked();
        match attempt.outcome {
            Err(CallError::Broken(broken)) => Err(Trouble::Broken(broken)),
            _ if (attempt.reconfigured || (first && !attempt.alone)) && store.is_wiped() => {
                store.put_back(WIPED);
                Ok(Some(not_kept("it is not there")))
            }
            Ok(()) if attempt.alone => Ok(None),
            Ok(()) => {
                if !self.can_refresh() {
                    // What is read then comes from memory, and says nothing of the file.
                    store.is_whole();
                }
                match self.has_kept(wanted).await {
                    Err(Trouble::Broken(broken)) => Err(Trouble::Broken(broken)),
                    // A new key that whoever is near has erased is looked for, and named.
                    Ok(false) if !(last && store.is_shared() && !wanted.was_there) => {
                        Ok(Some(not_kept("it is not there")))
                    }
                    // Where it cannot be read now, it was acknowledged.
                    _ => Ok(None),
                }
            }
            Err(CallError::Fault(mut fault)) => {
                let (nothing_there, removes) = (is_not_found(&fault), wanted.after.is_none());
                if nothing_there && removes && !wanted.was_there {
                    return Err(Trouble::Fault(fault));
                }
                if nothing_there {
                    // SecretStore calls whatever keeps it from a write or a removal not found.
                    STILL_THERE.clone_into(&mut fault.kind);
                }
                // From memory it would be gone whatever the file has.
                if nothing_there && removes && self.can_refresh() && self.has_kept(wanted).await? {
                    return Ok(None);
                }
                // With its default Interaction it may say by other ids that it is locked.
                let may_be_locked = locked || (attempt.changed_nothing && first);
                let may_help = (may_be_locked || (nothing_there && removes)) && self.can_refresh();
                if may_help { Ok(Some(fault)) } else { Err(Trouble::Fault(fault)) }
            }
        }
    }

    /// Reads what somebody else has written since we read, and keeps the data that was found readable, so that
    /// it can be put back. Gives the files as they are then.
    async fn prepare(&mut self) -> Result<Fingerprint, Trouble> {
        let store = self.entry.store.clone();
        for _ in 0..LOOKS {
            self.let_events_come().await;
            store.keep();
            let (foreign, files) = (store.foreign_change(), store.files_now());
            let seen = self.worker.seen.get(&store.id);
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
        let store = self.entry.store.clone();
        // Their change must be looked into, too.
        store.foreign_change();
        let events = store.heard_of_configuration_in();
        if !events.is_zero() {
            sleep(events.min(self.until.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn write_once(&mut self, op: Op, before: &Fingerprint) -> Attempt {
        let store = self.entry.store.clone();
        let outcome = self.worker.call::<Empty>(op, self.until + self.grace).await;
        // Whatever the outcome, the files may have changed: every other copy is old now. So is this one after
        // another's write: about five seconds after that SecretStore reads the file beside whatever it is doing
        // and may put what it read over what we have just written. Of its own writes it does not.
        let writer = self.worker.number();
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
                let unlocked = self.worker.seen.get(&store.id).and_then(|seen| seen.unlocked);
                self.saw(generation, files, unlocked);
            }
        }
        Attempt { outcome: outcome.map(|Empty {}| ()), alone, reconfigured, changed_nothing }
    }

    /// Whether the store has what was just written, or has been written by somebody else since; errors are those
    /// of a read.
    async fn has_kept(&mut self, wanted: &Wanted<'_>) -> Result<bool, Trouble> {
        let store = self.entry.store.clone();
        let (left, changes) = (store.files_now(), store.foreign_changes());
        let (vault, name) = (self.registered(), wanted.key.to_owned());
        let found: Result<GetReply, Trouble> = self
            .settled(true, |refresh| {
                Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail: false })
            })
            .await;
        let has_it = match found {
            Ok(reply) => wanted.after.is_some_and(|after| reply.value.looks_like(after)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => wanted.after.is_none(),
            Err(trouble) => return Err(trouble),
        };
        let by_others = store.foreign_change() || store.foreign_changes() != changes;
        Ok(has_it || (by_others && !store.files_now().has_data_of(&left)))
    }
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
mod tests;
