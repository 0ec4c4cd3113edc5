//! `copy`: secrets from one vault to another, each read back.

use std::collections::HashMap;

use indicatif::{ProgressBar, ProgressStyle};

use super::list::is_like;
use super::{Outcome, output, with_reach};
use crate::cli::{CopyArgs, Global};
use crate::exit::Exit;
use crate::protocol::SecretInfo;
use crate::reach::{Failure, Name, Reach, Wanted};
use crate::secret::{SecretType, SecretValue, fold};

pub(super) async fn copy(arguments: &CopyArgs, global: &Global) -> Outcome {
    let (from, pattern) = arguments.from.split_once('/').unwrap_or((&arguments.from, "*"));
    if fold(from) == fold(&arguments.to) {
        return Err(Failure::usage(format!("'{from}' is the vault to copy from and to")));
    }
    let names = [from, &arguments.to].map(|vault| Name::key(vault, "*"));
    let done = async |reach: &Reach| {
        let there = by_name(reach.list(&arguments.to).await?);
        let mut secrets = reach.list(from).await?;
        secrets.retain(|secret| is_like(&secret.name, pattern));
        let bar = ProgressBar::new(secrets.len() as u64);
        bar.set_style(
            ProgressStyle::with_template("{pos}/{len} {wide_bar} {msg}")
                .unwrap_or(ProgressStyle::default_bar()),
        );
        let mut differ = 0;
        for secret in &secrets {
            bar.set_message(secret.name.clone());
            let said = one(arguments, reach, from, secret, there.get(&fold(&secret.name))).await?;
            differ += usize::from(said == "differs");
            bar.suspend(|| output::print(format!("{said}\t{}/{}\n", arguments.to, secret.name).as_bytes()))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(differ)
    };
    match with_reach(&arguments.connect, global, Wanted::Names(names.into()), done).await? {
        0 => Ok(Exit::Ok),
        differ => {
            Err(Failure::failed(format!("{differ} secrets of '{}' differ and were left alone", arguments.to))
                .hint("--overwrite writes over them"))
        }
    }
}

fn by_name(secrets: Vec<SecretInfo>) -> HashMap<String, SecretInfo> {
    secrets.into_iter().map(|secret| (fold(&secret.name), secret)).collect()
}

/// Copies one secret, and tells what was done.
async fn one(
    arguments: &CopyArgs,
    reach: &Reach,
    from: &str,
    secret: &SecretInfo,
    there: Option<&SecretInfo>,
) -> Result<&'static str, Failure> {
    let (source, target) = (Name::key(from, &secret.name), Name::key(&arguments.to, &secret.name));
    let value = reach.get(&source).await?.value;
    let keeps_metadata = !arguments.no_metadata;
    if let Some(there) = there {
        let same = is_same(&reach.get(&target).await?.value, &value);
        if same && (!keeps_metadata || there.metadata == secret.metadata) {
            return Ok("same");
        }
        if !arguments.overwrite {
            return Ok("differs");
        }
    }
    if arguments.dry_run {
        return Ok("would copy");
    }
    let had_metadata = there.is_some_and(|there| !there.metadata.is_empty());
    let metadata =
        (keeps_metadata && (had_metadata || !secret.metadata.is_empty())).then(|| secret.metadata.clone());
    reach.set(&target, value.clone(), metadata.clone()).await?;
    let not_kept = |what: &str| {
        Failure::failed(format!("{target} was written, and reads back with another {what} than {source}"))
    };
    if !is_same(&reach.get(&target).await?.value, &value) {
        return Err(not_kept("value or type"));
    }
    if let Some(metadata) = metadata {
        let now =
            reach.list(&arguments.to).await?.into_iter().find(|now| fold(&now.name) == fold(&secret.name));
        if now.is_none_or(|now| now.metadata != metadata) {
            return Err(not_kept("metadata"));
        }
    }
    Ok("copied")
}

/// Whether one is the other, its type too where both vaults tell it.
fn is_same(read: &SecretValue, written: &SecretValue) -> bool {
    let kinds = (read.kind(), written.kind());
    let same_kind = kinds.0 == kinds.1 || kinds.0 == SecretType::Unknown;
    same_kind && read.looks_like(written)
}
