//! How files look, so that a change is noticed without reading them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How some files looked at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looks(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Looks {
    /// Looks at files; one that is missing looks so.
    pub fn of<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Looks {
        let look = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.len(), found.modified().ok()?))
        };
        Looks(files.into_iter().map(|path| (path.as_ref().to_owned(), look(path.as_ref()))).collect())
    }

    /// The names of the files that look different since they were looked at last, if there are any. A change is told once.
    pub fn news(&mut self) -> Option<String> {
        let now = self.again();
        if now == *self {
            return None;
        }
        let changed = self.changed(&now);
        *self = now;
        Some(changed)
    }

    /// The names of the files that look different there.
    fn changed(&self, now: &Looks) -> String {
        let differs = self.0.iter().filter(|look| !now.0.contains(look));
        differs.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The same files, as they look now.
    fn again(&self) -> Looks {
        Looks::of(self.0.iter().map(|(path, _)| path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_comes_goes_or_grows_looks_different() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut seen = Looks::of([&path]);
        assert_eq!(seen.news(), None);
        for content in [Some("a"), Some("ab"), None] {
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            assert_eq!(seen.news(), Some(path.display().to_string()), "{content:?}");
            assert_eq!(seen.news(), None, "it is told once");
        }
    }
}
