//! How the files of a store look, so that a change by another process is noticed.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::platform;

/// The look of a store's files, data before configuration: size, time and inode of each; nothing for one
/// that is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<Option<(u64, i128, u64)>>);

impl Fingerprint {
    /// The files now. A few system calls; short enough for an async thread.
    pub fn of(files: &[PathBuf]) -> Fingerprint {
        Fingerprint(files.iter().map(|path| look(path)).collect())
    }

    /// Whether the data is as it was then.
    pub fn has_data_of(&self, other: &Fingerprint) -> bool {
        self.0.first() == other.0.first()
    }

    /// Whether the file of the data was not there.
    pub fn lacks_data(&self) -> bool {
        self.0.first().is_some_and(Option::is_none)
    }

    /// Whether no file is missing.
    pub fn are_there(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// Whether the configuration is as it was then.
    pub fn has_configuration_of(&self, other: &Fingerprint) -> bool {
        self.0.get(1) == other.0.get(1)
    }
}

/// Length, time of the last change in nanoseconds since 1970, and the file's number.
fn look(path: &Path) -> Option<(u64, i128, u64)> {
    let found = std::fs::metadata(path).ok()?;
    let nanoseconds = match found.modified().ok()?.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    let (_, number) = platform::identity(&found).unwrap_or_default();
    Some((found.len(), nanoseconds, number))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// Files of these contents in a folder of a test's own; nothing for one that is missing.
    fn files(contents: &[Option<&str>]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..contents.len()).map(|n| folder.path().join(n.to_string())).collect();
        for (path, content) in paths.iter().zip(contents) {
            if let Some(content) = content {
                fs::write(path, content).unwrap();
            }
        }
        (folder, paths)
    }

    #[test]
    fn the_look_of_files_says_which_are_there() {
        for (contents, lacks_data, are_there) in [
            (&[Some("data"), Some("settings")] as &[_], false, true),
            (&[Some("data"), None], false, false),
            (&[None, Some("settings")], true, false),
            (&[None, None], true, false),
            (&[], false, true),
        ] {
            let (_folder, paths) = files(contents);
            let look = Fingerprint::of(&paths);
            assert_eq!((look.lacks_data(), look.are_there()), (lacks_data, are_there), "{contents:?}");
        }
    }

    #[test]
    fn the_look_of_files_says_which_has_changed() {
        let (_folder, paths) = files(&[Some("data"), Some("settings")]);
        for (changed, same_data, same_configuration) in [(0, false, true), (1, true, false)] {
            let before = Fingerprint::of(&paths);
            assert!(before.has_data_of(&before) && before.has_configuration_of(&before));
            fs::write(&paths[changed], "longer than it was before").unwrap();
            let now = Fingerprint::of(&paths);
            assert_eq!(now.has_data_of(&before), same_data, "{changed}");
            assert_eq!(now.has_configuration_of(&before), same_configuration, "{changed}");
        }
    }

    /// A clock may be set to any year.
    #[test]
    fn a_file_of_before_1970_looks_different_from_one_of_as_long_after() {
        let (_folder, paths) = files(&[Some("data")]);
        let day = Duration::from_secs(86_400);
        let looks = [UNIX_EPOCH - day, UNIX_EPOCH + day].map(|time| {
            fs::File::options().write(true).open(&paths[0]).unwrap().set_modified(time).unwrap();
            Fingerprint::of(&paths)
        });
        assert_ne!(looks[0], looks[1]);
    }
}
