//! Passphrases, recipients and identities of an archive.

use std::io::IsTerminal as _;
use std::iter;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::{Encryptor, Identity, Recipient, scrypt, x25519};
use zeroize::Zeroizing;

use super::super::set::{drop_newline, hidden};
use crate::private_file::read_private;
use crate::reach::Failure;

/// What encrypts: to recipients, or with a passphrase that comes from a file or a prompt.
pub(super) fn encryptor(recipients: &[String], file: Option<&Path>) -> Result<Encryptor, Failure> {
    if recipients.is_empty() {
        return Ok(Encryptor::with_user_passphrase(passphrase(file, "--recipient", true)?));
    }
    let mut keys: Vec<x25519::Recipient> = Vec::new();
    for text in recipients {
        let key = text.trim().parse();
        keys.push(key.map_err(|_| {
            Failure::usage(format!("'{text}' is no age recipient"))
                .hint("it begins with age1; `age-keygen -y key.txt` prints it")
        })?);
    }
    let encryptor = Encryptor::with_recipients(keys.iter().map(|key| key as &dyn Recipient));
    encryptor.map_err(|error| Failure::usage(error.to_string()))
}

/// What decrypts.
pub(super) fn identities(
    is_passphrase: bool,
    files: &[PathBuf],
    file: Option<&Path>,
) -> Result<Vec<Box<dyn Identity>>, Failure> {
    if is_passphrase {
        if !files.is_empty() {
            return Err(Failure::usage("the archive was made with a passphrase, and --identity names a key")
                .hint("--passphrase-file names the passphrase's file; without it, it is asked for"));
        }
        let mut identity = scrypt::Identity::new(passphrase(file, "--passphrase-file", false)?);
        // A slower machine must also open a file that a faster one made.
        identity.set_max_work_factor(22);
        return Ok(vec![Box::new(identity)]);
    }
    if files.is_empty() {
        return Err(Failure::usage("the archive was made for recipients, and no identity is named")
            .hint("--identity names the file of the age key"));
    }
    let mut found: Vec<Box<dyn Identity>> = Vec::new();
    for path in files {
        let bytes = read_private(path).map_err(|error| Failure::usage(error.to_string()))?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<x25519::Identity> = lines.filter_map(|line| line.parse().ok()).collect();
        if keys.is_empty() {
            return Err(Failure::usage(format!("{} holds no age identity", path.display()))
                .hint("a line AGE-SECRET-KEY-1…, as `age-keygen` writes it"));
        }
        found.extend(keys.into_iter().map(|key| Box::new(key) as Box<dyn Identity>));
    }
    Ok(found)
}

fn passphrase(file: Option<&Path>, other: &str, twice: bool) -> Result<SecretString, Failure> {
    let text = match file {
        Some(path) => {
            let mut bytes = read_private(path).map_err(|error| Failure::usage(error.to_string()))?;
            drop_newline(&mut bytes);
            let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
            text.map_err(|_| Failure::usage(format!("{} is not UTF-8 text", path.display())))?
        }
        None if std::io::stdin().is_terminal() => asked(twice)?,
        None => {
            return Err(Failure::usage(
                "nothing says what the passphrase is, and there is no terminal to ask on",
            )
            .hint(format!("--passphrase-file FILE, or {other}")));
        }
    };
    if text.is_empty() {
        return Err(Failure::usage("the passphrase is empty"));
    }
    Ok(SecretString::from(text.as_str().to_owned()))
}

fn asked(twice: bool) -> Result<Zeroizing<String>, Failure> {
    let first = hidden("passphrase of the archive: ")?;
    for again in iter::once("the same again: ").filter(|_| twice) {
        if hidden(again)? != first {
            return Err(Failure::usage("the two passphrases differ; nothing was written"));
        }
    }
    Ok(first)
}
