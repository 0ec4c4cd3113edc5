//! What the core has a worker do, and what comes back.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::shape::{Block, ChangedObject, Function, GivenObject, Variable};
use crate::plan::BlockKind;
use crate::protocol::{Fault, Metadata, Op, ScriptPosition};
use crate::script::value::Portable;
use crate::secret::{Bytes, SecretValue, Text};

/// A call of script mode. The worker answers with the shape that is named.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "made to be written at once, and never kept")]
pub enum Invoke<'a> {
    /// Runs the script, so that it declares. [`PlanReply`].
    Plan(PlanCall<'a>),
    /// Gives the worker what it lacks. [`crate::protocol::Empty`].
    Load(Load<'a>),
    /// Runs a route's block. [`RouteReply`].
    Route(RouteCall<'a>),
    /// Runs a block of a vault. [`CustomReply`].
    Custom(CustomInvoke<'a>),
    /// Has the worker put its last change of a shared object and the latest version together. [`MergeReply`].
    Merge(GivenObject),
}

impl Invoke<'_> {
    /// As the worker's protocol carries it; nothing where it does not encode.
    pub fn op(&self) -> Option<Op> {
        to_raw_value(self).ok().map(Op::Invoke)
    }
}

// === plan ===

/// See [`Invoke::Plan`].
#[derive(Serialize)]
pub struct PlanCall<'a> {
    /// The script's path.
    pub script: &'a str,
    /// Its parameters, as on a command line.
    pub arguments: &'a [String],
    /// Nothing is contacted.
    pub check: bool,
}

/// What came of planning.
#[derive(Debug, Default, Deserialize)]
pub struct PlanReply {
    /// The script has called `Start-PodeServer`.
    #[serde(default)]
    pub served: bool,
    /// What is not served. With any, nothing of the script has run.
    #[serde(default)]
    pub problems: Vec<ScriptProblem>,
    /// What it takes from where it runs; with `check`.
    #[serde(default)]
    pub needs: Needs,
    /// Environment variables that it has set, or removed.
    #[serde(default)]
    pub environment: Vec<SetVariable>,
}

/// An environment variable that a script has changed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetVariable {
    /// Its name.
    pub name: String,
    /// Its value, which may be a secret; none where it was removed.
    pub value: Option<Text>,
}

impl std::fmt::Debug for SetVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetVariable({})", self.name)
    }
}

/// A piece of a script that is not served, and what to do instead.
#[derive(Debug, Clone, Deserialize)]
pub struct ScriptProblem {
    /// What kind of problem it is.
    pub id: String,
    /// What it is, with a hint.
    pub message: String,
    /// Where it stands.
    pub position: Option<ScriptPosition>,
}

/// What a script takes from where it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Environment variables that it reads.
    pub environment: Vec<NeededVariable>,
    /// Files that it has read while it declared.
    pub files: Vec<String>,
    /// Mandatory parameters of its own that were not given.
    #[serde(default)]
    pub parameters: Vec<String>,
}

/// An environment variable that a script reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededVariable {
    /// Its name.
    pub name: String,
    /// It is set here and now.
    pub set: bool,
}

// === load ===

/// See [`Invoke::Load`].
#[derive(Default, Serialize)]
pub struct Load<'a> {
    /// The root folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<&'a str>,
    /// The script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<&'a str>,
    /// What `Get-PodeConfig` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<&'a Portable>,
    /// Environment variables that the script has changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<&'a SetVariable>,
    /// Variables that every block sees.
    pub variables: Vec<&'a Variable>,
    /// Modules to import, by name or path.
    pub modules: Vec<&'a str>,
    /// Functions that every block sees.
    pub functions: Vec<&'a Function>,
    /// Blocks, with the numbers that they are called by.
    pub blocks: Vec<NumberedBlock<'a>>,
}

/// A block and its number.
#[derive(Serialize)]
pub struct NumberedBlock<'a> {
    /// The number.
    pub id: u64,
    /// The block.
    #[serde(flatten)]
    pub block: &'a Block,
}

// === route ===

/// See [`Invoke::Route`].
#[derive(Debug, Serialize)]
pub struct RouteCall<'a> {
    /// The block.
    pub block: u64,
    /// Its arguments.
    pub arguments: &'a [Portable],
    /// The request.
    pub event: WebEvent,
}

/// What a block is told of its request.
#[derive(Serialize)]
pub struct WebEvent {
    /// In lower case.
    pub method: String,
    /// Decoded.
    pub path: String,
    /// As sent.
    pub query: String,
    /// What the pattern's names stand for.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
    /// Where it came in.
    pub endpoint: WebEventEndpoint,
    /// The route.
    pub route: WebEventRoute,
    /// `X-Pode-ContextId`.
    pub context: String,
    /// The client's address.
    pub remote: String,
    /// `1.0` or `1.1`.
    pub version: &'static str,
    /// When it came, in UTC.
    pub timestamp: String,
}

/// The endpoint as `$WebEvent.Endpoint` has it.
#[derive(Debug, Serialize)]
pub struct WebEventEndpoint {
    /// `http` or `https`.
    pub protocol: &'static str,
    /// The request's host, else the address.
    pub address: String,
    /// Its name.
    pub name: String,
}

/// The route as `$WebEvent.Route` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebEventRoute {
    /// As declared.
    pub path: String,
    /// As declared.
    pub method: String,
    /// Its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_content_type: Option<String>,
}

/// What came of a route's block.
#[derive(Debug, Deserialize)]
pub struct RouteReply {
    /// What it answers.
    pub response: Response,
}

/// What a block answers.
#[derive(Deserialize)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Header fields.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
    /// The reason phrase, beside a body.
    pub description: Option<String>,
    /// In place of a body: an error page, rendered by the core.
    pub page: Option<PageWish>,
    /// The block threw this.
    pub failed: Option<Fault>,
}

/// What a block says of its error page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageWish {
    /// In place of the status's phrase.
    pub description: Option<String>,
    /// Its form.
    pub content_type: Option<String>,
    /// What happened.
    pub exception: Option<Exception>,
}

/// What a page may say of an exception.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "PascalCase", deserialize = "camelCase"), default)]
pub struct Exception {
    /// Its message.
    pub message: String,
    /// Where it came from.
    pub stack_trace: String,
    /// Position text, or a line's number.
    #[serde(deserialize_with = "text")]
    pub line: String,
    /// PowerShell's category.
    pub category: String,
}

// === custom vaults ===

/// See [`Invoke::Custom`].
#[derive(Serialize)]
pub struct CustomInvoke<'a> {
    /// The vault.
    pub vault: &'a str,
    /// The block.
    pub block: u64,
    /// The first argument.
    pub table: Option<GivenObject>,
    /// The block only reads the table, so nobody looks whether it has changed.
    #[serde(skip_serializing_if = "is_false")]
    pub reads: bool,
    /// Only what cannot leave the worker is kept of what the block changes.
    #[serde(skip_serializing_if = "is_false")]
    pub local: bool,
    /// What it is given.
    #[serde(flatten)]
    pub call: &'a CustomCall<'a>,
}

/// The block of a custom vault to call, with what it is given.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CustomCall<'a> {
    /// Which block.
    pub kind: BlockKind,
    /// The secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'a SecretValue>,
    /// The new value is one member of this whole, which only PowerShell can look into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<Member<'a>>,
    /// Its metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a Metadata>,
    /// The mount's arguments.
    pub arguments: &'a [Portable],
    /// The unlock secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<&'a Text>,
}

/// A member of a value, to be changed by itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// The value that it is in, as it is now.
    pub whole: &'a SecretValue,
}

/// What came of a vault's block.
#[derive(Debug, Default, Deserialize)]
pub struct CustomReply {
    /// The value read.
    pub value: Option<Portable>,
    /// Until when it is unlocked, in round-trip form.
    pub expiry: Option<String>,
    /// The table, where the block has changed it.
    pub table: Option<ChangedObject>,
    /// What the block has left that cannot leave the worker, each by its name and type.
    #[serde(default)]
    pub stays: Vec<String>,
    /// The block threw this; what it had changed before stands, as in Pode.
    pub failed: Option<Box<Fault>>,
}

/// What came of merging.
#[derive(Debug, Deserialize)]
pub struct MergeReply {
    /// Both changes together.
    pub table: ChangedObject,
}

// === redacting Debug: headers, queries and bodies may hold secrets ===

impl fmt::Debug for WebEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} {}, {} bytes)", self.method, self.path, self.body.expose().len())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.body.as_ref().map_or(0, |body| body.expose().len());
        write!(f, "Response({}, {length} bytes)", self.status)
    }
}

/// Text, or a number as text.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}
