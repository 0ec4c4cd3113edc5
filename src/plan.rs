//! What is to be served: listeners, vaults, mounted secrets, routes and limits.
//!
//! A [`Plan`] is data. It comes from a TOML file ([`crate::config`]), from the command line, or from a
//! PowerShell script, and is checked where it is made; everything after relies on it.

pub mod callers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::protocol::Parameters;
use crate::secret::{Text, fold};

/// Everything that a server needs to know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Where to listen; never empty in a plan that serves.
    pub listeners: Vec<Listener>,
    /// Who may call native routes.
    pub access: Access,
    /// Callers beside, and what each may do.
    pub callers: callers::Callers,
    /// Vaults by friendly name.
    pub vaults: Vec<Vault>,
    /// Mounted secrets.
    pub mounts: Vec<Mount>,
    /// Routes of the plan. The fixed ones (`/health`, `/secrets/…`) are not among them.
    pub routes: Vec<Route>,
    /// Scripts that run in every worker before its vaults are registered.
    pub init: Vec<InitScript>,
    /// Where pwsh is and which modules it sees.
    pub pwsh: Pwsh,
    /// Size and limits of the worker pool.
    pub pool: Pool,
    /// Limits of requests.
    pub limits: Limits,
    /// Size of the cache.
    pub cache: CacheLimits,
    /// Where the audit trail goes.
    pub audit: crate::audit::Settings,
    /// Whether to look up the vaults that the user registered.
    pub auto_import: AutoImport,
    /// Where its vaults are registered.
    pub registry: Registry,
}

/// Where SecretManagement vaults are registered while they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Registry {
    /// In registries of the workers' own, which nobody else sees.
    #[default]
    Private,
    /// In the user's own registry too, so that other shells see them.
    User,
}

/// One listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub bind: Bind,
    /// TLS, where wanted.
    pub tls: Option<Tls>,
    /// A name that routes may refer to.
    pub name: Option<String>,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address. Port 0 takes any free port; the one taken is announced.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600 and removed at exit.
    Unix(PathBuf),
}

/// Certificate of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// PEM files.
    Files {
        /// Certificate chain, leaf first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
        /// Authorities whose client certificates are taken, where clients may show one.
        clients: Option<PathBuf>,
    },
    /// A certificate made at start for the listener's host name, kept in memory only.
    SelfSigned,
}

/// Who may call native routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// Callers that show the bearer token kept in this file, read at start (mode 0600 is checked).
    TokenFile(PathBuf),
    /// Callers that show the bearer token in this environment variable.
    TokenEnv(String),
    /// Only those that [`callers::Callers`] names.
    Named,
    /// Anyone that can connect. Only ever by the plan's own word.
    Open,
    /// The default: a token kept in the platform's data folder, made at first start.
    #[default]
    OwnToken,
}

/// A vault of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Vault {
    /// The friendly name, compared without case.
    pub name: String,
    /// What keeps the secrets.
    pub kind: VaultKind,
    /// How long values read are kept.
    pub keep: Keep,
    /// Refuse writes and removals.
    pub read_only: bool,
    /// Serve it under `/vaults/{vault}/secrets/{key}`.
    pub exposed: bool,
    /// After a foreign writer erased keys that we had acknowledged, write them again.
    pub repair: bool,
}

/// What keeps a vault's secrets.
#[derive(Debug, Clone, PartialEq)]
pub enum VaultKind {
    /// The embedded vault: an age-encrypted file in this folder.
    Local {
        /// Folder of the file and its key; the platform's data folder where missing.
        folder: Option<PathBuf>,
    },
    /// A SecretManagement extension module in the workers.
    Extension(Extension),
    /// Script blocks, in script mode only.
    Custom(Custom),
}

/// A vault behind a SecretManagement extension module.
#[derive(Debug, Clone, PartialEq)]
pub struct Extension {
    /// The name in the (private) registry.
    pub registered: String,
    /// Module name or path.
    pub module: String,
    /// VaultParameters; for SecretStore its configuration.
    pub parameters: Parameters,
    /// Password to unlock it with.
    pub unlock: Option<SecretSource>,
    /// Unlock at least this often; zero leaves it to the store's own timeout.
    pub unlock_interval: Duration,
    /// Unlock when registered; `false` waits for an explicit unlock (Pode's `-NoUnlock`).
    pub unlock_at_start: bool,
    /// Calls may run in several workers at once. `None`: known modules decide, unknown are serial.
    pub parallel: Option<bool>,
    /// The module keeps exactly the metadata that it is given, so that the present metadata may be sent again
    /// with a write that names none. SecretStore does, whatever this says.
    pub keep_metadata: bool,
    /// Reads before and after each write, to know what it came to. `None`: known modules decide, unknown are
    /// read.
    pub verify: Option<bool>,
    /// Asks the module's `Test-SecretVault` after a call that failed.
    pub probe: bool,
    /// Found in the user's registry: never unregistered, configured or changed.
    pub imported: bool,
}

/// A vault made of script blocks, by the ids that script mode gave them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Custom {
    /// First argument of every block.
    pub parameters: Parameters,
    /// Block names present, e.g. `read`, `set`.
    pub blocks: BTreeMap<String, u64>,
    /// Password handed to the unlock block.
    pub unlock: Option<SecretSource>,
    /// Unlock at least this often.
    pub unlock_interval: Duration,
    /// Unlock when registered.
    pub unlock_at_start: bool,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the server, taken out of the workers' environment.
    Env(String),
    /// A file, whose mode must shut out group and others; one trailing newline is dropped.
    File(PathBuf),
    /// The value itself, from a script's parameter.
    Value(Text),
}

/// A secret mounted under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The name, compared without case.
    pub name: String,
    /// The vault's friendly name.
    pub vault: String,
    /// The key in the vault.
    pub key: String,
    /// What of the value is shown.
    pub projection: Projection,
    /// Time to live of the cached value; `None` takes the vault's.
    pub cache_ttl: Option<Duration>,
    /// Read it at start, so that the first request finds it in the cache.
    pub prefetch: bool,
}

/// How long a vault's values are kept in the cache. The default keeps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Time to live of a value; zero is no cache.
    pub ttl: Duration,
    /// Time to live of the knowledge that there is no such secret; never more than `ttl`.
    pub negative_ttl: Duration,
    /// How long beyond `ttl` a value is served where the vault fails; the answer says so. Zero is not at all.
    pub max_stale: Duration,
    /// A look-up in this last part of `ttl` begins the next load, beside its answer. Zero is never.
    pub refresh_ahead: Duration,
}

/// How large the cache may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Values at most.
    pub max_entries: usize,
    /// Bytes at most, names and some overhead included.
    pub max_bytes: usize,
}

/// What a mount shows of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Projection {
    /// All of it.
    #[default]
    Whole,
    /// Some members of a table, as a table (`-Property`).
    Members(Vec<String>),
    /// One member of a table, by itself (`-ExpandProperty`).
    Member(String),
}

/// A route of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Upper-case method.
    pub method: String,
    /// Path pattern, e.g. `/secret` or `/db/{name}`.
    pub path: String,
    /// What answers.
    pub action: Action,
}

/// What a native route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answers 200 with a JSON document in which secrets stand.
    Respond(Template),
    /// Writes a field of the request's body to a mounted secret; answers 200 with an empty body.
    Update {
        /// The mount.
        secret: String,
        /// The body's field, exact name first, then without case.
        field: String,
    },
    /// Removes a mounted secret's key from its vault; answers 200 with an empty body.
    Remove {
        /// The mount.
        secret: String,
    },
}

/// A JSON document with places for secrets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// A mounted secret's value.
    Secret(String),
    /// A literal.
    Literal(serde_json::Value),
    /// An object, in order.
    Object(Vec<(String, Template)>),
    /// A list.
    List(Vec<Template>),
}

/// A script that runs in every worker before vaults are registered. `Debug` does not show its text.
#[derive(Clone, PartialEq, Eq)]
pub enum InitScript {
    /// PowerShell source, e.g. `Connect-AzAccount -Identity`.
    Text(String),
    /// A `.ps1` file, dot-sourced.
    File(PathBuf),
}

/// Where pwsh is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pwsh {
    /// The program; `--pwsh` wins over it, `SECRETBRIDGE_PWSH` and PATH come after.
    pub path: Option<PathBuf>,
    /// Folders put before PSModulePath.
    pub module_path: Vec<PathBuf>,
}

/// Size and limits of the worker pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Workers that are always there.
    pub min: usize,
    /// Workers at most; more than `min` start when requests wait.
    pub max: usize,
    /// Requests that may wait for a worker; one more is answered 503.
    pub queue: usize,
    /// Recycle a worker after so many calls.
    pub max_calls: u64,
    /// Recycle a worker of this age.
    pub max_age: Duration,
    /// Recycle a worker that uses more resident memory than this, in bytes.
    pub max_memory: u64,
    /// How long a worker may take from launch to ready, vault set-up included.
    pub start_limit: Duration,
}

/// Limits of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the request's head to the answer.
    pub deadline: Duration,
    /// Extra time for a write that has begun, before its worker is killed; the client has had its 504.
    pub write_grace: Duration,
    /// How long a stop takes at most: requests in flight, vaults and workers.
    pub drain: Duration,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Connections of a listener at once.
    pub max_connections: usize,
    /// Of these, connections of one peer: an address, or a user of a Unix socket.
    pub max_connections_per_peer: usize,
    /// Time for a client that has connected to send its first byte.
    pub first_byte_timeout: Duration,
    /// Time for a client to send a request's head, from its first byte to its last.
    pub header_timeout: Duration,
    /// Time between requests of a connection, with the head of the next; never less than `header_timeout`.
    pub idle_timeout: Duration,
    /// What a body may hold.
    pub body: BodyLimits,
}

/// How much a body may hold, whatever its size: what a parser makes of it is bounded by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Fields of a form or of a query, and columns of a row.
    pub max_fields: usize,
    /// Parts of a multipart form.
    pub max_parts: usize,
    /// Objects in objects, and elements in elements.
    pub max_depth: usize,
    /// Digits of a number.
    pub max_digits: usize,
    /// Rows of a table.
    pub max_rows: usize,
    /// Values of JSON, elements and attributes of XML, cells of a table.
    pub max_values: usize,
}

/// Whether to look up the vaults that the user registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoImport {
    /// Look at the user's registry at start.
    pub enabled: bool,
    /// Which of them to serve.
    pub expose: Vec<Expose>,
}

/// An imported vault to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expose {
    /// Its registered name.
    pub vault: String,
    /// Writes and removals too.
    pub writable: bool,
}

/// Where a server listens if nobody says otherwise.
pub const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8085);

/// The module name of SecretStore.
pub const SECRET_STORE: &str = "Microsoft.PowerShell.SecretStore";

/// The module name of Azure Key Vault.
pub const AZ_KEY_VAULT: &str = "Az.KeyVault";

// === impl Plan ===

impl Plan {
    /// The vault of that friendly name.
    pub fn vault(&self, name: &str) -> Option<&Vault> {
        let folded = fold(name);
        self.vaults.iter().find(|vault| fold(&vault.name) == folded)
    }

    /// Whether anything in the plan needs a pwsh.
    pub fn needs_pwsh(&self) -> bool {
        self.vaults.iter().any(|vault| !matches!(vault.kind, VaultKind::Local { .. }))
    }

    /// Environment variables that hold secrets; workers do not get them.
    pub fn secret_variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Access::TokenEnv(name) = &self.access {
            names.push(name.clone());
        }
        for vault in &self.vaults {
            let source = match &vault.kind {
                VaultKind::Extension(extension) => extension.unlock.as_ref(),
                VaultKind::Custom(custom) => custom.unlock.as_ref(),
                VaultKind::Local { .. } => None,
            };
            if let Some(SecretSource::Env(name)) = source {
                names.push(name.clone());
            }
        }
        names
    }
}

// === impl Keep, CacheLimits ===

impl Default for Keep {
    fn default() -> Keep {
        let zero = Duration::ZERO;
        Keep { ttl: zero, negative_ttl: Keep::NEGATIVE_TTL, max_stale: zero, refresh_ahead: zero }
    }
}

impl Keep {
    /// The default of `negative_ttl`.
    pub const NEGATIVE_TTL: Duration = Duration::from_secs(1);

    /// The same, with another time to live where one is given.
    pub fn with_ttl(self, ttl: Option<Duration>) -> Keep {
        Keep { ttl: ttl.unwrap_or(self.ttl), ..self }
    }
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits { max_entries: 10_000, max_bytes: 64 << 20 }
    }
}

// === impl Template ===

impl Template {
    /// The mounts it shows, in order, as often as it shows them.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Template::Secret(name) => vec![name],
            Template::Literal(_) => Vec::new(),
            Template::Object(members) => members.iter().flat_map(|(_, member)| member.secrets()).collect(),
            Template::List(items) => items.iter().flat_map(Template::secrets).collect(),
        }
    }
}

// === impl Vault ===

impl Vault {
    /// A vault with the defaults of one that a plan names.
    pub fn new(name: impl Into<String>, kind: VaultKind) -> Vault {
        Vault {
            name: name.into(),
            kind,
            keep: Keep::default(),
            read_only: false,
            exposed: false,
            repair: false,
        }
    }

    /// The extension behind it, if it is one.
    pub fn extension(&self) -> Option<&Extension> {
        match &self.kind {
            VaultKind::Extension(extension) => Some(extension),
            _ => None,
        }
    }
}

// === impl Extension ===

impl Extension {
    /// An extension vault with defaults.
    pub fn new(registered: impl Into<String>, module: impl Into<String>) -> Extension {
        Extension {
            registered: registered.into(),
            module: module.into(),
            parameters: Parameters::default(),
            unlock: None,
            unlock_interval: Duration::ZERO,
            unlock_at_start: true,
            parallel: None,
            keep_metadata: false,
            verify: None,
            probe: true,
            imported: false,
        }
    }

    /// The module's bare name: the last part of a path, without `.psd1` or `.psm1`.
    pub fn module_name(&self) -> &str {
        let last =
            self.module.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(&self.module);
        last.strip_suffix(".psd1").or_else(|| last.strip_suffix(".psm1")).unwrap_or(last)
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Env(name) => write!(f, "Env({name})"),
            SecretSource::File(path) => write!(f, "File({})", path.display()),
            SecretSource::Value(_) => f.write_str("Value(…)"),
        }
    }
}

impl fmt::Debug for InitScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitScript::Text(_) => f.write_str("Text(…)"),
            InitScript::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

// === defaults, each with its reason ===

impl Default for Pool {
    fn default() -> Pool {
        // One per core keeps cores busy; past four, memory (about 200 MB each) costs more than it gains.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
        Pool {
            min: cores,
            max: cores,
            queue: 256,
            // Static caches of the engine are never freed (PowerShell#21459), so no worker lives for ever.
            max_calls: 100_000,
            max_age: Duration::from_secs(12 * 60 * 60),
            max_memory: 1024 * 1024 * 1024,
            // Az.Accounts alone may take 10 s on a cold disk.
            start_limit: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            deadline: Duration::from_secs(30),
            write_grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            // A secret of 1 MiB, escaped or in base64, with room.
            max_body: 8 * 1024 * 1024,
            max_connections: 1024,
            max_connections_per_peer: 512,
            // Whoever connects has something to say.
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            body: BodyLimits::default(),
        }
    }
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        // Far above what people send to a server of secrets, and parsed in some milliseconds.
        BodyLimits {
            max_fields: 1000,
            max_parts: 1000,
            max_depth: 64,
            max_digits: 1000,
            max_rows: 10_000,
            max_values: 50_000,
        }
    }
}

impl Default for AutoImport {
    fn default() -> AutoImport {
        AutoImport { enabled: true, expose: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_path_is_known_by_its_last_part() {
        for module in [
            SECRET_STORE,
            "/opt/modules/Microsoft.PowerShell.SecretStore",
            "/opt/modules/Microsoft.PowerShell.SecretStore/",
            "C:\\m\\microsoft.powershell.secretstore\\Microsoft.PowerShell.SecretStore.psd1",
        ] {
            let extension = Extension::new("v", module);
            assert!(extension.module_name().eq_ignore_ascii_case(SECRET_STORE), "{module}");
        }
        assert_eq!(Extension::new("v", "My.SecretStore").module_name(), "My.SecretStore");
    }

    #[test]
    fn a_plan_of_local_vaults_needs_no_pwsh() {
        let mut plan = Plan::default();
        plan.vaults.push(Vault::new("local", VaultKind::Local { folder: None }));
        assert!(!plan.needs_pwsh());
        plan.vaults.push(Vault::new("az", VaultKind::Extension(Extension::new("az", AZ_KEY_VAULT))));
        assert!(plan.needs_pwsh());
    }
}
