//! `backup` and `restore`: secrets of vaults in one age archive, and back.

mod archive;
mod keys;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use archive::ArchiveItem;

use super::list::{is_like, matching, split};
use super::outcome::{CommandOutcome, with_reach};
use super::output;
use super::put::{DIFFERS, Putting, Way, bar, by_name};
use crate::cli::{BackupArgs, Global, RestoreArgs};
use crate::exit::Exit;
use crate::protocol::SecretInfo;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::fold;

/// A vault, and a pattern of names in it.
struct Chosen<'a> {
    vault: &'a str,
    pattern: Option<&'a str>,
}

impl<'a> Chosen<'a> {
    fn of(text: &'a str) -> Chosen<'a> {
        let (vault, pattern) = split(text);
        Chosen { vault, pattern }
    }

    fn is_it(&self, vault: &str, name: &str) -> bool {
        fold(vault) == fold(self.vault) && self.pattern.is_none_or(|pattern| is_like(name, pattern))
    }
}

// === backup ===

pub(super) async fn backup(arguments: &BackupArgs, global: &Global) -> CommandOutcome {
    let file = &arguments.file;
    if file.exists() && !arguments.force {
        return Err(Failure::usage(format!("{} is there already", file.display()))
            .hint("--force writes over it; or name another file"));
    }
    // Before any vault is opened: a passphrase may have to be asked for.
    let encryptor = keys::encryptor(&arguments.recipient, arguments.passphrase_file.as_deref())?;
    let wanted = match arguments.vaults.as_slice() {
        [] => WantedVaults::Everything,
        named => WantedVaults::Names(
            named.iter().map(|text| SecretName::key(Chosen::of(text).vault, "*")).collect(),
        ),
    };
    let items =
        with_reach(&arguments.connect, global, wanted, async |reach: &Reach| read(arguments, reach).await)
            .await?;
    archive::write(file, encryptor, &items)?;
    let mut vaults: Vec<&str> = items.iter().map(|item| item.vault.as_str()).collect();
    vaults.dedup();
    output::print(format!("{}\t{} secrets\t{}\n", file.display(), items.len(), vaults.join(",")).as_bytes())?;
    Ok(Exit::Ok)
}

/// Every secret that was asked for. One that goes meanwhile is left out.
async fn read(arguments: &BackupArgs, reach: &Reach) -> Result<Vec<ArchiveItem>, Failure> {
    let all: Vec<String> = match arguments.vaults.as_slice() {
        [] => reach.vaults().await?.into_iter().map(|vault| vault.name).collect(),
        named => named.to_vec(),
    };
    let mut listed: Vec<(String, SecretInfo)> = Vec::new();
    for chosen in all.iter().map(|text| Chosen::of(text)) {
        let mut secrets = matching(reach, chosen.vault, chosen.pattern).await?;
        // Two patterns may fit one secret.
        secrets.retain(|secret| {
            !listed.iter().any(|(vault, other)| {
                fold(vault) == fold(chosen.vault) && fold(&other.name) == fold(&secret.name)
            })
        });
        listed.extend(secrets.into_iter().map(|secret| (chosen.vault.to_owned(), secret)));
    }
    let bar = bar(listed.len());
    let mut items = Vec::with_capacity(listed.len());
    for (vault, secret) in listed {
        bar.set_message(secret.name.clone());
        match reach.get(&SecretName::key(&vault, &secret.name)).await {
            Ok(read) => items.push(ArchiveItem {
                vault,
                name: secret.name,
                value: read.value,
                metadata: secret.metadata,
            }),
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => return Err(failure),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(items)
}

// === restore ===

pub(super) async fn restore(arguments: &RestoreArgs, global: &Global) -> CommandOutcome {
    // The file is read to its end before anything is opened or written.
    let mut items = archive::read(&arguments.file, |is_passphrase| {
        keys::identities(is_passphrase, &arguments.identity, arguments.passphrase_file.as_deref())
    })?;
    let chosen: Vec<Chosen<'_>> = arguments.only.iter().map(|text| Chosen::of(text)).collect();
    items.retain(|item| {
        chosen.is_empty() || chosen.iter().any(|chosen| chosen.is_it(&item.vault, &item.name))
    });
    if let Some(to) = &arguments.to {
        items.iter_mut().for_each(|item| item.vault.clone_from(to));
    }
    if let Some(twin) = twin(&items) {
        return Err(Failure::usage(format!("'{}' is there from two vaults", twin.name))
            .hint("restore them to one vault one after the other: name the vault of the archive"));
    }
    if items.is_empty() {
        return Err(Failure::new(Exit::NotFound, "the archive has no such secret"));
    }
    let way = Way { wanted: arguments.putting, words: ["restored", "would restore"] };
    let wanted = WantedVaults::Names(items.iter().map(|item| SecretName::key(&item.vault, "*")).collect());
    let differ =
        with_reach(&arguments.connect, global, wanted, async |reach: &Reach| put(&items, way, reach).await)
            .await?;
    match differ {
        0 => Ok(Exit::Ok),
        differ => {
            Err(Failure::failed(format!("{differ} secrets differ from the archive and were left alone"))
                .hint("--overwrite writes over them"))
        }
    }
}

async fn put(items: &[ArchiveItem], way: Way, reach: &Reach) -> Result<usize, Failure> {
    // Every vault is asked for before anything is written.
    let mut there: HashMap<String, HashMap<String, SecretInfo>> = HashMap::new();
    for item in items {
        if let Entry::Vacant(place) = there.entry(fold(&item.vault)) {
            place.insert(by_name(reach.list(&item.vault).await?));
        }
    }
    let mut putting = Putting::new(way, reach);
    let bar = bar(items.len());
    let mut differ = 0;
    for item in items {
        bar.set_message(item.name.clone());
        let now = there.get(&fold(&item.vault)).and_then(|vault| vault.get(&fold(&item.name)));
        let target = SecretName::key(&item.vault, &item.name);
        let said = putting.put(&target, item.value.clone(), &item.metadata, now).await?;
        differ += usize::from(said == DIFFERS);
        bar.suspend(|| output::print(format!("{said}\t{}/{}\n", item.vault, item.name).as_bytes()))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    putting.verify().await?;
    Ok(differ)
}

/// A secret that another one would be written over.
fn twin(items: &[ArchiveItem]) -> Option<&ArchiveItem> {
    let mut seen = std::collections::HashSet::new();
    items.iter().find(|item| !seen.insert((fold(&item.vault), fold(&item.name))))
}
