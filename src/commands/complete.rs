//! `complete-names`: names that a shell offers. An error offers nothing, and says nothing between a person's words.

use std::time::Duration;

use clap::CommandFactory as _;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{Cli, CompleteArgs, Global, NameKind, WantedName};
use crate::exit::Exit;
use crate::reach::name::{SCHEME, encode};
use crate::reach::{Failure, Reach, SecretName};
use crate::secret::fold;

/// Nobody waits longer for a word.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn complete(arguments: &CompleteArgs, global: &Global) -> CommandOutcome {
    let Some(mut wanted) = arguments.wanted(Cli::command()) else { return Ok(Exit::Ok) };
    wanted.connect.timeout = LIMIT;
    let found = tokio::time::timeout(LIMIT, names(&wanted, global)).await;
    let lines: String = found
        .unwrap_or_else(|_| Ok(Vec::new()))
        .unwrap_or_default()
        .into_iter()
        // Such a name cannot be typed either.
        .filter(|name| !name.contains(char::is_control))
        .map(|name| format!("{}{name}\n", wanted.lead))
        .collect();
    output::print(lines.as_bytes()).map(|()| Exit::Ok)
}

/// What begins as the word does. A vault ends with `/` where a key comes next.
async fn names(wanted: &WantedName, global: &Global) -> Result<Vec<String>, Failure> {
    let is_reference = wanted.what == NameKind::Secret && SecretName::is_reference(&wanted.begin);
    let (scheme, begin) = match is_reference {
        true => wanted.begin.split_at(SCHEME.len()),
        false => ("", wanted.begin.as_str()),
    };
    let written = |text: &str| if is_reference { encode(text) } else { text.to_owned() };
    let begins = |name: &String| fold(name).starts_with(&fold(&wanted.begin));
    let vault = begin.split_once('/').map(|(vault, _)| vault).filter(|_| wanted.what != NameKind::Vault);
    let reach = Reach::at_hand(&wanted.connect, global, vault).await?;
    let found = match vault {
        Some(vault) => {
            let secrets = reach.list(vault).await;
            secrets
                .map(|all| all.iter().map(|one| format!("{scheme}{vault}/{}", written(&one.name))).collect())
        }
        None => at_top(&reach, wanted.what)
            .await
            .map(|all| all.iter().map(|(name, slash)| format!("{scheme}{}{slash}", written(name))).collect()),
    };
    reach.close().await;
    let mut found: Vec<String> = found?;
    found.retain(begins);
    found.sort();
    Ok(found)
}

/// The vaults and, where a secret is wanted, the mounts.
async fn at_top(reach: &Reach, what: NameKind) -> Result<Vec<(String, &'static str)>, Failure> {
    let slash = if what == NameKind::Secret { "/" } else { "" };
    let mut all: Vec<_> = reach.vaults().await?.into_iter().map(|vault| (vault.name, slash)).collect();
    if what == NameKind::Secret {
        all.extend(reach.mounts().await?.into_iter().map(|mount| (mount, "")));
    }
    Ok(all)
}
