//! `list`, `info` and `vaults`: what there is, never a value.

use serde_json::{Value, json};

use super::outcome::{CommandOutcome, with_reach};
use super::output;
use crate::cli::{Global, InfoArgs, ListArgs, VaultsArgs};
use crate::error::BridgeError;
use crate::exit::Exit;
use crate::http::value;
use crate::protocol::SecretInfo;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::fold;

pub(super) async fn list(arguments: &ListArgs, global: &Global) -> CommandOutcome {
    let (vault, pattern) = arguments.of.as_deref().map_or((None, None), |of| {
        let (vault, pattern) = split(of);
        (Some(vault), pattern)
    });
    let wanted = vault.map_or(WantedVaults::Everything, |vault| WantedVaults::Vault(vault.to_owned()));
    let look = async |reach: &Reach| {
        let vaults = match vault {
            Some(vault) => vec![vault.to_owned()],
            None => reach.vaults().await?.into_iter().map(|vault| vault.name).collect(),
        };
        let mut found = Vec::new();
        for vault in vaults {
            let secrets = reach.list(&vault).await?;
            let matching = secrets
                .into_iter()
                .filter(|secret| pattern.is_none_or(|pattern| is_like(&secret.name, pattern)));
            found.extend(matching.map(|secret| (vault.clone(), secret)));
        }
        Ok(found)
    };
    let found = with_reach(&arguments.connect, global, wanted, look).await?;
    if arguments.json {
        let all: Vec<Value> = found.iter().map(|(vault, secret)| shown(vault, secret)).collect();
        return output::json(&Value::Array(all)).map(|()| Exit::Ok);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(vault, secret)| {
            vec![
                format!("{vault}/{}", secret.name),
                secret.kind.to_string(),
                output::metadata(&secret.metadata),
            ]
        })
        .collect();
    output::table(&["name", "type", "metadata"], &rows).map(|()| Exit::Ok)
}

pub(super) async fn info(arguments: &InfoArgs, global: &Global) -> CommandOutcome {
    let name = &arguments.name;
    let wanted = WantedVaults::Names(vec![name.clone()]);
    let look = async |reach: &Reach| {
        let (vault, key) = reach.resolve(name).await?;
        let secrets = reach.list(&vault).await?;
        let found = secrets.into_iter().find(|secret| fold(&secret.name) == fold(&key));
        match found {
            Some(secret) => Ok((vault, secret)),
            None => {
                let missing = BridgeError::NotFound { vault: vault.clone(), key: key.clone() };
                Err(reach.with_similar(missing.into(), &SecretName::key(vault, key)).await)
            }
        }
    };
    let (vault, secret) = with_reach(&arguments.connect, global, wanted, look).await?;
    if arguments.json {
        return output::json(&shown(&vault, &secret)).map(|()| Exit::Ok);
    }
    let mut rows = vec![
        vec!["name".to_owned(), secret.name.clone()],
        vec!["vault".to_owned(), vault],
        vec!["type".to_owned(), secret.kind.to_string()],
    ];
    for name in secret.metadata.keys() {
        let one = [(name.clone(), secret.metadata[name].clone())].into();
        let shown = output::metadata(&one);
        rows.push(vec![format!("metadata {name}"), shown[name.len() + 1..].to_owned()]);
    }
    output::table(&["", ""], &rows).map(|()| Exit::Ok)
}

pub(super) async fn vaults(arguments: &VaultsArgs, global: &Global) -> CommandOutcome {
    let look = async |reach: &Reach| reach.vaults().await;
    let vaults = with_reach(&arguments.connect, global, WantedVaults::Nothing, look).await?;
    if arguments.json {
        let all = serde_json::to_value(&vaults).unwrap_or_default();
        return output::json(&all).map(|()| Exit::Ok);
    }
    let rows: Vec<Vec<String>> = vaults
        .into_iter()
        .map(|vault| {
            let access = if vault.read_only { "read" } else { "read,write" };
            vec![vault.name, access.to_owned(), vault.state.unwrap_or_else(|| "-".to_owned())]
        })
        .collect();
    output::table(&["name", "access", "state"], &rows).map(|()| Exit::Ok)
}

fn shown(vault: &str, secret: &SecretInfo) -> Value {
    json!({
        "Vault": vault,
        "Name": secret.name,
        "Type": secret.kind,
        "Metadata": value::shown_metadata(&secret.metadata),
    })
}

/// A vault and, where there is one, a pattern behind it.
pub(super) fn split(of: &str) -> (&str, Option<&str>) {
    match of.split_once('/') {
        Some((vault, pattern)) => (vault, Some(pattern).filter(|pattern| !pattern.is_empty())),
        None => (of, None),
    }
}

/// The secrets of a vault that are like a pattern. That none is like it is an error where a pattern was said: a program
/// must not go on without what it was to get. An empty vault is none.
pub(super) async fn matching(
    reach: &Reach,
    vault: &str,
    pattern: Option<&str>,
) -> Result<Vec<SecretInfo>, Failure> {
    let mut secrets = reach.list(vault).await?;
    let Some(pattern) = pattern else { return Ok(secrets) };
    secrets.retain(|secret| is_like(&secret.name, pattern));
    if !secrets.is_empty() {
        return Ok(secrets);
    }
    if pattern.contains(['*', '?']) {
        let message = format!("the vault '{vault}' has no secret that is like '{pattern}'");
        return Err(Failure::new(Exit::NotFound, message)
            .hint(format!("`secretbridge list {vault}` lists those that there are")));
    }
    let missing = BridgeError::NotFound { vault: vault.to_owned(), key: pattern.to_owned() };
    Err(reach.with_similar(missing.into(), &SecretName::key(vault, pattern)).await)
}

/// Whether a name is like a pattern, in which `*` stands for any text and `?` for any character; without case.
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) =
        (fold(name).chars().collect(), fold(pattern).chars().collect());
    // Where the last star was, and what it stands for so far: linear but for the steps back to it.
    let (mut at, mut of, mut star) = (0, 0, None);
    while at < name.len() {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(&c) if c == '?' || c == name[at] => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, of) = (taken + 1, place + 1);
            }
        }
    }
    pattern[of..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_names() {
        for (name, pattern) in
            [("db-main", "DB-*"), ("a/b", "*"), ("a/b", "a?b"), ("abcabd", "*abd"), ("x", "x**"), ("", "*")]
        {
            assert!(is_like(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("db", "db-*"), ("adb", "db*"), ("a", "??"), ("ab", "a"), ("a[1]", "a[12]")] {
            assert!(!is_like(name, pattern), "{name} {pattern}");
        }
    }
}
