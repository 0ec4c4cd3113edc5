//! One secret put into a vault as it is, and read back: what `copy` and `restore` do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli;
use crate::protocol::{Metadata, SecretInfo};
use crate::reach::{Failure, Reach, SecretName};
use crate::secret::{SecretType, SecretValue, fold};

/// How secrets are put.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) wanted: cli::PutArgs,
    /// What is said of one that was written, and of one that would be.
    pub(super) words: [&'static str; 2],
}

/// Secrets on their way into vaults.
pub(super) struct Putting<'a> {
    way: Way,
    reach: &'a Reach,
    /// Metadata that was written, to be looked at when all is there: a list tells of every secret at once.
    written: Vec<(SecretName, Metadata)>,
}

/// What is said of a secret that was left alone.
pub(super) const DIFFERS: &str = "differs";

/// The secrets of a vault by folded name.
pub(super) fn by_name(secrets: Vec<SecretInfo>) -> HashMap<String, SecretInfo> {
    secrets.into_iter().map(|secret| (fold(&secret.name), secret)).collect()
}

/// How far a command is, on a terminal.
pub(super) fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    let style = ProgressStyle::with_template("{pos}/{len} {wide_bar} {msg}");
    bar.set_style(style.unwrap_or(ProgressStyle::default_bar()));
    bar
}

impl Putting<'_> {
    /// Nothing is put yet.
    pub(super) fn new(way: Way, reach: &Reach) -> Putting<'_> {
        Putting { way, reach, written: Vec::new() }
    }

    /// Puts a secret in its place, and tells what was done. `there`: what the vault's list says of it.
    pub(super) async fn put(
        &mut self,
        target: &SecretName,
        value: SecretValue,
        metadata: &Metadata,
        there: Option<&SecretInfo>,
    ) -> Result<&'static str, Failure> {
        let Way { wanted: cli::PutArgs { dry_run, overwrite, no_metadata }, words: [written, would] } =
            self.way;
        if let Some(there) = there {
            let same = is_same(&self.reach.get(target).await?.value, &value);
            if same && (no_metadata || there.metadata == *metadata) {
                return Ok("same");
            }
            if !overwrite {
                return Ok(DIFFERS);
            }
        }
        if dry_run {
            return Ok(would);
        }
        let had_metadata = there.is_some_and(|there| !there.metadata.is_empty());
        let metadata = (!no_metadata && (had_metadata || !metadata.is_empty())).then(|| metadata.clone());
        self.reach.set(target, value.clone(), metadata.clone()).await?;
        if !is_same(&self.reach.get(target).await?.value, &value) {
            return Err(
                not_kept(target, "value or type").hint("docs/types.md lists what each vault can hold")
            );
        }
        self.written.extend(metadata.map(|metadata| (target.clone(), metadata)));
        Ok(written)
    }

    /// Reads back the metadata of all that was written.
    pub(super) async fn verify(self) -> Result<(), Failure> {
        let mut listed: HashMap<String, HashMap<String, SecretInfo>> = HashMap::new();
        for (name, metadata) in &self.written {
            let Some(vault) = name.vault() else { continue };
            if let Entry::Vacant(place) = listed.entry(fold(vault)) {
                place.insert(by_name(self.reach.list(vault).await?));
            }
            let now = listed.get(&fold(vault)).and_then(|secrets| secrets.get(&fold(name.last())));
            if now.is_none_or(|now| now.metadata != *metadata) {
                let hint = "--no-metadata leaves it out, for a vault that keeps none";
                return Err(not_kept(name, "metadata").hint(hint));
            }
        }
        Ok(())
    }
}

fn not_kept(target: &SecretName, what: &str) -> Failure {
    Failure::failed(format!("{target} was written, and reads back with another {what}"))
}

/// Whether one is the other, its type too where both vaults tell it.
fn is_same(read: &SecretValue, written: &SecretValue) -> bool {
    let kinds = (read.kind(), written.kind());
    let same_kind = kinds.0 == kinds.1 || kinds.0 == SecretType::Unknown;
    same_kind && read.looks_like(written)
}
