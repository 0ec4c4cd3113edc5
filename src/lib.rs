//! secretbridge keeps PowerShell's SecretManagement vaults open behind a fast and safe front.
//!
//! The way of one request:
//!
//! ```text
//! http ─► gate ─► route ─► mount ─► cache ─► vault ─► lane ─► pool ─► worker ─► pwsh
//! ```
//!
//! A [`Plan`] says what is served. It comes from a TOML file or a [`Builder`], and is checked by one set of rules; a
//! PowerShell script puts its own together by Pode's rules. A [`Bridge`] serves it to routes, to scripts and to whoever uses the library.
//!
//! As a library, with a vault that needs no PowerShell:
//!
//! ```
//! use std::time::Duration;
//!
//! use secretbridge::Bridge;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let bridge = Bridge::builder()
//!     .local_vault("mine", folder.path().join("data")) // or .config_file("secretbridge.toml")
//!     .mount("Password", "mine", "db-password")
//!     .start()
//!     .await?;
//! let secret = bridge.secret("mine/db-password"); // or by its mounted name, "Password"
//! secret.set("correct horse").await?;
//! assert_eq!(secret.get().await?.as_text(), Some("correct horse"));
//! bridge.stop(Duration::from_secs(5)).await; // unregisters vaults and ends the workers
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new()?.block_on(example())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Builder`] puts a [`Bridge`] together and refuses two vaults of one name; [`SecretHandle`] reads, writes and
//! watches one secret; [`SecretValue`] is one of the five types. `examples/` has programs that run.
//!
//! What holds everywhere:
//!
//! - Workers hold nothing that is not in the plan or in a vault: any of them may crash at any moment, and is replaced.
//! - A worker that missed a deadline answers nothing more (`worker`).
//! - Nobody waits for a worker while holding a lane (`pool::lanes`).
//! - The cache changes only after the vault has acknowledged (`cache`).
//! - Plain text of secrets is in the types of `secret` alone, which show nothing in `Debug`.
//! - Errors of PowerShell are told apart by id and type, never by message (`vault::turn`).

// What a user of the library meets has a name that the user can write.
#![cfg_attr(not(feature = "fake-pwsh"), warn(unnameable_types))]

mod access;
mod audit;
mod bridge;
mod cache;
mod check;
mod cli;
mod client;
mod clock;
mod commands;
mod config;
mod environment;
mod error;
mod exit;
mod http;
#[cfg(feature = "fake-pwsh")]
#[doc(hidden)]
pub mod inside;
mod inspect;
mod library;
mod local;
mod logging;
mod metrics;
mod mount;
mod plan;
mod platform;
mod pool;
mod private_file;
mod protocol;
mod pwsh;
mod reach;
mod redact;
mod registry;
mod script;
mod secret;
mod server;
mod store;
mod trusted;
mod vault;
mod worker;

pub use bridge::{Answer, Bridge, FoundVault, Health, Reading, VaultHealth};
pub use cache::{CacheUsage, Freshness};
pub use error::BridgeError;
pub use exit::Exit;
pub use library::{Builder, SecretHandle, configuration};
pub use plan::{
    Custom, Extension, Keep, Mount, Plan, Projection, SECRET_STORE, SecretSource, Vault, VaultKind,
};
pub use pool::WorkerStatus;
pub use protocol::{Metadata, MetadataValue, Parameters, SecretInfo};
pub use secret::{Bytes, Credential, SecretType, SecretValue, Text};
pub use vault::condition::{LastError, ShownCondition, VaultState};

/// Why something failed, by the layer that it failed in. [`BridgeError`] is that of a call; it stands beside the types.
pub mod errors {
    pub use crate::bridge::StartError;
    pub use crate::config::{ConfigError, ConfigProblem, Problems};
    pub use crate::error::FileTrouble;
    pub use crate::library::BuildError;
    pub use crate::local::LocalError;
    pub use crate::plan::PlanError;
    pub use crate::private_file::PrivateFileError;
    pub use crate::protocol::{Fault, InnerFault, ScriptPosition};
    pub use crate::pwsh::PwshError;
    pub use crate::pwsh::compiled::CompileError;
    pub use crate::registry::user::RegistryError;
    pub use crate::worker::{Broken, LaunchError};
}

/// Runs the program with its arguments, the name of the program first.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> exit::Exit {
    let hardened = platform::harden();
    let arguments: Vec<_> = arguments.into_iter().collect();
    let wants_json = cli::wants_json(&arguments);
    let cli = match cli::parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = cli::exit_of(&error);
            if exit != exit::Exit::Ok && wants_json {
                logging::console::use_json(true);
                return fail(&error.to_string().trim_start_matches("error: ").trim_end(), exit);
            }
            // clap chooses standard output or standard error. A failure means that nobody reads it.
            let _ = error.print();
            return exit;
        }
    };
    let Some(name) = cli.global.as_service.clone() else { return dispatch(&cli, hardened) };
    let work = move || u8::try_from(dispatch(&cli, hardened).code()).unwrap_or(1);
    match platform::service::run(&name, Box::new(work)) {
        Ok(code) => exit::Exit::Child(code.into()),
        Err(error) => fail(&error, exit::Exit::Failure),
    }
}

/// Runs one command.
fn dispatch(cli: &cli::Cli, hardened: platform::Hardened) -> exit::Exit {
    if let Err(error) = logging::start(cli.log(), cli.global.log_format, cli.global.log_file.as_deref()) {
        return fail(&error, exit::Exit::Usage);
    }
    if matches!(cli.command, cli::Command::Serve(_) | cli::Command::Run(_)) {
        metrics::traces::begin();
    }
    tracing::debug!(?hardened, "what keeps other programs of this user out of the memory");
    let global = &cli.global;
    let ended = |done: Result<(), commands::CommandError>| {
        done.map_or_else(|error| fail(&error, error.exit()), |()| exit::Exit::Ok)
    };
    match &cli.command {
        cli::Command::Check(arguments) => in_runtime(commands::check::check(global, arguments)),
        cli::Command::Serve(arguments) => {
            in_runtime(async { ended(commands::serve::serve(global, arguments).await) })
        }
        cli::Command::Token(arguments) => ended(commands::token::token(arguments)),
        cli::Command::Prepare(arguments) => in_runtime(commands::prepare::prepare(global, arguments)),
        cli::Command::Run(arguments) => {
            in_runtime(async { ended(commands::run::run(global, arguments).await) })
        }
        verb => commands::verbs::run(verb, global).unwrap_or_else(|failure| fail(&failure, failure.exit)),
    }
}

fn in_runtime(work: impl Future<Output = exit::Exit>) -> exit::Exit {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            metrics::traces::end();
            // Nothing that still blocks (a disk, a name server) may hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_millis(500));
            exit
        }
        Err(error) => fail(&format!("the runtime did not start: {error}"), exit::Exit::Failure),
    }
}

/// Says why the program ends: `secretbridge: …` on standard error.
fn fail(why: &dyn std::fmt::Display, exit: exit::Exit) -> exit::Exit {
    logging::console::failed(why);
    exit
}
