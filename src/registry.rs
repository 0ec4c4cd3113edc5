//! The user's own vault registry.
//!
//! SecretManagement keeps it as JSON: `Vaults` by name, each with `ModuleName`, `ModulePath` and
//! `VaultParameters`. Here it is only read, and one that cannot be read is no reason not to start; it is written
//! where the plan asks for it, by [`user`].

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::plan::{Extension, PlanError, Vault, same_names};
use crate::platform;
use crate::protocol::Parameters;

pub mod error;
pub mod note;
pub mod user;

/// What was found.
#[derive(Debug, Default)]
pub struct FoundVaults {
    /// The file looked at.
    pub path: PathBuf,
    /// The vaults in it, by name.
    pub vaults: Vec<Vault>,
    /// The one that is asked where none is named.
    pub default: Option<String>,
    /// Why there are none, if the file is there and unreadable.
    pub problem: Option<String>,
}

#[derive(Deserialize)]
struct RegistryFile {
    #[serde(rename = "Vaults", default)]
    vaults: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(rename = "DefaultVaultName", default)]
    default: Option<String>,
}

#[derive(Deserialize)]
struct Registered {
    #[serde(rename = "ModuleName")]
    module_name: String,
    #[serde(rename = "ModulePath", default)]
    module_path: Option<String>,
    #[serde(rename = "VaultParameters", default)]
    parameters: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Looks at the user's registry.
pub fn look() -> FoundVaults {
    let path = platform::vault_registry();
    let mut found = FoundVaults { path, ..FoundVaults::default() };
    match platform::read_of_vaults(&found.path) {
        Ok(text) => match parse(&text) {
            Ok((vaults, default)) => (found.vaults, found.default) = (vaults, default),
            Err(problem) => found.problem = Some(problem),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => found.problem = Some(error.to_string()),
    }
    found
}

/// What stands there under each name, as SecretManagement wrote it. None at all where it is missing.
fn entries(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let text = match platform::read_of_vaults(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(serde_json::Map::new()),
        Err(error) => return Err(error.to_string()),
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let registry: RegistryFile =
        serde_json::from_slice(text).map_err(|error| format!("it is no registry (line {})", error.line()))?;
    match (registry.vaults, registry.default) {
        // What SecretManagement itself takes for one.
        (Some(vaults), Some(_)) if vaults.values().all(serde_json::Value::is_object) => Ok(vaults),
        _ => Err("it is no registry".to_owned()),
    }
}

fn parse(text: &[u8]) -> Result<(Vec<Vault>, Option<String>), String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // The parser's message quotes no more than a key; VaultParameters are secrets.
    let registry: RegistryFile =
        serde_json::from_slice(text).map_err(|error| format!("it is no registry (line {})", error.line()))?;
    let mut vaults = Vec::new();
    for (name, value) in registry.vaults.unwrap_or_default() {
        let Ok(registered) = serde_json::from_value::<Registered>(value) else {
            tracing::warn!(vault = name, "the user's registry has an entry that cannot be read");
            continue;
        };
        let Registered { module_name, module_path, parameters } = registered;
        vaults.push(imported(name, module_name, module_path, Parameters(parameters.unwrap_or_default())));
    }
    vaults.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twin) = same_names(vaults.iter().map(|vault| vault.name.as_str())).first() {
        return Err(PlanError::TwoVaults(vaults[twin.again].name.clone()).to_string());
    }
    Ok((vaults, registry.default.filter(|name| !name.is_empty())))
}

/// A vault that SecretManagement has, as one that is imported.
pub fn imported(name: String, module: String, path: Option<String>, parameters: Parameters) -> Vault {
    // The path has no version and breaks when modules move (SecretManagement#217); the name then helps.
    let module = path.filter(|path| std::path::Path::new(path).exists()).unwrap_or(module);
    let mut extension = Extension::new(name.clone(), module);
    extension.parameters = parameters;
    extension.imported = true;
    Vault::new(name, extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_read_as_the_module_writes_it() {
        let text = br#"{"DefaultVaultName":"s","Vaults":{
            "s":{"ModuleName":"Microsoft.PowerShell.SecretStore","ModulePath":"/no/such/path","Description":"",
                 "VaultParameters":{},"SetSecretSupportsMetadata":true},
            "az":{"ModuleName":"Az.KeyVault","VaultParameters":{"AZKVaultName":"real"}}}}"#;
        let (vaults, default) = parse(text).unwrap();
        assert_eq!(default.as_deref(), Some("s"));
        assert_eq!(vaults.iter().map(|vault| vault.name.as_str()).collect::<Vec<_>>(), ["az", "s"]);
        let az = vaults[0].extension().unwrap();
        assert!(az.imported && az.module_name() == crate::plan::AZ_KEY_VAULT);
        assert_eq!(az.parameters.0["AZKVaultName"], "real");
        assert_eq!(vaults[1].extension().unwrap().module, "Microsoft.PowerShell.SecretStore");
    }

    #[test]
    fn a_corrupt_registry_is_a_problem_and_shows_nothing_of_itself() {
        let problem = parse(br#"{"Vaults":{"v":{"VaultParameters":{"Token":"canary"#).unwrap_err();
        assert!(!problem.contains("canary"));
        let twice = br#"{"Vaults":{"a":{"ModuleName":"m"},"A":{"ModuleName":"m"}}}"#;
        assert!(parse(twice).unwrap_err().starts_with("two vaults have the name 'a'"));
        assert!(parse(b"{}").unwrap().0.is_empty());
        assert!(parse(br#"{"Vaults":{"bad":7}}"#).unwrap().0.is_empty());
    }
}
