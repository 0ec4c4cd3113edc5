//! What is different for the user of a service: another home, another registry, other rights.

use std::path::{Path, PathBuf};

use super::Finding;
use super::files::{needed, shown, word};
use super::pwsh::PwshFindings;
use crate::config::ConfigPlace;
use crate::plan::{Bind, Plan};
use crate::platform::{self, Account, FileOwner};
use crate::registry;

const AREA: &str = "service";

/// What a service sees of what this user has.
pub struct Here<'a> {
    /// What is served.
    pub plan: &'a Plan,
    /// The configuration in force here.
    pub place: Option<&'a ConfigPlace>,
    /// pwsh and its modules, as this user has them.
    pub pwsh: &'a PwshFindings,
    /// This user's home.
    pub home: Option<PathBuf>,
}

/// What differs for the user of this name.
pub fn differs(here: &Here<'_>, user: &str) -> Vec<Finding> {
    let account = platform::account(user);
    let mut found = vec![who(user, account.as_ref(), here.home.as_deref())];
    if let (Some(account), Some(home)) = (&account, &here.home)
        && account.home == *home
    {
        return found;
    }
    found.push(configuration(here.place));
    found.extend(vaults(user));
    found.extend(variables(here.plan));
    found.extend(files(here, user));
    found.extend(programs(here));
    found.extend(here.plan.listeners.iter().filter_map(|listener| match listener.bind {
        Bind::Tcp(address) if (1..1024).contains(&address.port()) => Some(Finding::warning(
            AREA,
            format!("{address}: a service's user may not listen below port 1024"),
            "let systemd open the port: scripts/systemd/secretbridge.socket",
        )),
        _ => None,
    }));
    found
}

fn who(user: &str, account: Option<&Account>, home: Option<&Path>) -> Finding {
    match account {
        None => Finding::warning(
            AREA,
            format!("there is no user '{user}' on this machine yet"),
            format!("the package makes it; by hand: useradd --system --home-dir /var/lib/{user} {user}"),
        ),
        Some(account) if Some(account.home.as_path()) == home => {
            Finding::ok(AREA, format!("'{user}' has the home that you have, {}: nothing differs", account.home.display()))
        }
        Some(account) => Finding::ok(
            AREA,
            format!("'{user}' has its home at {}: its own registry, SecretStore, modules, token and local vault are there", account.home.display()),
        )
        .with("home", shown(&account.home)),
    }
}

fn configuration(place: Option<&ConfigPlace>) -> Finding {
    let system = platform::system_config_folder().join("secretbridge").join(crate::config::FILE);
    match place {
        Some(place) if same(&place.path, &system) => {
            Finding::ok(AREA, format!("the configuration {} is what a service finds", system.display()))
        }
        Some(place) => Finding::warning(
            AREA,
            format!(
                "the configuration {} is {}; a service finds {}",
                place.path.display(),
                place.whose,
                system.display()
            ),
            format!("sudo install -D -m 644 {} {}", word(&place.path), word(&system)),
        ),
        None => Finding::warning(
            AREA,
            format!("a service finds its configuration at {}, and there is none", system.display()),
            "sudo secretbridge init --system",
        ),
    }
}

/// Vaults that are registered for this user are not for another.
fn vaults(user: &str) -> Vec<Finding> {
    let registered = registry::look().vaults;
    let one = |name: &str, module: &str| {
        Finding::warning(
            AREA,
            format!("the vault '{name}' is registered for you, and not for '{user}'"),
            format!(
                "name it in the configuration: [vaults.NAME] with module = \"{module}\" and its parameters"
            ),
        )
        .with("vault", name)
    };
    registered.iter().filter_map(|vault| Some(one(&vault.name, vault.extension()?.module_name()))).collect()
}

fn variables(plan: &Plan) -> Vec<Finding> {
    let one = |name: String| {
        let message = format!("the variable {name} of your shell is not set for a service");
        let mend = "keep the secret in a file: LoadCredential= in the unit, and file = in the configuration";
        Finding::warning(AREA, message, mend).with("variable", name)
    };
    plan.secret_variables().into_iter().map(one).collect()
}

fn files(here: &Here<'_>, user: &str) -> Vec<Finding> {
    let one = |(what, path): (&str, PathBuf)| {
        let place = path.display();
        if is_below(&path, here.home.as_deref()) {
            let message =
                format!("{what}, {place}, is below your home, which a service cannot see (ProtectHome=yes)");
            return Some(Finding::problem(
                AREA,
                message,
                "move it to /etc/secretbridge, or hand it over with LoadCredential= in the unit",
            ));
        }
        let access = platform::access_at(&path).ok()?;
        (access.owner == FileOwner::Us && !access.others_read).then(|| {
            let message = format!("{what}, {place}, can be read by you alone ({})", access.shown);
            Finding::problem(
                AREA,
                message,
                format!("sudo chown {user} {}, or LoadCredential= in the unit", word(&path)),
            )
        })
    };
    needed(here.plan).into_iter().filter_map(one).map(|finding| finding.with("user", user)).collect()
}

/// pwsh and modules that only this user has.
fn programs(here: &Here<'_>) -> Vec<Finding> {
    let home = here.home.as_deref();
    let mut found = Vec::new();
    if let Some(program) = here.pwsh.program.as_deref().filter(|program| is_below(program, home)) {
        let message = format!("pwsh, {}, is below your home, which a service cannot see", program.display());
        found.push(Finding::problem(
            AREA,
            message,
            "install PowerShell for all users: https://aka.ms/powershell",
        ));
    }
    let mut names: Vec<&str> = here.pwsh.modules.iter().map(|module| module.name.as_str()).collect();
    names.dedup();
    for name in names {
        let mut all = here.pwsh.modules.iter().filter(|module| module.name == name);
        if all.all(|module| is_below(Path::new(&module.path), home)) {
            let message = format!("the module {name} is installed for you alone");
            let mend = format!("sudo pwsh -Command \"Install-Module -Name {name} -Scope AllUsers\"");
            found.push(Finding::problem(AREA, message, mend).with("module", name));
        }
    }
    found
}

fn is_below(path: &Path, home: Option<&Path>) -> bool {
    // A home at the root would hold everything.
    home.is_some_and(|home| home.parent().is_some() && path.starts_with(home))
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
