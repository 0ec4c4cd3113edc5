//! An error of a vault in the module's own words, which scripts look for in a `catch`. What we know more of it
//! goes to the log.

use super::{AskFailure, fault_of};
use crate::error::BridgeError;
use crate::protocol::Fault;
use crate::vault::{Entry, Verb};

/// The error as the module, or SecretManagement, says it.
pub fn words_of(error: BridgeError, entry: &Entry, verb: &Verb) -> AskFailure {
    let extension = entry.plan.extension();
    let registered = extension.map_or(entry.plan.name.as_str(), |extension| extension.registered.as_str());
    let secret_store = entry.backend.has_own_words();
    let (id, kind, category, message) = match (&error, verb) {
        (BridgeError::NotFound { .. }, Verb::Remove { .. }) if secret_store => (
            "SecretStoreRemoveSecretFailed",
            NOT_FOUND,
            "ObjectNotFound",
            format!("Remove-Secret error in vault {registered} : Secret not found"),
        ),
        (BridgeError::NotFound { key, .. }, _) => {
            ("GetSecretNotFound", NOT_FOUND, "ObjectNotFound", format!("The secret {key} was not found."))
        }
        (BridgeError::Locked { .. }, Verb::Unlock | Verb::UnlockWith { .. }) if secret_store => (
            "SecretStoreUnlockFailed",
            "System.Security.Authentication.AuthenticationException",
            "AuthenticationError",
            format!("{registered} Vault Unlock operation failed with error: {WRONG_PASSWORD}"),
        ),
        (BridgeError::Locked { .. }, _) if secret_store => {
            (PASSWORD_REQUIRED, PASSWORD_REQUIRED, "AuthenticationError", LOCKED.to_owned())
        }
        _ => return fault_of(error),
    };
    tracing::info!(vault = %entry.plan.name, "{error} (hint: {})", error.hint());
    let (id, kind, category) = (id.to_owned(), kind.to_owned(), category.to_owned());
    Box::new(Fault { id, kind, category, message, ..Fault::default() })
}

const NOT_FOUND: &str = "System.Management.Automation.ItemNotFoundException";
const PASSWORD_REQUIRED: &str = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
const LOCKED: &str = "A valid password is required to access the Microsoft.PowerShell.SecretStore vault.\nUse the \
     Unlock-SecretStore cmdlet to provide the required password to access the store.";
const WRONG_PASSWORD: &str = "Store file integrity check failed.\nThe provided password may be invalid, or store files \
     have become corrupted or have been tampered with.";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Extension, Vault, VaultKind};

    fn entry(module: &str) -> Entry {
        Entry::bare(Vault::new("Friendly", VaultKind::Extension(Extension::new("Real", module))))
    }

    #[test]
    fn what_a_catch_prints_is_the_modules_message() {
        let store = entry("Microsoft.PowerShell.SecretStore");
        let missing = || BridgeError::NotFound { vault: "Friendly".into(), key: "nope".into() };
        let locked = || BridgeError::Locked {
            vault: "Friendly".into(),
            reason: "ours".into(),
            retry_after: Duration::from_secs(10),
        };
        let get = Verb::Get { key: "nope".into(), detail: false };
        let said = |error, entry: &Entry, verb: &Verb| {
            let fault = words_of(error, entry, verb);
            (fault.id, fault.message)
        };
        assert_eq!(
            said(missing(), &store, &get),
            ("GetSecretNotFound".into(), "The secret nope was not found.".into())
        );
        let (id, message) = said(missing(), &store, &Verb::Remove { key: "nope".into() });
        assert_eq!(id, "SecretStoreRemoveSecretFailed");
        assert!(message.starts_with("Remove-Secret error in vault Real : Secret not found"), "{message}");
        let (id, message) = said(locked(), &store, &get);
        assert!(
            id.ends_with("PasswordRequiredException") && message.starts_with("A valid password is required")
        );
        let (id, message) = said(locked(), &store, &Verb::Unlock);
        assert_eq!(id, "SecretStoreUnlockFailed");
        assert!(message.starts_with("Real Vault Unlock operation failed with error: Store file integrity"));
        let (_, message) = said(locked(), &entry("My.Vault"), &get);
        assert!(message.contains("ours"), "of another module nobody knows its words: {message}");
    }
}
