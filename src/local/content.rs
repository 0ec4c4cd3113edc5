//! What is inside the vault file: the table of secrets, and its form as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::LocalError;
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretValue, fold};

/// The version of the JSON, inside the encryption.
const FORMAT: u32 = 1;

/// How deep tables may nest. What is written must be readable again, and the JSON parser stops at 128
/// levels, of which a table takes two.
pub(super) const MAX_DEPTH: usize = 32;

/// All secrets by folded name. Cheap to clone: the values are shared.
#[derive(Clone, Default)]
pub(super) struct StoredSecrets {
    /// Grows with each write: tells an old file that was put back from the one that was written last.
    pub(super) revision: u64,
    entries: BTreeMap<String, Arc<StoredSecret>>,
}

/// A secret as it is stored. The name is spelt as it was first written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredSecret {
    name: String,
    pub(super) value: SecretValue,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub(super) metadata: Metadata,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    format: u32,
    revision: u64,
    secrets: Vec<&'a StoredSecret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    format: u32,
    #[serde(default)]
    revision: u64,
    secrets: Vec<StoredSecret>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Why decrypted content is not a vault. It does not quote the content, as the parser's own error would.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadContent {
    Format(u32),
    Reason(&'static str),
}

impl StoredSecrets {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<StoredSecret>> {
        self.entries.get(&fold(name))
    }

    /// Puts a value in place; the first spelling stays, and the metadata unless there is new.
    pub(super) fn set(&mut self, name: &str, value: SecretValue, metadata: Option<Metadata>) {
        let folded = fold(name);
        let old = self.entries.get(&folded);
        let metadata = metadata.or_else(|| old.map(|old| old.metadata.clone())).unwrap_or_default();
        let name = old.map_or(name, |old| &old.name).to_owned();
        self.entries.insert(folded, Arc::new(StoredSecret { name, value, metadata }));
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.entries.remove(&fold(name)).is_some()
    }

    /// Sorted by name, without case.
    pub(super) fn list(&self) -> Vec<SecretInfo> {
        let info = |entry: &Arc<StoredSecret>| SecretInfo {
            name: entry.name.clone(),
            kind: entry.value.kind(),
            metadata: entry.metadata.clone(),
        };
        self.entries.values().map(info).collect()
    }

    /// Writes the JSON piece by piece, so that no buffer ever holds all of it.
    pub(super) fn encode(&self, out: impl Write) -> io::Result<()> {
        let secrets = self.entries.values().map(|entry| &**entry).collect();
        serde_json::to_writer(out, &Outgoing { format: FORMAT, revision: self.revision, secrets })
            .map_err(io::Error::from)
    }

    pub(super) fn decode(json: &[u8]) -> Result<StoredSecrets, BadContent> {
        let Ok(incoming) = serde_json::from_slice::<Incoming>(json) else {
            return Err(match serde_json::from_slice::<FormatOnly>(json) {
                Ok(FormatOnly { format }) if format != FORMAT => BadContent::Format(format),
                _ => BadContent::Reason("its content is not a list of secrets"),
            });
        };
        if incoming.format != FORMAT {
            return Err(BadContent::Format(incoming.format));
        }
        let count = incoming.secrets.len();
        let entries: BTreeMap<_, _> =
            incoming.secrets.into_iter().map(|entry| (fold(&entry.name), Arc::new(entry))).collect();
        // Dropping one of two would lose a secret in silence.
        if entries.len() != count {
            return Err(BadContent::Reason("two of its secrets have the same name"));
        }
        Ok(StoredSecrets { revision: incoming.revision, entries })
    }
}

/// Refuses what could not be read back.
pub(super) fn check(name: &str, value: &SecretValue) -> Result<(), LocalError> {
    if name.is_empty() {
        return Err(LocalError::Refused { reason: "a secret needs a name" });
    }
    if depth(value) > MAX_DEPTH {
        return Err(LocalError::Refused { reason: "tables nest deeper than 32 levels" });
    }
    Ok(())
}

fn depth(value: &SecretValue) -> usize {
    match value {
        SecretValue::Hashtable(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{metadata, nested, value};
    use super::*;

    fn round_trip(secrets: &StoredSecrets) -> StoredSecrets {
        let mut json = Vec::new();
        secrets.encode(&mut json).unwrap();
        StoredSecrets::decode(&json).unwrap()
    }

    proptest! {
        #[test]
        fn any_names_values_and_metadata_come_back(
            wanted in prop::collection::vec((".+", value(), metadata()), 0..8)
        ) {
            let mut secrets = StoredSecrets::default();
            for (name, value, metadata) in &wanted {
                check(name, value).unwrap();
                secrets.remove(name);
                secrets.set(name, value.clone(), Some(metadata.clone()));
            }
            let back = round_trip(&secrets);
            prop_assert_eq!(back.list(), secrets.list());
            for (at, (name, value, metadata)) in wanted.iter().enumerate() {
                if wanted[at + 1..].iter().any(|(later, _, _)| fold(later) == fold(name)) {
                    continue;
                }
                let entry = back.get(name).unwrap();
                prop_assert_eq!((&entry.name, &entry.metadata), (name, metadata));
                prop_assert!(entry.value == *value);
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(json in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(StoredSecrets::decode(&json).is_err());
        }
    }

    #[test]
    fn the_deepest_table_that_is_taken_can_be_read_back_and_a_deeper_one_is_refused() {
        let mut secrets = StoredSecrets::default();
        check("deep", &nested(MAX_DEPTH)).unwrap();
        secrets.set("deep", nested(MAX_DEPTH), None);
        assert!(round_trip(&secrets).get("deep").unwrap().value == nested(MAX_DEPTH));
        assert!(matches!(check("deeper", &nested(MAX_DEPTH + 1)), Err(LocalError::Refused { .. })));
        assert!(matches!(check("", &nested(0)), Err(LocalError::Refused { .. })));
    }

    #[test]
    fn other_formats_and_content_are_told_apart_without_quoting_them() {
        let decode = |json: &str| StoredSecrets::decode(json.as_bytes()).err().unwrap();
        assert_eq!(decode(r#"{"format":2,"secrets":{"canary":1}}"#), BadContent::Format(2));
        assert_eq!(decode(r#"{"format":2,"secrets":[]}"#), BadContent::Format(2));
        let entry = r#"{"name":"A","value":{"t":"string","v":"canary"}}"#;
        let twice = format!(r#"{{"format":1,"secrets":[{entry},{}]}}"#, entry.replace('A', "a"));
        for bad in [&twice, "", "canary", r#"{"format":1,"secrets":["canary"]}"#] {
            let reason = decode(bad);
            assert!(matches!(reason, BadContent::Reason(_)));
            assert!(!format!("{reason:?}").contains("canary"));
        }
    }
}
