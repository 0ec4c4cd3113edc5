//! The bearer token in front of native routes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::private_file::{PrivateFileError, create_private_dir, read_private, write_private_new};
use crate::secret::Text;

/// Bytes of chance in a token that we make.
const RANDOM: usize = 32;

/// A shorter token can be guessed.
const SHORTEST: usize = 16;

/// The token that callers must show. `Debug` shows where it is kept, never what it is.
#[derive(Clone)]
pub struct Token {
    text: Arc<Text>,
    file: Option<PathBuf>,
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Its file.
    #[error("the bearer token: {0}")]
    File(#[from] PrivateFileError),
    /// It is too short, or cannot stand in a header.
    #[error("the bearer token in {place} must be {SHORTEST} or more visible ASCII characters in one line")]
    Unfit {
        /// Where it is kept.
        place: String,
    },
    /// No random bytes.
    #[error("no random bytes for a bearer token: {0}")]
    Random(getrandom::Error),
}

impl Token {
    /// The token in a file that only its owner can read.
    pub fn load(path: &Path) -> Result<Token, TokenError> {
        let bytes = read_private(path)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end_matches(['\r', '\n']);
        let token = Token::new(text, Some(path.to_owned()));
        token.ok_or_else(|| TokenError::Unfit { place: path.display().to_string() })
    }

    /// As [`Token::load`]; makes the file, with a random token, where there is none. Tells whether it did.
    /// Of two processes that do so at once, one makes it and both get it.
    pub fn load_or_create(path: &Path) -> Result<(Token, bool), TokenError> {
        match Token::load(path) {
            Err(TokenError::File(error)) if error.is_not_found() => {}
            loaded => return loaded.map(|token| (token, false)),
        }
        if let Some(folder) = path.parent() {
            create_private_dir(folder)?;
        }
        let mut random = Zeroizing::new([0; RANDOM]);
        getrandom::fill(&mut *random).map_err(TokenError::Random)?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random) + "\n");
        let made = match write_private_new(path, text.as_bytes()) {
            Ok(()) => true,
            Err(PrivateFileError::Exists { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        Ok((Token::load(path)?, made))
    }

    /// A token from elsewhere.
    pub fn from_text(text: impl Into<Text>) -> Result<Token, TokenError> {
        let text = text.into();
        Token::new(text.expose(), None).ok_or_else(|| TokenError::Unfit { place: "its variable".into() })
    }

    /// Where it is kept, if in a file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether a request shows it. Takes as long for a wrong token as for the right one.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let (scheme, token) = shown.split_at(shown.len().min(7));
        let scheme = scheme.eq_ignore_ascii_case(b"bearer ");
        scheme & bool::from(token.trim_ascii().ct_eq(self.text.expose().as_bytes()))
    }

    fn new(text: &str, file: Option<PathBuf>) -> Option<Token> {
        let fit = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        fit.then(|| Token { text: Arc::new(text.into()), file })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    fn shown(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_whole_token_admits() {
        let token = Token::from_text(TEXT).unwrap();
        assert!(token.admits(&shown(&format!("Bearer {TEXT}"))));
        assert!(token.admits(&shown(&format!("bearer {TEXT}"))));
        for wrong in [format!("Bearer {TEXT}x"), "Bearer ".into(), TEXT.into(), format!("Basic {TEXT}")] {
            assert!(!token.admits(&shown(&wrong)), "{wrong}");
        }
        assert!(!token.admits(&HeaderMap::new()));
    }

    #[test]
    fn a_token_is_made_once_and_kept_from_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/token");
        let (first, made) = Token::load_or_create(&path).unwrap();
        let (second, again) = Token::load_or_create(&path).unwrap();
        assert!(made && !again && first.text == second.text);
        let mode = |bits| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        mode(0o644);
        assert!(Token::load(&path).unwrap_err().to_string().contains("chmod 600"));
        assert!(!format!("{first:?}").contains(first.text.expose()));
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        for weak in ["short", "", "spaces are no part of it"] {
            assert!(Token::from_text(weak).is_err(), "{weak}");
        }
    }
}
