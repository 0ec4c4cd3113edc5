//! Shapes that asks, calls and answers share.

use serde::{Deserialize, Serialize};

use crate::script::value::Portable;
use crate::secret::Text;

/// A script block as its worker sent it. No `Debug`: its source may hold a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its source, between the braces, rewritten.
    pub text: String,
    /// The script it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of its first character.
    #[serde(default)]
    pub line: u32,
    /// `$using:` values.
    #[serde(default)]
    pub using: Vec<Variable>,
}

/// A variable with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Portable,
}

/// A function of the script. No `Debug`, as of a block.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its source.
    pub text: String,
    /// The script it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of its first character.
    #[serde(default)]
    pub line: u32,
}

/// A shared object's number.
pub type Id = u64;

/// A shared object as it is given to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenObject {
    /// Which.
    pub id: Id,
    /// Its version.
    pub version: u64,
    /// Its text, where the worker's copy is another version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Text>,
}

/// A shared object that a worker has changed.
#[derive(Debug, Deserialize)]
pub struct ChangedObject {
    /// Which.
    pub id: Id,
    /// The version that it was made from.
    pub version: u64,
    /// Its text.
    pub value: Text,
}

/// What a vault is made of.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub enum VaultType {
    /// An extension module.
    SecretManagement,
    /// Script blocks.
    Custom,
}

/// A vault as `Get-PodeSecretVault` shows it, without its secrets.
#[derive(Debug, Serialize)]
pub struct VaultShown {
    /// Its friendly name.
    pub name: String,
    /// What it is made of.
    #[serde(rename = "type")]
    pub kind: VaultType,
    /// The extension module.
    pub module: Option<String>,
    /// Its name in SecretManagement's registry.
    pub vault_name: Option<String>,
    /// It was imported from the user's registry.
    pub auto_imported: bool,
    /// Minutes between unlocks; 0 is never again.
    pub interval: u64,
    /// Minutes for which values are kept; 0 is not at all.
    pub cache_ttl: u64,
    /// It has an unlock secret.
    pub unlock: bool,
    /// Until when it is unlocked, in round-trip form.
    pub expiry: Option<String>,
    /// Its table.
    pub table: Option<Id>,
}
