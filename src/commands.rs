//! The commands: arguments in, words for people out, and how the program ends.

mod access;
mod admin;
mod audit;
mod backup;
pub mod check;
mod complete;
mod copy;
mod doctor;
mod exec;
mod export;
mod get;
mod import;
mod init;
mod inject;
mod list;
mod module;
mod outcome;
mod output;
pub mod prepare;
mod put;
mod rm;
pub mod run;
pub mod serve;
mod service;
mod set;
mod setup;
mod status;
pub mod token;
pub mod verbs;

use std::io;

use thiserror::Error;

use crate::access::TokenError;
use crate::audit::AuditError;
use crate::bridge::StartError;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::http::route::RouteError;
use crate::http::{BindError, BindErrorKind, TlsError};
use crate::local::LocalError;
use crate::private_file::PrivateFileError;
use crate::pwsh::compiled::CompileError;
use crate::script::run::RunError;
use crate::worker::LaunchError;

/// Why a command ended badly.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The vaults or the workers.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The audit trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The bearer token.
    #[error("{place}{source}")]
    Token {
        /// The option that named it, if one did: `--token-file: `.
        place: &'static str,
        /// What is wrong with it.
        source: TokenError,
    },
    /// The argument of `token hash`, which may be the token itself.
    #[error(
        "there is no file of the name that was given; the name is not printed, since it may be a token (hint: name the file \
         that holds the token, or give the token on standard input: secretbridge token hash < FILE)"
    )]
    NoTokenFile,
    /// The folder of the bearer token.
    #[error(transparent)]
    Folder(#[from] PrivateFileError),
    /// The token's environment variable.
    #[error("the bearer token: the environment variable '{0}' is not set, or not text")]
    NoToken(String),
    /// No data folder for the token or the local vault.
    #[error(
        "no home folder is known (hint: set HOME, or name a place with --local-vault DIR and --token-file FILE)"
    )]
    NoHome,
    /// The plan's routes.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// A parameter is not text.
    #[error("the script's parameter {0} is not UTF-8 text")]
    NotText(usize),
    /// A script's callers are allowed routes.
    #[error(
        "the token '{token}': '{rule}' names a vault, but a script's callers are allowed routes          (hint: e.g. \"read /secret\")"
    )]
    NotARoute {
        /// The token.
        token: String,
        /// The rule.
        rule: String,
    },
    /// A script's parameter from a file.
    #[error("the script's parameter {name}: {source}")]
    Parameter {
        /// The parameter.
        name: String,
        /// What is wrong with its file.
        source: PrivateFileError,
    },
    /// A script's parameter from a file that is no text.
    #[error("the script's parameter {0}: its file is not UTF-8 text")]
    ParameterNotText(String),
    /// Something was changed that a reload cannot put in force.
    #[error("what has changed needs a restart: {0}")]
    NeedsRestart(String),
    /// A certificate that was read again.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket that is to be open to others.
    #[error("the socket cannot be opened to other users: {0}")]
    Socket(io::Error),
    /// Standard input.
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    /// The script.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Signals.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
}

impl CommandError {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            CommandError::Config(_)
            | CommandError::Token { .. }
            | CommandError::NoTokenFile
            | CommandError::Routes(_)
            | CommandError::NoToken(_)
            | CommandError::NotText(_)
            | CommandError::NotARoute { .. }
            | CommandError::Parameter { .. }
            | CommandError::ParameterNotText(_)
            | CommandError::Tls(_)
            | CommandError::Bind(BindError { kind: BindErrorKind::Tls(_), .. }) => Exit::Usage,
            CommandError::Folder(error) if !matches!(error, PrivateFileError::Io { .. }) => Exit::Usage,
            CommandError::Run(error) if error.is_of_the_script() => Exit::Usage,
            CommandError::Start(error) | CommandError::Run(RunError::Start(error)) => of_start(error),
            CommandError::Run(RunError::Workers(error)) => of_launch(error),
            _ => Exit::Failure,
        }
    }
}

fn of_start(error: &StartError) -> Exit {
    match error {
        StartError::Untrusted(_)
        | StartError::Init { .. }
        | StartError::User { .. }
        | StartError::Password { .. }
        | StartError::NoSuchVault { .. }
        | StartError::Plan(_) => Exit::Usage,
        StartError::Local { source: LocalError::Private(error), .. } if !error.is_of_the_system() => {
            Exit::Usage
        }
        StartError::Pwsh(_) | StartError::Compile(CompileError::TooOld(_)) => Exit::NoPwsh,
        StartError::Workers(error) => of_launch(error),
        _ => Exit::Failure,
    }
}

fn of_launch(error: &LaunchError) -> Exit {
    match error {
        LaunchError::TooOld { .. } => Exit::NoPwsh,
        _ => Exit::Failure,
    }
}
