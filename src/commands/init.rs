//! `init` and `schema`: a first configuration, and what editors need to know of it.

mod ask;
mod text;
mod wish;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{InitArgs, InitVault};
use crate::config::{self, schema};
use crate::exit::Exit;
use crate::plan::{AZ_KEY_VAULT, SECRET_STORE};
use crate::private_file::{folder_of, put};
use crate::reach::Failure;
use crate::{platform, registry};
use wish::{InitChoices, SCHEMA, UnlockChoice, VaultWish, name_of};

pub(super) fn schema() -> CommandOutcome {
    output::print(format!("{:#}\n", schema::schema()).as_bytes()).map(|()| Exit::Ok)
}

pub(super) fn init(arguments: &InitArgs) -> CommandOutcome {
    let file = place(arguments)?;
    // Before any question.
    if file.exists() && !arguments.force {
        return Err(Failure::usage(format!("{} is there already", file.display()))
            .hint("--force writes over it; or name another file"));
    }
    let asks = !arguments.says_what() && io::stdin().is_terminal() && io::stderr().is_terminal();
    let wish =
        if asks { ask::ask(arguments, &registry::look(), &mut on_terminal)? } else { told(arguments)? };
    let text = text::text(&wish);
    let base = std::path::absolute(folder_of(&file)).unwrap_or_default();
    if let Err(problems) = config::parse(&text, &base) {
        return Err(Failure::usage(format!("nothing was written, because it would be wrong:\n{problems}")));
    }
    write(&file, &text, arguments.force)?;
    let schema = write_schema(&folder_of(&file).join(SCHEMA))?;
    let shown = file.display();
    output::print(format!("{shown}\n").as_bytes())?;
    let _ =
        writeln!(io::stderr(), "{schema}next: secretbridge check --config {shown}, then secretbridge serve");
    Ok(Exit::Ok)
}

/// The file to write.
fn place(arguments: &InitArgs) -> Result<PathBuf, Failure> {
    let below = |folder: PathBuf| folder.join("secretbridge").join(config::FILE);
    match &arguments.file {
        Some(file) => Ok(file.clone()),
        None if arguments.system => Ok(below(platform::system_config_folder())),
        None if arguments.user => platform::config_folder()
            .map(below)
            .ok_or_else(|| Failure::failed("no home folder is known").hint("set HOME, or name a file")),
        None => Ok(Path::new(".").join(config::FILE)),
    }
}

/// What the options say; what they leave open has a default, or is asked for by its option's name.
fn told(arguments: &InitArgs) -> Result<InitChoices, Failure> {
    let kind = arguments.vault.unwrap_or(match (&arguments.module, arguments.expose_vault.is_empty()) {
        (Some(_), _) => InitVault::Module,
        (None, true) => InitVault::Local,
        (None, false) => InitVault::Registered,
    });
    let lacks = |what: &str, hint: &str| Err(Failure::usage(what).hint(hint));
    let unlock = match (&arguments.unlock_file, &arguments.unlock_env) {
        (Some(file), _) => Some(UnlockChoice::File(file.clone())),
        (None, name) => name.clone().map(UnlockChoice::Env),
    };
    let given = |name: &str| arguments.parameter.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (module, name) = match kind {
        InitVault::Local => (None, "local".to_owned()),
        InitVault::Secretstore if unlock.is_none() && given("Authentication").is_none() => {
            return lacks(
                "SecretStore has a password, and nothing says where it is",
                "--unlock-file FILE or --unlock-env NAME, or --parameter Authentication=None for a store without one",
            );
        }
        InitVault::Secretstore => (Some(SECRET_STORE.to_owned()), "store".to_owned()),
        InitVault::Azure => match given("AZKVaultName") {
            Some((_, name)) => (Some(AZ_KEY_VAULT.to_owned()), name.clone()),
            None => {
                return lacks("nothing says which vault of Azure that is", "--parameter AZKVaultName=NAME");
            }
        },
        InitVault::Module => match &arguments.module {
            Some(module) => (Some(module.clone()), name_of(module)),
            None => return lacks("nothing says which module that is", "--module NAME"),
        },
        InitVault::Registered if arguments.expose_vault.is_empty() => {
            return lacks("nothing says which vaults are to be served", "--expose-vault NAME, or NAME:rw");
        }
        InitVault::Registered => (None, String::new()),
    };
    let vault = (kind != InitVault::Registered).then(|| VaultWish {
        name: arguments.name.clone().unwrap_or(name),
        module,
        parameters: arguments.parameter.clone(),
        unlock,
    });
    let listen = arguments.listen.clone().unwrap_or_else(|| text::LISTEN.to_owned());
    Ok(InitChoices { listen, vault, expose: arguments.expose_vault.clone() })
}

fn on_terminal(question: &str) -> Result<String, Failure> {
    let mut line = String::new();
    let asked = write!(io::stderr(), "{question} ").and_then(|()| io::stdin().read_line(&mut line));
    match asked {
        Ok(0) => Err(Failure::usage("nothing was written: the questions were not answered")),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(Failure::failed(format!("nothing could be asked for: {error}"))),
    }
}

// === writing ===

/// The file appears whole, or not at all. One that came meanwhile is not written over.
fn write(file: &Path, text: &str, over: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("cannot write {}: {error}", file.display()));
    let folder = folder_of(file);
    fs::create_dir_all(folder).map_err(failed)?;
    let mut staged = tempfile::Builder::new();
    staged.prefix(".secretbridge-").suffix(".tmp");
    let readable = platform::readable_by_others();
    if let Some(readable) = &readable {
        staged.permissions(readable.clone());
    }
    let mut staged = staged.tempfile_in(folder).map_err(failed)?;
    staged.write_all(text.as_bytes()).and_then(|()| staged.as_file().sync_all()).map_err(failed)?;
    let done = match over {
        true => put(staged, file),
        false => staged.persist_noclobber(file).map_err(|error| error.error),
    };
    done.map(drop).map_err(failed)
}

/// Writes the schema, unless something else has its place. Tells so.
fn write_schema(file: &Path) -> Result<String, Failure> {
    let is_ours = |text: String| {
        serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|it| it["title"] == "secretbridge")
    };
    if file.exists() && !fs::read_to_string(file).is_ok_and(is_ours) {
        return Ok(format!("{} is something else, and was left alone\n", file.display()));
    }
    write(file, &format!("{:#}\n", schema::schema()), true).map(|()| String::new())
}

#[cfg(test)]
mod tests;
