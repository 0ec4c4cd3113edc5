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
