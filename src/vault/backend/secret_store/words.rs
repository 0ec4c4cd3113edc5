//! SecretStore's own errors, by the ids and messages that scripts look for in a `catch`.

use crate::error::BridgeError;
use crate::protocol::Fault;
use crate::vault::facts::VaultFacts;
use crate::vault::verb::Verb;

const NOT_FOUND: &str = "System.Management.Automation.ItemNotFoundException";
const PASSWORD_REQUIRED: &str = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
const LOCKED: &str = "A valid password is required to access the Microsoft.PowerShell.SecretStore vault.\nUse the \
     Unlock-SecretStore cmdlet to provide the required password to access the store.";
const WRONG_PASSWORD: &str = "Store file integrity check failed.\nThe provided password may be invalid, or store files \
     have become corrupted or have been tampered with.";

/// What SecretStore says in place of an error of ours; `None` where it has no word of its own for it.
pub(super) fn of(vault: &VaultFacts, error: &BridgeError, verb: &Verb) -> Option<Fault> {
    let registered = vault.registered();
    let (id, kind, category, message) = match (error, verb) {
        (BridgeError::NotFound { .. }, Verb::Remove { .. }) => (
            "SecretStoreRemoveSecretFailed",
            NOT_FOUND,
            "ObjectNotFound",
            format!("Remove-Secret error in vault {registered} : Secret not found"),
        ),
        (BridgeError::Locked { .. }, Verb::Unlock | Verb::UnlockWith { .. }) => (
            "SecretStoreUnlockFailed",
            "System.Security.Authentication.AuthenticationException",
            "AuthenticationError",
            format!("{registered} Vault Unlock operation failed with error: {WRONG_PASSWORD}"),
        ),
        (BridgeError::Locked { .. }, _) => {
            (PASSWORD_REQUIRED, PASSWORD_REQUIRED, "AuthenticationError", LOCKED.to_owned())
        }
        _ => return None,
    };
    let (id, kind, category) = (id.to_owned(), kind.to_owned(), category.to_owned());
    Some(Fault { id, kind, category, message, ..Fault::default() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Extension, SECRET_STORE, Vault, VaultKind};
    use crate::vault::Entry;

    #[test]
    fn errors_that_scripts_know_have_the_ids_kinds_and_words_of_secret_store() {
        let extension = Extension::new("registered", SECRET_STORE);
        let entry = Entry::bare(Vault::new("v", VaultKind::Extension(extension)));
        let key = || "k".to_owned();
        let not_found = || BridgeError::NotFound { vault: "v".into(), key: key() };
        let locked =
            || BridgeError::Locked { vault: "v".into(), reason: "r".into(), retry_after: Duration::ZERO };
        let get = || Verb::Get { key: key(), detail: false };
        let unlock = (
            "SecretStoreUnlockFailed",
            "System.Security.Authentication.AuthenticationException",
            "AuthenticationError",
            "registered Vault Unlock operation failed",
        );
        let required = (PASSWORD_REQUIRED, PASSWORD_REQUIRED, "AuthenticationError", "A valid password");
        let removal = (
            "SecretStoreRemoveSecretFailed",
            NOT_FOUND,
            "ObjectNotFound",
            "Remove-Secret error in vault registered",
        );
        for (error, verb, expected) in [
            (not_found(), Verb::Remove { key: key() }, Some(removal)),
            (not_found(), get(), None),
            (locked(), Verb::Unlock, Some(unlock)),
            (locked(), Verb::UnlockWith { password: "p".into() }, Some(unlock)),
            (locked(), get(), Some(required)),
            (BridgeError::Deadline { outcome_unknown: false }, Verb::Remove { key: key() }, None),
        ] {
            let said = of(&entry, &error, &verb);
            assert_eq!(said.is_some(), expected.is_some(), "{error:?}, {verb:?}");
            let (Some(said), Some((id, kind, category, message))) = (said, expected) else { continue };
            assert_eq!((said.id.as_str(), said.kind.as_str(), said.category.as_str()), (id, kind, category));
            assert!(said.message.starts_with(message), "{}", said.message);
        }
    }
}
