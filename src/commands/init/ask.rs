//! The questions of `init`. What asks them is given, so that they are tested without a terminal.

use super::text;
use super::wish::{InitChoices, UnlockChoice, VaultWish, name_of};
use crate::cli::InitArgs;
use crate::plan::{AZ_KEY_VAULT, SECRET_STORE};
use crate::reach::Failure;
use crate::registry;

/// Shows a question and gives the answer, without the space around it.
type Asker<'a> = &'a mut dyn FnMut(&str) -> Result<String, Failure>;

pub(super) fn ask(
    arguments: &InitArgs,
    found: &registry::FoundVaults,
    asker: Asker<'_>,
) -> Result<InitChoices, Failure> {
    let registered: Vec<_> = found.vaults.iter().map(|vault| vault.name.as_str()).collect();
    let mut question =
        "Which vault is to be served?\n  1  a local vault: an encrypted file, which needs no PowerShell\n  \
        2  SecretStore\n  3  Azure Key Vault\n  4  one of another SecretManagement module\n"
            .to_owned();
    if !registered.is_empty() {
        question += &format!("  5  those that you registered in PowerShell: {}\n", registered.join(", "));
    }
    let most = if registered.is_empty() { 4 } else { 5 };
    let chosen = loop {
        match or(asker, &format!("{question}[1]"), "1")?.parse::<u32>() {
            Ok(number) if (1..=most).contains(&number) => break number,
            _ => question = format!("A number from 1 to {most}, please."),
        }
    };
    let (mut vault, mut expose) = (None, Vec::new());
    match chosen {
        1 => vault = Some(of("local", None)),
        2 => vault = Some(secret_store(asker)?),
        3 => vault = Some(azure(asker)?),
        4 => vault = Some(module(asker)?),
        _ => expose = exposed(&registered, asker)?,
    }
    if let Some(vault) = &mut vault {
        let name = arguments.name.clone().unwrap_or_else(|| vault.name.clone());
        vault.name = or(asker, &format!("Its friendly name? [{name}]"), &name)?;
    }
    let listen = arguments.listen.as_deref().unwrap_or(text::LISTEN);
    let listen = or(asker, &format!("Where should the server listen? [{listen}]"), listen)?;
    Ok(InitChoices { listen, vault, expose })
}

fn of(name: &str, module: Option<&str>) -> VaultWish {
    let module = module.map(str::to_owned);
    VaultWish { name: name.to_owned(), module, parameters: Vec::new(), unlock: None }
}

fn secret_store(asker: Asker<'_>) -> Result<VaultWish, Failure> {
    let mut vault = of("store", Some(SECRET_STORE));
    vault.unlock = unlock(asker)?;
    if vault.unlock.is_none() {
        vault.parameters.push(("Authentication".to_owned(), "None".to_owned()));
    }
    Ok(vault)
}

fn azure(asker: Asker<'_>) -> Result<VaultWish, Failure> {
    let name = needed(asker, "Its name in Azure?")?;
    let subscription = needed(asker, "The id of its subscription?")?;
    let mut vault = of(&name, Some(AZ_KEY_VAULT));
    vault.parameters = vec![("AZKVaultName".to_owned(), name), ("SubscriptionId".to_owned(), subscription)];
    Ok(vault)
}

fn module(asker: Asker<'_>) -> Result<VaultWish, Failure> {
    let module = needed(asker, "The module's name or path?")?;
    let mut vault = of(&name_of(&module), Some(&module));
    loop {
        let line = asker("One of its VaultParameters, as NAME=VALUE? [no more]")?;
        match line.split_once('=') {
            _ if line.is_empty() => break,
            Some((name, value)) if !name.trim().is_empty() => {
                vault.parameters.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            _ => {}
        }
    }
    vault.unlock = unlock(asker)?;
    Ok(vault)
}

fn unlock(asker: Asker<'_>) -> Result<Option<UnlockChoice>, Failure> {
    let place =
        asker("Where is its password: a FILE (mode 0600), or env:NAME for a variable? [it has none]")?;
    Ok(match place.strip_prefix("env:") {
        _ if place.is_empty() => None,
        Some(name) => Some(UnlockChoice::Env(name.to_owned())),
        None => Some(UnlockChoice::File(place)),
    })
}

fn exposed(registered: &[&str], asker: Asker<'_>) -> Result<Vec<String>, Failure> {
    let all = registered.join(",");
    let names =
        or(asker, &format!("Which of them, apart by commas; with :rw for writing too? [{all}]"), &all)?;
    Ok(names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

fn or(asker: Asker<'_>, question: &str, default: &str) -> Result<String, Failure> {
    let answer = asker(question)?;
    Ok(if answer.is_empty() { default.to_owned() } else { answer })
}

fn needed(asker: Asker<'_>, question: &str) -> Result<String, Failure> {
    loop {
        let answer = asker(question)?;
        if !answer.is_empty() {
            return Ok(answer);
        }
    }
}
