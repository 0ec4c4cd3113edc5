//! Files and folders: where they are, whose they are, and who else may use them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::audit::Destination;
use crate::config::ConfigPlace;
use crate::plan::callers::KeptToken;
use crate::plan::{Access, InitScript, Plan, SecretSource, Tls};
use crate::platform::{self, FileKind, FileOwner};
use crate::private_file::place_of;
use crate::vault::backend::kind::VaultFiles;
use crate::vault::backend::kinds;
use crate::{local, registry};

const AREA: &str = "files";

/// What others may do with a file or folder.
#[derive(Clone, Copy, PartialEq)]
enum FileRule {
    /// Nothing.
    Private,
    /// Read it.
    Readable,
    /// Read it, by workers: it may be of the user whose vaults are served.
    OfWorkers,
}

/// The configuration, the registry, the store, and every file that the plan names.
pub fn files(plan: &Plan, place: Option<&ConfigPlace>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.push(match place {
        Some(place) => {
            at(&format!("the configuration ({})", place.whose), &place.path, FileRule::Readable, None)
        }
        None => Finding::ok(AREA, "no configuration: a local vault is served")
            .with("looked_at", crate::config::looked_at()),
    });
    found.push(the_registry());
    found.extend(kinds::folders_of_user().map(|(title, folder)| of_module(title, &folder)));
    found.extend(data(plan));
    found.extend(tokens(plan));
    found.extend(passwords(plan));
    found.extend(others(plan));
    found
}

/// The folder that a module keeps the user's vaults in.
fn of_module(title: &str, folder: &Path) -> Finding {
    if !folder.exists() {
        let message = format!("{title}'s folder: none yet at {}", folder.display());
        return Finding::ok(AREA, message).with("path", shown(folder));
    }
    let rule = if platform::vaults_of().is_some() { FileRule::OfWorkers } else { FileRule::Private };
    at(&format!("{title}'s folder"), folder, rule, None)
}

fn the_registry() -> Finding {
    let looked = registry::look();
    let what = "the registry of your vaults";
    match &looked.problem {
        Some(problem) => Finding::problem(
            AREA,
            format!("{what}, {}: {problem}", looked.path.display()),
            "restore the file, or move it away and register the vaults again with Register-SecretVault",
        ),
        None if !looked.path.exists() => {
            Finding::ok(AREA, format!("{what}: none is registered ({})", looked.path.display()))
        }
        None => {
            let names: Vec<_> = looked.vaults.iter().map(|vault| vault.name.clone()).collect();
            at(what, &looked.path, FileRule::Private, None).with("vaults", names)
        }
    }
    .with("path", shown(&looked.path))
}

fn data(plan: &Plan) -> Vec<Finding> {
    let mut found = Vec::new();
    for vault in &plan.vaults {
        let Some(VaultFiles { folder: Some(folder), key, names }) = kinds::files_of(vault) else { continue };
        let which = format!("the {} '{}'", kinds::of(vault).title(), vault.name);
        if let Some(key) = key {
            found.push(at(&format!("the key of {which}"), &key, FileRule::Private, None));
        }
        let what = format!("the folder of {which}");
        if !folder.exists() {
            found.push(Finding::ok(AREA, format!("{what}: made at the first start ({})", folder.display())));
            continue;
        }
        found.push(at(&what, &folder, FileRule::Readable, None));
        for name in names {
            let file = folder.join(name);
            if file.exists() {
                found.push(at(&format!("{name} of {which}"), &file, FileRule::Private, None));
            }
        }
    }
    found
}

fn tokens(plan: &Plan) -> Vec<Finding> {
    let make = |path: &Path| format!("secretbridge token new --file {}", word(path));
    let mut found = Vec::new();
    match &plan.access {
        Access::TokenFile(path) => {
            found.push(at("the token's file", path, FileRule::Private, Some(make(path))))
        }
        Access::TokenEnv(name) => found.push(variable("the token", name)),
        Access::OwnToken => {
            if let Some(path) = local::default_folder().map(|folder| folder.join("token")) {
                found.push(if path.exists() {
                    at("the token's file", &path, FileRule::Private, None)
                } else {
                    Finding::ok(AREA, format!("the token: made at the first start ({})", path.display()))
                });
            }
        }
        Access::Open => found.push(Finding::warning(
            AREA,
            "no token is asked for: whoever can connect can read and write the secrets",
            "take open = true out of [auth]",
        )),
        Access::Named => {}
    }
    for token in &plan.callers.tokens {
        if let KeptToken::File(path) = &token.kept {
            found.push(at(
                &format!("the file of the token '{}'", token.name),
                path,
                FileRule::Private,
                Some(make(path)),
            ));
        }
    }
    found
}

fn passwords(plan: &Plan) -> Vec<Finding> {
    let sources =
        plan.vaults.iter().filter_map(|vault| Some((&vault.name, vault.extension()?.unlock.as_ref()?)));
    let one = |(vault, source): (&String, &SecretSource)| match source {
        SecretSource::File(path) => {
            let mend = format!("write the password into {}, with mode 0600", path.display());
            Some(at(&format!("the password of the vault '{vault}'"), path, FileRule::Private, Some(mend)))
        }
        SecretSource::Env(name) => Some(variable(&format!("the password of the vault '{vault}'"), name)),
        SecretSource::Value(_) => None,
    };
    sources.filter_map(one).collect()
}

fn others(plan: &Plan) -> Vec<Finding> {
    let mut found = Vec::new();
    let needed = |path: &Path| Some(format!("put it there, or correct the path {}", path.display()));
    for listener in &plan.listeners {
        if let Some(Tls::Files { certificate, key, clients }) = &listener.tls {
            found.push(at("a certificate", certificate, FileRule::Readable, needed(certificate)));
            found.push(at("a certificate's key", key, FileRule::Private, needed(key)));
            found.extend(
                clients.iter().map(|path| at("client authorities", path, FileRule::Readable, needed(path))),
            );
        }
    }
    for script in &plan.init {
        if let InitScript::File(path) = script {
            found.push(at("an init script", path, FileRule::OfWorkers, needed(path)));
        }
    }
    found.extend(
        plan.pwsh
            .module_path
            .iter()
            .map(|path| at("a module folder", path, FileRule::OfWorkers, needed(path))),
    );
    if let Destination::File(path) = &plan.audit.to {
        found.push(if path.exists() {
            at("the audit trail", path, FileRule::Private, None)
        } else {
            let folder = crate::private_file::folder_of(path);
            at(
                "the folder of the audit trail",
                folder,
                FileRule::Readable,
                Some(format!("mkdir -p {}", word(folder))),
            )
        });
    }
    found
}

/// A variable that has to be set.
fn variable(what: &str, name: &str) -> Finding {
    match std::env::var_os(name).is_some_and(|value| !value.is_empty()) {
        true => Finding::ok(AREA, format!("{what}: the variable {name} is set")),
        false => Finding::problem(
            AREA,
            format!("{what}: the variable {name} is not set here"),
            format!("set {name} where the server starts, or name a file in its place"),
        ),
    }
}

/// How a file or folder is. `missing`: what to do where it is not there; nothing where that is no fault.
fn at(what: &str, path: &Path, rule: FileRule, missing: Option<String>) -> Finding {
    let path = &*match place_of(path) {
        Ok(found) => found,
        Err(error) => {
            let name = path.display();
            let message = format!("{what}, {name}, which only its service is handed");
            return Finding::unseen(AREA, message).with("path", shown(path)).with("why", error.to_string());
        }
    };
    let place = path.display();
    let kind = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("{what}: {place} is not there");
            let finding = match missing {
                Some(mend) => Finding::problem(AREA, message, mend),
                None => Finding::ok(AREA, message),
            };
            return finding.with("path", shown(path));
        }
        Err(error) => {
            let mend = "let this user reach it, or run the server as a user who can";
            return Finding::problem(AREA, format!("{what}: {place}: {error}"), mend)
                .with("path", shown(path));
        }
        Ok(found) if found.is_dir() => FileKind::Folder,
        Ok(_) => FileKind::File,
    };
    let access = match platform::access_at(path) {
        Ok(access) => access,
        Err(error) => {
            return Finding::warning(AREA, format!("{what}: {place}: {error}"), "look at its permissions")
                .with("path", shown(path));
        }
    };
    let head = format!("{what}: {place} ({}, {})", access.owner, access.shown);
    let of_workers =
        rule == FileRule::OfWorkers && platform::vaults_of().is_some_and(|user| user.owns(&access));
    let finding = if matches!(access.owner, FileOwner::Other(_)) && !of_workers {
        Finding::problem(AREA, format!("{head}: it is another user's"), platform::command_to_own(path))
    } else if access.others_write && !access.sticky {
        Finding::problem(
            AREA,
            format!("{head}: others may change it"),
            platform::command_to_protect(path, kind),
        )
    } else if access.others_read && rule == FileRule::Private {
        let mend = platform::command_to_close(path, kind);
        // Files in the folder have modes of their own.
        match kind {
            FileKind::File => Finding::problem(AREA, format!("{head}: others may read it"), mend),
            FileKind::Folder => Finding::warning(AREA, format!("{head}: others may list it"), mend),
        }
    } else {
        Finding::ok(AREA, head)
    };
    finding.with("path", shown(path)).with("owner", access.owner.to_string()).with("access", access.shown)
}

pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A path for a command line.
pub(super) fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:\\~".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Every file that the plan needs to read, and what it is.
pub(super) fn needed(plan: &Plan) -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    if let Access::TokenFile(path) = &plan.access {
        found.push(("the token's file", path.clone()));
    }
    for token in &plan.callers.tokens {
        if let KeptToken::File(path) = &token.kept {
            found.push(("a token's file", path.clone()));
        }
    }
    for listener in &plan.listeners {
        if let Some(Tls::Files { certificate, key, clients }) = &listener.tls {
            found.extend([("a certificate", certificate.clone()), ("a certificate's key", key.clone())]);
            found.extend(clients.iter().map(|path| ("client authorities", path.clone())));
        }
    }
    for vault in &plan.vaults {
        if let Some(SecretSource::File(path)) =
            vault.extension().and_then(|extension| extension.unlock.as_ref())
        {
            found.push(("a vault's password", path.clone()));
        }
        // The default folder is a different one for each user.
        if let Some(folder) = kinds::files_of(vault).and_then(|files| files.folder)
            && Some(&folder) != local::default_folder().as_ref()
        {
            found.push(("the folder of a local vault", folder));
        }
        if let Some(module) =
            vault.extension().map(|extension| Path::new(&extension.module)).filter(|path| path.is_absolute())
        {
            found.push(("a module", module.to_owned()));
        }
    }
    for script in &plan.init {
        if let InitScript::File(path) = script {
            found.push(("an init script", path.clone()));
        }
    }
    found.extend(plan.pwsh.module_path.iter().map(|path| ("a module folder", path.clone())));
    found
}
