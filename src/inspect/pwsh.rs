//! pwsh: where it is, which it is, how fast it starts, and which modules it finds.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::time::Instant;

use super::Finding;
use crate::bridge::start;
use crate::plan::{Extension, Plan, Vault};
use crate::platform;
use crate::pwsh::{self, Folder, PwshError};
use crate::vault::backend::kinds;
use crate::worker::is_recent;
use crate::worker::process::{Environment, command};

/// How long pwsh may take to list modules; with hundreds installed that takes some seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// A start that takes longer than this is told.
const SLOW: Duration = Duration::from_secs(5);

const SECRET_MANAGEMENT: &str = "Microsoft.PowerShell.SecretManagement";

/// A module that pwsh finds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstalledModule {
    /// As it was asked for: a name or a path.
    pub asked: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its folder.
    pub path: String,
}

/// What pwsh told of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Told {
    language: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    runtime: String,
    #[serde(default)]
    modules: Vec<InstalledModule>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct PwshFindings {
    /// For people.
    pub findings: Vec<Finding>,
    /// The program, if there is one.
    pub program: Option<std::path::PathBuf>,
    /// The modules that it finds.
    pub modules: Vec<InstalledModule>,
    /// Whether workers can run in it.
    pub usable: bool,
}

/// Looks for pwsh, and asks it. `vaults`: those whose modules are needed, of the plan or of the user.
pub async fn look(argument: Option<&Path>, plan: &Plan, vaults: &[&Vault]) -> PwshFindings {
    let extensions: Vec<&Extension> = vaults.iter().filter_map(|vault| vault.extension()).collect();
    let program = match pwsh::find(argument, plan.pwsh.path.as_deref()) {
        Ok(program) => program,
        Err(error) => {
            return PwshFindings {
                findings: vec![missing(&error, !extensions.is_empty())],
                ..PwshFindings::default()
            };
        }
    };
    let names = names(&extensions);
    let (took, told) = match ask(&program, plan, &names).await {
        Ok(answer) => answer,
        Err(reason) => {
            let message = format!("{} does not run: {reason}", program.display());
            let findings = vec![Finding::problem("pwsh", message, "reinstall it: https://aka.ms/powershell")];
            return PwshFindings { findings, program: Some(program), ..PwshFindings::default() };
        }
    };
    let mut findings = vec![engine(&program, &told, took)];
    let usable = told.language == "FullLanguage" && is_recent(&told.version);
    if usable {
        findings.extend(names.iter().map(|name| module(name, &told.modules, !extensions.is_empty())));
    }
    PwshFindings { findings, program: Some(program), modules: told.modules, usable }
}

fn missing(error: &PwshError, needed: bool) -> Finding {
    let mend = "install PowerShell 7.4 or later (https://aka.ms/powershell), or name it with --pwsh";
    match (error, needed) {
        (PwshError::NotFound, false) => Finding::ok("pwsh", "none was found; the local vault needs none"),
        (error, _) => Finding::problem("pwsh", error.to_string(), mend),
    }
}

/// The modules to ask for, each once.
fn names(extensions: &[&Extension]) -> Vec<String> {
    let mut names = vec![SECRET_MANAGEMENT.to_owned()];
    names.extend(kinds::usual_modules().map(str::to_owned));
    for module in extensions.iter().map(|extension| &extension.module) {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(module)) && !module.contains('|') {
            names.push(module.clone());
        }
    }
    names
}

fn engine(program: &Path, told: &Told, took: Duration) -> Finding {
    let head = format!("PowerShell {} ({}) at {}", told.version, told.runtime, program.display());
    let finding = if told.language != "FullLanguage" {
        let message = format!(
            "pwsh at {} runs in {}: workers cannot do their work in it",
            program.display(),
            told.language
        );
        Finding::problem(
            "pwsh",
            message,
            "let the policy of this machine (AppLocker, WDAC) allow this program's scripts",
        )
    } else if !is_recent(&told.version) {
        Finding::problem(
            "pwsh",
            format!("{head} is too old"),
            "install PowerShell 7.4 or later: https://aka.ms/powershell",
        )
    } else if took > SLOW {
        let message = format!("{head} takes {:.1} s to start", took.as_secs_f64());
        Finding::warning(
            "pwsh",
            message,
            "look for a virus scanner or a slow disk; `secretbridge prepare` spares the first start a second",
        )
    } else {
        Finding::ok("pwsh", format!("{head}, starts in {} ms", took.as_millis()))
    };
    finding
        .with("path", program.to_string_lossy())
        .with("version", told.version.as_str())
        .with("start_milliseconds", took.as_millis() as u64)
}

fn module(name: &str, found: &[InstalledModule], needed: bool) -> Finding {
    let versions: Vec<&InstalledModule> = found.iter().filter(|module| module.asked == name).collect();
    let is_optional = kinds::usual_modules().any(|usual| name == usual) || !needed;
    let finding = match versions.as_slice() {
        [] if is_optional => Finding::ok("modules", format!("{name}: not installed, and no vault needs it")),
        [] => Finding::problem("modules", format!("{name}: not installed"), install(name)),
        all => {
            let shown: Vec<_> =
                all.iter().map(|module| format!("{} at {}", module.version, module.path)).collect();
            Finding::ok("modules", format!("{name} {}", shown.join("; ")))
        }
    };
    let versions: Vec<_> = versions.iter().map(|module| module.version.clone()).collect();
    finding.with("module", name).with("versions", versions)
}

fn install(name: &str) -> String {
    if name.contains(std::path::is_separator) {
        return format!("put the module at {name}, or correct its path");
    }
    format!("pwsh -Command \"Install-Module -Name {name} -Scope CurrentUser\"")
}

/// Runs pwsh once: how long its start took, and what it told.
async fn ask(program: &Path, plan: &Plan, names: &[String]) -> Result<(Duration, Told), String> {
    let user = start::worker_user(&plan.pwsh, plan.registry).map_err(|error| error.to_string())?;
    let folder = Folder::create_for(user.as_ref()).map_err(|error| error.to_string())?;
    folder.let_in().map_err(|error| error.to_string())?;
    let environment = Environment {
        user,
        removed: plan.secret_variables(),
        module_path: plan.pwsh.module_path.clone(),
        ..Environment::default()
    };
    let mut command = command(program, &folder.inspect_script(), &environment);
    command.arg("-Names").arg(names.join("|")).stdin(Stdio::null());
    let began = Instant::now();
    let (mut child, group) = platform::spawn(&mut command).map_err(|error| error.to_string())?;
    let whole = async {
        let mut errors = child.stderr.take();
        let mut output = BufReader::new(child.stdout.take().ok_or("it has no output")?);
        let (mut first, mut rest, mut said) = (String::new(), String::new(), String::new());
        let read = async {
            output.read_line(&mut first).await?;
            let took = began.elapsed();
            output.read_to_string(&mut rest).await?;
            std::io::Result::Ok(took)
        };
        let noise = async {
            if let Some(errors) = &mut errors {
                let _ = errors.read_to_string(&mut said).await;
            }
        };
        let (took, ()) = tokio::join!(read, noise);
        let took = took.map_err(|error| error.to_string())?;
        let told = rest.lines().find_map(|line| serde_json::from_str::<Told>(line).ok());
        let said = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(3)
            .collect::<Vec<_>>()
            .join("; ");
        let _ = child.wait().await;
        told.map(|told| (took, told)).ok_or(if said.is_empty() { "it said nothing".to_owned() } else { said })
    };
    match tokio::time::timeout(LIMIT, whole).await {
        Ok(answer) => answer,
        Err(_) => {
            group.kill();
            Err(format!("it did not answer within {} s", LIMIT.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_missing_module_or_pwsh_counts_where_a_vault_needs_it() {
        assert_eq!(module("My.Module", &[], true).level, Level::Problem);
        assert_eq!(module(SECRET_MANAGEMENT, &[], false).level, Level::Ok);
        assert_eq!(missing(&PwshError::NotFound, false).level, Level::Ok);
        assert_eq!(missing(&PwshError::NotFound, true).level, Level::Problem);
    }

    #[test]
    fn an_engine_that_workers_cannot_run_in_is_a_problem() {
        let told = |language: &str, version: &str| Told {
            language: language.into(),
            version: version.into(),
            ..Told::default()
        };
        let second = Duration::from_secs(1);
        for (told, took, level) in [
            (told("FullLanguage", "7.4.1"), second, Level::Ok),
            (told("FullLanguage", "7.4.1"), SLOW * 2, Level::Warning),
            (told("FullLanguage", "7.2.0"), second, Level::Problem),
            (told("ConstrainedLanguage", ""), second, Level::Problem),
        ] {
            assert_eq!(engine(Path::new("/p"), &told, took).level, level, "{told:?}");
        }
    }
}
