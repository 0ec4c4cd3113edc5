//! The data of a SecretStore as it was before a write of ours, until it is known to be whole.
//!
//! SecretStore writes its file in place: a full disk, or a process killed in mid-write, leaves one that
//! nothing can read, and with it every secret would be gone. And when its configuration is changed by
//! somebody else, it wipes what it has in memory, its key included, beside a write that is under way and may
//! put that into the file. Then what was there before comes back.
//!
//! The same bytes save a read before a write: a value that a write of ours has destroyed is in the file of before,
//! and comes back with it ([`KnownStore::undo`]).

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::state::{KeptFiles, KnownStore, StoreState, Undo};
use crate::platform::{read_of_vaults, with_files_of_vaults};
use crate::private_file::{put, stage};
use crate::secret::{Bytes, fold};

/// Why what was there before a write is put back.
pub const WIPED: &str = "met a change of the store's configuration by another process";

/// The file beside the data, which holds its key.
const KEY_FILE: &str = "storeaux";

/// What became of an undo.
#[derive(Debug)]
pub enum Undone {
    /// What was there before is back.
    Back,
    /// The files are as they were.
    Unchanged,
    /// Somebody else has written since, or nothing was kept: it cannot be put back by its file.
    TooLate,
    /// It cannot be written now.
    NotNow(io::Error),
}

impl KnownStore {
    /// Keeps the data as it is now, by a writer that has just found it readable.
    pub fn keep(&self) {
        let Some(data) = self.files().first() else { return };
        // Encrypted, and some kilobytes. A store that is not there yet has nothing to lose.
        let content = |path: PathBuf| read_of_vaults(&path).ok().map(|content| (path, Bytes::new(content)));
        // The key first: data that does not fit it is found out, and can still be put back.
        let kept: Vec<_> =
            [data.with_file_name(KEY_FILE), data.clone()].into_iter().filter_map(content).collect();
        self.state().kept = Arc::new(kept);
    }

    /// Whether the file of the data can put back what a write destroys, so that a writer need not read it first: it is
    /// there, nobody else was seen to write lately, and no earlier write of another key is still to be undone.
    pub fn can_undo(&self) -> bool {
        let there = self.files().first().is_some_and(|data| data.is_file());
        there && !self.is_shared() && self.state().undo.as_ref().is_none_or(|undo| !undo.owed)
    }

    /// Begins a write of a key whose value was not read. False where the file cannot put it back: then the value must
    /// be read first. Of a write that failed before, the files of before that one stay.
    pub fn begin_undo(&self, key: &str) -> bool {
        let mut state = self.state();
        if let Some(undo) = state.undo.as_ref().filter(|undo| undo.owed) {
            return undo.is_of(key);
        }
        let has_data =
            self.files().first().is_some_and(|data| state.kept.iter().any(|(path, _)| path == data));
        if has_data {
            state.undo = Some(Undo { key: key.to_owned(), files: state.kept.clone(), owed: false });
        }
        has_data
    }

    /// The write has ended well, or is known to have left the old value or the new one.
    pub fn forget_undo(&self, key: &str) {
        self.state().undo.take_if(|undo| undo.is_of(key));
    }

    /// A write of this key left it half done, and it could not be put back yet: no other key is written before it is.
    pub fn owe_undo(&self, key: &str) {
        if let Some(undo) = self.state().undo.as_mut().filter(|undo| undo.is_of(key)) {
            undo.owed = true;
        }
    }

    /// Whether a write of another key is still to be undone.
    pub fn must_undo_first(&self, key: &str) -> bool {
        self.state().undo.as_ref().is_some_and(|undo| undo.owed && !undo.is_of(key))
    }

    /// Whether the files are as they were before the write of this key: then there is nothing to put back.
    pub fn is_unchanged(&self, key: &str) -> bool {
        let state = self.state();
        let undo = state.undo.as_ref().filter(|undo| undo.is_of(key));
        undo.is_some_and(|undo| undo.files.iter().all(|file| !is_other(file)))
    }

    /// Puts back the files of before the write of this key, by a caller that holds the lane alone and has seen that the
    /// write left neither the old value nor the new one.
    pub fn undo(&self, key: &str) -> Undone {
        // Drops what was kept where somebody else has written.
        self.foreign_change();
        let mut state = self.state();
        let Some(undo) = state.undo.take_if(|undo| undo.is_of(key)) else {
            return Undone::TooLate;
        };
        match self.restore(&mut state, &undo.files) {
            Ok(true) => Undone::Back,
            Ok(false) => {
                // A worker that cannot refresh may have something else in memory.
                state.last_writer = None;
                state.generation += 1;
                Undone::Unchanged
            }
            Err(error) => {
                state.undo = Some(undo);
                Undone::NotNow(error)
            }
        }
    }

    /// Takes over what another bridge's view of the same store has kept.
    pub fn take_from(&self, old: &KnownStore) {
        let (kept, undo) = {
            let mut old = old.state();
            (std::mem::take(&mut old.kept), old.undo.take())
        };
        let mut state = self.state();
        (state.kept, state.undo) = (kept, undo);
    }

    /// Notes what a worker did to the files after its call was given up, now that it is gone.
    pub fn left_by_a_dead_writer(&self) {
        let files = self.files_now();
        if self.state().expected.as_ref() != Some(&files) {
            self.wrote(files);
            // It may have been somebody else.
            self.state().uninspected = true;
        }
        if self.is_wiped() {
            self.put_back(WIPED);
        }
    }

    /// Notes that an unlock worked, which reads the file.
    pub fn unlocked(&self) {
        self.found_whole();
        self.base().unlocked();
    }

    /// The data was read well since: what was kept is not needed any more.
    pub fn found_whole(&self) {
        self.state().kept = KeptFiles::default();
    }

    /// Whether the write has changed the store's own key: only one of a store that was wiped in memory does.
    pub fn is_wiped(&self) -> bool {
        let state = self.state();
        let key = state.kept.iter().find(|(path, _)| path.ends_with(KEY_FILE));
        key.is_some_and(|(path, content)| read_of_vaults(path).is_ok_and(|now| now != content.expose()))
    }

    /// Puts back what was kept; tells whether it did. Not where anybody else has changed the files since our
    /// write, nor where the write had changed nothing. `why` is for the log: "a write has …".
    pub fn put_back(&self, why: &str) -> bool {
        let files = self.files_now();
        let mut state = self.state();
        if state.expected.as_ref() != Some(&files) {
            return false;
        }
        let kept = state.kept.clone();
        match self.restore(&mut state, &kept) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::error!(store = %self.id, "a write {why}, and what was there cannot be put back yet: {error}");
                return false;
            }
        }
        tracing::warn!(store = %self.id, "a write {why}; what was there before is back");
        true
    }

    /// Brings these files back; false where they are as they were. Every worker's copy is old then.
    fn restore(&self, state: &mut StoreState, kept: &KeptFiles) -> io::Result<bool> {
        let mut changed = kept.iter().filter(|file| is_other(file)).peekable();
        if changed.peek().is_none() {
            return Ok(false);
        }
        for (path, content) in changed {
            with_files_of_vaults(|| replace(path, content.expose()))?;
        }
        state.kept = KeptFiles::default();
        state.last_writer = None;
        state.generation += 1;
        state.expected = Some(self.files_now());
        Ok(true)
    }
}

impl Undo {
    fn is_of(&self, key: &str) -> bool {
        fold(&self.key) == fold(key)
    }
}

/// Whether a file has another content now.
fn is_other((path, content): &(PathBuf, Bytes)) -> bool {
    read_of_vaults(path).map_or(true, |now| now != content.expose())
}

/// Replaces a file in one step; on a disk that has no room for a second one, in place.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let staged = stage(folder, ".store-", content).and_then(|staged| put(staged, path));
    if staged.is_ok() {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store() -> (tempfile::TempDir, PathBuf, KnownStore) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("storefile");
        fs::write(&file, "whole").unwrap();
        let store = KnownStore::over(vec![file.clone()]);
        store.foreign_change();
        (folder, file, store)
    }

    /// A write of ours that ends so.
    fn write(store: &KnownStore, file: &Path, content: &str) {
        store.keep();
        fs::write(file, content).unwrap();
        store.wrote(store.files_now());
    }

    #[test]
    fn what_a_torn_write_destroyed_comes_back_once_and_copies_of_it_are_old() {
        let (_folder, file, store) = store();
        write(&store, &file, "to");
        let before = store.generation();
        assert!(store.put_back("has failed"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        assert!(store.generation() > before);
        assert!(!store.foreign_change(), "it was us");
        assert!(!store.put_back("has failed"));
    }

    #[test]
    fn the_key_comes_back_with_the_data() {
        let (folder, file, store) = store();
        let key = folder.path().join(KEY_FILE);
        fs::write(&key, "the key").unwrap();
        write(&store, &file, "wiped");
        fs::write(&key, [0; 7]).unwrap();
        assert!(store.put_back("has failed"));
        assert_eq!(fs::read_to_string(&key).unwrap(), "the key");
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
    }

    #[test]
    fn a_write_that_is_read_well_later_or_changed_nothing_stays() {
        let (_folder, file, store) = store();
        write(&store, &file, "new");
        store.found_whole();
        assert!(!store.put_back("has failed"));
        write(&store, &file, "new");
        assert!(!store.put_back("has failed"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn what_somebody_else_wrote_since_is_theirs() {
        let (_folder, file, store) = store();
        write(&store, &file, "to");
        fs::write(&file, "somebody else's").unwrap();
        assert!(!store.put_back("has failed"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's");
    }

    #[test]
    fn what_one_view_of_a_store_keeps_another_takes_over_and_puts_back() {
        let (_folder, file, old) = store();
        write(&old, &file, "to");
        let new = KnownStore::over(vec![file.clone()]);
        new.wrote(new.files_now());
        new.take_from(&old);
        assert!(!old.put_back("has failed"), "it is the new one's now");
        assert!(new.put_back("has failed"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        write_unread(&old, &file, "k", "without k");
        new.wrote(new.files_now());
        new.take_from(&old);
        assert!(matches!(old.undo("k"), Undone::TooLate), "it is the new one's now");
        assert!(matches!(new.undo("k"), Undone::Back));
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
    }

    /// A write of ours of a key that was not read.
    fn write_unread(store: &KnownStore, file: &Path, key: &str, content: &str) {
        store.keep();
        assert!(store.can_undo() && store.begin_undo(key));
        fs::write(file, content).unwrap();
        store.wrote(store.files_now());
    }

    #[test]
    fn a_write_of_a_key_that_was_not_read_can_be_undone_once_and_copies_are_old() {
        let (_folder, file, store) = store();
        write_unread(&store, &file, "k", "without k");
        let before = store.generation();
        assert!(matches!(store.undo("K"), Undone::Back));
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        assert!(store.generation() > before);
        assert!(!store.foreign_change(), "it was us");
        assert!(matches!(store.undo("k"), Undone::TooLate));
    }

    #[test]
    fn a_second_try_of_the_same_key_keeps_the_files_of_before_the_first() {
        let (_folder, file, store) = store();
        write_unread(&store, &file, "k", "without k");
        assert!(!store.must_undo_first("other"), "it may have ended well");
        store.owe_undo("other");
        assert!(store.can_undo(), "that is another's");
        store.owe_undo("K");
        assert!(!store.can_undo(), "the value is not in the file any more");
        assert!(store.must_undo_first("other") && !store.must_undo_first("K"));
        store.keep();
        assert!(!store.begin_undo("other") && store.begin_undo("k"));
        fs::write(&file, "half of k").unwrap();
        store.wrote(store.files_now());
        assert!(matches!(store.undo("k"), Undone::Back));
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        assert!(!store.must_undo_first("other"));
    }

    #[test]
    fn what_ended_well_or_was_written_by_somebody_else_since_is_not_undone() {
        let (_folder, file, store) = store();
        write_unread(&store, &file, "k", "new");
        store.forget_undo("other");
        assert!(!store.is_unchanged("k"));
        store.forget_undo("K");
        assert!(matches!(store.undo("k"), Undone::TooLate));
        write_unread(&store, &file, "k", "without k");
        fs::write(&file, "theirs, without k").unwrap();
        assert!(matches!(store.undo("k"), Undone::TooLate));
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs, without k");
        assert!(!store.can_undo(), "they may be writing still");
    }

    #[test]
    fn a_write_that_changed_nothing_needs_no_undo_and_a_store_without_a_file_has_none() {
        let (_folder, file, store) = store();
        store.keep();
        assert!(store.begin_undo("k"));
        assert!(store.is_unchanged("K") && !store.is_unchanged("other"));
        let before = store.generation();
        assert!(matches!(store.undo("k"), Undone::Unchanged));
        assert!(store.generation() > before, "a worker may have something else in memory");
        fs::remove_file(&file).unwrap();
        store.wrote(store.files_now());
        store.keep();
        assert!(!store.can_undo() && !store.begin_undo("k"));
    }

    #[test]
    fn what_a_worker_wrote_that_is_gone_is_ours_and_is_looked_into_once() {
        let (_folder, file, store) = store();
        let before = store.generation();
        store.left_by_a_dead_writer();
        assert_eq!((store.generation(), store.take_uninspected()), (before, false), "it wrote nothing");
        store.keep();
        fs::write(&file, "its last write").unwrap();
        store.left_by_a_dead_writer();
        assert!(store.generation() > before, "copies are old");
        assert!(store.take_uninspected(), "it may have been somebody else");
        assert!(!store.foreign_change() && store.foreign_changes() == 0);
        assert_eq!(fs::read_to_string(&file).unwrap(), "its last write");
    }

    #[test]
    fn what_a_worker_that_is_gone_has_wiped_comes_back() {
        let (folder, file, store) = store();
        let key = folder.path().join(KEY_FILE);
        fs::write(&key, "the key").unwrap();
        store.keep();
        assert!(!store.is_wiped());
        fs::write(&file, "wiped").unwrap();
        fs::write(&key, [0; 7]).unwrap();
        store.left_by_a_dead_writer();
        assert_eq!(fs::read_to_string(&key).unwrap(), "the key");
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
    }
}
