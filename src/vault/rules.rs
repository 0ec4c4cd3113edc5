//! What a vault cannot hold, refused before it is called. `docs/types.md` lists it.

use super::{Entry, Verb};
use crate::error::BridgeError;
use crate::plan::VaultKind;
use crate::protocol::MetadataValue;
use crate::secret::{SecretValue, fold};

/// Most entries of a Hashtable in SecretStore.
const MAX_MEMBERS: usize = 20;

/// Longest name in an Azure key vault.
const MAX_AZURE_NAME: usize = 127;

/// Refuses what the vault could not hold, or would change in silence.
pub fn check(entry: &Entry, verb: &Verb) -> Result<(), BridgeError> {
    if verb.writes() && entry.plan.read_only {
        return Err(BridgeError::ReadOnly { vault: entry.plan.name.clone() });
    }
    let extension = entry.plan.extension();
    let opaque = matches!(verb, Verb::Set { value, .. } if value.is_opaque());
    let refusal = match (verb.key(), extension) {
        _ if matches!(entry.plan.kind, VaultKind::Custom(_)) => {
            Some("it is made of script blocks, and only a script block can call them".to_owned())
        }
        (Some(""), _) => Some("a secret needs a name".to_owned()),
        _ if opaque => {
            Some("a secret is a string, SecureString, Hashtable, byte[] or PSCredential".to_owned())
        }
        (Some(key), Some(extension)) if extension.is_secret_store() => in_secret_store(key, verb),
        (Some(key), Some(extension)) if extension.is_az_key_vault() => in_azure(key, verb),
        _ => None,
    };
    match refusal {
        Some(reason) => Err(BridgeError::Refused { vault: entry.plan.name.clone(), reason }),
        None => Ok(()),
    }
}

fn in_secret_store(key: &str, verb: &Verb) -> Option<String> {
    if verb.writes() && key.contains(['*', '?', '[', ']']) {
        // Its own check for an existing secret takes the name as a wildcard pattern.
        return Some("SecretStore takes the characters * ? [ ] in a name as wildcards".to_owned());
    }
    let Verb::Set { value, metadata, .. } = verb else { return None };
    let bad_metadata = metadata.iter().flatten().any(|(name, value)| {
        name.is_empty() || matches!(value, MetadataValue::Int(number) if i32::try_from(*number).is_err())
    });
    if bad_metadata {
        return Some("SecretStore's metadata is text, 32-bit whole numbers and dates".to_owned());
    }
    let SecretValue::Hashtable(members) = &**value else { return None };
    if members.is_empty() {
        return Some("SecretStore stores an empty table and then does not find it".to_owned());
    }
    if members.len() > MAX_MEMBERS {
        return Some(format!("SecretStore holds at most {MAX_MEMBERS} members of a table"));
    }
    if members.values().any(|member| matches!(member, SecretValue::Hashtable(_))) {
        return Some("SecretStore holds no table inside a table".to_owned());
    }
    clashing(members.keys())
}

fn in_azure(key: &str, verb: &Verb) -> Option<String> {
    let fits =
        key.len() <= MAX_AZURE_NAME && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !fits {
        return Some("names in Azure Key Vault are 1 to 127 letters, digits and hyphens".to_owned());
    }
    match verb {
        Verb::Set { value, .. } if value.as_text().is_none() => {
            Some(format!("Azure Key Vault holds text, and this is a {}", value.kind()))
        }
        _ => None,
    }
}

/// Two member names that a Hashtable takes for one.
fn clashing<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut folded: Vec<String> = names.map(|name| fold(name)).collect();
    folded.sort();
    let clash = folded.windows(2).any(|pair| pair[0] == pair[1]);
    clash.then(|| "two members of the table differ in case only".to_owned())
}
