//! The data of a SecretStore as it was before a write of ours, until it is known to be whole.
//!
//! SecretStore writes its file in place: a full disk, or a process killed in mid-write, leaves one that
//! nothing can read, and with it every secret would be gone. And when its configuration is changed by
//! somebody else, it wipes what it has in memory, its key included, beside a write that is under way and may
//! put that into the file. Then what was there before comes back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Store;
use crate::private_file::stage;
use crate::secret::Bytes;

/// Why what was there before a write is put back.
pub const WIPED: &str = "met a change of the store's configuration by another process";

/// The file beside the data, which holds its key.
const KEY_FILE: &str = "storeaux";

/// Files, and what was in them.
pub(super) type Kept = Vec<(PathBuf, Bytes)>;

impl Store {
    /// Keeps the data as it is now, by a writer that has just found it readable.
    pub fn keep(&self) {
        let Some(data) = self.files.first() else { return };
        // Encrypted, and some kilobytes. A store that is not there yet has nothing to lose.
        let content = |path: PathBuf| fs::read(&path).ok().map(|content| (path, Bytes::new(content)));
        // The key first: data that does not fit it is found out, and can still be put back.
        let kept = [data.with_file_name(KEY_FILE), data.clone()].into_iter().filter_map(content).collect();
        self.state().kept = kept;
    }

    /// Takes over what another bridge's view of the same store has kept.
    pub fn take_from(&self, old: &Store) {
        let kept = std::mem::take(&mut old.state().kept);
        self.state().kept = kept;
    }

    /// The data was read well since: what was kept is not needed any more.
    pub fn is_whole(&self) {
        self.state().kept.clear();
    }

    /// Whether the write has changed the key, which none does but of a store that is wiped in memory.
    pub fn is_wiped(&self) -> bool {
        let state = self.state();
        let key = state.kept.iter().find(|(path, _)| path.ends_with(KEY_FILE));
        key.is_some_and(|(path, content)| fs::read(path).is_ok_and(|now| now != content.expose()))
    }

    /// Puts back what was kept; tells whether it did. Not where anybody else has changed the files since our
    /// write, nor where the write had changed nothing. `why` is for the log: "a write has …".
    pub fn put_back(&self, why: &str) -> bool {
        let files = self.files_now();
        let mut state = self.state();
        if state.expected.as_ref() != Some(&files) {
            return false;
        }
        let is_other =
            |(path, content): &&(PathBuf, Bytes)| fs::read(path).map_or(true, |now| now != content.expose());
        let mut changed = state.kept.iter().filter(is_other).peekable();
        if changed.peek().is_none() {
            return false;
        }
        for (path, content) in changed {
            if let Err(error) = replace(path, content.expose()) {
                tracing::error!(store = %self.id, "a write {why}, and what was there cannot be put back yet: {error}");
                return false;
            }
        }
        state.kept.clear();
        state.last_writer = None;
        state.generation += 1;
        state.expected = Some(self.files_now());
        tracing::warn!(store = %self.id, "a write {why}; what was there before is back");
        true
    }
}

/// Replaces a file in one step; on a disk that has no room for a second one, in place.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let staged = stage(folder, ".store-", content).and_then(|staged| Ok(staged.persist(path)?));
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
    use super::*;
    use crate::store::Discipline;

    fn store() -> (tempfile::TempDir, PathBuf, Store) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("storefile");
        fs::write(&file, "whole").unwrap();
        let store = Store::over("s", Discipline::Readers, vec![file.clone()]);
        store.foreign_change();
        (folder, file, store)
    }

    /// A write of ours that ends so.
    fn write(store: &Store, file: &Path, content: &str) {
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
        store.is_whole();
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
        let new = Store::over("s", Discipline::Readers, vec![file.clone()]);
        new.wrote(new.files_now());
        new.take_from(&old);
        assert!(!old.put_back("has failed"), "it is the new one's now");
        assert!(new.put_back("has failed"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
    }
}
