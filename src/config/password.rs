//! Fetches a vault's password from where the plan says that it is.

use std::env;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::ConfigError;
use crate::plan::SecretSource;
use crate::secret::Text;

/// A password file larger than this is not one.
const LARGEST: u64 = 64 * 1024;

/// Fetches a password. A file must shut out group and others; one newline at its end is dropped.
pub fn resolve(source: &SecretSource) -> Result<Text, ConfigError> {
    match source {
        SecretSource::Env(name) => from_variable(name),
        SecretSource::File(path) => from_file(path),
        SecretSource::Value(text) => Ok(text.clone()),
    }
}

fn from_variable(name: &str) -> Result<Text, ConfigError> {
    let value = match env::var(name) {
        Ok(value) => Text::new(value),
        Err(env::VarError::NotPresent) => return Err(ConfigError::NoVariable { name: name.to_owned() }),
        Err(env::VarError::NotUnicode(_)) => {
            return Err(ConfigError::VariableNotText { name: name.to_owned() });
        }
    };
    not_empty(value, || format!("the environment variable '{name}'"))
}

fn from_file(path: &Path) -> Result<Text, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let bad = |reason| ConfigError::BadFile { path: path.to_owned(), reason };
    // A named pipe would block the open, so the look comes first; the open file is looked at again.
    check(path, &std::fs::metadata(path).map_err(unreadable)?)?;
    let file = File::open(path).map_err(unreadable)?;
    check(path, &file.metadata().map_err(unreadable)?)?;

    // With room for all of it, so that growing leaves no copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(bad("is too large for a password"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    not_empty(Text::from(text), || path.display().to_string())
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    if !metadata.is_file() {
        return Err(ConfigError::BadFile { path: path.to_owned(), reason: "is not a regular file" });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(ConfigError::OpenFile { path: path.to_owned(), mode });
        }
    }
    Ok(())
}

fn not_empty(text: Text, place: impl FnOnce() -> String) -> Result<Text, ConfigError> {
    if text.expose().is_empty() { Err(ConfigError::EmptyPassword { place: place() }) } else { Ok(text) }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn file_of(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password.txt");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn read(bytes: &[u8], mode: u32) -> Result<String, ConfigError> {
        let (_folder, path) = file_of(bytes, mode);
        resolve(&SecretSource::File(path)).map(|text| text.expose().to_owned())
    }

    #[test]
    fn one_newline_at_the_end_is_dropped_and_nothing_else() {
        for (bytes, text) in [
            ("word", "word"),
            ("word\n", "word"),
            ("word\r\n", "word"),
            ("word\n\n", "word\n"),
            (" word \r", " word \r"),
        ] {
            assert_eq!(read(bytes.as_bytes(), 0o600).unwrap(), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o610, 0o602] {
            assert!(matches!(read(b"word", mode), Err(ConfigError::OpenFile { mode: m, .. }) if m == mode));
        }
        assert!(read(b"word", 0o400).is_ok());
    }

    #[test]
    fn a_password_that_is_empty_or_no_text_is_refused() {
        for bytes in ["", "\n", "\r\n"] {
            assert!(matches!(read(bytes.as_bytes(), 0o600), Err(ConfigError::EmptyPassword { .. })));
        }
        assert!(matches!(read(b"\xff", 0o600), Err(ConfigError::BadFile { .. })));
        assert!(matches!(read(&[b'x'; 70_000], 0o600), Err(ConfigError::BadFile { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let source = SecretSource::File(folder.path().to_owned());
        assert!(matches!(resolve(&source), Err(ConfigError::BadFile { .. })));
        let source = SecretSource::File(folder.path().join("missing"));
        assert!(matches!(resolve(&source), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let source = SecretSource::Env("SECRETBRIDGE_TEST_NEVER_SET".into());
        let error = resolve(&source).unwrap_err().to_string();
        assert_eq!(error, "the environment variable 'SECRETBRIDGE_TEST_NEVER_SET' is not set");
    }
}
