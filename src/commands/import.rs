//! `import`: secrets from files of other programs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::outcome::{CommandOutcome, with_reach};
use super::output;
use crate::cli::{Global, ImportArgs, ImportFormat};
use crate::exit::Exit;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::{SecretValue, fold};
use read::ImportItem;
use zeroize::Zeroizing;

mod read;

pub(super) async fn import(arguments: &ImportArgs, global: &Global) -> CommandOutcome {
    let items = items(arguments)?;
    let write = async |reach: &Reach| {
        let there = reach.list(&arguments.vault).await?;
        let is_there = |name: &str| there.iter().any(|known| fold(&known.name) == fold(name));
        if let Some(item) = items.iter().find(|item| !arguments.overwrite && is_there(&item.name)) {
            return Err(Failure::usage(format!(
                "'{}' is in the vault already; nothing was written",
                item.name
            ))
            .hint("--overwrite writes over what is there"));
        }
        for item in &items {
            let said = if arguments.dry_run { "would import" } else { "imported" };
            if !arguments.dry_run {
                let metadata = (!item.metadata.is_empty()).then(|| item.metadata.clone());
                reach
                    .set(&SecretName::key(&arguments.vault, &item.name), item.value.clone(), metadata)
                    .await?;
            }
            output::print(
                format!("{said}\t{}/{}\t{}\n", arguments.vault, item.name, item.value.kind()).as_bytes(),
            )?;
            if !item.left_out.is_empty() {
                let what = item.left_out.join(", ");
                let _ = writeln!(
                    std::io::stderr(),
                    "left out of '{}', because a credential has no place for it: {what}",
                    item.name
                );
            }
        }
        Ok(())
    };
    let wanted = WantedVaults::Vault(arguments.vault.clone());
    with_reach(&arguments.connect, global, wanted, write).await.map(|()| Exit::Ok)
}

/// What the file holds, if all of it can be told apart in a vault.
fn items(arguments: &ImportArgs) -> Result<Vec<ImportItem>, Failure> {
    let by_name = || format_of(&arguments.file);
    let format = arguments.format.or_else(by_name).ok_or_else(|| {
        Failure::usage("the file's name does not tell its format").hint("name it with --format")
    })?;
    let text = text_of(&arguments.file)?;
    let is_said = arguments.format.is_some();
    let format = if !is_said && read::is_bitwarden(&text) { ImportFormat::Bitwarden } else { format };
    let items = read::items(format, &text)
        .map_err(|why| Failure::usage(format!("{}: {why}", shown(&arguments.file))))?;
    if let Some(index) = items.iter().position(|item| item.name.trim().is_empty()) {
        return Err(
            Failure::usage(format!("entry {} has no name", index + 1)).hint("give it one in the file")
        );
    }
    match twins(&items).as_slice() {
        [] => Ok(items),
        twins => Err(Failure::usage(format!(
            "more than one entry is named {}; nothing was written",
            twins.join(", ")
        ))
        .hint("a vault does not tell names apart by case; rename all but one of each in the file")),
    }
}

/// Names that more than one item has, each once and in quotes.
fn twins(items: &[ImportItem]) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    items.iter().for_each(|item| *seen.entry(fold(&item.name)).or_default() += 1);
    let mut twins: Vec<String> = Vec::new();
    for item in items {
        if seen.remove(&fold(&item.name)).is_some_and(|times| times > 1) {
            twins.push(format!("'{}'", item.name));
        }
    }
    twins
}

/// Names and texts of a .env file, in its order.
pub(super) fn variables(text: &str) -> Result<Vec<(String, Zeroizing<String>)>, String> {
    let text_of = |value: &SecretValue| value.to_json().as_str().unwrap_or_default().to_owned();
    let items = read::items(ImportFormat::Env, text)?;
    Ok(items.into_iter().map(|item| (item.name, Zeroizing::new(text_of(&item.value)))).collect())
}

/// The text of a file, or of standard input for `-`.
pub(super) fn text_of(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map(drop),
    };
    read.map_err(|error| Failure::usage(format!("cannot read {}: {error}", shown(path))))?;
    // By its first bytes it may be UTF-16, which older PowerShell and Notepad write.
    let (text, _, is_broken) = encoding_rs::UTF_8.decode(&bytes);
    let text = Zeroizing::new(text.into_owned());
    match is_broken {
        false => Ok(text),
        true => Err(Failure::usage(format!("{} is not UTF-8 text", shown(path)))),
    }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn format_of(path: &Path) -> Option<ImportFormat> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    match name.rsplit_once('.') {
        _ if name.starts_with(".env") => Some(ImportFormat::Env),
        Some((_, "env")) => Some(ImportFormat::Env),
        Some((_, "json")) => Some(ImportFormat::Json),
        Some((_, "csv")) => Some(ImportFormat::Csv),
        Some((_, "xml")) => Some(ImportFormat::Keepass),
        _ => None,
    }
}
