//! What is to be written.

/// The schema's file, beside the configuration.
pub(super) const SCHEMA: &str = "secretbridge.schema.json";

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InitChoices {
    pub(super) listen: String,
    /// The vault, unless only registered ones are to be served.
    pub(super) vault: Option<VaultWish>,
    /// Vaults that are registered in PowerShell, with `:rw` for writing too.
    pub(super) expose: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VaultWish {
    pub(super) name: String,
    /// `None` is a local vault.
    pub(super) module: Option<String>,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) unlock: Option<UnlockChoice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnlockChoice {
    File(String),
    Env(String),
}

/// A vault's friendly name from its module's: what follows the last dot or slash.
pub(super) fn name_of(module: &str) -> String {
    let stem = module.trim_end_matches(['/', '\\']).trim_end_matches(".psd1").trim_end_matches(".psm1");
    stem.rsplit(['/', '\\', '.']).next().unwrap_or(stem).to_owned()
}
