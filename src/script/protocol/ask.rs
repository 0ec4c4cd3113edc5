//! The fields of each ask. One that is an `Option` may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::shape::{Block, Id, VaultType};
use crate::plan::{BlockKind, Template};
use crate::protocol::{LogLevel, Metadata, Parameters, ScriptPosition};
use crate::script::value::Portable;
use crate::secret::{SecretValue, Text};

/// By name.
#[derive(Deserialize)]
pub struct NamedAsk {
    /// The name.
    pub name: String,
}

/// By names.
#[derive(Deserialize)]
pub struct Names {
    /// The names.
    #[serde(default)]
    pub names: Vec<String>,
}

// === vaults ===

/// Of `vault-add`.
#[derive(Deserialize)]
pub struct VaultAdd {
    /// Its friendly name.
    pub name: String,
    /// What it is made of.
    #[serde(rename = "type")]
    pub kind: VaultType,
    /// VaultParameters. Of a custom vault the names alone.
    pub parameters: Option<Map<String, Value>>,
    /// The unlock secret.
    pub unlock: Option<SecretValue>,
    /// Minutes between unlocks.
    #[serde(default)]
    pub interval: i64,
    /// It is not unlocked when it is registered.
    #[serde(default)]
    pub no_unlock: bool,
    /// Minutes for which values are kept.
    #[serde(default)]
    pub cache_ttl: i64,
    /// The extension module.
    pub module: Option<String>,
    /// Its name in SecretManagement's registry.
    pub vault_name: Option<String>,
    /// A custom vault's blocks, save for the init block.
    #[serde(default)]
    pub blocks: BTreeMap<BlockKind, Option<Block>>,
    /// Runs in each worker before the vault is registered there.
    pub init: Option<Block>,
    /// The first argument of its blocks.
    pub table: Option<Id>,
    /// Blocks that only read it.
    #[serde(default)]
    pub reads: BTreeSet<BlockKind>,
    /// Blocks that leave in their process what the others need.
    #[serde(default)]
    pub local: BTreeSet<BlockKind>,
    /// What its init block left that cannot leave this worker.
    #[serde(default)]
    pub stays: Vec<String>,
}

/// Of `vault-unlock`.
#[derive(Deserialize)]
pub struct VaultUnlock {
    /// The vault.
    pub name: String,
    /// In place of the vault's own.
    pub secret: Option<SecretValue>,
}

/// Of `vault-get`.
#[derive(Deserialize)]
pub struct VaultGet {
    /// The names.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whose names they are.
    pub by: Option<LookBy>,
}

/// Whose names are looked up.
#[derive(Debug, Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub enum LookBy {
    /// SecretManagement's names.
    Registry,
    /// All that SecretManagement looks through where none is named.
    Search,
}

/// Of `info`.
#[derive(Deserialize)]
pub struct InfoAsk {
    /// The vault.
    pub vault: String,
}

/// Of `trust`.
#[derive(Deserialize)]
pub struct Trust {
    /// The script file.
    pub path: PathBuf,
}

// === mounts and secrets ===

/// Of `mount`.
#[derive(Deserialize)]
pub struct MountAsk {
    /// The mount's name.
    pub name: String,
    /// The vault.
    pub vault: String,
    /// The secret's name there.
    pub key: String,
    /// Members to give.
    pub property: Option<Vec<String>>,
    /// The one member to give.
    pub expand: Option<String>,
    /// For a custom vault's blocks.
    #[serde(default)]
    pub arguments: Vec<Portable>,
    /// Minutes; below 0 is the vault's.
    #[serde(default = "minus_one")]
    pub cache_ttl: i64,
}

/// Of `dismount`.
#[derive(Deserialize)]
pub struct Dismount {
    /// The mount.
    pub name: String,
    /// The vault's secret goes too.
    #[serde(default)]
    pub remove: bool,
}

/// Of `secret-set`.
#[derive(Deserialize)]
pub struct SecretSet {
    /// The mount.
    pub name: String,
    /// The new value.
    pub value: Portable,
    /// Its metadata.
    pub metadata: Option<Metadata>,
}

/// Of `read`.
#[derive(Deserialize)]
pub struct ReadAsk {
    /// The vault.
    pub vault: String,
    /// The secret's name.
    pub key: String,
    /// Members to give.
    pub property: Option<Vec<String>>,
    /// The one member to give.
    pub expand: Option<String>,
    /// For a custom vault's block.
    #[serde(default)]
    pub arguments: Vec<Portable>,
}

/// Of `set`.
#[derive(Deserialize)]
pub struct SetAsk {
    /// The vault.
    pub vault: String,
    /// The secret's name.
    pub key: String,
    /// The new value; without one the metadata alone is written.
    pub value: Option<Portable>,
    /// Its metadata.
    pub metadata: Option<Metadata>,
    /// For a custom vault's block.
    #[serde(default)]
    pub arguments: Vec<Portable>,
}

/// Of `remove`.
#[derive(Deserialize)]
pub struct RemoveAsk {
    /// The vault.
    pub vault: String,
    /// The secret's name.
    pub key: String,
    /// For a custom vault's block.
    #[serde(default)]
    pub arguments: Vec<Portable>,
}

// === the server ===

/// Of `server`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServerAsk {
    /// Workers; below one is one.
    pub threads: i64,
    /// Error pages show what exceptions say.
    pub status_page_exceptions: bool,
    /// The root folder.
    pub root: Option<String>,
    /// Say nothing at the start.
    pub quiet: bool,
    /// The server's name, which nothing shows.
    pub name: Option<String>,
    /// What `Get-PodeConfig` gives.
    pub config: Option<Portable>,
    /// What of `server.psd1` is the core's to honour.
    pub settings: ServerConfig,
    /// Vaults that the script registered with SecretManagement before it started the server.
    pub registered: Vec<RegisteredVault>,
}

/// A vault that a script registered with SecretManagement itself.
#[derive(Debug, Clone, Deserialize)]
pub struct RegisteredVault {
    /// Its name.
    pub name: String,
    /// Its module.
    pub module: String,
    /// Where the module is.
    pub path: Option<String>,
    /// VaultParameters.
    #[serde(default)]
    pub parameters: Parameters,
}

/// The core's part of `server.psd1`. Each field is there only if it is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// `Server.AutoImport.SecretVaults.Enable`
    pub auto_import: Option<bool>,
    /// `Server.AutoImport.SecretVaults.SecretManagement.Enable`
    pub auto_import_secret_management: Option<bool>,
    /// `Server.AutoImport.SecretVaults.ExportOnly`
    pub export_only: Option<bool>,
    /// `Server.Request.Timeout`, in seconds.
    pub request_timeout: Option<i64>,
    /// `Server.Request.BodySize`, in bytes.
    pub body_size: Option<i64>,
    /// `Web.ErrorPages.StrictContentTyping`
    pub strict_content_typing: Option<bool>,
    /// `Web.ErrorPages.Default`
    pub error_content_type: Option<String>,
    /// `Web.ErrorPages.Routes`: patterns and types.
    pub error_routes: Vec<(String, String)>,
}

/// Of `endpoint-add`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EndpointAdd {
    /// An address, a name, or `*`.
    pub address: String,
    /// 0 is the protocol's default.
    pub port: u16,
    /// `http` or `https`.
    pub protocol: String,
    /// Its name.
    pub name: Option<String>,
    /// Requests for this host only.
    pub hostname: Option<String>,
    /// PEM file of the certificate.
    pub certificate: Option<PathBuf>,
    /// PEM file of the key; the certificate's own file where missing.
    pub key: Option<PathBuf>,
    /// Pass phrase of the key.
    pub password: Option<SecretValue>,
    /// Make a certificate.
    pub self_signed: bool,
    /// The certificate is a PKCS#12 file.
    pub pfx: bool,
}

/// Of `route-add`.
#[derive(Deserialize)]
pub struct RouteAdd {
    /// In upper case; `*` is any.
    pub methods: Vec<String>,
    /// With Pode's `:name` and `*`.
    pub path: String,
    /// What it runs.
    pub block: Block,
    /// The block's arguments.
    #[serde(default)]
    pub arguments: Vec<Portable>,
    /// The type that a body is taken for.
    pub content_type: Option<String>,
    /// The type of its error pages.
    pub error_content_type: Option<String>,
    /// What is to be done where there is such a route.
    #[serde(default)]
    pub if_exists: IfExists,
    /// The endpoints that it is for; all, where there is none.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// What the block amounts to.
    pub lift: Option<Lift>,
    /// Where it is declared.
    pub position: Option<ScriptPosition>,
}

/// What is to be done where there is such a route already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    /// An error.
    #[default]
    #[serde(alias = "default")]
    Error,
    /// The new one takes its place.
    Overwrite,
    /// It stays.
    Skip,
}

/// What a block amounts to, so that the core may answer without a worker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lift {
    /// A JSON response and nothing else.
    Respond(Template),
    /// An update of a secret from a field of the body, and nothing else.
    Update {
        /// The mount.
        secret: String,
        /// The field of `$WebEvent.Data`.
        field: String,
    },
}

/// Of `route-remove` and `route-test`.
#[derive(Deserialize)]
pub struct RouteName {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its endpoint.
    pub endpoint: Option<String>,
}

// === state, shared objects, locks, logs ===

/// Of `state-set`: a value, or an object, by its number where the worker knows one, and by its text where that is gone.
#[derive(Deserialize)]
pub struct StateSet {
    /// The name.
    pub name: String,
    /// Its scopes.
    #[serde(default)]
    pub scope: Vec<String>,
    /// A value.
    pub value: Option<Portable>,
    /// An object that is known.
    pub shared: Option<Id>,
    /// The object's text.
    pub text: Option<Text>,
}

/// Of `state-names`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ScopeAsk {
    /// Of these scopes; of all, where there is none.
    pub scope: Vec<String>,
}

/// Of `shared-add`: a new object, or one that is there already.
#[derive(Deserialize)]
pub struct SharedAdd {
    /// The text of a new one.
    pub value: Option<Text>,
    /// One that is to stay.
    pub id: Option<Id>,
}

/// Of `shared-get`.
#[derive(Deserialize)]
pub struct SharedGet {
    /// The object.
    pub id: Id,
}

/// Of `lock`.
#[derive(Deserialize)]
pub struct LockAsk {
    /// The lock's name.
    pub name: String,
    /// Milliseconds; below 0 is without end.
    #[serde(default = "minus_one")]
    pub timeout: i64,
}

/// Of `logging`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LoggingAsk {
    /// `error` or `request`.
    pub kind: String,
    /// Of errors: `Error`, `Warning`, `Informational`, `Verbose`, `Debug`; none is all.
    pub levels: Vec<String>,
    /// To the program's log.
    pub terminal: bool,
    /// To this file, too.
    pub file: Option<PathBuf>,
}

/// Of `log`.
#[derive(Deserialize)]
pub struct Log {
    /// How bad it is.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

fn minus_one() -> i64 {
    -1
}
