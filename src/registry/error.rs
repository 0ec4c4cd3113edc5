//! Why the user's registry was not changed.

use std::path::PathBuf;

use thiserror::Error;

use crate::private_file::PrivateFileError;
use crate::protocol::Fault;
use crate::pwsh::PwshError;
use crate::pwsh::compiled::CompileError;
use crate::worker::{Broken, LaunchError};

/// Why the user's registry was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It cannot be read. SecretManagement would delete it.
    #[error(
        "your vault registry {} cannot be read: {problem}; it is left as it is (hint: mend it, or move it away and register \
         your vaults again)", .path.display()
    )]
    Unreadable {
        /// The registry.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The user has another vault of that name.
    #[error(
        "a vault named '{vault}' stands in your own registry already, over the module {module}; it is left as it is \
         (hint: register this one under another name, or take yours out: Unregister-SecretVault -Name '{vault}')"
    )]
    Taken {
        /// The name.
        vault: String,
        /// The module of the user's vault.
        module: String,
    },
    /// The notes about what was put in.
    #[error("the notes about your vault registry: {0}")]
    Notes(#[from] PrivateFileError),
    /// No pwsh.
    #[error(transparent)]
    Pwsh(#[from] PwshError),
    /// No folder for its files.
    #[error("the private folder for worker files: {0}")]
    Folder(std::io::Error),
    /// No compiled part.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It did not start.
    #[error("the process that writes your vault registry did not start: {0}")]
    Launch(#[from] LaunchError),
    /// It failed.
    #[error("the vault '{vault}' in your registry: the process that writes it failed: {broken}")]
    Broken {
        /// The vault.
        vault: String,
        /// How.
        broken: Broken,
    },
    /// SecretManagement refused.
    #[error("the vault '{vault}' in your registry: {}", .fault.message)]
    Fault {
        /// The vault.
        vault: String,
        /// In its own words.
        fault: Box<Fault>,
    },
    /// SecretManagement said nothing, and yet it is not there.
    #[error("the vault '{vault}' was not written to your registry {} (hint: is its folder writable?)", .path.display())]
    NotWritten {
        /// The vault.
        vault: String,
        /// The registry.
        path: PathBuf,
    },
}
