//! The verbs of the command line, one small file each.
//!
//! Each is a function from arguments to an exit code or a [`Failure`]; what a verb answers goes to standard
//! output, all else to standard error.

use super::outcome::CommandOutcome;
use super::{
    admin, audit, backup, complete, copy, doctor, exec, export, get, import, init, inject, list, module, rm,
    service, set, setup, status,
};
use crate::cli::{CacheVerb, Command, Global};
use crate::reach::Failure;

/// Runs a command that serves nothing.
pub fn run(command: &Command, global: &Global) -> CommandOutcome {
    let work = async {
        match command {
            Command::Get(arguments) => get::get(arguments, global).await,
            Command::Set(arguments) => set::set(arguments, global).await,
            Command::List(arguments) => list::list(arguments, global).await,
            Command::Info(arguments) => list::info(arguments, global).await,
            Command::Rm(arguments) => rm::rm(arguments, global).await,
            Command::Vaults(arguments) => list::vaults(arguments, global).await,
            Command::Unlock(arguments) => admin::unlock(arguments).await,
            Command::Lock(arguments) => admin::lock(arguments).await,
            Command::Status(arguments) => status::status(arguments).await,
            Command::Exec(arguments) => exec::exec(arguments, global).await,
            Command::Inject(arguments) => inject::inject(arguments, global).await,
            Command::Export(arguments) => export::export(arguments, global).await,
            Command::Copy(arguments) => copy::copy(arguments, global).await,
            Command::Backup(arguments) => backup::backup(arguments, global).await,
            Command::Restore(arguments) => backup::restore(arguments, global).await,
            Command::Import(arguments) => import::import(arguments, global).await,
            Command::Doctor(arguments) => doctor::doctor(arguments, global).await,
            Command::Init(arguments) => init::init(arguments),
            Command::Schema(_) => init::schema(),
            Command::Completions(arguments) => setup::completions(arguments),
            Command::CompleteNames(arguments) => complete::complete(arguments, global).await,
            Command::Man(arguments) => setup::man(arguments),
            Command::Module(arguments) => module::module(arguments),
            Command::Audit(arguments) => audit::audit(arguments),
            Command::Service(arguments) => service::service(arguments, global),
            Command::Cache(arguments) => match &arguments.verb {
                CacheVerb::Clear { connect } => admin::clear_cache(connect).await,
            },
            Command::Serve(_)
            | Command::Check(_)
            | Command::Token(_)
            | Command::Run(_)
            | Command::Prepare(_) => Err(Failure::failed("this command is run elsewhere")),
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("the runtime did not start: {error}")))?;
    let outcome = runtime.block_on(work);
    // Nothing that still blocks (a disk, a name server) may hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}
