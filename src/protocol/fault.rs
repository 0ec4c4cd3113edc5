//! Why a call failed: PowerShell's error, as a worker tells it.

use serde::{Deserialize, Serialize};

use crate::redact::Redactor;

/// Why a call failed, in PowerShell's own terms. Classified by `id` and `kind`, never by `message`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fault {
    /// The fully qualified error id up to its first comma, e.g. `GetSecretNotFound`.
    pub id: String,
    /// The exception's .NET type name, e.g. `System.Management.Automation.ItemNotFoundException`.
    #[serde(default)]
    pub kind: String,
    /// The error category, e.g. `ObjectNotFound`.
    #[serde(default)]
    pub category: String,
    /// The message, bounded in length and with the call's own secret values taken out.
    #[serde(default)]
    pub message: String,
    /// The HTTP status that a service behind the vault answered with, where the exception says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Seconds after which that service wants to be called again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// There was no room on a disk.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disk_full: bool,
    /// What the error was about, where PowerShell says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Script file, line and column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<ScriptPosition>,
    /// Inner exceptions, outermost first, at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<InnerFault>,
    /// Further errors of the same call, which often name the root cause; at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Fault>,
    /// The module warned beside it: some tell what is wrong by a warning only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warned: bool,
}

impl Fault {
    /// The innermost cause, where it says more than the message: what SecretManagement itself says of a
    /// vault's error names none.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        let cause = self.inner.last()?.message.trim();
        (!cause.is_empty() && !self.message.contains(cause)).then_some(cause)
    }

    /// Stars out these values in all that is for people, where it is the values that are meant: see
    /// `redact`.
    pub fn hide(&mut self, values: &[&str]) {
        self.hide_by(&Redactor::new(values));
    }

    fn hide_by(&mut self, redactor: &Redactor) {
        let hide = |text: &mut String| *text = redactor.hide(text);
        hide(&mut self.message);
        self.target.iter_mut().for_each(hide);
        self.inner.iter_mut().for_each(|inner| hide(&mut inner.message));
        self.more.iter_mut().for_each(|fault| fault.hide_by(redactor));
    }
}

/// Begins the message of an error in a script that stops at the first.
const STOPPED: &str = "The running command stopped because the preference variable \"ErrorActionPreference\" or common \
                       parameter is set to Stop: ";

/// What happened, the id to look for, and the cause.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What PowerShell puts before the message of an error that it was told to stop at says nothing of the error.
        let message = self.message.replace(STOPPED, "");
        write!(f, "{message} ({})", self.id)?;
        self.cause().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// A place in a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptPosition {
    /// File, or nothing for text without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// One exception of the inner chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InnerFault {
    /// The .NET type name.
    pub kind: String,
    /// Its message.
    pub message: String,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}
