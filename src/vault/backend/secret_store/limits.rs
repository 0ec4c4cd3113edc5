//! What SecretStore cannot hold, or would change in silence.

use crate::protocol::{Metadata, MetadataValue};
use crate::secret::{SecretValue, fold};
use crate::vault::rules::like_a_date;
use crate::vault::verb::Verb;

/// Most entries of a Hashtable.
const MAX_MEMBERS: usize = 20;

/// Why a verb is refused.
pub(super) fn refusal(verb: &Verb) -> Option<String> {
    // A secret of any name can be removed.
    let name = name(verb.key()?, verb.writes() && !matches!(verb, Verb::Remove { .. }));
    name.or_else(|| held(verb.value()?)).or_else(|| kept_with_it(verb.metadata()?))
}

fn name(key: &str, writes: bool) -> Option<String> {
    if fold(key).starts_with("PSHT:") {
        return Some("SecretStore keeps names that begin with psht: for the members of tables".to_owned());
    }
    // It keeps its names as JSON and reads them back by ConvertFrom-Json: a date in place of a name makes the
    // whole store unreadable.
    if writes && like_a_date(key) {
        return Some("SecretStore would take the name for a date, and could not be opened again".to_owned());
    }
    // Its own check for an existing secret takes the name as a wildcard pattern.
    let pattern = writes && key.contains(['*', '?', '[', ']', '`']);
    pattern.then(|| "SecretStore takes the characters * ? [ ] ` in a name for a pattern".to_owned())
}

fn held(value: &SecretValue) -> Option<String> {
    let SecretValue::Hashtable(members) = value else { return None };
    if members.is_empty() {
        return Some("SecretStore stores an empty table and then does not find it".to_owned());
    }
    if members.len() > MAX_MEMBERS {
        return Some(format!("SecretStore holds at most {MAX_MEMBERS} members of a table"));
    }
    let nested = members.values().any(|member| matches!(member, SecretValue::Hashtable(_)));
    nested.then(|| "SecretStore holds no table inside a table".to_owned())
}

fn kept_with_it(metadata: &Metadata) -> Option<String> {
    if metadata.contains_key("") {
        return Some("SecretStore could not be opened again with metadata without a name".to_owned());
    }
    let too_large =
        |value: &MetadataValue| matches!(value, MetadataValue::Int(n) if i32::try_from(*n).is_err());
    metadata.values().any(too_large).then(|| "SecretStore's metadata holds numbers of 32 bits".to_owned())
}
