//! `service install`, `uninstall` and `status`.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::outcome::CommandOutcome;
use super::output;
use crate::access::Token;
use crate::audit::Destination;
use crate::cli::{
    self, Command, Global, InstallArgs, LogFormat, ServiceArgs, ServiceStatusArgs, UninstallArgs, Which,
};
use crate::config;
use crate::exit::Exit;
use crate::plan::{self, Plan};
use crate::platform;
use crate::platform::service::scm::Places;
use crate::platform::service::{self, MANAGER, Manager, ServiceCondition, ServiceStep, Unfit, WantedService};
use crate::reach::Failure;

pub(super) fn service(arguments: &ServiceArgs, global: &Global) -> CommandOutcome {
    match arguments {
        ServiceArgs::Install(arguments) => install(arguments, global),
        ServiceArgs::Uninstall(arguments) => uninstall(arguments),
        ServiceArgs::Status(arguments) => status(arguments),
    }
}

fn install(arguments: &InstallArgs, global: &Global) -> CommandOutcome {
    let steps = service::install(MANAGER, &wanted(arguments, global)?).map_err(unfit)?;
    let Which { name, user } = &arguments.which;
    // A manager that cannot be asked says so when it is to do something.
    if !arguments.dry_run
        && let Ok(status) = service::status(name, *user)
    {
        not_foreign(name, &status)?;
    }
    carry_out(&steps, arguments.dry_run)
}

fn uninstall(arguments: &UninstallArgs) -> CommandOutcome {
    let Which { name, user } = &arguments.which;
    let home = user.then(home).transpose()?;
    let steps = service::uninstall(MANAGER, name, home.as_deref()).map_err(unfit)?;
    if !arguments.dry_run {
        let status = asked(&arguments.which)?;
        if status.state == ServiceCondition::Absent {
            return Err(absent(name));
        }
        not_foreign(name, &status)?;
    }
    carry_out(&steps, arguments.dry_run)
}

fn status(arguments: &ServiceStatusArgs) -> CommandOutcome {
    let name = &arguments.which.name;
    service::check_name(name).map_err(unfit)?;
    let status = asked(&arguments.which)?;
    if arguments.json {
        let mut document = Map::from_iter([("Name".to_owned(), json!(name))]);
        document.insert("State".to_owned(), json!(status.state.to_string()));
        let details = status.details.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        document.insert("Details".to_owned(), Value::Object(details.collect()));
        output::json(&Value::Object(document))?;
    } else if status.state != ServiceCondition::Absent {
        let mut text = format!("{name}: {}\n", status.state);
        status.details.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\n")));
        output::print(text.as_bytes())?;
    }
    match status.state {
        ServiceCondition::Running => Ok(Exit::Ok),
        ServiceCondition::Absent if arguments.json => Ok(Exit::NotFound),
        ServiceCondition::Absent => Err(absent(name)),
        _ => Ok(Exit::Unreachable),
    }
}

fn asked(which: &Which) -> Result<service::Status, Failure> {
    service::status(&which.name, which.user)
        .map_err(|error| Failure::failed(format!("the service manager cannot be asked: {error}")))
}

fn absent(name: &str) -> Failure {
    let hint = "`secretbridge service install` makes one; one of yours is found with --user";
    Failure::new(Exit::NotFound, format!("there is no service {name}")).hint(hint)
}

/// A service of another program is neither changed nor removed.
fn not_foreign(name: &str, status: &service::Status) -> Result<(), Failure> {
    let Some(command) = service::foreign(status) else { return Ok(()) };
    let said = format!("the service {name} is another program's, and was left as it is: {command}");
    Err(Failure::usage(said).hint("--name takes another name"))
}

fn unfit(what: Unfit) -> Failure {
    Failure::usage(what.message).hint(what.hint)
}

fn home() -> Result<std::path::PathBuf, Failure> {
    platform::home().ok_or_else(|| Failure::failed("no home folder is known").hint("set HOME"))
}

/// Does the steps one after the other, and says each; or only says them.
fn carry_out(steps: &[ServiceStep], dry_run: bool) -> CommandOutcome {
    for step in steps {
        if !dry_run {
            perform(step)?;
        }
        output::print(format!("{step}\n").as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn perform(step: &ServiceStep) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let what = Failure::failed(format!(
            "this failed, and nothing after it was done: {}: {error}",
            first_line(step)
        ));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                what.hint("run it as an administrator (root), or with --user")
            }
            std::io::ErrorKind::NotFound => {
                what.hint("--dry-run shows what is to be done, for another manager of services")
            }
            _ => what,
        }
    };
    service::perform(step).map_err(failed)?;
    match step {
        ServiceStep::Token { path, .. } => {
            write_token(path).map_err(|why| Failure::failed(format!("{}: {why}", path.display())))
        }
        _ => Ok(()),
    }
}

fn first_line(step: &ServiceStep) -> String {
    step.to_string().lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}

/// Puts a token into a file that is empty.
fn write_token(path: &Path) -> Result<(), String> {
    let mut file = OpenOptions::new().append(true).open(path).map_err(|error| error.to_string())?;
    if file.metadata().map_err(|error| error.to_string())?.len() > 0 {
        return Ok(());
    }
    let token = Token::new().map_err(|error| error.to_string())?;
    let line = Zeroizing::new(format!("{}\n", token.expose()));
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| error.to_string())
}

// === what is wanted ===

fn wanted(arguments: &InstallArgs, global: &Global) -> Result<WantedService, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("it is not known where this program is: {error}")))?;
    let mut wanted = WantedService {
        name: arguments.which.name.clone(),
        program: text(program.into_os_string())?,
        arguments: Vec::new(),
        account: arguments.account.clone(),
        of_user: arguments.which.user.then(home).transpose()?,
        start: !arguments.no_start,
        shared_data: platform::system_config_folder(),
    };
    let command = command(arguments)?;
    let plan = check(&command)?;
    wanted.arguments = options(global)?;
    wanted.arguments.extend(command.iter().cloned());
    if MANAGER == Manager::Scm {
        add_places(&mut wanted, command.len(), &plan);
    }
    Ok(wanted)
}

/// The command that the service runs.
fn command(arguments: &InstallArgs) -> Result<Vec<String>, Failure> {
    if !arguments.command.is_empty() {
        return arguments.command.iter().cloned().map(text).collect();
    }
    let mut command = vec!["serve".to_owned()];
    if let Some(path) = &arguments.config {
        command.extend(["--config".to_owned(), absolute(path)?]);
    }
    Ok(command)
}

/// The options of this command that the service's own is to have too.
fn options(global: &Global) -> Result<Vec<String>, Failure> {
    let mut options = Vec::new();
    if let Some(filter) = global.log.as_ref().filter(|filter| !filter.is_empty()) {
        options.extend(["--log".to_owned(), filter.clone()]);
    }
    if global.log_format == LogFormat::Json {
        options.extend(["--log-format".to_owned(), "json".to_owned()]);
    }
    for (name, path) in [("--log-file", &global.log_file), ("--pwsh", &global.pwsh)] {
        if let Some(path) = path {
            options.extend([name.to_owned(), absolute(path)?]);
        }
    }
    Ok(options)
}

/// What a command says of the places that a service on Windows is given.
#[derive(Debug, Default)]
struct NamedPlaces {
    token: bool,
    audit: bool,
}

/// Finds now what would otherwise keep the service from starting: a wrong command line, a wrong
/// configuration, a path that means another place in the service's working folder.
fn check(command: &[String]) -> Result<NamedPlaces, Failure> {
    let words = std::iter::once("secretbridge").chain(command.iter().map(String::as_str));
    let cli = cli::parse(words).map_err(|error| {
        let what = error.to_string();
        Failure::usage(format!(
            "what the service would run is wrong: {}",
            what.trim().trim_start_matches("error: ")
        ))
    })?;
    let (paths, config, mut says) = match &cli.command {
        Command::Serve(serve) => {
            let paths =
                [&serve.config, &serve.token_file, &serve.local_vault, &serve.server.audit.audit_file];
            let says = NamedPlaces {
                token: serve.token_file.is_some(),
                audit: serve.server.audit.audit_file.is_some(),
            };
            (paths.into_iter().flatten().cloned().collect::<Vec<_>>(), serve.config.as_deref(), says)
        }
        Command::Run(run) => {
            let one =
                [Some(&run.script), run.admin_token_file.as_ref(), run.server.audit.audit_file.as_ref()];
            let paths = one.into_iter().flatten().chain(&run.token_file).cloned().collect();
            // A script says itself who may call.
            (paths, None, NamedPlaces { token: true, audit: run.server.audit.audit_file.is_some() })
        }
        _ => {
            let hint = "what follows -- is `serve` or `run` with their arguments";
            return Err(Failure::usage("a service can only serve").hint(hint));
        }
    };
    if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
        let what = format!("{} is a relative path, and a service has another working folder", path.display());
        return Err(Failure::usage(what).hint("give the whole path"));
    }
    if let Some(path) = config {
        let plan = config::load(path).map_err(|error| Failure::usage(error.to_string()))?;
        says.of_plan(&plan);
    }
    Ok(says)
}

impl NamedPlaces {
    fn of_plan(&mut self, plan: &Plan) {
        self.token |= plan.access != plan::Access::OwnToken;
        self.audit |= plan.audit.to != Destination::Stderr;
    }
}

/// A service on Windows has no standard error for its audit trail, and a home that nobody looks into for its token.
fn add_places(wanted: &mut WantedService, command: usize, says: &NamedPlaces) {
    let places = Places::of(wanted);
    let mut options = Vec::new();
    if !says.token {
        options.extend(["--token-file".to_owned(), places.token.display().to_string()]);
    }
    if !says.audit {
        options.extend(["--audit-file".to_owned(), places.audit.display().to_string()]);
    }
    // After the command's name: what follows a script's name is the script's.
    let at = wanted.arguments.len() - command + 1;
    wanted.arguments.splice(at..at, options);
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let whole =
        std::path::absolute(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    text(whole.into_os_string())
}

fn text(word: OsString) -> Result<String, Failure> {
    word.into_string()
        .map_err(|word| Failure::usage(format!("'{}' is not UTF-8 text", word.to_string_lossy())))
}
