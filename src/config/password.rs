//! Fetches a vault's password from where the plan says that it is.

use std::env;
use std::path::Path;

use super::ConfigError;
use crate::environment;
use crate::plan::SecretSource;
use crate::private_file::read_private;
use crate::secret::Text;

/// A password file larger than this is not one.
const LARGEST: usize = 64 * 1024;

/// Fetches a password. A file must shut out group and others; one newline at its end is dropped.
pub fn resolve(source: &SecretSource) -> Result<Text, ConfigError> {
    match source {
        SecretSource::Env(name) => from_variable(name),
        SecretSource::File(path) => from_file(path),
        SecretSource::Value(text) => Ok(text.clone()),
    }
}

fn from_variable(name: &str) -> Result<Text, ConfigError> {
    let value = match environment::take(name) {
        Ok(value) => value,
        Err(env::VarError::NotPresent) => return Err(ConfigError::NoVariable { name: name.to_owned() }),
        Err(env::VarError::NotUnicode(_)) => {
            return Err(ConfigError::VariableNotText { name: name.to_owned() });
        }
    };
    not_empty(value, || format!("the environment variable '{name}'"))
}

fn from_file(path: &Path) -> Result<Text, ConfigError> {
    let bad = |reason| ConfigError::BadFile { path: path.to_owned(), reason };
    let bytes = read_private(path)?;
    if bytes.len() > LARGEST {
        return Err(bad("is too large for a password"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    not_empty(Text::from(text), || path.display().to_string())
}

fn not_empty(text: Text, place: impl FnOnce() -> String) -> Result<Text, ConfigError> {
    if text.expose().is_empty() { Err(ConfigError::EmptyPassword { place: place() }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::platform::testing;
    use crate::private_file::PrivateFileError;

    fn file_of(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password.txt");
        fs::write(&path, bytes).unwrap();
        testing::set_mode(&path, mode);
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
            assert!(matches!(
                read(b"word", mode),
                Err(ConfigError::Private(PrivateFileError::Exposed { .. }))
            ));
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
        testing::set_mode(folder.path(), 0o700);
        let source = SecretSource::File(folder.path().to_owned());
        assert!(matches!(resolve(&source), Err(ConfigError::Private(PrivateFileError::NotAFile { .. }))));
        let source = SecretSource::File(folder.path().join("missing"));
        assert!(matches!(resolve(&source), Err(ConfigError::Private(error)) if error.is_not_found()));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let source = SecretSource::Env("SECRETBRIDGE_TEST_NEVER_SET".into());
        let error = resolve(&source).unwrap_err().to_string();
        assert_eq!(error, "the environment variable 'SECRETBRIDGE_TEST_NEVER_SET' is not set");
    }
}
