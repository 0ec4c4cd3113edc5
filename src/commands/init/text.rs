//! The text of a first configuration: what was wished for, and every other key as a comment.
//!
//! `#key = value` is a key to take the mark from; `# Words` are for the reader.

use std::fmt::Write as _;

use super::wish::{InitChoices, SCHEMA, UnlockChoice, VaultWish};
use crate::config::schema::{self, Shape, TableKey};
use crate::config::{toml_key, toml_string};
use crate::plan::Extension;
use crate::vault::backend::kinds;

/// Where to listen if nobody says otherwise.
pub(super) const LISTEN: &str = "127.0.0.1:8085";

/// Widest line of a comment.
const WIDTH: usize = 100;

/// Keys of a vault that a local one has no use for.
const OF_MODULES: [&str; 9] = [
    "module",
    "vault_name",
    "parameters",
    "unlock_interval",
    "unlock_at_start",
    "parallel",
    "keep_metadata",
    "verify",
    "probe",
];

const EXAMPLES: &str = r#"
# A secret under a name of its own, and routes of your own that answer with it:
#[secrets.DbPassword]
#vault = "VAULT"
#key = "db-password"
#
#[[routes]]
#path = "/secret"
#secret = "DbPassword"
"#;

pub(super) fn text(wish: &InitChoices) -> String {
    let mut out = format!("#:schema ./{SCHEMA}\n\n");
    comment(
        &mut out,
        "The configuration of secretbridge. A line that begins with # and a key shows what counts without it, or an example. `secretbridge check` tells every mistake, and `secretbridge serve` serves what stands here.",
    );
    out.push('\n');
    for key in schema::keys().iter().filter(|key| key.name == "listen") {
        comment(&mut out, key.says);
    }
    let _ = writeln!(out, "listen = {}", toml_string(&wish.listen));
    if let Some(vault) = &wish.vault {
        out.push_str(&vault_text(vault));
    }
    if !wish.expose.is_empty() {
        let names: Vec<_> = wish.expose.iter().map(|name| toml_string(name)).collect();
        out.push_str("\n# Vaults that you registered in PowerShell: \"Name\" for reading, \"Name:rw\" for writing too.\n");
        let _ = writeln!(out, "[auto_import]\nexpose = [{}]", names.join(", "));
    }
    let name = match (&wish.vault, wish.expose.first()) {
        (Some(vault), _) => vault.name.as_str(),
        (None, exposed) => exposed.map_or("local", |name| name.trim_end_matches(":rw")),
    };
    out.push_str(&EXAMPLES.replace("\"VAULT\"", &toml_string(name)));
    for key in schema::keys().iter().filter(|key| key.name != "auto_import" || wish.expose.is_empty()) {
        if let Shape::Table(keys) = key.shape {
            out.push('\n');
            comment(&mut out, key.says);
            let _ = writeln!(out, "#[{}]", key.name);
            keys.iter().for_each(|key| shown(&mut out, key));
        }
    }
    out
}

fn vault_text(vault: &VaultWish) -> String {
    let mut out = format!("\n[vaults.{}]\n", toml_key(&vault.name));
    let mut said = vec!["expose"];
    let settings =
        vault.module.as_ref().and_then(|module| kinds::settings_of(&Extension::new(&vault.name, module)));
    match &vault.module {
        None => {
            comment(
                &mut out,
                "A local vault: an encrypted file with its key beside it. It needs no PowerShell.",
            );
            out.push_str("local = true\n");
            said.extend(["local", "unlock", "repair"].iter().chain(&OF_MODULES));
        }
        Some(module) => {
            let _ = writeln!(out, "module = {}", toml_string(module));
            said.extend(["module", "local", "folder", "key"]);
            // They cannot be turned off there.
            said.extend(settings.into_iter().flat_map(|settings| settings.always_on));
        }
    }
    if !vault.parameters.is_empty() {
        let given =
            vault.parameters.iter().map(|(name, value)| format!("{} = {}", toml_key(name), scalar(value)));
        let _ = writeln!(out, "parameters = {{ {} }}", given.collect::<Vec<_>>().join(", "));
        said.push("parameters");
    } else if let Some((says, example)) = settings.map(|settings| settings.example) {
        comment(&mut out, says);
        let _ = writeln!(out, "#parameters = {example}");
        said.push("parameters");
    }
    if let Some(unlock) = &vault.unlock {
        let (key, place) = match unlock {
            UnlockChoice::File(file) => ("file", file),
            UnlockChoice::Env(name) => ("env", name),
        };
        let _ = writeln!(out, "unlock = {{ {key} = {} }}", toml_string(place));
        said.push("unlock");
    }
    comment(&mut out, "Serve it under /vaults/NAME/secrets/{key}.");
    out.push_str("expose = true\n");
    // Keys that need an unlocked vault are written after unlock.
    if vault.unlock.is_none() {
        said.extend(["unlock_interval", "unlock_at_start"]);
    }
    keys_of("vaults").iter().filter(|key| !said.contains(&key.name)).for_each(|key| shown(&mut out, key));
    out
}

fn keys_of(section: &str) -> &'static [TableKey] {
    match schema::keys().iter().find(|key| key.name == section).map(|key| key.shape) {
        Some(Shape::Named(Shape::Table(keys) | Shape::OneOf(keys, _))) => keys,
        _ => &[],
    }
}

/// A key that is not in force.
fn shown(out: &mut String, key: &TableKey) {
    let value = if key.default.is_empty() { key.example } else { key.default };
    if value.is_empty() {
        return;
    }
    comment(out, key.says);
    let _ = writeln!(out, "#{} = {value}", key.name);
}

fn comment(out: &mut String, says: &str) {
    let mut line = String::from("#");
    for word in says.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// A number or a flag as such, all else as a string.
fn scalar(text: &str) -> String {
    let plain = text == "true" || text == "false" || text.parse::<i64>().is_ok_and(|n| n.to_string() == text);
    if plain { text.to_owned() } else { toml_string(text) }
}
