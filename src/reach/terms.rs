//! What is asked for and what comes, whichever way it goes.

use super::name::SecretName;
use crate::secret::SecretValue;

/// What a command is going to ask for: without a server, no more is opened than that.
#[derive(Debug, Clone)]
pub enum WantedVaults {
    /// These secrets.
    Names(Vec<SecretName>),
    /// One vault.
    Vault(String),
    /// Every vault of the plan.
    Everything,
    /// No vault, but what there is.
    Nothing,
}

/// A secret that was read.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its own name.
    pub name: String,
    /// Its value.
    pub value: SecretValue,
}

/// A vault, as `vaults` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VaultLine {
    /// Its friendly name.
    pub name: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// How it is, where that is known: `ok`, `locked_out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}
