//! The folder that keeps compiled workers between starts.
//!
//! It is the user's alone (0700), and so are its files. An entry is one file whose name holds the digest of
//! its content, renamed into place when it is whole: a torn or changed one is seen by its name. Two starts at
//! once may both write; either entry is as good.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::engine::{Engine, hex};
use crate::clock;
use crate::platform;
use crate::private_file::{STAGED_SUFFIX, create_private_dir, put, read_private, stage};

/// Entries that nobody used for so long are removed when a new one comes.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// No more entries are kept.
const MOST: usize = 4;

/// How names end.
const ASSEMBLY: &str = ".dll";
const ENGINE: &str = ".json";

pub(super) struct CompiledCache {
    folder: PathBuf,
}

impl CompiledCache {
    /// The user's cache; or why there is none.
    pub(super) fn open() -> Result<CompiledCache, String> {
        let base = platform::cache_folder().ok_or("no home folder is known (hint: set HOME)")?;
        CompiledCache::open_in(&base.join("secretbridge"))
    }

    pub(super) fn open_in(folder: &Path) -> Result<CompiledCache, String> {
        create_private_dir(folder).map_err(|error| error.to_string())?;
        Ok(CompiledCache { folder: folder.to_owned() })
    }

    /// What this program was when it was last asked. A program that has changed since is not known, nor is
    /// one that only starts the engine, which may change without it.
    pub(super) fn engine(&self, program: &Path) -> Option<Engine> {
        let bytes = read_private(&self.memo(program)?).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps what the program is. Failing costs the next start a question.
    pub(super) fn remember(&self, program: &Path, engine: &Engine) {
        let Some(path) = self.memo(program) else { return };
        if self.engine(program).as_ref() == Some(engine) {
            return;
        }
        let Ok(text) = serde_json::to_vec(engine) else { return };
        if let Ok(staged) = stage(&self.folder, "new-", &text) {
            let _ = put(staged, &path);
        }
    }

    /// The file that says what a program is, named after all that changes with the program.
    fn memo(&self, program: &Path) -> Option<PathBuf> {
        let real = fs::canonicalize(program).ok()?;
        let mut hash = Sha256::new();
        for file in [real.clone(), real.parent()?.join("System.Management.Automation.dll")] {
            let about = fs::metadata(&file).ok()?;
            let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
            hash.update(format!("{}\0{}\0{changed}\0", file.display(), about.len()).as_bytes());
        }
        Some(self.folder.join(format!("engine-{}{ENGINE}", &hex(&hash.finalize())[..32])))
    }

    /// An entry of this name that is whole; what is not is removed.
    pub(super) fn find(&self, key: &str) -> Option<(PathBuf, Vec<u8>)> {
        for path in self.entries() {
            let name = path.file_name()?.to_str()?;
            let Some(digest) = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('-')) else {
                continue;
            };
            match read_private(&path) {
                Ok(bytes) if digest.strip_suffix(ASSEMBLY) == Some(&digest_of(&bytes)) => {
                    touch(&path);
                    return Some((path, bytes.to_vec()));
                }
                Ok(_) => tracing::warn!(
                    file = %path.display(),
                    "a compiled worker in the cache is not what was put there; it is compiled again"
                ),
                Err(error) => tracing::warn!("a compiled worker in the cache is not used: {error}"),
            }
            let _ = fs::remove_file(&path);
        }
        None
    }

    /// Keeps an assembly, and removes what is old.
    pub(super) fn keep(&self, key: &str, assembly: &Path) -> Result<PathBuf, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.folder.display());
        let bytes = fs::read(assembly).map_err(failed)?;
        let path = self.folder.join(format!("{key}-{}{ASSEMBLY}", digest_of(&bytes)));
        let staged = stage(&self.folder, "new-", &bytes).map_err(failed)?;
        // Windows does not replace one that is loaded; where it is the same, that is as good.
        match put(staged, &path) {
            Err(error) if !fs::read(&path).is_ok_and(|kept| kept == bytes) => return Err(failed(error)),
            _ => {}
        }
        self.sweep(&path);
        Ok(path)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).collect()
    }

    /// Removes entries that nobody uses, and what a start that was cut off has left.
    fn sweep(&self, newest: &Path) {
        let now = SystemTime::from(clock::now());
        let age = |path: &Path| {
            let used = fs::metadata(path).and_then(|about| about.modified()).unwrap_or(UNIX_EPOCH);
            now.duration_since(used).unwrap_or_default()
        };
        let mut aged: Vec<(Duration, PathBuf)> =
            self.entries().into_iter().filter(|path| path != newest).map(|path| (age(&path), path)).collect();
        aged.sort();
        let mut kept = 1;
        for (age, path) in aged {
            let text = path.to_string_lossy();
            let gone = if text.ends_with(STAGED_SUFFIX) {
                age > Duration::from_secs(3600)
            } else if text.ends_with(ASSEMBLY) {
                kept += 1;
                age > UNUSED || kept > MOST
            } else {
                age > UNUSED
            };
            if gone {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Marks an entry as used; a cache that is read-only has no need to be swept.
fn touch(path: &Path) {
    if let Ok(file) = fs::OpenOptions::new().append(true).open(path) {
        let _ = file.set_modified(clock::now().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        cache: CompiledCache,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open_in(&folder.path().join("cache")).unwrap();
        Place { folder, cache }
    }

    impl Place {
        fn assembly(&self, content: &[u8]) -> PathBuf {
            let path = self.folder.path().join("a.dll");
            fs::write(&path, content).unwrap();
            path
        }

        fn names(&self) -> Vec<String> {
            let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            self.cache.entries().into_iter().map(name).collect()
        }
    }

    #[test]
    fn what_was_kept_is_found_under_its_name_alone() {
        let place = place();
        let path = place.cache.keep("k1", &place.assembly(b"one")).unwrap();
        assert_eq!(place.cache.find("k1"), Some((path, b"one".to_vec())));
        assert_eq!(place.cache.find("k"), None);
        assert_eq!(place.cache.find("k2"), None);
    }

    #[test]
    fn an_entry_that_was_changed_is_not_used_and_goes() {
        let place = place();
        let path = place.cache.keep("k1", &place.assembly(b"one")).unwrap();
        fs::write(&path, b"two").unwrap();
        assert_eq!(place.cache.find("k1"), None);
        assert!(!path.exists());
        place.cache.keep("k1", &place.assembly(b"one")).unwrap();
        assert!(place.cache.find("k1").is_some());
    }

    #[test]
    fn an_entry_that_others_can_write_is_not_used_nor_is_such_a_folder() {
        use crate::platform::testing::{mode, set_mode};
        let place = place();
        let path = place.cache.keep("k1", &place.assembly(b"one")).unwrap();
        assert_eq!(mode(&path), 0o600);
        set_mode(&path, 0o666);
        assert_eq!(place.cache.find("k1"), None);
        let folder = place.folder.path().join("cache");
        set_mode(&folder, 0o777);
        let refused = CompiledCache::open_in(&folder).err().unwrap();
        assert!(
            refused.contains(&platform::command_to_protect(&folder, platform::FileKind::Folder)),
            "{refused}"
        );
    }

    #[test]
    fn two_that_write_at_once_are_both_whole() {
        let place = place();
        std::thread::scope(|scope| {
            for content in [b"one", b"two"] {
                let (cache, folder) = (&place.cache, place.folder.path());
                scope.spawn(move || {
                    let path = folder.join(String::from_utf8_lossy(content).into_owned());
                    fs::write(&path, content).unwrap();
                    for _ in 0..20 {
                        cache.keep("k", &path).unwrap();
                        assert!(cache.find("k").is_some());
                    }
                });
            }
        });
        assert_eq!(place.names().len(), 2);
    }

    #[test]
    fn old_entries_go_when_a_new_one_comes() {
        let place = place();
        let month = SystemTime::from(clock::now()) - UNUSED - Duration::from_secs(60);
        let old = |name: &str, age: SystemTime| {
            let path = place.folder.path().join("cache").join(name);
            fs::write(&path, name).unwrap();
            fs::File::options().append(true).open(&path).unwrap().set_modified(age).unwrap();
        };
        for name in ["old-1.dll", "engine-1.json", "new-x.tmp"] {
            old(name, month);
        }
        for number in 0..6u64 {
            old(
                &format!("recent-{number}.dll"),
                SystemTime::from(clock::now()) - Duration::from_secs(10 + number),
            );
        }
        old("new-y.tmp", SystemTime::from(clock::now()));
        place.cache.keep("k", &place.assembly(b"one")).unwrap();
        let mut names = place.names();
        names.sort();
        assert!(names[0].starts_with("k-"), "{names:?}");
        assert_eq!(names[1..], ["new-y.tmp", "recent-0.dll", "recent-1.dll", "recent-2.dll"]);
    }

    #[test]
    fn a_program_that_changed_is_not_known_any_more() {
        let place = place();
        let program = place.folder.path().join("pwsh");
        fs::write(&program, "1").unwrap();
        let engine = Engine { version: "7.4.0".into(), runtime: "r".into() };
        place.cache.remember(&program, &engine);
        assert_eq!(place.cache.engine(&program), None, "the engine is elsewhere");
        fs::write(place.folder.path().join("System.Management.Automation.dll"), "1").unwrap();
        place.cache.remember(&program, &engine);
        assert_eq!(place.cache.engine(&program), Some(engine.clone()));
        fs::write(&program, "22").unwrap();
        assert_eq!(place.cache.engine(&program), None);
    }

    #[test]
    fn a_cache_that_cannot_be_says_why() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let reason = CompiledCache::open_in(&place.path().join("file/cache")).err().unwrap();
        assert!(reason.contains("file/cache"), "{reason}");
    }
}
