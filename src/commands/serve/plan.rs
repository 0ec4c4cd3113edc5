//! The plan that `serve` serves: of its configuration, or without one of the command line alone.

use crate::cli::ServeArgs;
use crate::commands::CommandError;
use crate::commands::access;
use crate::config;
use crate::local;
use crate::plan::{self, Bind, Listener, Plan, Registry};
use crate::server::announce::Announcer;

/// The arguments with the configuration that is in force, if there is one.
pub(super) fn with_configuration(arguments: &ServeArgs, say: &mut Announcer) -> ServeArgs {
    let mut arguments = arguments.clone();
    if arguments.local_vault.is_none()
        && let Some(place) = config::find(arguments.config.as_deref())
    {
        say.line(format_args!("configuration: {} ({})", place.path.display(), place.whose));
        arguments.config = Some(place.path);
    }
    arguments
}

/// The plan of the file or, without one, of the command line alone; what the command line says goes first.
pub(super) fn plan(arguments: &ServeArgs) -> Result<Plan, CommandError> {
    let mut plan = match &arguments.config {
        Some(path) => config::load(path)?,
        None => plan_without_file(arguments)?,
    };
    if !arguments.listen.is_empty() {
        let listener = |bind: &Bind| Listener { bind: bind.clone(), tls: None, name: None };
        plan.listeners = arguments.listen.iter().map(listener).collect();
    }
    if plan.listeners.is_empty() {
        plan.listeners.push(Listener {
            bind: Bind::Tcp(plan::DEFAULT_ADDRESS.into()),
            tls: None,
            name: None,
        });
    }
    if let Some(file) = &arguments.token_file {
        plan.access = plan::Access::TokenFile(file.clone());
    }
    arguments.server.audit.apply(&mut plan.audit);
    access::add(&mut plan.callers, &arguments.server.access);
    if let Some(workers) = arguments.workers {
        (plan.pool.min, plan.pool.max) = (workers.into(), workers.into());
    }
    if let Some(user) = &arguments.server.as_user.worker_user {
        (plan.pwsh.user, plan.pwsh.home) = (Some(user.clone()), arguments.server.as_user.worker_home.clone());
    }
    if arguments.server.register_for_user {
        plan.registry = Registry::User;
    }
    plan.auto_import.enabled &= !arguments.no_auto_import;
    plan.auto_import.expose.extend(arguments.expose_vault.iter().cloned());
    Ok(plan)
}

fn plan_without_file(arguments: &ServeArgs) -> Result<Plan, CommandError> {
    let folder = arguments.local_vault.clone().or_else(local::default_folder).ok_or(CommandError::NoHome)?;
    let mut plan = Plan::of_local_vault(folder);
    plan.vaults.iter_mut().for_each(|vault| vault.exposed = true);
    Ok(plan)
}
