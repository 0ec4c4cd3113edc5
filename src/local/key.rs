//! The key file: one age X25519 identity, as `age-keygen` writes it, so that the `age` program can open
//! the vault without us.

use std::io::{self, ErrorKind, Read};
use std::iter;
use std::path::Path;

use age::secrecy::ExposeSecret;
use age::{DecryptError, Decryptor, EncryptError, Encryptor, x25519};
use zeroize::Zeroizing;

use super::content::StoredSecrets;
use super::error::LocalError;
use super::paths::{Paths, STAGED_PREFIX};
use crate::platform::sync_folder;
use crate::private_file::{read_private, stage};

/// The key, held as long as the vault is open.
pub(super) struct VaultKey {
    identity: x25519::Identity,
    recipient: x25519::Recipient,
}

impl VaultKey {
    /// Reads the key file. That it is missing beside a vault is an error of its own.
    pub(super) fn load(paths: &Paths) -> Result<VaultKey, LocalError> {
        let text = read_private(&paths.key).map_err(|error| match error.is_not_found() {
            true => LocalError::MissingKey { key: paths.key.clone(), vault: paths.vault.clone() },
            false => error.into(),
        })?;
        parse(&text).ok_or_else(|| LocalError::BadKey { key: paths.key.clone() })
    }

    /// Makes a new key. Only under the folder's lock, and only where there is neither key nor vault. It
    /// appears whole and synced, or not at all.
    pub(super) fn create(paths: &Paths) -> Result<(), LocalError> {
        let identity = x25519::Identity::generate();
        let (secret, public) = (identity.to_string(), identity.to_public());
        let text = Zeroizing::new(format!(
            "# the key of vault.age, made by secretbridge; whoever has both can read all secrets\n\
             # public key: {public}\n{}\n",
            secret.expose_secret()
        ));
        let failed = LocalError::write(&paths.key);
        let staged = stage(&paths.folder, STAGED_PREFIX, text.as_bytes()).map_err(failed)?;
        staged.persist_noclobber(&paths.key).map_err(|refused| failed(refused.error))?;
        sync_folder(&paths.folder).map_err(LocalError::unconfirmed(&paths.key))
    }

    /// Whether the key file still holds this key. Writing without would leave a vault that nothing can
    /// open after the next start.
    pub(super) fn check_in_place(&self, paths: &Paths) -> Result<(), LocalError> {
        match VaultKey::load(paths)?.recipient == self.recipient {
            true => Ok(()),
            false => Err(LocalError::KeyChanged { key: paths.key.clone() }),
        }
    }

    pub(super) fn encrypt(&self, secrets: &StoredSecrets) -> io::Result<Vec<u8>> {
        let recipient: &dyn age::Recipient = &self.recipient;
        let encryptor = Encryptor::with_recipients(iter::once(recipient)).map_err(other)?;
        let mut out = encryptor.wrap_output(Vec::new())?;
        secrets.encode(&mut out)?;
        out.finish()
    }

    /// Decrypts into a buffer of `room` bytes, which must be enough: one that grows leaves copies.
    pub(super) fn decrypt(&self, sealed: impl io::BufRead, room: usize) -> Result<Plain, DecryptError> {
        let identity: &dyn age::Identity = &self.identity;
        let mut reader = Decryptor::new_buffered(sealed)?.decrypt(iter::once(identity))?;
        let mut plain = Plain::new(Vec::with_capacity(room + 64));
        reader.read_to_end(&mut plain)?;
        Ok(plain)
    }
}

/// Decrypted content, wiped on drop.
pub(super) type Plain = Zeroizing<Vec<u8>>;

/// Turns age's reason into ours.
pub(super) fn unreadable(paths: &Paths, error: DecryptError) -> LocalError {
    let path = paths.vault.clone();
    match error {
        DecryptError::NoMatchingKeys => LocalError::WrongKey { vault: path, key: paths.key.clone() },
        DecryptError::Io(error) if !is_about_content(&error) => LocalError::read(&paths.vault)(error),
        DecryptError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            LocalError::Damaged { path, reason: "it ends too early" }
        }
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
            LocalError::Damaged { path, reason: "it does not begin as an age file" }
        }
        _ => LocalError::Damaged { path, reason: "it does not decrypt" },
    }
}

fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

fn parse(text: &[u8]) -> Option<VaultKey> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let identity: x25519::Identity = line.parse().ok()?;
    Some(VaultKey { recipient: identity.to_public(), identity })
}

fn other(error: EncryptError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Whether there is a file, told apart from not being allowed to look.
pub(super) fn exists(path: &Path) -> Result<bool, LocalError> {
    path.try_exists().map_err(LocalError::read(path))
}
