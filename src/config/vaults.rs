//! `[vaults]` and `[secrets]`: what keeps secrets, and the names that they are mounted under.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::names::{path, secret_file, variable};
use super::problem::{nearest, quoted, suggest};
use super::reader::{Node, Table};
use super::template::to_json;
use super::write::PLACEHOLDER;
use crate::check::{different_stores, same_registrations};
use crate::plan::{
    AutoImport, Extension, Keep, Mount, Projection, SecretSource, Twin, Vault, VaultKind, same_names,
};
use crate::protocol::Parameters;
use crate::secret::fold;
use crate::vault::backend::kinds;
use crate::vault::backend::settings::ModuleSettings;

/// Keys that only a vault of a module has.
const EXTENSION_KEYS: [&str; 11] = [
    "module",
    "vault_name",
    "parameters",
    "unlock",
    "unlock_interval",
    "unlock_at_start",
    "parallel",
    "keep_metadata",
    "verify",
    "probe",
    "repair",
];

const UNLOCK_HINT: &str = "write unlock = { env = \"NAME\" } or unlock = { file = \"password.txt\" }";

/// The vaults that mounts may name: those of the file, well formed or not, and those it exposes.
pub(super) struct KnownVaults {
    vaults: Vec<(String, bool)>,
}

impl KnownVaults {
    pub fn new(vaults: &[Vault], table: Option<&Node<'_>>, auto_import: &AutoImport) -> KnownVaults {
        let mut known: Vec<_> = vaults.iter().map(|vault| (vault.name.clone(), vault.read_only)).collect();
        if let Some(table) = table.and_then(|node| node.value().as_table()) {
            known.extend(table.keys().map(|name| (name.get_ref().to_string(), false)));
        }
        known.extend(auto_import.expose.iter().map(|expose| (expose.vault.clone(), !expose.writable)));
        KnownVaults { vaults: known }
    }

    /// Whether writes to it are refused; `None` for a vault that is not known.
    pub fn read_only(&self, name: &str) -> Option<bool> {
        let folded = fold(name);
        self.vaults.iter().find(|(known, _)| fold(known) == folded).map(|(_, read_only)| *read_only)
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.vaults.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

// === vaults ===

pub(super) fn vaults(node: &Node<'_>, base: &Path, auto_import: &AutoImport) -> Vec<Vault> {
    let members = node.members().unwrap_or_default();
    refuse_same_names(&members, "vault");
    let (mut nodes, mut vaults) = (Vec::new(), Vec::new());
    for (name, node) in &members {
        refuse_bad_name(name, node);
        if auto_import.expose.iter().any(|expose| fold(&expose.vault) == fold(name)) {
            node.refuse_key("is also in auto_import.expose", Some("give one of them another name"));
        }
        if let Some(vault) = node.table(|table| vault(name, node, table, base)).flatten() {
            nodes.push(node.clone());
            vaults.push(vault);
        }
    }
    let all: Vec<&Vault> = vaults.iter().collect();
    refuse_same_registration(&nodes, &all);
    refuse_different_stores(&nodes, &all);
    vaults
}

fn vault(name: &str, node: &Node<'_>, table: &mut Table<'_>, base: &Path) -> Option<Vault> {
    let local = table.read("local", Node::flag).unwrap_or(false);
    let keep = keep(table);
    let read_only = table.read("read_only", Node::flag).unwrap_or(false);
    let exposed = table.read("expose", Node::flag).unwrap_or(false);
    let repair = if local { None } else { table.read("repair", Node::flag) };
    let kind = if local {
        let folder = table.read("folder", |node| path(node, base));
        table.exclude(&EXTENSION_KEYS, "is only for a vault of a module, not a local one", None);
        let key = table.read("key", |node| secret_file(node, base));
        VaultKind::local(folder, key)
    } else {
        table.exclude(&["folder", "key"], "is only for a local vault", Some("local = true makes it one"));
        extension(name, node, table, base)?.into()
    };
    let repair = repair.unwrap_or(false);
    Some(Vault { name: name.to_owned(), kind, keep, read_only, exposed, repair })
}

/// How long values are kept. Times other than `cache_ttl` may stand alone, for the mounts with a `cache_ttl` of their
/// own.
fn keep(table: &mut Table<'_>) -> Keep {
    let default = Keep::default();
    let mut read = |key: &'static str| table.read(key, Node::duration);
    Keep {
        ttl: read("cache_ttl").unwrap_or(default.ttl),
        negative_ttl: read("negative_ttl").unwrap_or(default.negative_ttl),
        max_stale: read("max_stale").unwrap_or(default.max_stale),
        refresh_ahead: read("refresh_ahead").unwrap_or(default.refresh_ahead),
    }
}

fn extension(name: &str, node: &Node<'_>, table: &mut Table<'_>, base: &Path) -> Option<Extension> {
    let registered = table.read("vault_name", |node| {
        let name = node.name()?;
        refuse_bad_name(&name, node);
        Some(name)
    });
    let parameters_node = table.get("parameters");
    let parameters = parameters_node.as_ref().and_then(parameters).unwrap_or_default();
    let unlock_node = table.get("unlock");
    let unlock = unlock_node.as_ref().and_then(|node| unlock(node, base));
    let unlock_interval = needs_unlock(table, "unlock_interval", &unlock_node, Node::duration);
    let unlock_at_start = needs_unlock(table, "unlock_at_start", &unlock_node, Node::flag);
    let parallel = table.read("parallel", Node::flag);
    let ways = ["keep_metadata", "verify"].map(|key| (key, table.get(key)));
    let [keep_metadata, verify] = ways.each_ref().map(|(_, node)| node.as_ref().and_then(Node::flag));
    let (probe, probe_every) = table.get("probe").as_ref().map_or((true, None), probe);
    let module = module(table, base);
    let extension = Extension {
        registered: registered.unwrap_or_else(|| name.to_owned()),
        module: module?,
        parameters,
        unlock,
        unlock_interval: unlock_interval.unwrap_or(Duration::ZERO),
        unlock_at_start: unlock_at_start.unwrap_or(true),
        parallel,
        keep_metadata: keep_metadata.unwrap_or(false),
        verify,
        probe,
        probe_every,
        imported: false,
    };
    if let Some(settings) = kinds::settings_of(&extension) {
        refuse_off(&ways, settings);
        check_settings(node, &extension, parameters_node.as_ref(), settings, unlock_node.is_some());
    }
    Some(extension)
}

/// Whether the vault may be asked how it is, and after how long without a call: `true`, `false` or a time.
fn probe(node: &Node<'_>) -> (bool, Option<Duration>) {
    match node.value().as_bool() {
        Some(true) => (true, None),
        Some(false) => (false, Some(Duration::ZERO)),
        None => (true, node.duration()),
    }
}

fn module(table: &mut Table<'_>, base: &Path) -> Option<String> {
    let Some(node) = table.get("module") else {
        table.lacks("needs a module, or local = true", Some("e.g. module = \"Az.KeyVault\""));
        return None;
    };
    let text = node.name()?;
    // A name is left for PowerShell to find; only a path has separators.
    if text.contains(std::path::is_separator) || text.starts_with('~') {
        return path(&node, base).map(|path| path.to_string_lossy().into_owned());
    }
    Some(text)
}

fn needs_unlock<'t, T>(
    table: &mut Table<'t>,
    key: &'static str,
    unlock: &Option<Node<'t>>,
    read: impl FnOnce(&Node<'t>) -> Option<T>,
) -> Option<T> {
    let node = table.get(key)?;
    if unlock.is_none() {
        node.refuse_key("has no use without unlock", Some(UNLOCK_HINT));
    }
    read(&node)
}

fn unlock(node: &Node<'_>, base: &Path) -> Option<SecretSource> {
    if node.value().is_str() {
        node.refuse("a password does not belong in this file", Some(UNLOCK_HINT));
        return None;
    }
    if !node.value().is_table() {
        return node.expected("{ env = \"NAME\" } or { file = \"password.txt\" }");
    }
    node.table(|table| match table.one_of(&["env", "file"]) {
        Some(("env", node)) => variable(&node).map(SecretSource::Env),
        Some((_, node)) => secret_file(&node, base).map(SecretSource::File),
        None => {
            table.lacks("names no place of the password", Some(UNLOCK_HINT));
            None
        }
    })?
}

fn parameters(node: &Node<'_>) -> Option<Parameters> {
    let mut map = Map::new();
    for (name, member) in node.members()? {
        if name.is_empty() {
            member.refuse_key("has no name", None);
        } else if map.keys().any(|other: &String| fold(other) == fold(name)) {
            member.refuse_key("is named twice; PowerShell compares without case", None);
        }
        refuse_placeholder(&member);
        if let Some(value) = to_json(&member) {
            map.insert(name.to_owned(), value);
        }
    }
    Some(Parameters(map))
}

/// What `run --check --format toml` writes where it does not show a value.
fn refuse_placeholder(node: &Node<'_>) {
    if node.value().as_str().is_some_and(|text| text.starts_with(PLACEHOLDER)) {
        node.refuse("is a placeholder", Some("write the value here, as the script has it"));
    }
}

// === modules whose parameters are their configuration ===

/// Refuses `false` at those of these keys that are on for the module whatever a file says.
fn refuse_off(flags: &[(&str, Option<Node<'_>>)], settings: &ModuleSettings) {
    for (_, node) in flags.iter().filter(|(key, _)| settings.always_on.contains(key)) {
        let Some(node) = node.as_ref().filter(|node| node.value().as_bool() == Some(false)) else { continue };
        let title = settings.title;
        node.refuse_key(format!("cannot be turned off for {title}: it would lose what is kept there"), None);
    }
}

fn check_settings(
    node: &Node<'_>,
    extension: &Extension,
    parameters: Option<&Node<'_>>,
    settings: &ModuleSettings,
    has_unlock: bool,
) {
    let (title, names, password) = (settings.title, settings.names.iter().copied(), settings.password);
    let (fixed, value, why) = settings.fixed;
    for (name, member) in parameters.and_then(Node::members).unwrap_or_default() {
        if nearest(name, names.clone().chain([password])) == Some(password) {
            member.refuse_key("a password does not belong in this file", Some(UNLOCK_HINT));
        } else if !names.clone().any(|known| known.eq_ignore_ascii_case(name)) {
            let hint = suggest(name, &format!("{title} knows"), names.clone());
            member.refuse_key(format!("is no parameter of {title}"), hint.as_deref());
        } else if name.eq_ignore_ascii_case(fixed) && !says(&extension.parameters, name, value) {
            member.refuse(format!("must be {value:?}: {why}"), None);
        }
    }
    let (parameter, none) = settings.no_password;
    if !has_unlock && node.is_whole() && !says(&extension.parameters, parameter, none) {
        let hint = format!("{UNLOCK_HINT}, or parameters = {{ {parameter} = {none:?} }}");
        node.refuse_key(format!("{title} needs a password to unlock it"), Some(&hint));
    }
}

fn says(parameters: &Parameters, name: &str, value: &str) -> bool {
    let found = parameters.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    matches!(found, Some((_, Value::String(text))) if text.eq_ignore_ascii_case(value))
}

/// All vaults of such a module are the same store of the user's, with one password and one configuration.
fn refuse_different_stores(nodes: &[Node<'_>], vaults: &[&Vault]) {
    for (Twin { first, again }, differs) in different_stores(vaults) {
        let module = kinds::of(vaults[again]).module().unwrap_or_default();
        nodes[again].refuse_key(
            format!("{differs} differ from those on line {}, but {module} is one store", nodes[first].line()),
            Some("write the same in both, or mount from one vault"),
        );
    }
}

fn refuse_same_registration(nodes: &[Node<'_>], vaults: &[&Vault]) {
    for Twin { first, again } in same_registrations(vaults) {
        let name = quoted(vaults[again].extension().map_or("", |extension| &extension.registered));
        let message =
            format!("would be registered as {name}, as is the vault on line {}", nodes[first].line());
        nodes[again].refuse_key(message, Some("give them different vault_name"));
    }
}

// === names ===

fn refuse_bad_name(name: &str, node: &Node<'_>) {
    if name.trim().is_empty() {
        node.refuse_key("has no name", None);
    } else if name.chars().any(|c| c.is_control() || "*?[]".contains(c)) {
        node.refuse_key("has a character that no vault name may have: * ? [ ] or a control character", None);
    }
}

fn refuse_same_names(members: &[(&str, Node<'_>)], what: &str) {
    for Twin { first, again } in same_names(members.iter().map(|(name, _)| *name)) {
        let ((other, first), (_, node)) = (&members[first], &members[again]);
        let message = format!("is the same {what} as {} on line {}", quoted(other), first.line());
        node.refuse_key(message, Some("names are compared without case"));
    }
}

// === mounts ===

pub(super) fn mounts(node: &Node<'_>, known: &KnownVaults) -> Vec<Mount> {
    let members = node.members().unwrap_or_default();
    refuse_same_names(&members, "secret");
    let mount = |(name, node): &(&str, Node<'_>)| {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            node.refuse_key("is no name for a secret", None);
        }
        node.table(|table| mount(name, table, known)).flatten()
    };
    members.iter().filter_map(mount).collect()
}

fn mount(name: &str, table: &mut Table<'_>, known: &KnownVaults) -> Option<Mount> {
    let vault = table.need("vault", |node| {
        let vault = node.name()?;
        if node.is_whole() && known.read_only(&vault).is_none() {
            let hint = suggest(&vault, "vaults", known.names());
            let hint = hint.unwrap_or_else(|| "add [vaults.…], or name it in auto_import.expose".to_owned());
            node.refuse(format!("there is no vault {}", quoted(&vault)), Some(&hint));
        }
        Some(vault)
    });
    let key = table.read("key", Node::name).unwrap_or_else(|| name.to_owned());
    let projection = match table.one_of(&["property", "expand_property"]) {
        Some(("property", node)) => members_of(&node),
        Some((_, node)) => node.name().map_or(Projection::Whole, Projection::Member),
        None => Projection::Whole,
    };
    let cache_ttl = table.read("cache_ttl", Node::duration);
    let prefetch = table.read("prefetch", Node::flag).unwrap_or(false);
    Some(Mount { name: name.to_owned(), vault: vault?, key, projection, cache_ttl, prefetch })
}

fn members_of(node: &Node<'_>) -> Projection {
    let items = node.items_or_one();
    if items.is_empty() {
        node.refuse("names no member", None);
    }
    let mut names: Vec<String> = Vec::new();
    for item in &items {
        let Some(name) = item.name() else { continue };
        if names.iter().any(|other| fold(other) == fold(&name)) {
            item.refuse(format!("{} is named twice", quoted(&name)), None);
        }
        names.push(name);
    }
    Projection::Members(names)
}
