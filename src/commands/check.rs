//! The `check` command: every mistake of a configuration file in one run, then what the file names: files and who may
//! read them, certificates, pwsh and modules. It says what it did not look at.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bridge::{Bridge, Options};
use crate::cli::{CheckArgs, Global};
use crate::config::{self, ConfigError, ConfigPlace};
use crate::error::BridgeError;
use crate::exit::Exit;
use crate::inspect::{Finding, Level, certificates, files, pwsh, vaults};
use crate::logging::console::Console;
use crate::plan::{Plan, Vault};
use crate::vault::backend::kinds;

/// How long vaults may take to be closed again.
const CLOSING: Duration = Duration::from_secs(10);

/// What was looked at beside the file.
#[derive(Default)]
struct CheckFindings {
    findings: Vec<Finding>,
    /// What was not, and why.
    not: Vec<String>,
    /// How the program ends, where something is wrong.
    exit: Option<Exit>,
}

/// Checks a file and what it names. Says nothing on standard output, unless asked for JSON.
pub async fn check(global: &Global, arguments: &CheckArgs) -> Exit {
    let Some(place) = config::find(arguments.config.as_deref()) else {
        return none(arguments);
    };
    let plan = match config::load(&place.path) {
        Ok(plan) => plan,
        Err(error) => return refused(arguments, &error),
    };
    let mut looked = CheckFindings::default();
    if arguments.file_only {
        looked.not.push("everything but the file itself (--file-only)".to_owned());
    } else {
        looked.names(global, arguments, &plan, &place).await;
    }
    looked.show(arguments, &place);
    looked.exit.unwrap_or(Exit::Ok)
}

impl CheckFindings {
    async fn names(&mut self, global: &Global, arguments: &CheckArgs, plan: &Plan, place: &ConfigPlace) {
        self.add(Exit::Usage, files::files(plan, Some(place)));
        self.add(Exit::Usage, certificates::certificates(plan));
        self.not.push("addresses, disks and a running server (`secretbridge doctor` does)".to_owned());
        let of_modules: Vec<&Vault> =
            plan.vaults.iter().filter(|vault| vault.extension().is_some()).collect();
        let mut usable = true;
        if of_modules.is_empty() && plan.auto_import.expose.is_empty() && plan.init.is_empty() {
            self.not.push("pwsh: nothing in the file needs it".to_owned());
        } else {
            let pwsh = pwsh::look(global.pwsh.as_deref(), plan, &of_modules).await;
            usable = pwsh.usable;
            self.add(if usable { Exit::Failure } else { Exit::NoPwsh }, pwsh.findings);
        }
        if !arguments.deep {
            self.not.push("whether the vaults can be registered and unlocked (--deep does)".to_owned());
        } else if usable {
            self.deep(global, plan).await;
        } else {
            self.not.push("the vaults: there is no pwsh that workers can run in".to_owned());
        }
    }

    /// Reaches local vaults as `doctor` does. Starts a worker, which registers the other vaults and unlocks them. No
    /// secret is read.
    async fn deep(&mut self, global: &Global, plan: &Plan) {
        let mut plan = plan.clone();
        for vault in plan.vaults.iter().filter(|vault| !kinds::needs_worker(vault)) {
            let finding = vaults::reach(&plan, vault, None, plan.limits.deadline).await;
            self.add(Exit::Failure, vec![finding]);
        }
        // A server would make the files of a local vault; a check makes none.
        plan.vaults.retain(kinds::needs_worker);
        (plan.mounts, plan.routes) = (Vec::new(), Vec::new());
        if plan.vaults.is_empty() && plan.auto_import.expose.is_empty() && plan.init.is_empty() {
            return;
        }
        (plan.pool.min, plan.pool.max) = (1, 1);
        let options = Options { pwsh: global.pwsh.clone() };
        match Bridge::start(plan, &options, |_, _| {}).await {
            Ok(bridge) => {
                for vault in bridge.plan().vaults.clone().iter() {
                    let (exit, finding) = open(&bridge, vault).await;
                    self.add(exit, vec![finding]);
                }
                bridge.stop(CLOSING).await;
            }
            Err(error) => {
                let mend = "the message names what is in the way";
                self.add(Exit::Failure, vec![Finding::problem("start", error.to_string(), mend)]);
            }
        }
    }

    /// Adds findings; where one is a problem, the first kind of problem decides how the program ends.
    fn add(&mut self, exit: Exit, findings: Vec<Finding>) {
        if self.exit.is_none() && findings.iter().any(|finding| finding.level == Level::Problem) {
            self.exit = Some(exit);
        }
        let (seen, unseen): (Vec<_>, Vec<_>) = findings.into_iter().partition(|found| found.looked_at);
        self.findings.extend(seen);
        self.not.extend(unseen.into_iter().map(|found| found.message));
    }

    fn show(&self, arguments: &CheckArgs, place: &ConfigPlace) {
        let wrong = |finding: &&Finding| finding.level == Level::Problem;
        if arguments.json {
            let problem = |finding: &Finding| json!({ "message": finding.message, "hint": finding.mend });
            let problems: Vec<Value> = self.findings.iter().filter(wrong).map(problem).collect();
            let told = json!({ "problems": problems, "findings": self.findings, "not_looked_at": self.not });
            // The reader may have gone; the exit code says what happened.
            let _ = writeln!(std::io::stdout(), "{told}");
        }
        for finding in self.findings.iter().filter(|finding| finding.level != Level::Ok) {
            let mend = finding.mend.as_deref().unwrap_or_default();
            say(&format!("{}: {}\n  hint: {mend}", finding.area, finding.message));
        }
        let good = self.findings.iter().filter(|finding| finding.level == Level::Ok).count();
        say(&format!("looked at, and as it should be: the file, and {good} things that it names"));
        self.not.iter().for_each(|not| say(&format!("not looked at: {not}")));
        let wrong = self.findings.iter().filter(wrong).count();
        let verdict = if wrong == 0 { "no mistakes".to_owned() } else { format!("{wrong} to be mended") };
        say(&format!("{}: {verdict}", place.path.display()));
    }
}

/// Unlocks a vault that was registered, where it has a password.
async fn open(bridge: &Bridge, vault: &Vault) -> (Exit, Finding) {
    let name = &vault.name;
    let registered = |more: &str| Finding::ok("vaults", format!("'{name}' is registered{more}"));
    if vault.extension().is_none_or(|extension| extension.unlock.is_none()) {
        return (Exit::Ok, registered(""));
    }
    match bridge.unlock(name, None, Instant::now() + bridge.plan().limits.deadline).await {
        Ok(()) => (Exit::Ok, registered(" and unlocks")),
        Err(error) => {
            let exit = if matches!(error, BridgeError::Locked { .. }) { Exit::Locked } else { Exit::Failure };
            (exit, Finding::problem("vaults", format!("'{name}': {error}"), error.hint()))
        }
    }
}

fn refused(arguments: &CheckArgs, error: &ConfigError) -> Exit {
    if arguments.json {
        let problems = match error {
            ConfigError::Invalid(problems) => problems.to_json(),
            error => json!({ "problems": [{ "message": error.to_string() }] }),
        };
        let _ = writeln!(std::io::stdout(), "{problems}");
    } else {
        say(&error.to_string());
    }
    Exit::Usage
}

/// Tells that there is nothing to check.
fn none(arguments: &CheckArgs) -> Exit {
    let message = format!("no configuration was found (looked for {})", config::looked_at());
    if arguments.json {
        let _ = writeln!(std::io::stdout(), "{}", json!({ "problems": [{ "message": message }] }));
    } else {
        say(&format!("{message}\n  hint: name one with --config; `secretbridge init` writes one"));
    }
    Exit::Usage
}

fn say(text: &str) {
    let _ = writeln!(Console::default(), "{text}");
}
