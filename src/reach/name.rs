//! Names of secrets as people write them, and references as files hold them.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What begins a reference.
pub const SCHEME: &str = "secretbridge://";

/// What stands in percent encoding in a part of a path or reference.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A secret, and perhaps a member of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretName {
    /// Where it is.
    pub place: SecretPlace,
    /// From the whole value inwards, the members to take.
    pub members: Vec<String>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretPlace {
    /// A key of a vault.
    Key {
        /// The vault's friendly name.
        vault: String,
        /// The key.
        key: String,
    },
    /// A mounted secret or, if none has the name, a key of the default vault.
    Bare(String),
}

impl SecretName {
    /// A key of a vault.
    pub fn key(vault: impl Into<String>, key: impl Into<String>) -> SecretName {
        SecretName { place: SecretPlace::Key { vault: vault.into(), key: key.into() }, members: Vec::new() }
    }

    /// The vault that it names, if it names one.
    pub fn vault(&self) -> Option<&str> {
        match &self.place {
            SecretPlace::Key { vault, .. } => Some(vault),
            SecretPlace::Bare(_) => None,
        }
    }

    /// The key, or the name by itself.
    pub fn last(&self) -> &str {
        match &self.place {
            SecretPlace::Key { key, .. } => key,
            SecretPlace::Bare(name) => name,
        }
    }

    /// The same with one more member, if there is one.
    pub fn with_member(mut self, member: Option<&String>) -> SecretName {
        self.members.extend(member.cloned());
        self
    }

    /// Whether text is meant as a reference.
    pub fn is_reference(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    fn reference(rest: &str) -> Result<SecretName, String> {
        let (path, members) = match rest.split_once('#') {
            Some((path, pointer)) => (path, pointer_members(pointer)?),
            None => (rest, Vec::new()),
        };
        let place = match path.split_once('/') {
            Some((vault, key)) => {
                let (vault, key) = (decode(vault)?, decode(key)?);
                if vault.is_empty() || key.is_empty() {
                    return Err("a reference is secretbridge://vault/key".to_owned());
                }
                SecretPlace::Key { vault, key }
            }
            None if path.is_empty() => return Err("a reference is secretbridge://vault/key".to_owned()),
            None => SecretPlace::Bare(decode(path)?),
        };
        Ok(SecretName { place, members })
    }
}

/// The members that a JSON pointer names, e.g. `/user/name`.
fn pointer_members(pointer: &str) -> Result<Vec<String>, String> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err("after # comes a member, as in #/password".to_owned());
    };
    rest.split('/').map(|part| Ok(decode(part)?.replace("~1", "/").replace("~0", "~"))).collect()
}

fn decode(part: &str) -> Result<String, String> {
    let text = percent_decode_str(part).decode_utf8();
    text.map(String::from).map_err(|_| "the percent encoding is not UTF-8 text".to_owned())
}

/// A part of a path, encoded.
pub fn encode(part: &str) -> String {
    utf8_percent_encode(part, SEGMENT).to_string()
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<SecretName, String> {
        if SecretName::is_reference(text) {
            return SecretName::reference(&text[SCHEME.len()..]);
        }
        let place = match text.split_once('/') {
            None if text.is_empty() => return Err("the name is empty".to_owned()),
            None => SecretPlace::Bare(text.to_owned()),
            Some((vault, key)) if vault.is_empty() || key.is_empty() => {
                return Err("write vault/key, or the name of a mounted secret".to_owned());
            }
            Some((vault, key)) => SecretPlace::Key { vault: vault.to_owned(), key: key.to_owned() },
        };
        Ok(SecretName { place, members: Vec::new() })
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SecretPlace::Key { vault, key } => write!(f, "{vault}/{key}")?,
            SecretPlace::Bare(name) => f.write_str(name)?,
        }
        self.members.iter().enumerate().try_for_each(|(index, member)| {
            write!(
                f,
                "{}{}",
                if index == 0 { "#/" } else { "/" },
                member.replace('~', "~0").replace('/', "~1")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SecretName, String> {
        text.parse()
    }

    fn with(name: SecretName, members: &[&str]) -> SecretName {
        SecretName { members: members.iter().map(|&member| member.to_owned()).collect(), ..name }
    }

    #[test]
    fn the_first_slash_parts_vault_and_key() {
        assert_eq!(read("team/db"), Ok(SecretName::key("team", "db")));
        assert_eq!(
            read("team/a/b#c%20"),
            Ok(SecretName::key("team", "a/b#c%20")),
            "the rest is the key as it stands"
        );
        assert_eq!(read("Db").unwrap().place, SecretPlace::Bare("Db".into()));
        for wrong in ["", "/", "team/", "/key"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reference_is_decoded_and_may_name_members() {
        assert_eq!(read("secretbridge://my%20vault/a%2Fb"), Ok(SecretName::key("my vault", "a/b")));
        assert_eq!(read("SecretBridge://v/k#/pass"), Ok(with(SecretName::key("v", "k"), &["pass"])));
        assert_eq!(
            read("secretbridge://v/k#/a~1b/c%20d"),
            Ok(with(SecretName::key("v", "k"), &["a/b", "c d"]))
        );
        assert_eq!(read("secretbridge://Db").unwrap().place, SecretPlace::Bare("Db".into()));
        for wrong in [
            "secretbridge://",
            "secretbridge:///k",
            "secretbridge://v/",
            "secretbridge://v/k#pass",
            "secretbridge://v/%ff",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
