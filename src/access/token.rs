//! The bearer token, and the file that it is kept in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::private_file::{PrivateFileError, create_private_dir, read_private, write_private_new};
use crate::secret::Text;

/// The shortest token taken, in characters.
pub const MIN_TOKEN: usize = 16;

/// Nobody needs a longer one; a larger file is some other file.
const MAX_TOKEN: usize = 4096;

/// A bearer token, wiped on drop. `Debug` prints `Token(…)`.
#[derive(Clone)]
pub struct Token(Text);

/// What is kept of a token: its SHA-256. A token is random, so that no slow hash is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// Not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not sha256: and 64 hexadecimal digits (hint: `secretbridge token hash` makes it)")]
pub struct HashError;

/// Why a token cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Too short to resist guessing.
    #[error(
        "the token has {length} characters (hint: at least {MIN_TOKEN}; `openssl rand -hex 32` makes one)"
    )]
    Short {
        /// How long it is.
        length: usize,
    },
    /// It cannot stand in a header.
    #[error("the token has characters that a header cannot carry (hint: letters, digits and -._~+/= only)")]
    Characters,
    /// What a file holds cannot be a token.
    #[error("the token file {}: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: Box<TokenError>,
    },
    /// It cannot be read or made, or others could read it.
    #[error("the token file: {0}")]
    File(#[from] PrivateFileError),
    /// It is not a token file.
    #[error("{} is not a token file (hint: one line of text, at most {MAX_TOKEN} bytes)", .path.display())]
    NotAToken {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

// === impl Token ===

impl Token {
    /// A token from text; white space around it is dropped.
    pub fn from_text(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        let length = text.chars().count();
        if length < MIN_TOKEN {
            return Err(TokenError::Short { length });
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
            return Err(TokenError::Characters);
        }
        Ok(Token(text.into()))
    }

    /// The token in a file, which nobody but its owner may read.
    pub fn load(path: &Path) -> Result<Token, TokenError> {
        let bytes = read_private(path)?;
        let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= MAX_TOKEN);
        let text = text.ok_or_else(|| TokenError::NotAToken { path: path.to_owned() })?;
        Token::from_text(text)
            .map_err(|problem| TokenError::Content { path: path.to_owned(), problem: Box::new(problem) })
    }

    /// The token in a file, made there if there is no such file. `true` says that it was made.
    ///
    /// Of two that start at once one makes the file and both use it: it appears whole or not at all.
    pub fn load_or_create(path: &Path) -> Result<(Token, bool), TokenError> {
        match Token::load(path) {
            Err(TokenError::File(error)) if error.is_not_found() => {}
            outcome => return Ok((outcome?, false)),
        }
        let token = Token::random()?;
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            create_private_dir(folder)?;
        }
        let line = Zeroizing::new(format!("{}\n", token.0.expose()));
        match write_private_new(path, line.as_bytes()) {
            Ok(()) => Ok((token, true)),
            Err(PrivateFileError::Exists { .. }) => Ok((Token::load(path)?, false)),
            Err(error) => Err(error.into()),
        }
    }

    fn random() -> Result<Token, TokenError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *bytes)?;
        Ok(Token(URL_SAFE_NO_PAD.encode(*bytes).into()))
    }

    /// A token that nobody has guessed: 32 random bytes.
    pub fn new() -> Result<Token, TokenError> {
        Token::random()
    }

    /// What is kept of it.
    pub fn hash(&self) -> Hash {
        Hash::of(self.0.expose().as_bytes())
    }

    /// Its text, to be handed to whoever will hold it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

// === impl Hash ===

impl Hash {
    /// That of what somebody shows.
    pub fn of(shown: &[u8]) -> Hash {
        Hash(Sha256::digest(shown).into())
    }

    /// That of the token in a file, which nobody but its owner may read. The file may hold the hash instead.
    pub fn load(path: &Path) -> Result<Hash, TokenError> {
        let bytes = read_private(path)?;
        let kept = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        kept.map_or_else(|| Token::load(path).map(|token| token.hash()), Ok)
    }

    /// Whether they are the same; takes the same time wherever the two differ.
    pub fn matches(&self, other: &Hash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads `sha256:` and 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Hash, HashError> {
        let digits = text.trim().strip_prefix("sha256:").ok_or(HashError)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(HashError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| HashError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| HashError)?;
        }
        Ok(Hash(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests;
