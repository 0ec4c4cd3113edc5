//! The archive: an age file of JSON lines. The first says what it is, the last how many secrets stand before it.

use std::io::{self, Read as _};
use std::path::Path;

use age::{DecryptError, Decryptor, Encryptor, Identity};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock;
use crate::platform::{create_private_file, sync_folder};
use crate::private_file::{STAGED_SUFFIX, folder_of, put};
use crate::protocol::Metadata;
use crate::reach::Failure;
use crate::secret::SecretValue;

/// The version of the lines.
const FORMAT: u32 = 1;

/// A larger archive is none of ours: it is held in memory as a whole.
const MAX: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct ArchiveHead {
    secretbridge_backup: u32,
    made: String,
}

/// A secret with its place.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveItem {
    pub(super) vault: String,
    pub(super) name: String,
    pub(super) value: SecretValue,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub(super) metadata: Metadata,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    secrets: usize,
}

/// Writes it whole, readable by its owner alone, or leaves what was there.
pub(super) fn write(path: &Path, encryptor: Encryptor, items: &[ArchiveItem]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    let folder = folder_of(path);
    let staged = tempfile::Builder::new()
        .prefix(".backup-")
        .suffix(STAGED_SUFFIX)
        .make_in(folder, create_private_file)
        .map_err(failed)?;
    let mut out = encryptor.wrap_output(staged).map_err(failed)?;
    lines(items, &mut out).map_err(failed)?;
    let staged = out.finish().map_err(failed)?;
    staged.as_file().sync_all().map_err(failed)?;
    put(staged, path).map_err(failed)?;
    sync_folder(folder).map_err(failed)
}

fn lines(items: &[ArchiveItem], out: &mut impl io::Write) -> io::Result<()> {
    let made = humantime::format_rfc3339_seconds(clock::now().into()).to_string();
    line(&ArchiveHead { secretbridge_backup: FORMAT, made }, out)?;
    items.iter().try_for_each(|item| line(item, out))?;
    line(&End { secrets: items.len() }, out)
}

fn line(of: &impl Serialize, out: &mut impl io::Write) -> io::Result<()> {
    let mut text = Zeroizing::new(serde_json::to_vec(of).map_err(io::Error::from)?);
    text.push(b'\n');
    out.write_all(&text)
}

/// Reads it to its end. `identities` is told whether it was made with a passphrase.
pub(super) fn read(
    path: &Path,
    identities: impl FnOnce(bool) -> Result<Vec<Box<dyn Identity>>, Failure>,
) -> Result<Vec<ArchiveItem>, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MAX {
        return Err(refused(path, "it is too large"));
    }
    let decryptor = Decryptor::new(file).map_err(|error| of_age(path, error))?;
    let identities = identities(decryptor.is_scrypt())?;
    let mut plain = Zeroizing::new(Vec::with_capacity(length as usize + 64));
    let reader =
        decryptor.decrypt(identities.iter().map(AsRef::as_ref)).map_err(|error| of_age(path, error))?;
    reader.take(MAX).read_to_end(&mut plain).map_err(|_| refused(path, "it is torn or was changed"))?;
    items(&plain).map_err(|why| refused(path, why))
}

fn items(plain: &[u8]) -> Result<Vec<ArchiveItem>, &'static str> {
    const TORN: &str = "it is torn or was changed";
    let mut lines: Vec<&[u8]> = plain.split(|byte| *byte == b'\n').collect();
    if lines.pop().is_none_or(|after| !after.is_empty()) || lines.len() < 2 {
        return Err(TORN);
    }
    let head: ArchiveHead =
        serde_json::from_slice(lines[0]).map_err(|_| "what it holds is no backup of secretbridge")?;
    if head.secretbridge_backup != FORMAT {
        return Err("it was made by a newer version of secretbridge");
    }
    let end: End = serde_json::from_slice(lines[lines.len() - 1]).map_err(|_| TORN)?;
    let items = &lines[1..lines.len() - 1];
    if items.len() != end.secrets {
        return Err(TORN);
    }
    // The parser's own error would quote what it met.
    items
        .iter()
        .map(|item| serde_json::from_slice(item).map_err(|_| "a secret in it cannot be read"))
        .collect()
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("the archive {} is refused: {why}; nothing was written", path.display()))
        .hint("take another copy of it")
}

fn of_age(path: &Path, error: DecryptError) -> Failure {
    match error {
        DecryptError::NoMatchingKeys => {
            Failure::usage(format!("the archive {} was made for another key", path.display()))
                .hint("--identity names the file of its key")
        }
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => Failure::usage(format!(
            "the archive {} does not open: the passphrase is wrong, or the file was changed",
            path.display()
        )),
        DecryptError::ExcessiveWork { .. } => refused(path, "opening it would take too long"),
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
            refused(path, "it does not begin as an age file")
        }
        _ => refused(path, "it is torn or was changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretValue;

    fn written(names: &[&str]) -> Vec<u8> {
        let item = |name: &&str| ArchiveItem {
            vault: "v".into(),
            name: (*name).to_owned(),
            value: SecretValue::string("canary\n"),
            metadata: Metadata::new(),
        };
        let mut out = Vec::new();
        lines(&names.iter().map(item).collect::<Vec<_>>(), &mut out).unwrap();
        out
    }

    #[test]
    fn what_lacks_any_part_of_its_end_is_refused() {
        let whole = written(&["a", "b"]);
        assert_eq!(items(&whole).unwrap().len(), 2);
        assert_eq!(items(&written(&[])).unwrap().len(), 0);
        for end in 0..whole.len() {
            assert!(items(&whole[..end]).is_err(), "{end}");
        }
        let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(items(&[lines[0], lines[1], lines[3]].concat()).is_err(), "a line is missing");
        assert!(items(&[lines[0], lines[1], lines[1], lines[2], lines[3]].concat()).is_err());
        let newer = String::from_utf8(whole).unwrap().replace("_backup\":1", "_backup\":2");
        assert!(items(newer.as_bytes()).err().unwrap().contains("newer"));
    }
}
