//! What a vault cannot hold, refused before it is called. `docs/types.md` is the list, with its sources. What one kind
//! of vault cannot hold beyond that is in its backend.

use std::time::Duration;

use super::entry::Entry;
use super::verb::Verb;
use crate::error::BridgeError;
use crate::secret::{SecretValue, fold};

/// Longest SecureString, in UTF-16 code units.
const MAX_SECURE_STRING: usize = 65_536;

/// How long who meets a vault that was locked by request should wait.
const BY_REQUEST: Duration = Duration::from_secs(60);

/// Why something is refused.
type Reason = String;

/// Refuses what the vault could not hold, or would change in silence.
pub fn check(entry: &Entry, verb: &Verb) -> Result<(), BridgeError> {
    admits(entry, verb.writes())?;
    let refusal = entry.backend.refusal(verb).or_else(|| in_general(entry, verb));
    match refusal {
        Some(reason) => Err(BridgeError::Refused { vault: entry.plan.name.clone(), reason }),
        None => Ok(()),
    }
}

/// Refuses everything of a vault that is locked by request, and what writes of one that is only read.
pub(super) fn admits(entry: &Entry, writes: bool) -> Result<(), BridgeError> {
    if writes && entry.plan.read_only {
        return Err(BridgeError::ReadOnly { vault: entry.plan.name.clone() });
    }
    if entry.is_closed() {
        return Err(BridgeError::Locked {
            vault: entry.plan.name.clone(),
            reason: "it was locked by request, until it is unlocked by request".to_owned(),
            retry_after: BY_REQUEST,
        });
    }
    Ok(())
}

fn in_general(entry: &Entry, verb: &Verb) -> Option<Reason> {
    if verb.key() == Some("") {
        return Some("a secret needs a name".to_owned());
    }
    if verb.value().is_some_and(SecretValue::is_opaque) {
        return Some("a secret is a string, SecureString, Hashtable, byte[] or PSCredential".to_owned());
    }
    let twins = || clashing(verb.metadata()?.keys(), "metadata");
    entry.plan.extension().and_then(|_| verb.value().and_then(in_powershell).or_else(twins))
}

/// What PowerShell itself cannot carry, whatever the vault.
fn in_powershell(value: &SecretValue) -> Option<Reason> {
    let secure = |text: &str| {
        if text.contains('\0') {
            return Some("PowerShell reads a SecureString to its first NUL".to_owned());
        }
        let long = text.encode_utf16().count() > MAX_SECURE_STRING;
        long.then(|| format!("a SecureString holds at most {MAX_SECURE_STRING} characters"))
    };
    match value {
        SecretValue::SecureString(text) => secure(text.expose()),
        SecretValue::Credential(credential) if credential.user.is_empty() => {
            Some("a PSCredential needs a user name".to_owned())
        }
        SecretValue::Credential(credential) => secure(credential.password.expose()),
        SecretValue::Hashtable(members) => {
            clashing(members.keys(), "table").or_else(|| members.values().find_map(in_powershell))
        }
        _ => None,
    }
}

/// What ConvertFrom-Json takes for a date.
pub(super) fn like_a_date(text: &str) -> bool {
    let iso = text.bytes().zip(b"0000-00-00T00:00".iter()).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == *other,
    });
    (iso && text.len() >= 16) || text.starts_with("/Date(")
}

/// Two names that a Hashtable takes for one.
fn clashing<'a>(names: impl Iterator<Item = &'a String>, of: &str) -> Option<Reason> {
    let mut folded: Vec<String> = names.map(|name| fold(name)).collect();
    folded.sort();
    let clash = folded.windows(2).any(|pair| pair[0] == pair[1]);
    clash.then(|| format!("two names in the {of} differ in case only"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::plan::{AZ_KEY_VAULT, Extension, SECRET_STORE, Vault, VaultKind};
    use crate::protocol::{Metadata, MetadataValue};
    use crate::secret::{Bytes, Credential};

    fn refused(module: &str, key: &str, value: &SecretValue, metadata: Option<Metadata>) -> bool {
        let plan = Vault::new("v", VaultKind::Extension(Extension::new("v", module)));
        let entry = Entry::bare(plan);
        let verb = Verb::Set { key: key.into(), value: Arc::new(value.clone()), metadata, member: None };
        matches!(check(&entry, &verb), Err(BridgeError::Refused { .. }))
    }

    fn text(text: &str) -> SecretValue {
        SecretValue::string(text)
    }

    fn secure(text: impl Into<String>) -> SecretValue {
        SecretValue::SecureString(text.into().into())
    }

    fn table<const N: usize>(members: [(&str, SecretValue); N]) -> SecretValue {
        SecretValue::Hashtable(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn credential(user: &str, password: &str) -> SecretValue {
        SecretValue::Credential(Credential { user: user.into(), password: password.into() })
    }

    #[test]
    fn a_read_only_vault_is_read_and_listed_and_nothing_else() {
        let key = || "k".to_owned();
        let set = Verb::Set { key: key(), value: Arc::new(text("v")), metadata: None, member: None };
        let writes = [set, Verb::Remove { key: key() }];
        let reads = [Verb::Get { key: key(), detail: true }, Verb::List, Verb::Unlock];
        for read_only in [true, false] {
            let kind = VaultKind::Extension(Extension::new("v", "Other.Vault"));
            let entry = Entry::bare(Vault { read_only, ..Vault::new("v", kind) });
            for verb in &writes {
                let refused = matches!(check(&entry, verb), Err(BridgeError::ReadOnly { .. }));
                assert_eq!(refused, read_only, "{verb:?}");
            }
            assert!(reads.iter().all(|verb| check(&entry, verb).is_ok()));
            assert_eq!(admits(&entry, true).is_err(), read_only, "nor does its backend write for itself");
        }
    }

    /// The lines of `docs/types.md` that say **refused**: for SecretStore, Az.KeyVault, another module.
    #[test]
    fn each_line_of_the_table_of_types_is_kept() {
        let many: BTreeMap<_, _> = (0..21).map(|n| (format!("m{n}"), text("v"))).collect();
        let date = "2026-11-23T10:00:00Z";
        for (name, value, expected) in [
            ("string", text("v"), [false, false, false]),
            ("empty string", text(""), [false, true, false]),
            ("odd string", text("a\0\u{2028}\"\r\n"), [false, false, false]),
            ("date-like string", text(date), [false, false, false]),
            ("longest text of Azure", text(&"é".repeat(25_000)), [false, false, false]),
            ("too long for Azure", text(&"é".repeat(25_001)), [false, true, false]),
            ("1 MiB", text(&"x".repeat(1 << 20)), [false, true, false]),
            ("SecureString", secure("v"), [false, false, false]),
            ("NUL in a SecureString", secure("a\0b"), [true, true, true]),
            ("longest SecureString", secure("x".repeat(65_536)), [false, true, false]),
            ("too long a SecureString", secure("x".repeat(65_537)), [true, true, true]),
            ("bytes", SecretValue::Bytes(Bytes::new("ascii")), [false, false, false]),
            ("bytes above 127", SecretValue::Bytes(Bytes::new([200])), [false, true, false]),
            ("no bytes", SecretValue::Bytes(Bytes::new([])), [false, true, false]),
            ("credential", credential("u", ""), [false, false, false]),
            ("credential without user", credential("", "p"), [true, true, true]),
            ("credential with NUL", credential("u", "\0"), [true, true, true]),
            ("date-like credential", credential(date, "p"), [false, true, false]),
            ("table", table([("a", text("b"))]), [false, false, false]),
            ("empty table", table([]), [true, true, false]),
            ("nested table", table([("a", table([("b", text("c"))]))]), [true, true, false]),
            ("SecureString member", table([("a", secure("b"))]), [false, true, false]),
            ("date-like member", table([("a", text(date))]), [false, true, false]),
            ("nameless member", table([("", text("b"))]), [false, true, false]),
            ("members alike", table([("a", text("1")), ("A", text("2"))]), [true, true, true]),
            (
                "20 members",
                SecretValue::Hashtable(many.clone().into_iter().skip(1).collect()),
                [false, false, false],
            ),
            ("21 members", SecretValue::Hashtable(many), [true, false, false]),
        ] {
            let found =
                [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"].map(|module| refused(module, "k", &value, None));
            assert_eq!(found, expected, "{name}");
        }
        for (key, expected) in [
            ("k-1", [false, false, false]),
            ("a b/c é", [false, true, false]),
            ("a*", [true, true, false]),
            ("a`b", [true, true, false]),
            ("PSHT:x", [true, true, false]),
            (date, [true, true, false]),
            ("/Date(1)/", [true, true, false]),
            ("2026-11-23", [false, false, false]),
            ("", [true, true, true]),
        ] {
            let found = [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"]
                .map(|module| refused(module, key, &text("v"), None));
            assert_eq!(found, expected, "{key:?}");
        }
        let entry = Entry::bare(Vault::new("v", VaultKind::Extension(Extension::new("v", SECRET_STORE))));
        assert!(check(&entry, &Verb::Get { key: "a[1]".into(), detail: true }).is_ok());
        assert!(check(&entry, &Verb::Remove { key: "a[1]".into() }).is_ok());
        let large = |n: i64| Some(Metadata::from([("n".to_owned(), MetadataValue::Int(n))]));
        assert!(refused(SECRET_STORE, "k", &text("v"), large(1 << 40)));
        assert!(!refused(SECRET_STORE, "k", &text("v"), large(7)));
        let nameless = Metadata::from([(String::new(), MetadataValue::Int(7))]);
        assert!(refused(SECRET_STORE, "k", &text("v"), Some(nameless)));
        assert!(refused(AZ_KEY_VAULT, "k", &text("v"), large(7)));
        let twins =
            || Some(["a", "A"].map(|name| (name.to_owned(), MetadataValue::Int(1))).into_iter().collect());
        for module in [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"] {
            assert!(refused(module, "k", &text("v"), twins()), "{module}");
        }
    }
}
