//! The configuration file: TOML text in, a checked [`Plan`] out, and back.
//!
//! One run tells every mistake, each with its line, its column and what to write instead. A key that is
//! not known is a mistake everywhere, and what is read here has been checked: names refer to things that
//! exist, routes do not collide, nothing is accepted and ignored. `docs/configuration.md` is the reference.
//!
//! ```text
//! text ─► toml (spanned) ─► reader ─► sections, vaults, routes ─► Plan
//! ```

mod address;
mod callers;
mod credentials;
mod names;
mod password;
mod place;
mod problem;
mod reader;
mod routes;
pub mod schema;
mod sections;
mod template;
mod units;
mod vaults;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::DeTable;

use crate::check::check;
use crate::plan::Plan;
use crate::plan::callers::NamedToken;
use crate::private_file::{PrivateFileError, read_private};
use crate::trusted;
use problem::Report;
use reader::{Node, Table};

pub use address::parse_bind;
pub use password::resolve;
pub use place::{ConfigPlace, FILE, find, looked_at, named};
pub use problem::{ConfigProblem, Problems};
pub use sections::parse_expose;
pub use units::parse_duration;
pub use write::{key as toml_key, string as toml_string, to_toml};

/// Why there is no plan, or no password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has mistakes.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// A password's environment variable is not set.
    #[error("the environment variable '{name}' is not set")]
    NoVariable {
        /// The variable.
        name: String,
    },
    /// A password's environment variable is not text.
    #[error("the environment variable '{name}' is not UTF-8")]
    VariableNotText {
        /// The variable.
        name: String,
    },
    /// A password's file cannot be read, or may be read by others.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// A password's file holds no password.
    #[error("{} {reason}", .path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A password is empty.
    #[error("the password in {place} is empty")]
    EmptyPassword {
        /// Where it was looked for.
        place: String,
    },
}

/// Reads a configuration file. Relative paths in it are relative to its folder.
pub fn load(path: &Path) -> Result<Plan, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let bytes = trusted::read(path).map_err(|error| match error {
        PrivateFileError::Io { source, .. } => unreadable(source),
        error => error.into(),
    })?;
    // Absolute, so that the plan means the same wherever the program goes.
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let base = absolute.parent().unwrap_or(&absolute);
    let plan = match String::from_utf8(bytes) {
        Ok(text) => parse(&text, base),
        Err(error) => Err(not_text(error.as_bytes(), error.utf8_error().valid_up_to())),
    };
    plan.map_err(|problems| ConfigError::Invalid(problems.of_file(path)))
}

/// Reads the `[[tokens]]` of a file, which nobody else may read.
pub fn load_tokens(path: &Path) -> Result<Vec<NamedToken>, ConfigError> {
    let absolute =
        std::path::absolute(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let base = absolute.parent().unwrap_or(&absolute);
    let bytes = read_private(path)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => return Err(not_text(&bytes, error.valid_up_to()).of_file(path).into()),
    };
    let report = Report::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add_syntax(error);
    }
    let tokens = Table::root(&report, document.get_ref(), |root| callers::tokens(root, base));
    match report.finish() {
        Some(problems) => Err(problems.of_file(path).into()),
        None => Ok(tokens),
    }
}

/// Reads configuration text. Relative paths in it are relative to `base`.
pub fn parse(text: &str, base: &Path) -> Result<Plan, Problems> {
    let report = Report::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add_syntax(error);
    }
    let plan = Table::root(&report, document.get_ref(), |root| read_plan(root, base, &report));
    match report.finish() {
        Some(problems) => Err(problems),
        None => Ok(plan),
    }
}

fn read_plan(root: &mut Table<'_>, base: &Path, report: &Report<'_>) -> Plan {
    // Only editors read it.
    root.read("$schema", Node::text);
    let listeners = sections::listeners(root, base);
    let (access, mut callers) = callers::callers(root, &listeners, base);
    let (pwsh, init) = root.read("pwsh", |pwsh| sections::pwsh(pwsh, base)).unwrap_or_default();
    let pool = root.read("pool", sections::pool).unwrap_or_default();
    let limits = root.read("limits", |node| sections::limits(node, &mut callers.limits)).unwrap_or_default();
    let cache = root.read("cache", sections::cache).unwrap_or_default();
    let audit = root.read("audit", |audit| sections::audit(audit, base)).unwrap_or_default();
    let auto_import = root.read("auto_import", sections::auto_import).unwrap_or_default();
    let registry = root.read("registry", sections::registry).unwrap_or_default();

    let vault_table = root.get("vaults");
    let secret_table = root.get("secrets");
    let route_list = root.get("routes");
    let credential_table = root.get("credentials");
    let vaults = vault_table.as_ref().map_or_else(Vec::new, |node| vaults::vaults(node, base, &auto_import));
    let known = vaults::KnownVaults::new(&vaults, vault_table.as_ref(), &auto_import);
    let mounts = secret_table.as_ref().map_or_else(Vec::new, |node| vaults::mounts(node, &known));
    let credentials = credential_table.as_ref().and_then(|node| credentials::credentials(node, base, &known));
    let known = routes::KnownSecrets::new(&mounts, secret_table.as_ref(), &known);
    let routes = route_list.as_ref().map_or_else(Vec::new, |node| routes::routes(node, &known));

    let serves = !mounts.is_empty() || !routes.is_empty() || vaults.iter().any(|vault| vault.exposed);
    // With other mistakes in the file, the part that seems missing may be the one that could not be read.
    if !serves && auto_import.expose.is_empty() && report.is_clean() {
        root.lacks(
            "nothing is served: no secret is mounted, no route declared, no vault exposed",
            Some("add [vaults.…] and [secrets.…], or expose = true in a vault"),
        );
    }
    let plan = Plan {
        listeners,
        access,
        callers,
        credentials,
        vaults,
        mounts,
        routes,
        init,
        pwsh,
        pool,
        limits,
        cache,
        audit,
        auto_import,
        registry,
    };
    // Every plan is held to the same rules. Those that a file can break were told above, with their lines.
    if report.is_clean()
        && let Err(error) = check(&plan)
    {
        root.lacks(&error.to_string(), None);
    }
    plan
}

fn not_text(bytes: &[u8], at: usize) -> Problems {
    let (line, column) = problem::position(bytes, at);
    let message = "the file is not UTF-8".to_owned();
    Problems {
        file: None,
        problems: vec![ConfigProblem { line, column, path: String::new(), message, hint: None }],
    }
}

#[cfg(test)]
mod tests;
