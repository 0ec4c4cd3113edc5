//! What a start looks up: the user's vaults, passwords, embedded vaults; and why one fails.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::config;
use crate::local::LocalError;
use crate::plan::{self, Expose, InitScript, Plan, PlanError, Registry, SecretSource, Vault};
use crate::platform::{self, OtherUser};
use crate::pool::{Pool, Progress};
use crate::private_file::PrivateFileError;
use crate::pwsh::compiled::{self, CompileError};
use crate::pwsh::{Folder, PwshError};
use crate::registry;
use crate::secret::{Text, fold};
use crate::trusted;
use crate::vault::Entry;
use crate::vault::backend::ServedBy;
use crate::worker::LaunchError;
use crate::worker::process::{Environment, PwshLauncher};

/// A vault that the user had registered.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FoundVault {
    /// Its name.
    pub name: String,
    /// Its extension module.
    pub module: String,
    /// It is served.
    pub exposed: bool,
}

/// Why a bridge did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// No pwsh, and the plan needs one.
    #[error(transparent)]
    Pwsh(#[from] PwshError),
    /// Others may change what decides.
    #[error(transparent)]
    Untrusted(PrivateFileError),
    /// An init script cannot be read.
    #[error(
        "the init script {} cannot be read: {source} (hint: init in [pwsh] names it, relative to the configuration's folder)",
        .path.display()
    )]
    Init {
        /// The script.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A vault's password could not be had.
    #[error("the unlock password of the vault '{vault}': {source}")]
    Password {
        /// The vault.
        vault: String,
        /// Why.
        #[source]
        source: config::ConfigError,
    },
    /// A vault to expose is not registered.
    #[error(
        "there is no vault '{name}' to expose (--expose-vault, auto_import.expose): your registry {} {found} (hint: \
         Get-SecretVault lists your vaults; a service has those of its own user)",
        .registry.display()
    )]
    NoSuchVault {
        /// As asked for.
        name: String,
        /// The file of the user's registry.
        registry: PathBuf,
        /// What is in it, as the end of a sentence.
        found: String,
    },
    /// The plan's vaults do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An embedded vault did not open.
    #[error("the local vault '{vault}': {source}")]
    Local {
        /// The vault.
        vault: String,
        /// Why.
        #[source]
        source: LocalError,
    },
    /// No worker can run as the user that the plan names.
    #[error("the workers cannot run as the user {user}: {reason}")]
    User {
        /// As named.
        user: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The process serves the vaults of another user already.
    #[error("the user that workers run as cannot change while the server runs (hint: restart it)")]
    AnotherUser,
    /// The private folder could not be made.
    #[error("the private folder for worker files: {0}")]
    Folder(std::io::Error),
    /// The workers' compiled part could not be had.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The user's registry.
    #[error(transparent)]
    Registry(#[from] registry::user::RegistryError),
    /// The workers did not come up.
    #[error("the workers did not come up: {0}")]
    Workers(#[from] LaunchError),
}

/// The other user that workers run as, if the plan names one. From here on this process serves that user's vaults.
pub(crate) fn worker_user(pwsh: &plan::Pwsh, registry: Registry) -> Result<Option<OtherUser>, StartError> {
    let find = |name: &String| {
        if registry == Registry::User {
            let reason = "vaults cannot be registered for that user too (hint: registry = \"private\", no --register-for-user)";
            return Err(StartError::User { user: name.clone(), reason: reason.to_owned() });
        }
        let found = OtherUser::find(name, pwsh.home.as_deref());
        found.map_err(|reason| StartError::User { user: name.clone(), reason })
    };
    let user = pwsh.user.as_ref().map(find).transpose()?;
    if let Some(user) = &user {
        tracing::info!("workers run as the user {}, whose home is {}", user.name(), user.home().display());
    }
    match platform::serve_vaults_of(user.clone()) {
        true => Ok(user),
        false => Err(StartError::AnotherUser),
    }
}

/// What launches workers, and the folder that holds what they run. `environment` is asked for what they have there.
pub(crate) async fn launcher(
    program: PathBuf,
    user: Option<OtherUser>,
    environment: impl FnOnce(&Folder) -> Environment,
) -> Result<(Arc<Folder>, PwshLauncher), StartError> {
    trusted::warn_of_module_folders();
    let folder = Arc::new(Folder::create_for(user.as_ref()).map_err(StartError::Folder)?);
    let environment = environment(&folder);
    // The compiler is ours, and so is what it makes.
    compiled::provide(&program, &folder, &environment).await?;
    folder.let_in().map_err(StartError::Folder)?;
    let environment = Environment { user, ..environment };
    let launcher = PwshLauncher::new(program, folder.clone(), environment).map_err(StartError::Folder)?;
    Ok((folder, launcher))
}

/// Adds the user's vaults that the plan exposes, and names all that were found.
pub(super) fn import(plan: &mut Plan) -> Result<Vec<FoundVault>, StartError> {
    if !plan.auto_import.enabled && plan.auto_import.expose.is_empty() {
        return Ok(Vec::new());
    }
    let registry = registry::look();
    if let Some(problem) = &registry.problem {
        tracing::warn!(file = %registry.path.display(), "the user's vault registry could not be read: {problem}");
    }
    for Expose { vault, .. } in &plan.auto_import.expose {
        let is_it = |found: &Vault| fold(&found.name) == fold(vault);
        if !registry.vaults.iter().any(is_it) && !plan.vaults.iter().any(is_it) {
            let known: Vec<_> = registry.vaults.iter().map(|vault| vault.name.clone()).collect();
            let found = match &registry.problem {
                Some(problem) => {
                    format!("cannot be read: {problem}; restore it, or register the vaults again")
                }
                None if known.is_empty() => "has none".to_owned(),
                None => format!("has {}", known.join(", ")),
            };
            return Err(StartError::NoSuchVault { name: vault.clone(), registry: registry.path, found });
        }
    }
    let mut found = Vec::new();
    for mut vault in registry.vaults {
        let exposed =
            plan.auto_import.expose.iter().find(|expose| fold(&expose.vault) == fold(&vault.name)).cloned();
        let module =
            vault.extension().map(|extension| extension.module_name().to_owned()).unwrap_or_default();
        found.push(FoundVault { name: vault.name.clone(), module, exposed: exposed.is_some() });
        if let Some(expose) = exposed {
            vault.exposed = true;
            vault.read_only = !expose.writable;
            plan.vaults.push(vault);
        }
    }
    Ok(found)
}

/// Whether the init scripts are there, before a worker is started for them. They are opened, so
/// [`trusted::check_plan`], which refuses a pipe, goes before.
pub(super) fn look_for_init(plan: &Plan) -> Result<(), StartError> {
    for script in &plan.init {
        let InitScript::File(path) = script else { continue };
        let refused = |source| StartError::Init { path: path.clone(), source };
        let about = std::fs::File::open(path).and_then(|file| file.metadata()).map_err(refused)?;
        if about.is_dir() {
            return Err(refused(std::io::Error::other("it is a folder")));
        }
    }
    Ok(())
}

pub(super) fn password(vault: &Vault) -> Result<Option<Text>, StartError> {
    let resolve = |source: &SecretSource| {
        config::resolve(source).map_err(|source| StartError::Password { vault: vault.name.clone(), source })
    };
    vault.unlock().map(resolve).transpose()
}

/// Opens a vault that is in this process.
pub(crate) fn open_in_process(entry: &Entry) -> Result<(), StartError> {
    let ServedBy::ThisProcess(here) = entry.backend.served_by() else { return Ok(()) };
    here.open().map_err(|source| StartError::Local { vault: entry.plan.name.clone(), source })
}

pub(crate) async fn wait_for(
    pool: &Pool,
    min: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<(), LaunchError> {
    let mut news = pool.progress();
    let ready = pool.ready();
    tokio::pin!(ready);
    loop {
        let Progress { up, .. } = news.borrow_and_update().clone();
        progress(up, min);
        tokio::select! {
            outcome = &mut ready => {
                progress(pool.progress().borrow().up, min);
                return outcome;
            }
            Ok(()) = news.changed() => {}
        }
    }
}
