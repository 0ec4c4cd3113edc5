//! The `run` command: a script declares, then it is served.
//!
//! ```text
//! planning worker ─► plan ─► endpoints bound ─► pool of -Threads workers ─► in force ─► drain ─► unregister ─► stop
//! ```

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CommandError;
use super::access::{self, KeptPolicy};
use crate::access::Guard;
use crate::bridge::Bridge;
use crate::cli::{Global, PlanFormat, RunArgs};
use crate::http::{BoundAddress, Certificates, Native};
use crate::plan::{Bind, Limits, Listener, Pwsh};
use crate::private_file::read_private;
use crate::registry::user::{RegistryMeans, UserRegistry};
use crate::script::run::{self, Declared, RunError, RunOptions};
use crate::script::serve::ScriptSite;
use crate::server::announce::{Announcer, STOPPED_EARLY, STOPPING};
use crate::server::guarded::GuardedSite;
use crate::server::reloads::{Renewable, Why};
use crate::server::watch::Looks;
use crate::server::{Server, Starting};

/// Checks or serves a script, until a signal says stop or the script closes the server.
pub async fn run(global: &Global, arguments: &RunArgs) -> Result<(), CommandError> {
    let options = options(global, arguments)?;
    let mut server = Server::new().map_err(CommandError::Signals)?;
    // Also for a check: what is wrong is told before anything runs.
    let kept = access::of_script(&arguments.server.access, &arguments.token_file, &access::own_names())?;
    if arguments.check {
        return match server.unless_stopped(run::check(options)).await {
            Some(Ok(outline)) => {
                print(&outline, arguments.format);
                Ok(())
            }
            Some(Err(error)) => {
                if arguments.format == PlanFormat::Json {
                    write(&format!("{:#}\n", error.to_json()));
                }
                Err(error.into())
            }
            // A stop was asked for, so this is no failure; nothing was announced either.
            None => Err(RunError::Stopped.into()),
        };
    }
    warn_of_passwords(arguments);
    let registry = UserRegistry::new(RegistryMeans { pwsh: global.pwsh.clone(), ..RegistryMeans::default() });
    server.registers_in(&registry);
    let options =
        RunOptions { registry: arguments.server.register_for_user.then(|| registry.clone()), ..options };
    let ran = declare_and_serve(server, &options, arguments, kept, &registry).await;
    // A start that failed or was stopped may have left something.
    registry.end(options.limits.drain).await;
    ran
}

async fn declare_and_serve(
    mut server: Server,
    options: &RunOptions,
    arguments: &RunArgs,
    kept: KeptPolicy,
    registry: &UserRegistry,
) -> Result<(), CommandError> {
    let mut audit = crate::audit::AuditSettings::default();
    arguments.server.audit.apply(&mut audit);
    // Before any listener: what is asked of one is noted from its first request on.
    server.audit(&audit)?;
    let admin = Admin::open(&mut server, arguments)?;
    let declare = async {
        registry.sweep().await;
        run::declare(options).await
    };
    let Some(declared) = server.unless_stopped(declare).await else { return Ok(()) };
    let declared = declared?;
    let served = serve(&mut server, &declared, arguments, kept, admin).await;
    server.end(declared.bridge(), declared.limits().drain).await;
    served
}

/// The listener that tells how the server is. It is there before the script has run.
struct Admin {
    door: GuardedSite,
    starting: Arc<Starting>,
    addresses: Vec<BoundAddress>,
    token: Option<PathBuf>,
}

impl Admin {
    fn open(server: &mut Server, arguments: &RunArgs) -> Result<Option<Admin>, CommandError> {
        if arguments.admin_listen.is_empty() {
            return Ok(None);
        }
        let listener = |bind: &Bind| Listener { bind: bind.clone(), tls: None, name: None };
        let listeners: Vec<_> = arguments.admin_listen.iter().map(listener).collect();
        let kept = of_admin(arguments)?;
        let starting = Arc::new(Starting::default());
        let door = GuardedSite::new(kept.access, starting.clone());
        let addresses = server.open(&listeners, door.front(), &Limits::default())?;
        Ok(Some(Admin { door, starting, addresses, token: kept.token }))
    }

    /// From now on it tells how the script's bridge is.
    async fn in_force(&mut self, declared: &Declared, server: &Server) -> Result<(), CommandError> {
        let site = Native::new(declared.bridge().clone(), None)?.counted(server.metrics().clone());
        self.door.replace(declared.bridge().clone(), Arc::new(site), None).await;
        Ok(())
    }

    fn announce(&self, say: &mut Announcer) {
        for address in &self.addresses {
            say.line(format_args!("watched at {address}: /livez, /readyz, /health, /metrics, /status"));
        }
        if let Some(file) = &self.token {
            say.line(format_args!("bearer token for that: {}", file.display()));
        }
    }
}

fn of_admin(arguments: &RunArgs) -> Result<KeptPolicy, CommandError> {
    access::of_admin(arguments.admin_token_file.as_deref(), &access::own_names())
}

/// Serves what was declared; returns when it is over, for whatever reason.
async fn serve(
    server: &mut Server,
    declared: &Declared,
    arguments: &RunArgs,
    kept: KeptPolicy,
    mut admin: Option<Admin>,
) -> Result<(), CommandError> {
    let core = declared.core();
    let listeners = core.endpoints.listeners();
    if listeners.is_empty() {
        return Err(RunError::NoEndpoint.into());
    }
    // The names of its endpoints are its own.
    let names: Vec<String> = access::own_names().into_iter().chain(core.endpoints.names()).collect();
    let open = &arguments.server.access;
    let guard = Guard::new(names.iter().cloned(), &open.allow_host, &open.allow_origin);
    let starting = admin.as_ref().map(|admin| admin.starting.clone()).unwrap_or_default();
    let files = kept.files;
    let mut door = GuardedSite::new(kept.access.with_guard(guard.clone()), starting.clone());
    // Before the workers, which take longer than to find a port taken.
    let addresses = server.open(&listeners, door.front(), &declared.limits())?;
    let quiet = core.settings.is_quiet();
    let mut say = Announcer::to_stderr();
    let progress = |up, of| {
        starting.workers(up, of);
        if !quiet {
            say.workers(up, of);
        }
    };
    let started = server.unless_stopped(declared.start_workers_with(progress)).await;
    say.end_progress();
    match started {
        Some(started) => started?,
        None => {
            say.line(STOPPED_EARLY);
            return Ok(());
        }
    }
    if door.is_open()
        && let Some(warning) = run::warning(core)
    {
        tracing::warn!("{warning}");
    }
    if let Some(admin) = &mut admin {
        admin.in_force(declared, server).await?;
    }
    door.replace(declared.bridge().clone(), Arc::new(ScriptSite::new(core.clone())), None).await;
    server.in_force();
    if !quiet {
        admin.iter().for_each(|admin| admin.announce(&mut say));
        say.line(access::refused_at_the_door(&names, &open.allow_host, &open.allow_origin));
        addresses.iter().for_each(|address| say.line(format_args!("listening on {address}")));
    }
    let certificates = server.certificates();
    let script = Looks::of([&arguments.script]);
    let files = files.into_iter().chain(admin.iter().filter_map(|admin| admin.token.clone()));
    let looks = Looks::of(files.chain(certificates.files()));
    let mut renewal = RunRenewal { arguments, guard, certificates, script, looks, door, admin };
    server.serve_until_stopped(&mut renewal, &core.closing).await;
    if !quiet {
        say.line(STOPPING);
    }
    Ok(())
}

// === renewal ===

/// What can be renewed while a script is served: tokens and certificates. The script has run once and for all.
struct RunRenewal<'a> {
    arguments: &'a RunArgs,
    guard: Guard,
    certificates: Certificates,
    script: Looks,
    /// The files of tokens and certificates, as they were when they were read.
    looks: Looks,
    door: GuardedSite,
    admin: Option<Admin>,
}

impl Renewable for RunRenewal<'_> {
    type Error = CommandError;

    const REFUSED: &'static str = "tokens and certificates stay as they are";

    fn looks(&mut self) -> &mut Looks {
        &mut self.looks
    }

    fn bridge(&self) -> Option<Bridge> {
        self.door.front().bridge()
    }

    async fn reload(&mut self, _: &Why) -> Result<String, CommandError> {
        if self.script.news().is_some() {
            tracing::warn!("the script has changed; it runs at a start alone, so the change needs a restart");
        }
        self.renew().map(str::to_owned)
    }
}

impl RunRenewal<'_> {
    /// All is read before anything is changed.
    fn renew(&mut self) -> Result<&'static str, CommandError> {
        let kept = access::of_script(
            &self.arguments.server.access,
            &self.arguments.token_file,
            &access::own_names(),
        )?;
        let admin = self.admin.as_ref().map(|_| of_admin(self.arguments)).transpose()?;
        let certificates = self.certificates.read_again()?;
        let mut differs = self.door.renew(kept.access.with_guard(self.guard.clone()));
        if let (Some(open), Some(kept)) = (&mut self.admin, admin) {
            differs |= open.door.renew(kept.access);
        }
        certificates.put_in_force();
        Ok(match differs {
            true => "changed tokens are in force, and certificates were read again",
            false => "tokens are unchanged, and certificates were read again",
        })
    }
}

/// What stands on a command line, every user of the machine can read.
fn warn_of_passwords(arguments: &RunArgs) {
    let words: Vec<_> = arguments.parameters.iter().filter_map(|word| word.to_str()).collect();
    let told: Vec<&str> = words
        .iter()
        .zip(words.iter().skip(1).map(Some).chain([None]))
        .filter(|(name, value)| is_password(name) && !value.is_none_or(|value| value.starts_with(['@', '-'])))
        .map(|(name, _)| *name)
        .collect();
    if !told.is_empty() {
        let names = told.join(", ");
        tracing::warn!(
            "what is given with {names} shows in the list of processes (remedy: {first} @FILE reads it from a file \
             with mode 0600; or the script reads it from its environment)",
            first = told[0]
        );
    }
}

fn is_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["password", "passphrase", "secret", "token", "apikey", "credential", "pwd"];
    name.starts_with('-') && secret.iter().any(|word| name.contains(word)) && !name.contains("name")
}

fn print(outline: &crate::script::outline::Outline, format: PlanFormat) {
    let text = match format {
        PlanFormat::Text => outline.to_text(),
        PlanFormat::Json => format!("{:#}\n", outline.to_json()),
        PlanFormat::Toml => outline.to_toml(),
    };
    write(&text);
}

fn write(text: &str) {
    // The reader may have gone.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn options(global: &Global, arguments: &RunArgs) -> Result<RunOptions, CommandError> {
    let mut parameters = Vec::new();
    for (index, parameter) in arguments.parameters.iter().enumerate() {
        let text = parameter.to_str().ok_or(CommandError::NotText(index + 1))?;
        let name = parameters.last().map_or("", String::as_str);
        parameters.push(value(name, text)?);
    }
    Ok(RunOptions {
        script: arguments.script.clone(),
        parameters,
        pwsh: global.pwsh.clone(),
        workers: Pwsh {
            user: arguments.server.as_user.worker_user.clone(),
            home: arguments.server.as_user.worker_home.clone(),
            ..Pwsh::default()
        },
        check: arguments.check,
        no_lift: arguments.no_lift,
        loopback: arguments.loopback,
        for_user: arguments.server.register_for_user,
        registry: None,
        limits: Limits::default(),
    })
}

/// A parameter's value: `@FILE` after a name is what the file holds, without one newline at its end; `@@` is an @.
fn value(name: &str, text: &str) -> Result<String, CommandError> {
    let Some(rest) = text.strip_prefix('@').filter(|_| name.starts_with('-')) else {
        return Ok(text.to_owned());
    };
    // An array, a table or a literal @ is text.
    if rest.starts_with('@') {
        return Ok(rest.to_owned());
    }
    if rest.is_empty() || rest.starts_with(['(', '{', '"', '\'']) {
        return Ok(text.to_owned());
    }
    let refused = |source| CommandError::Parameter { name: name.to_owned(), source };
    let bytes = read_private(Path::new(rest)).map_err(refused)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| CommandError::ParameterNotText(name.to_owned()))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_from_a_file_is_its_content_and_other_values_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        crate::private_file::write_private_new(&path, b"correct horse\n").unwrap();
        let file = format!("@{}", path.display());
        assert_eq!(value("-Password", &file).unwrap(), "correct horse");
        for (name, text, expected) in [
            ("-Password", "plain", "plain"),
            ("-Password", "@@home", "@home"),
            ("-Names", "@('a','b')", "@('a','b')"),
            ("", "@positional", "@positional"),
        ] {
            assert_eq!(value(name, text).unwrap(), expected);
        }
        let missing = value("-Password", "@/nowhere/at/all").unwrap_err().to_string();
        assert!(missing.contains("-Password") && missing.contains("/nowhere/at/all"), "{missing}");
    }

    #[test]
    fn names_of_passwords_are_known() {
        for (name, is) in [
            ("-Password", true),
            ("-ApiKey", true),
            ("-ClientSecret", true),
            ("-SecretName", false),
            ("-VaultName", false),
            ("password", false),
        ] {
            assert_eq!(is_password(name), is, "{name}");
        }
    }
}
