//! Vaults, mounted secrets, and how long values are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::Parameters;
use crate::secret::Text;

/// A vault of the plan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum VaultKind {
    /// The embedded vault: an age-encrypted file in this folder.
    Local {
        /// Folder of the file and its key; the platform's data folder where missing.
        folder: Option<PathBuf>,
        /// The file with its key, where that is not in the folder.
        key: Option<PathBuf>,
    },
    /// A SecretManagement extension module in the workers.
    Extension(Extension),
    /// Script blocks, in script mode only.
    Custom(Custom),
}

/// A vault behind a SecretManagement extension module.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
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
    /// Asks it also where the vault was not called for so long; zero never. `None`: known modules decide.
    pub probe_every: Option<Duration>,
    /// Found in the user's registry: never unregistered, configured or changed.
    pub imported: bool,
}

/// What a block of a custom vault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlockKind {
    /// Prepares the vault.
    Init,
    /// Reads a secret.
    #[default]
    Read,
    /// Writes one.
    Set,
    /// Removes one.
    Remove,
    /// Unlocks the vault.
    Unlock,
    /// Is called when the vault goes.
    Unregister,
}

impl BlockKind {
    /// Whether it changes secrets.
    pub(crate) fn writes(self) -> bool {
        matches!(self, BlockKind::Set | BlockKind::Remove)
    }

    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            BlockKind::Init => "init",
            BlockKind::Read => "read",
            BlockKind::Set => "set",
            BlockKind::Remove => "remove",
            BlockKind::Unlock => "unlock",
            BlockKind::Unregister => "unregister",
        }
    }

    /// What is done with it, in the words of verbs.
    pub(crate) fn action(self) -> &'static str {
        match self {
            BlockKind::Set => "write",
            kind => kind.word(),
        }
    }
}

/// A vault made of script blocks, by the ids that script mode gave them. Only a script makes one.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Custom {
    /// First argument of every block.
    pub(crate) parameters: Parameters,
    /// The blocks that there are.
    pub(crate) blocks: BTreeMap<BlockKind, u64>,
    /// Password handed to the unlock block.
    pub(crate) unlock: Option<SecretSource>,
    /// Unlock at least this often.
    pub(crate) unlock_interval: Duration,
    /// Unlock when registered.
    pub(crate) unlock_at_start: bool,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
pub enum Projection {
    /// All of it.
    #[default]
    Whole,
    /// Some members of a table, as a table (`-Property`).
    Members(Vec<String>),
    /// One member of a table, by itself (`-ExpandProperty`).
    Member(String),
}

/// The module name of SecretStore.
pub const SECRET_STORE: &str = "Microsoft.PowerShell.SecretStore";

/// The module name of Azure Key Vault.
pub const AZ_KEY_VAULT: &str = "Az.KeyVault";

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
    #[must_use]
    pub fn with_ttl(self, ttl: Option<Duration>) -> Keep {
        Keep { ttl: ttl.unwrap_or(self.ttl), ..self }
    }
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits { max_entries: 10_000, max_bytes: 64 << 20 }
    }
}

impl VaultKind {
    /// The embedded vault in this folder, with its key there or in a file of its own.
    #[must_use]
    pub fn local(folder: Option<PathBuf>, key: Option<PathBuf>) -> VaultKind {
        VaultKind::Local { folder, key }
    }
}

impl From<Extension> for VaultKind {
    fn from(extension: Extension) -> VaultKind {
        VaultKind::Extension(extension)
    }
}

impl From<Custom> for VaultKind {
    fn from(custom: Custom) -> VaultKind {
        VaultKind::Custom(custom)
    }
}

impl Vault {
    /// A vault with the defaults of one that a plan names.
    pub fn new(name: impl Into<String>, kind: impl Into<VaultKind>) -> Vault {
        Vault {
            name: name.into(),
            kind: kind.into(),
            keep: Keep::default(),
            read_only: false,
            exposed: false,
            repair: false,
        }
    }

    /// The folder and the key of an embedded vault, as the plan names them, if it is one.
    #[must_use]
    pub fn local(&self) -> Option<(Option<&Path>, Option<&Path>)> {
        match &self.kind {
            VaultKind::Local { folder, key } => Some((folder.as_deref(), key.as_deref())),
            _ => None,
        }
    }

    /// The extension behind it, if it is one.
    #[must_use]
    pub fn extension(&self) -> Option<&Extension> {
        match &self.kind {
            VaultKind::Extension(extension) => Some(extension),
            _ => None,
        }
    }

    /// The same, to be changed.
    #[must_use]
    pub fn extension_mut(&mut self) -> Option<&mut Extension> {
        match &mut self.kind {
            VaultKind::Extension(extension) => Some(extension),
            _ => None,
        }
    }

    /// The script blocks that it is made of, if it is.
    #[must_use]
    pub fn custom(&self) -> Option<&Custom> {
        match &self.kind {
            VaultKind::Custom(custom) => Some(custom),
            _ => None,
        }
    }

    /// The name that its module knows it by; that of the plan, where it has no module.
    #[must_use]
    pub fn registered(&self) -> &str {
        self.extension().map_or(&self.name, |extension| &extension.registered)
    }

    /// The time after which it is unlocked again; zero where the plan names none.
    #[must_use]
    pub fn unlock_interval(&self) -> Duration {
        let extension = self.extension().map(|extension| extension.unlock_interval);
        extension.or_else(|| Some(self.custom()?.unlock_interval)).unwrap_or_default()
    }

    /// Where its password comes from, if it has one.
    #[must_use]
    pub fn unlock(&self) -> Option<&SecretSource> {
        let extension = self.extension().and_then(|extension| extension.unlock.as_ref());
        extension.or_else(|| self.custom()?.unlock.as_ref())
    }

    /// Whether it is unlocked before anybody asks for it.
    #[must_use]
    pub fn unlock_at_start(&self) -> bool {
        self.extension().is_none_or(|extension| extension.unlock_at_start)
            && self.custom().is_none_or(|custom| custom.unlock_at_start)
    }
}

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
            probe_every: None,
            imported: false,
        }
    }

    /// The module's bare name: the last part of a path, without `.psd1` or `.psm1`.
    #[must_use]
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
