//! Az.KeyVault: a module like others, but for what is known of it. It is served by any number of workers, reports
//! every failure, and holds less than PowerShell does.

use std::sync::Arc;

use super::Backend;
use super::kind::{Kind, is_of_module, name_in_azure};
use super::module::{self, ModuleBackend, ModuleQuirks, discipline};
use crate::plan::{AZ_KEY_VAULT, Vault, VaultKind};
use crate::secret::{SecretValue, fold};
use crate::store::Discipline;
use crate::vault::rules::like_a_date;
use crate::vault::store::Store;
use crate::vault::verb::Verb;

/// Longest name in an Azure key vault.
const MAX_NAME: usize = 127;

/// Longest value in an Azure key vault, in characters.
const MAX_VALUE: usize = 25_000;

/// See the module.
pub(super) struct AzureKind;

impl Kind for AzureKind {
    fn has(&self, kind: &VaultKind) -> bool {
        is_of_module(kind, AZ_KEY_VAULT)
    }

    fn open(&self, vault: &Vault) -> Arc<dyn Backend> {
        // Vaults over one vault of Azure are one store.
        let id = match name_in_azure(vault) {
            Some(name) => format!("azure:{}", fold(name)),
            None => module::id(vault),
        };
        let quirks = ModuleQuirks {
            reports_failures: true,
            // After a change of subscription.
            first_read_may_fail: true,
            has_plain_parameters: true,
            refusal: Some(refusal),
        };
        let store = Store::new(id, discipline(vault, Discipline::Parallel));
        Arc::new(ModuleBackend::over(store, quirks))
    }

    fn title(&self) -> &'static str {
        "Azure Key Vault"
    }

    fn module(&self) -> Option<&'static str> {
        Some(AZ_KEY_VAULT)
    }
}

fn refusal(verb: &Verb) -> Option<String> {
    let no_metadata = || {
        let given = verb.metadata().is_some_and(|metadata| !metadata.is_empty());
        let is_meant = given || matches!(verb, Verb::SetInfo { .. });
        is_meant.then(|| "Az.KeyVault's extension keeps no metadata".to_owned())
    };
    name(verb.key()?).or_else(|| held(verb.value()?)).or_else(no_metadata)
}

fn name(key: &str) -> Option<String> {
    let fits = key.len() <= MAX_NAME && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (!fits).then(|| "names in Azure Key Vault are 1 to 127 letters, digits and hyphens".to_owned())
}

fn held(value: &SecretValue) -> Option<String> {
    let refused = |reason: &str| Some(reason.to_owned());
    match value {
        SecretValue::String(text) | SecretValue::SecureString(text) => match text.expose() {
            "" => refused("Azure Key Vault holds no empty value"),
            text if text.chars().count() > MAX_VALUE => {
                Some(format!("Azure Key Vault holds at most {MAX_VALUE} characters"))
            }
            _ => None,
        },
        SecretValue::Bytes(bytes) if bytes.expose().is_empty() || !bytes.expose().is_ascii() => {
            refused("Az.KeyVault writes bytes as ASCII: none, or one above 127, would be changed")
        }
        SecretValue::Credential(credential)
            if like_a_date(&credential.user) || like_a_date(credential.password.expose()) =>
        {
            refused("Az.KeyVault would read back a date in place of a text that looks like one")
        }
        SecretValue::Hashtable(members) => {
            let text = |value: &SecretValue| matches!(value, SecretValue::String(text) if !like_a_date(text.expose()));
            let fits = !members.is_empty() && !members.contains_key("") && members.values().all(text);
            (!fits)
                .then(|| "Az.KeyVault keeps a table as JSON: texts only, that look like no date".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Metadata, MetadataValue};

    #[test]
    fn metadata_is_refused_and_its_absence_is_not() {
        let metadata = Metadata::from([("a".to_owned(), MetadataValue::String("b".into()))]);
        let of = |metadata| Verb::SetInfo { key: "k".into(), metadata };
        let set = |metadata| Verb::Set {
            key: "k".into(),
            value: Arc::new(SecretValue::String("v".into())),
            metadata,
            member: None,
        };
        let refused = |verb| refusal(&verb).is_some_and(|reason| reason.contains("keeps no metadata"));
        assert!(
            refused(of(metadata.clone())) && refused(of(Metadata::new())),
            "its extension cannot change it"
        );
        assert!(refused(set(Some(metadata))));
        assert!(!refused(set(Some(Metadata::new()))) && !refused(set(None)));
    }
}
