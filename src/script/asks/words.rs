//! An error of a vault in the module's own words, which scripts look for in a `catch`. What we know more of it
//! goes to the log.

use super::{AskFailure, fault_of};
use crate::error::BridgeError;
use crate::protocol::Fault;
use crate::vault::{Entry, Verb};

/// The error as the module, or SecretManagement, says it.
pub fn words_of(error: BridgeError, entry: &Entry, verb: &Verb) -> AskFailure {
    let own = entry.backend.own_words(entry, &error, verb);
    let Some(fault) = own.or_else(|| of_secret_management(&error)) else { return fault_of(error) };
    tracing::info!(vault = %entry.plan.name, "{error} (hint: {})", error.hint());
    Box::new(fault)
}

fn of_secret_management(error: &BridgeError) -> Option<Fault> {
    let BridgeError::NotFound { key, .. } = error else { return None };
    Some(Fault {
        id: "GetSecretNotFound".to_owned(),
        kind: "System.Management.Automation.ItemNotFoundException".to_owned(),
        category: "ObjectNotFound".to_owned(),
        message: format!("The secret {key} was not found."),
        ..Fault::default()
    })
}

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
