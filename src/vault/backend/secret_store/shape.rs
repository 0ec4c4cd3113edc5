//! Whether the file of a SecretStore has the form of one. Its content says nothing without the password; its lengths do.
//!
//! Written by SecretStore 1.0: the length of a digest, which is 32, and the digest; then the length of the encrypted
//! index, the index, whose length is that of whole cipher blocks, and the encrypted values.

use std::io::Read as _;
use std::path::Path;

/// Bytes of the digest.
const DIGEST: u64 = 32;

/// Bytes of a cipher block.
const BLOCK: u64 = 16;

/// Bytes before the index.
const HEAD: u64 = 4 + DIGEST + 4;

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreShape {
    /// As a store; a byte that was changed in its middle does not show.
    Whole,
    /// As none: it was cut off, or something else was written over it.
    Broken,
    /// As text, which no store of a known version is.
    Unknown,
}

/// Looks at a file that is there.
pub fn of(path: &Path) -> StoreShape {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        file.take(HEAD).read_to_end(&mut head)?;
        Ok(length)
    });
    read.map_or(StoreShape::Unknown, |length| judge(&head, length))
}

fn judge(head: &[u8], length: u64) -> StoreShape {
    if head.starts_with(b"{") {
        return StoreShape::Unknown;
    }
    let number = |at: usize| head.get(at..at + 4)?.try_into().ok().map(i32::from_le_bytes);
    let (Some(digest), Some(index)) = (number(0), number(4 + DIGEST as usize)) else {
        return StoreShape::Broken;
    };
    let fits = u64::try_from(index)
        .is_ok_and(|index| index > 0 && index.is_multiple_of(BLOCK) && HEAD + index <= length);
    if u64::try_from(digest) == Ok(DIGEST) && fits { StoreShape::Whole } else { StoreShape::Broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(digest: i32, index: i32) -> Vec<u8> {
        [&digest.to_le_bytes()[..], &[7; 32], &index.to_le_bytes()].concat()
    }

    #[test]
    fn a_store_is_told_from_what_was_cut_off_or_written_over() {
        let good = file(32, 48);
        for (name, head, length, expected) in [
            ("whole, with values", good.clone(), 200, StoreShape::Whole),
            ("whole, without any", good.clone(), 88, StoreShape::Whole),
            ("cut off in its index", good.clone(), 87, StoreShape::Broken),
            ("cut off in its digest", good[..20].to_vec(), 20, StoreShape::Broken),
            ("empty", Vec::new(), 0, StoreShape::Broken),
            ("zeros", vec![0; 40], 4096, StoreShape::Broken),
            ("something else", b"This file was restored from a backup tape".to_vec(), 41, StoreShape::Broken),
            ("an index of no blocks", file(32, 47), 200, StoreShape::Broken),
            ("an index of nothing", file(32, 0), 200, StoreShape::Broken),
            ("another digest", file(31, 48), 200, StoreShape::Broken),
            ("an index below nothing", file(32, -16), 200, StoreShape::Broken),
            ("text", b"{\"version\":9}".to_vec(), 13, StoreShape::Unknown),
        ] {
            assert_eq!(judge(&head[..head.len().min(40)], length), expected, "{name}");
        }
    }

    #[test]
    fn a_file_is_looked_at_as_far_as_its_lengths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storefile");
        assert_eq!(of(&path), StoreShape::Unknown, "it is not there");
        for (content, expected) in [
            ([file(32, 48), vec![7; 48]].concat(), StoreShape::Whole),
            ([file(32, 48), vec![7; 47]].concat(), StoreShape::Broken),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(of(&path), expected);
        }
    }
}
