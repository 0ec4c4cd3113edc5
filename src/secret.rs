//! The one type that holds a secret's plain text.
//!
//! A [`SecretValue`] is one of the five types that SecretManagement knows, or an object of a script. Its `Debug` shows the type
//! and nothing else, it has no `Display`, and its buffers are wiped when dropped. What `serde` or a
//! socket copied on the way is not: the claim is modest on purpose.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A piece of secret text, wiped on drop. `Debug` prints `Text(…)`.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

/// Secret bytes, wiped on drop. On the wire they are base64.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Bytes(Vec<u8>);

/// A secret as a vault holds it, in one of SecretManagement's five types; in script mode also any object.
///
/// The serde form is the tagged value of the worker protocol: `{"t":"string","v":"…"}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", content = "v", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum SecretValue {
    /// A .NET string.
    String(Text),
    /// A `SecureString`, in plain text while it is on our side.
    SecureString(Text),
    /// A byte array.
    Bytes(Bytes),
    /// A `Hashtable`. Members are string, SecureString, byte[], PSCredential or, where a vault allows
    /// it, another table. Keys are strings; a vault compares them without case.
    Hashtable(BTreeMap<String, SecretValue>),
    /// A `PSCredential`.
    Credential(Credential),
    /// Any other object, as PowerShell's own serializer writes it. Only a script's custom vault makes one,
    /// only a script block reads it; no other vault takes it and no native route shows it.
    Clixml(Text),
}

/// A value as [`SecretValue::to_json`] shows it.
pub(crate) struct ShownValue<'a>(&'a SecretValue);

/// User name and password of a `PSCredential`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The user name; not secret by itself, but not logged either.
    pub user: String,
    /// The password.
    pub password: Text,
}

/// SecretManagement's own name for a value's type, as `Get-SecretInfo` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SecretType {
    /// Not told by the vault.
    Unknown,
    /// `byte[]`.
    ByteArray,
    /// `string`.
    String,
    /// `SecureString`.
    SecureString,
    /// `PSCredential`.
    PSCredential,
    /// `Hashtable`.
    Hashtable,
}

// === impl Text ===

impl Text {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Text {
        Text(text.into())
    }

    /// The plain text. Name it only where it must leave: a vault call or a response body.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(…)")
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text)
    }
}

// === impl Bytes ===

impl Bytes {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Bytes {
        Bytes(bytes.into())
    }

    /// The plain bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bytes(…)")
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = BASE64.encode(&self.0);
        let out = serializer.serialize_str(&text);
        text.zeroize();
        out
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Text::deserialize(deserializer)?;
        // The decoder's error quotes a byte of the input, so it is not passed on.
        BASE64.decode(text.expose()).map(Bytes).map_err(|_| D::Error::custom("bytes are not base64"))
    }
}

// === impl SecretValue ===

impl SecretValue {
    /// A plain string value.
    pub fn string(text: impl Into<String>) -> SecretValue {
        SecretValue::String(Text::new(text))
    }

    /// The type's name as SecretManagement has it.
    #[must_use]
    pub fn kind(&self) -> SecretType {
        match self {
            SecretValue::String(_) => SecretType::String,
            SecretValue::SecureString(_) => SecretType::SecureString,
            SecretValue::Bytes(_) => SecretType::ByteArray,
            SecretValue::Hashtable(_) => SecretType::Hashtable,
            SecretValue::Credential(_) => SecretType::PSCredential,
            SecretValue::Clixml(_) => SecretType::Unknown,
        }
    }

    /// The text of a string or SecureString.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            SecretValue::String(text) | SecretValue::SecureString(text) => Some(text.expose()),
            _ => None,
        }
    }

    /// Roughly how many bytes it takes, its own names included.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            SecretValue::String(text) | SecretValue::SecureString(text) => text.expose().len(),
            SecretValue::Bytes(bytes) => bytes.expose().len(),
            SecretValue::Hashtable(members) => {
                members.iter().map(|(name, member)| 64 + name.len() + member.size()).sum()
            }
            SecretValue::Credential(credential) => credential.user.len() + credential.password.expose().len(),
            SecretValue::Clixml(text) => text.expose().len(),
        }
    }

    /// Whether a vault may give the one for the other: in tables SecretStore does not tell string from
    /// SecureString, and the names' case is the vault's business.
    #[must_use]
    pub fn looks_like(&self, other: &SecretValue) -> bool {
        match (self, other) {
            (SecretValue::Hashtable(ours), SecretValue::Hashtable(theirs)) => {
                let is_there = |(name, value): (&String, &SecretValue)| {
                    self.member(name).is_some_and(|own| own.looks_like(value))
                };
                ours.len() == theirs.len() && theirs.iter().all(is_there)
            }
            _ => self == other || self.as_text().is_some_and(|text| other.as_text() == Some(text)),
        }
    }

    /// A member of a table, its name compared without case as a Hashtable does.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&SecretValue> {
        let SecretValue::Hashtable(members) = self else { return None };
        members.get(name).or_else(|| {
            let folded = fold(name);
            members.iter().find(|(key, _)| fold(key) == folded).map(|(_, value)| value)
        })
    }

    /// Whether it is, or holds, an object that only a script block can read.
    pub fn is_opaque(&self) -> bool {
        match self {
            SecretValue::Clixml(_) => true,
            SecretValue::Hashtable(members) => members.values().any(SecretValue::is_opaque),
            _ => false,
        }
    }

    /// Every piece of plain text inside, for redaction: passwords, members, strings.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            SecretValue::String(text) | SecretValue::SecureString(text) | SecretValue::Clixml(text) => {
                vec![text.expose()]
            }
            SecretValue::Bytes(_) => Vec::new(),
            SecretValue::Hashtable(members) => members.values().flat_map(SecretValue::texts).collect(),
            SecretValue::Credential(credential) => vec![credential.password.expose()],
        }
    }

    /// The value as a client sees it in JSON: text as a string, bytes in base64, a table as an object,
    /// a credential as `{"UserName","Password"}`. This is where a secret leaves the program. What only a
    /// script block can read is null; [`crate::bridge::Bridge::read`] has refused it before.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Only a map whose keys are not strings fails.
        serde_json::to_value(self.shown()).unwrap_or_default()
    }

    /// The same, to be written without a copy in between.
    pub(crate) fn shown(&self) -> ShownValue<'_> {
        ShownValue(self)
    }
}

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            SecretValue::String(text) | SecretValue::SecureString(text) => {
                serializer.serialize_str(text.expose())
            }
            SecretValue::Bytes(bytes) => {
                serializer.serialize_str(&Zeroizing::new(BASE64.encode(bytes.expose())))
            }
            SecretValue::Hashtable(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, value.shown())))
            }
            SecretValue::Credential(credential) => serializer.collect_map([
                ("UserName", credential.user.as_str()),
                ("Password", credential.password.expose()),
            ]),
            SecretValue::Clixml(_) => serializer.serialize_unit(),
        }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(…)", self.kind())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A name as vaults and PowerShell compare it: without case, in the invariant culture. This is the
/// simple upper-case mapping, one character to one, which is what .NET's ordinal comparison uses.
pub fn fold(name: &str) -> String {
    folded(name).collect()
}

/// Whether two names are one, as [`fold`] has it.
pub fn is_same_name(one: &str, other: &str) -> bool {
    folded(one).eq(folded(other))
}

fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().map(|c| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            // .NET never takes another letter for an ASCII one, such as the long s or the dotless i.
            (Some(one), None) if c.is_ascii() || !one.is_ascii() => one,
            _ => c,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-5f2d";

    fn one_of_each() -> Vec<SecretValue> {
        let text = || SecretValue::string(CANARY);
        let credential = Credential { user: "u".into(), password: CANARY.into() };
        vec![
            text(),
            SecretValue::SecureString(CANARY.into()),
            SecretValue::Bytes(Bytes::new(CANARY)),
            SecretValue::Hashtable([("a".to_owned(), text())].into()),
            SecretValue::Credential(credential),
            SecretValue::Clixml(CANARY.into()),
        ]
    }

    #[test]
    fn debug_never_shows_the_value() {
        for value in one_of_each() {
            assert!(!format!("{value:?} {value:#?}").contains(CANARY));
        }
    }

    #[test]
    fn every_type_survives_the_wire() {
        for value in one_of_each() {
            let line = serde_json::to_string(&value).expect("encodes");
            assert_eq!(serde_json::from_str::<SecretValue>(&line).expect("decodes"), value);
        }
    }

    #[test]
    fn members_are_found_without_case_the_exact_one_first() {
        let table = SecretValue::Hashtable(
            [("pass".to_owned(), SecretValue::string("low")), ("Pass".to_owned(), SecretValue::string("up"))]
                .into(),
        );
        assert_eq!(table.member("pass").and_then(SecretValue::as_text), Some("low"));
        assert_eq!(table.member("Pass").and_then(SecretValue::as_text), Some("up"));
        assert!(table.member("PASS").is_some());
    }

    #[test]
    fn folding_is_one_character_to_one() {
        assert_eq!(fold("Straße"), "STRAßE");
        assert_eq!(fold("k1"), fold("K1"));
    }
}
