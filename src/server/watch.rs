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

    /// The names of the files that look different there.
    pub fn changed(&self, now: &Looks) -> String {
        let differs = self.0.iter().filter(|look| !now.0.contains(look));
        differs.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The same files, as they look now.
    pub fn again(&self) -> Looks {
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
        assert_eq!(seen.again(), seen);
        for content in [Some("a"), Some("ab"), None] {
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let now = seen.again();
            assert_ne!(now, seen, "{content:?}");
            assert_eq!(seen.changed(&now), path.display().to_string());
            seen = now;
        }
    }
}
