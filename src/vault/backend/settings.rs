//! A module whose parameters are a configuration of its own.

/// The configuration that a module takes in place of VaultParameters. Its vaults are all one store of the user's, so
/// they have one configuration and one password.
#[derive(Debug)]
pub struct ModuleSettings {
    /// What people call the module.
    pub title: &'static str,
    /// The names of the parameters, as the module spells them. Their values are no secrets.
    pub names: &'static [&'static str],
    /// The name that its password would have among them: it belongs into `unlock`.
    pub password: &'static str,
    /// The parameter and its value that say that there is no password.
    pub no_password: (&'static str, &'static str),
    /// A parameter, the one value that a server can have it be, and why.
    pub fixed: (&'static str, &'static str, &'static str),
    /// What a first configuration says of it, and an example of its parameters.
    pub example: (&'static str, &'static str),
    /// Keys of a vault that are on whatever a file says.
    pub always_on: &'static [&'static str],
}
