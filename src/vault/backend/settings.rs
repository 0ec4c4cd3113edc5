//! A module whose parameters are a configuration of its own.

use crate::plan::Extension;

/// The configuration that a module takes in place of VaultParameters.
#[derive(Debug)]
pub struct ModuleSettings {
    /// The names of the parameters, as the module spells them. Their values are no secrets.
    pub names: &'static [&'static str],
    /// Completes what a script says: the rules that Pode has for the module. An error is what the script is told.
    pub complete: fn(&mut Extension) -> Result<(), String>,
    /// Takes out what [`ModuleSettings::complete`] puts in.
    pub without_defaults: fn(&mut Extension),
}
