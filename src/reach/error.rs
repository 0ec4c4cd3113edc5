//! Why a command did not do what it was asked.

use std::fmt;

use crate::bridge::StartError;
use crate::config::ConfigError;
use crate::error::BridgeError;
use crate::exit::Exit;
use crate::worker::LaunchError;

/// What a command tells on standard error, and how the program then ends. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What happened, to which vault and key.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// One without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None }
    }

    /// Something went wrong on the way.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failure, message)
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// The same with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// What a server said, by the code of its error.
    pub fn said(status: u16, code: &str, message: &str, hint: &str) -> Failure {
        let exit = match (code, status) {
            (
                "secret_not_found" | "unknown_vault" | "unknown_mount" | "no_such_member" | "unknown_route",
                _,
            ) => Exit::NotFound,
            ("locked" | "saturated" | "not_ready" | "starting", _) | (_, 429 | 503) => Exit::Locked,
            (_, 401 | 403) | ("refused" | "read_only", _) => Exit::Refused,
            _ => Exit::Failure,
        };
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Failure { exit, message: message.to_owned(), hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " (hint: {hint})"))
    }
}

impl std::error::Error for Failure {}

impl From<BridgeError> for Failure {
    fn from(error: BridgeError) -> Failure {
        let exit = match &error {
            BridgeError::UnknownMount { .. }
            | BridgeError::UnknownVault { .. }
            | BridgeError::NotFound { .. }
            | BridgeError::NoMember { .. } => Exit::NotFound,
            BridgeError::Locked { .. } | BridgeError::Saturated | BridgeError::NotReady { .. } => {
                Exit::Locked
            }
            BridgeError::Refused { .. } | BridgeError::ReadOnly { .. } => Exit::Refused,
            _ => Exit::Failure,
        };
        Failure::new(exit, error.to_string()).hint(error.hint())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        let exit = match &error {
            StartError::Password { .. } | StartError::Plan(_) => Exit::Usage,
            StartError::NoSuchVault { .. } => Exit::NotFound,
            StartError::Pwsh(_) | StartError::Workers(LaunchError::TooOld { .. }) => Exit::NoPwsh,
            _ => Exit::Failure,
        };
        Failure::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_error_ends_as_the_same_error_of_ours_would() {
        let (vault, key) = (|| "v".to_owned(), || "k".to_owned());
        for error in [
            BridgeError::NotFound { vault: vault(), key: key() },
            BridgeError::UnknownVault { name: vault() },
            BridgeError::UnknownMount { name: vault() },
            BridgeError::NoMember { vault: vault(), key: key(), member: key() },
            BridgeError::Refused { vault: vault(), reason: key() },
            BridgeError::ReadOnly { vault: vault() },
            BridgeError::Locked { vault: vault(), reason: key(), retry_after: std::time::Duration::ZERO },
            BridgeError::Saturated,
            BridgeError::Deadline { outcome_unknown: false },
            BridgeError::Local { vault: vault(), reason: key(), trouble: Default::default() },
        ] {
            let reply = crate::http::problem_of(error.clone());
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            let part = |name: &str| body["error"][name].as_str().unwrap().to_owned();
            let said = Failure::said(reply.status.as_u16(), &part("code"), &part("message"), &part("hint"));
            assert_eq!(said, Failure::from(error));
        }
    }
}
