//! The messages between core and worker: shape only, no IO and no logic.
//!
//! `docs/protocol.md` is the prose, `fixtures/protocol` the golden lines that this file and
//! `pwsh/worker.ps1` are both tested against. One JSON object a line, UTF-8, at most [`MAX_LINE`]
//! bytes. Unknown fields of a reply are ignored, so that a newer worker may say more.
//!
//! What holds JSON that is not looked into, or PowerShell source, has no `Debug`: secrets may be in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use fault::{Fault, InnerFault, ScriptPosition};

use crate::secret::{SecretType, SecretValue};

mod fault;

/// The version both sides must speak; the first call and its reply carry it.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest line either side sends or takes, in bytes: a value of 1 MiB, escaped in the worst way,
/// and room for the largest body a route takes.
pub const MAX_LINE: usize = 64 * 1024 * 1024;

/// Metadata of a secret: string, whole number, or date (as [`MetadataValue::Date`]).
pub type Metadata = BTreeMap<String, MetadataValue>;

/// A metadata value. SecretStore takes these three and no others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "v", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum MetadataValue {
    /// A string.
    String(String),
    /// A 32-bit whole number, as PowerShell's `int`; other numbers are text for the vault to judge.
    Int(i64),
    /// A `DateTime`, in round-trip form (`2026-11-23T10:00:00.0000000Z`).
    Date(String),
}

/// A line from the core.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoreLine {
    /// A call; the worker answers it by id.
    Call(CallLine),
    /// The answer to an ask of the worker.
    Answer(AnswerLine),
}

/// `{"call":{"id":7,"op":{"get":{…}}}}`
#[derive(Serialize, Deserialize)]
pub struct CallLine {
    /// Rises by one with each call to a worker, from 1.
    pub id: u64,
    /// What to do.
    pub op: Op,
}

/// `{"answer":{"seq":3,"ok":{…}}}` or `{"answer":{"seq":3,"fault":{…}}}`
#[derive(Serialize, Deserialize)]
pub struct AnswerLine {
    /// The ask that this answers.
    pub seq: u64,
    /// The outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<Box<RawValue>>,
    /// Or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What the core asks of a worker.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The first call. The worker fixes its private registry, guards its descriptors, says who it is.
    Hello(Hello),
    /// Runs an init script in the worker's global scope.
    Init(Init),
    /// `Register-SecretVault`, in the worker's private registry.
    Register(Register),
    /// `Unregister-SecretVault`; the extension's own hook runs.
    Unregister(VaultName),
    /// Compares SecretStore's configuration with the parameters named, and writes where it differs.
    Configure(Configure),
    /// `Unlock-SecretVault`; remembers the password for later refreshes.
    Unlock(Unlock),
    /// `Get-Secret`.
    Get(Get),
    /// `Set-Secret`.
    Set(Set),
    /// `Remove-Secret`.
    Remove(Remove),
    /// `Get-SecretInfo`, filtered by exact name.
    Info(Info),
    /// `Test-SecretVault`: whether the vault's own test finds it ready.
    Test(VaultName),
    /// Runs something of script mode; the shapes are script mode's own (`docs/protocol.md`).
    Invoke(Box<RawValue>),
    /// Answers with the worker's state; does nothing.
    Ping(Empty),
    /// The worker answers and exits.
    Shutdown(Empty),
}

/// An empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// See [`Op::Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Folder that stands in for HOME while SecretManagement fixes its registry path.
    pub registry: String,
}

/// See [`Op::Init`]. One of the two is given.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Init {
    /// PowerShell source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Absolute path of a `.ps1` file, dot-sourced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// See [`Op::Register`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Register {
    /// The name in the registry.
    pub vault: String,
    /// Module name, or absolute path of a module folder or manifest.
    pub module: String,
    /// VaultParameters: JSON values; they are secrets too.
    pub parameters: Parameters,
    /// An error where the registry has a vault of that name; else it is replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
}

/// VaultParameters as the plan gives them. `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(pub serde_json::Map<String, serde_json::Value>);

/// A vault by its registry name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultName {
    /// The name in the registry.
    pub vault: String,
}

/// See [`Op::Configure`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Configure {
    /// `Set-SecretStoreConfiguration` parameters that the plan names.
    pub parameters: Parameters,
    /// The store's password, for a store that does not exist yet or changes its authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretValue>,
}

/// See [`Op::Unlock`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unlock {
    /// The name in the registry.
    pub vault: String,
    /// The password, remembered in the worker; without one the remembered password is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretValue>,
}

/// See [`Op::Get`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Get {
    /// The name in the registry.
    pub vault: String,
    /// The secret's name.
    pub name: String,
    /// Unlock first, so that the worker's copy of the store is the file's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refresh: bool,
    /// Tell string from SecureString and send metadata, which costs a `Get-SecretInfo`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub detail: bool,
}

/// See [`Op::Set`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Set {
    /// The name in the registry.
    pub vault: String,
    /// The secret's name.
    pub name: String,
    /// The new value.
    pub value: SecretValue,
    /// Metadata to send with it; an empty map or none sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Unlock first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refresh: bool,
    /// Read the present metadata and send it again, because a Set without erases it. Where it cannot be read
    /// the value is written without.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_metadata: bool,
    /// Write the metadata alone, where the extension can; the value is the present one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub metadata_only: bool,
}

/// See [`Op::Remove`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remove {
    /// The name in the registry.
    pub vault: String,
    /// The secret's name.
    pub name: String,
    /// Unlock first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refresh: bool,
}

/// See [`Op::Info`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Info {
    /// The name in the registry.
    pub vault: String,
    /// One secret, by exact name without case; all of them where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Unlock first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refresh: bool,
}

/// A line from the worker, as read. Exactly one of `reply`, `ask` and `log` is set; anything else is
/// a broken worker.
#[derive(Deserialize)]
pub struct WorkerLine {
    /// The answer to a call.
    #[serde(default)]
    pub reply: Option<ReplyLine>,
    /// A question, only while a call runs.
    #[serde(default)]
    pub ask: Option<AskLine>,
    /// Something for the log.
    #[serde(default)]
    pub log: Option<LogLine>,
}

/// `{"reply":{"id":7,"ok":{…}}}` or `{"reply":{"id":7,"fault":{…}}}`
#[derive(Deserialize)]
pub struct ReplyLine {
    /// The call that this answers.
    pub id: u64,
    /// The outcome, typed by the call.
    #[serde(default)]
    pub ok: Option<Box<RawValue>>,
    /// Or why there is none.
    #[serde(default)]
    pub fault: Option<Box<Fault>>,
}

/// `{"ask":{"seq":1,"what":{…}}}`
#[derive(Deserialize)]
pub struct AskLine {
    /// Rises by one with each ask of a worker, from 1.
    pub seq: u64,
    /// What is asked, in script mode's own shapes.
    pub what: Box<RawValue>,
}

/// `{"log":{"level":"warning","message":"…"}}`
#[derive(Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// How bad it is.
    pub level: LogLevel,
    /// The text, at most some thousand characters.
    pub message: String,
}

/// PowerShell's streams, as the log knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// The error stream.
    Error,
    /// The warning stream.
    Warning,
    /// The information stream and `Write-Host`.
    Information,
    /// The verbose stream.
    Verbose,
    /// The debug stream.
    Debug,
}

/// Reply to [`Op::Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HelloReply {
    /// The worker's protocol version.
    pub protocol: u32,
    /// `$PSVersionTable.PSVersion`.
    pub pwsh: String,
    /// Process id as the worker sees it.
    pub pid: u32,
    /// Descriptors 0 and 1 are out of reach of native commands.
    #[serde(default)]
    pub guarded: bool,
    /// Version of SecretManagement, or nothing where it is not installed.
    #[serde(default)]
    pub secret_management: Option<String>,
}

/// Reply to [`Op::Register`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RegisterReply {
    /// The extension module's name (`Microsoft.PowerShell.SecretStore` for a path that holds it).
    pub module: String,
    /// The extension's Set-Secret takes metadata.
    #[serde(default)]
    pub metadata: bool,
}

/// Reply to [`Op::Configure`] and, for SecretStore, to [`Op::Unlock`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReply {
    /// `Password` or `None`; nothing for other modules.
    #[serde(default)]
    pub authentication: Option<String>,
    /// Seconds from the unlock; -1 never, 0 one use.
    #[serde(default)]
    pub password_timeout: Option<i64>,
    /// The configuration was written.
    #[serde(default)]
    pub written: bool,
}

/// Reply to [`Op::Get`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetReply {
    /// The value.
    pub value: SecretValue,
    /// Metadata, where detail was asked and the vault has any.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Reply to [`Op::Info`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InfoReply {
    /// Sorted by name.
    pub secrets: Vec<SecretInfo>,
    /// The module warned: the list may be short.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warned: bool,
}

/// Reply to [`Op::Test`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReply {
    /// It said true, and no error.
    pub ready: bool,
}

/// A line of `Get-SecretInfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SecretInfo {
    /// The secret's name.
    pub name: String,
    /// Its type, where the vault says.
    #[serde(rename = "type")]
    pub kind: SecretType,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Reply to [`Op::Ping`], which only tests send.
#[cfg(any(test, feature = "fake-pwsh"))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PingReply {
    /// Managed heap, in bytes.
    #[serde(default)]
    pub heap: u64,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
