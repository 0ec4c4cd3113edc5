//! `doctor`: everything a server needs is looked at, and nothing is changed.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{Connect, DoctorArgs, Global};
use crate::config::{self, ConfigPlace};
use crate::exit::Exit;
use crate::inspect::service::{self, Here};
use crate::inspect::{Finding, Level, certificates, files, machine, pwsh, vaults};
use crate::plan::{Bind, DEFAULT_ADDRESS, Listener, Plan, Vault};
use crate::reach::{self, Failure, Reach};
use crate::secret::fold;
use crate::vault::backend::kinds;
use crate::{platform, registry};

pub(super) async fn doctor(arguments: &DoctorArgs, global: &Global) -> CommandOutcome {
    let place = match arguments.connect.local_vault {
        Some(_) => None,
        None => config::find(arguments.connect.config.as_deref()),
    };
    let (mut plan, mut findings) = match reach::plan(&arguments.connect) {
        Ok(plan) => (plan, vec![good(place.as_ref())]),
        Err(failure) => (Plan::default(), vec![bad(&failure)]),
    };
    if plan.listeners.is_empty() {
        plan.listeners.push(Listener { bind: Bind::Tcp(DEFAULT_ADDRESS.into()), tls: None, name: None });
    }
    let served = served(&plan);
    let of_modules: Vec<&Vault> = served.iter().filter(|vault| vault.extension().is_some()).collect();
    let pwsh = pwsh::look(global.pwsh.as_deref(), &plan, &of_modules).await;
    findings.extend(pwsh.findings.iter().cloned());
    findings.extend(files::files(&plan, place.as_ref()));
    let (server, running) = server(&arguments.connect).await;
    findings.extend(server);
    for vault in &served {
        if !kinds::needs_worker(vault) || (pwsh.usable && !arguments.no_vaults) {
            let program = pwsh.program.clone();
            findings.push(vaults::reach(&plan, vault, program, arguments.connect.timeout).await);
        } else if !pwsh.usable {
            let message = format!("'{}' cannot be reached without pwsh", vault.name);
            findings.push(
                Finding::problem("vaults", message, "mend pwsh first").with("vault", vault.name.as_str()),
            );
        }
    }
    findings.push(machine::clock(place.as_ref()));
    findings.extend(machine::disks(&plan));
    findings.extend(machine::ports(&plan, running));
    findings.extend(certificates::certificates(&plan));
    if let Some(user) = &arguments.as_service {
        let here = Here { plan: &plan, place: place.as_ref(), pwsh: &pwsh, home: platform::home() };
        findings.extend(service::differs(&here, user));
    }
    show(&findings, arguments.json)?;
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(Level::Problem) { Exit::Failure } else { Exit::Ok })
}

fn good(place: Option<&ConfigPlace>) -> Finding {
    let message = match place {
        Some(place) => format!("{} has no mistakes", place.path.display()),
        None => "none is needed for the local vault".to_owned(),
    };
    Finding::ok("configuration", message)
}

fn bad(failure: &Failure) -> Finding {
    let mend = "correct it; `secretbridge check` tells each mistake with its line";
    Finding::problem("configuration", failure.to_string(), mend)
}

/// The plan's vaults, and those that are registered in PowerShell.
fn served(plan: &Plan) -> Vec<Vault> {
    let mut all = plan.vaults.clone();
    if plan.auto_import.enabled {
        let registered = registry::look().vaults;
        all.extend(
            registered
                .into_iter()
                .filter(|vault| !plan.vaults.iter().any(|of| fold(&of.name) == fold(&vault.name))),
        );
    }
    all
}

/// A server that runs, and how its vaults are.
async fn server(connect: &Connect) -> (Vec<Finding>, bool) {
    let server = match Reach::any_server(connect).await {
        Ok(Some(server)) => server,
        Ok(None) => return (vec![Finding::ok("server", "none of yours runs")], false),
        Err(failure) => {
            let mend = failure.hint.clone().unwrap_or_else(|| "correct what names the server".to_owned());
            return (vec![Finding::problem("server", failure.message, mend)], false);
        }
    };
    let address = server.address().to_string();
    let health = match server.health().await {
        Ok(health) => health,
        Err(failure) => {
            let mend = failure.hint.clone().unwrap_or_else(|| "see the server's log".to_owned());
            let message = format!("{address}: {}", failure.message);
            return (vec![Finding::problem("server", message, mend)], true);
        }
    };
    let status = health["status"].as_str().unwrap_or("unknown");
    let head = Finding::ok("server", format!("{address} runs: {status}")).with("address", address);
    let vaults = health["vaults"].as_array().into_iter().flatten();
    (std::iter::once(head).chain(vaults.map(vault)).collect(), true)
}

fn vault(health: &Value) -> Finding {
    let (name, state) =
        (health["name"].as_str().unwrap_or_default(), health["state"].as_str().unwrap_or("unknown"));
    // Somebody has locked it since, so its last call says nothing.
    let state = if health["closed"] == true { "locked" } else { state };
    let reason = health["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("the server's vault '{name}' is {state}{reason}");
    let finding = match state {
        "ok" | "unknown" => Finding::ok("server", message),
        "locked" | "locked_out" => Finding::problem(
            "server",
            message,
            format!("secretbridge unlock {name}; and correct `unlock` in the configuration"),
        ),
        _ => Finding::problem("server", message, "see the server's log, which names what the vault said"),
    };
    finding.with("vault", name).with("state", state)
}

// === showing ===

fn show(findings: &[Finding], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let document = json!({
            "ok": count(Level::Problem) == 0,
            "problems": count(Level::Problem),
            "warnings": count(Level::Warning),
            "findings": findings,
        });
        return output::json(&document);
    }
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    output::print(findings.iter().map(|finding| line(finding, coloured)).collect::<String>().as_bytes())
}

fn line(finding: &Finding, coloured: bool) -> String {
    let (word, colour) = match finding.level {
        Level::Ok => ("ok", "32"),
        Level::Warning => ("warning", "33"),
        Level::Problem => ("problem", "31"),
    };
    let padded = format!("{word:<7}");
    let word = if coloured { format!("\x1b[{colour}m{padded}\x1b[0m") } else { padded };
    let indented = |text: &str| text.trim_end().replace('\n', "\n         ");
    let mut text = format!("{word}  {}: {}\n", finding.area, indented(&finding.message));
    if let Some(mend) = &finding.mend {
        text += &format!("         mend: {}\n", indented(mend));
    }
    text
}
