//! A worker's turn at the SecretStore: what it says is asked again until it can be believed.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::judge::{self, Complaint, CopyUse, Judgement, Observation, UnlockRefusal};
use super::place::{self, FILES};
use super::shape::{self, StoreShape};
use super::state::KnownStore;
use crate::protocol::{Fault, Get, GetReply, Info, InfoReply, Op, SecretInfo, StoreReply};
use crate::secret::{Text, fold};
use crate::vault::fingerprint::Fingerprint;
use crate::vault::turn::{Trouble, Turn, is_not_found};
use crate::worker::CallError;

/// The wait before a doubtful answer is asked again: about the time of one write.
const MID_WRITE: Duration = Duration::from_millis(30);

/// Why what was there before a write is put back.
const TORN: &str = "that failed has left the store unreadable";

/// A turn at the store.
pub(super) struct StoreTurn<'a, 'w> {
    pub(super) turn: &'a mut Turn<'w>,
    pub(super) store: &'a KnownStore,
}

/// What a worker last saw of the store, of which it keeps a copy in memory.
#[derive(Debug, Clone)]
pub(super) struct StoreView {
    /// The store's count of our own writes.
    pub(super) generation: u64,
    /// The store's files.
    pub(super) files: Fingerprint,
    /// When it last unlocked.
    pub(super) unlocked: Option<Instant>,
}

/// What is noted about a worker: of one store, since all vaults of SecretStore are the same one.
#[derive(Debug, Default)]
pub(super) struct StoreNotes(pub(super) Option<StoreView>);

impl StoreTurn<'_, '_> {
    /// What this worker last saw of the store.
    pub(super) fn seen(&self) -> Option<&StoreView> {
        self.turn.worker.notes.get::<StoreNotes>()?.0.as_ref()
    }

    /// Notes what it has seen of the store.
    pub(super) fn saw(&mut self, generation: u64, files: Fingerprint, unlocked: Option<Instant>) {
        self.turn.worker.notes.of::<StoreNotes>().0 = Some(StoreView { generation, files, unlocked });
    }

    /// Unlocks with the vault's password.
    pub(super) async fn unlock(&mut self) -> Result<StoreReply, Trouble> {
        self.unlock_with(self.turn.vault.password()).await
    }

    /// Unlocks with this password; one that works is the vault's from then on.
    pub(super) async fn unlock_with(&mut self, password: Option<Text>) -> Result<StoreReply, Trouble> {
        let store = self.store;
        self.turn.vault.allow_unlock();
        let mut doubts = 0;
        loop {
            self.turn.heed_lockout()?;
            let (generation, files, now) = (store.generation(), store.files_now(), Instant::now());
            let fault = match self.turn.call_unlock(password.clone()).await {
                Ok(reply) => {
                    store.told(reply.authentication.as_deref(), reply.password_timeout);
                    store.unlocked();
                    self.saw(generation, files, Some(now));
                    return Ok(reply);
                }
                Err(CallError::Fault(fault)) => fault,
                Err(broken) => return Err(broken.into()),
            };
            let refused = Complaint::of(&fault).refused;
            let torn = refused && store.put_back(TORN);
            doubts += u32::from(!torn);
            let moving = store.files_now() != files || store.changed_lately();
            match judge::unlock(refused, torn, doubts, moving) {
                UnlockRefusal::Again => {}
                UnlockRefusal::LockOut => return Err(self.refused(&fault, files)),
                UnlockRefusal::Wait => sleep(MID_WRITE).await,
                UnlockRefusal::Fail => return Err(Trouble::Fault(fault)),
            }
        }
    }

    /// SecretStore gives one error for a wrong password and for torn files.
    fn refused(&self, fault: &Fault, files: Fingerprint) -> Trouble {
        self.turn.refused(why_refused(&fault.id, &files), files)
    }

    /// Whether an unlock brings the worker's copy up to date.
    pub(super) fn can_refresh(&self) -> bool {
        self.turn.vault.may_unlock() && !self.store.has_no_password()
    }

    /// Whether the worker's copy is older than our last write or than the files are now, or its unlock is due.
    fn is_old(&self, files: &Fingerprint) -> Result<bool, Trouble> {
        let (store, seen) = (self.store, self.seen());
        let old_copy = seen.is_none_or(|seen| seen.generation < store.generation() || seen.files != *files);
        let (interval, now) = (self.turn.unlock_interval(), Instant::now());
        let unlocked = seen.and_then(|seen| seen.unlocked);
        let is_due = unlocked.is_none_or(|at| store.unlock_is_old(at, interval, now));
        match judge::copy(old_copy, is_due, self.can_refresh(), store.has_no_password()) {
            CopyUse::AsItIs => Ok(false),
            CopyUse::Refresh => Ok(true),
            CopyUse::AnotherWorker => Err(Trouble::OldCopy),
        }
    }

    /// Names, types and metadata.
    pub(super) async fn list(&mut self) -> Result<Vec<SecretInfo>, Trouble> {
        let vault = self.turn.vault.registered();
        let op = |refresh| Op::Info(Info { vault: vault.clone(), name: None, refresh });
        self.believable(false, op, |reply: InfoReply| Ok(reply.secrets)).await
    }

    pub(super) async fn read_from_store(
        &mut self,
        key: &str,
        always_refresh: bool,
        detail: bool,
    ) -> Result<GetReply, Trouble> {
        let (vault, name) = (self.turn.vault.registered(), key.to_owned());
        let op = |refresh| Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail });
        self.believable(always_refresh, op, Ok).await
    }

    /// Metadata and type of one secret, which cost a fraction of its value.
    pub(super) async fn info_from_store(
        &mut self,
        key: &str,
        always_refresh: bool,
    ) -> Result<SecretInfo, Trouble> {
        let vault = self.turn.vault.registered();
        let op = |refresh| Op::Info(Info { vault: vault.clone(), name: Some(key.to_owned()), refresh });
        let missing = || Box::new(Fault { id: "GetSecretNotFound".into(), ..Fault::default() });
        let only = |reply: InfoReply| {
            reply.secrets.into_iter().find(|info| fold(&info.name) == fold(key)).ok_or_else(missing)
        };
        self.believable(always_refresh, op, only).await
    }

    /// Calls until the answer can be believed. `read` takes what is wanted from a reply; its error is judged as one of
    /// the call.
    async fn believable<T: DeserializeOwned, R>(
        &mut self,
        always_refresh: bool,
        op: impl Fn(bool) -> Op,
        read: impl Fn(T) -> Result<R, Box<Fault>>,
    ) -> Result<R, Trouble> {
        let store = self.store;
        let files = store.files_now();
        // Before our own write makes the files look like ours again.
        store.differs(&files);
        let mut refresh = (always_refresh && self.can_refresh()) || self.is_old(&files)?;
        // One look serves all that comes before the call: an older one only makes a copy look older.
        let mut looked = Some(files);
        let (mut doubts, mut unlocked_now) = (0, false);
        loop {
            if refresh && !self.has_opened() {
                // A worker remembers a password only once it has opened the store.
                self.unlock().await?;
                (refresh, unlocked_now, looked) = (false, true, None);
            }
            let files = looked.take().unwrap_or_else(|| store.files_now());
            let answer = self.ask::<T>(op(refresh), refresh, unlocked_now, &files).await?;
            let fault = match answer.and_then(&read) {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            let seen = self.seen_around(&files, refresh || unlocked_now, &mut doubts);
            match judge::read(Complaint::of(&fault), seen) {
                Judgement::Believe => return Err(Trouble::Fault(fault)),
                Judgement::LockOut => return Err(self.refused(&fault, files)),
                Judgement::Again => {}
                Judgement::Wait => sleep(MID_WRITE).await,
            }
            refresh = self.can_refresh() || (!seen.torn && self.is_old(&store.files_now())?);
        }
    }

    /// What is to be seen around a call that gave an error. A file that a write of ours has torn is put back first.
    fn seen_around(&self, files: &Fingerprint, fresh: bool, doubts: &mut u32) -> Observation {
        let store = self.store;
        let torn = store.put_back(TORN);
        *doubts += u32::from(!torn);
        let moving = store.files_now() != *files || store.changed_lately();
        Observation { torn, fresh, can_refresh: self.can_refresh(), moving, doubts: *doubts }
    }

    /// One call; notes what it shows of the worker's copy and of the file.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        op: Op,
        refresh: bool,
        unlocked_now: bool,
        files: &Fingerprint,
    ) -> Result<Result<T, Box<Fault>>, Trouble> {
        if refresh {
            self.turn.heed_lockout()?;
        }
        let store = self.store;
        let (generation, now) = (store.generation(), Instant::now());
        let outcome = match self.turn.worker.call::<T>(op, self.turn.until).await {
            Ok(reply) => Ok(reply),
            Err(CallError::Fault(fault)) => Err(fault),
            Err(broken) => return Err(broken.into()),
        };
        if refresh && outcome.as_ref().err().is_none_or(|fault| is_not_found(fault)) {
            store.unlocked();
            self.saw(generation, files.clone(), Some(now));
        }
        // What comes from memory says nothing of the file.
        if outcome.is_ok() && (refresh || unlocked_now || !self.can_refresh()) {
            store.found_whole();
        }
        Ok(outcome)
    }

    /// Whether this worker has opened the store at all.
    fn has_opened(&self) -> bool {
        self.seen().is_some_and(|seen| seen.unlocked.is_some())
    }
}

/// What a refused unlock may mean.
fn why_refused(id: &str, files: &Fingerprint) -> String {
    let (folder, file) = (place::folder(), place::folder().join(FILES[0]));
    let folder = folder.display();
    if files.lacks_data() {
        return format!("it did not unlock ({id}): the store's files in {folder} are gone");
    }
    match shape::of(&file) {
        StoreShape::Broken => format!(
            "it did not unlock ({id}): the store's file {folder}/storefile is damaged: restore the folder from a backup"
        ),
        StoreShape::Whole => {
            format!(
                "it did not unlock ({id}): the password is wrong (the store's files in {folder} look whole)"
            )
        }
        StoreShape::Unknown => format!(
            "it did not unlock ({id}): the password may be wrong, or the store's files in {folder} are damaged"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Discipline;
    use crate::vault::store::Store;

    #[test]
    fn a_refused_unlock_says_what_is_wrong_with_the_stores_files() {
        let folder = tempfile::tempdir().unwrap();
        place::use_folder(folder.path());
        let file = folder.path().join("storefile");
        let store = Store::in_files("s", Discipline::Readers, vec![file.clone()]);
        let whole = [&32_i32.to_le_bytes()[..], &[7; 32], &48_i32.to_le_bytes(), &[7; 48]].concat();
        for (content, says) in [
            (None, "are gone"),
            (Some(b"torn".to_vec()), "is damaged"),
            (Some(whole), "the password is wrong"),
            (Some(b"{}".to_vec()), "the password may be wrong"),
        ] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let said = why_refused("TheId", &store.files_now());
            assert!(said.contains(says) && said.contains("(TheId)"), "{said}");
        }
    }
}
