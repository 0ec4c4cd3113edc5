//! Az.KeyVault: a module like others, but for what is known of it. It is served by any number of workers, reports
//! every failure, and holds less than PowerShell does.

use std::sync::Arc;

use tokio::time::Instant;

use super::kind::{Kind, is_of_module, name_in_azure};
use super::module::{self, ModuleBackend, ModuleQuirks, discipline};
use super::{Backend, CallAnswer, Present};
use crate::plan::{AZ_KEY_VAULT, Vault, VaultKind};
use crate::protocol::{GetReply, Metadata, SecretInfo, StoreReply};
use crate::secret::{SecretValue, Text, fold};
use crate::store::Discipline;
use crate::vault::facts::VaultFacts;
use crate::vault::rules::like_a_date;
use crate::vault::store::Store;
use crate::vault::turn::Turn;
use crate::vault::verb::Verb;
use crate::worker::{BoxFuture, CallError, Worker};

/// Longest name in an Azure key vault.
const MAX_NAME: usize = 127;

/// Longest value in an Azure key vault, in characters.
const MAX_VALUE: usize = 25_000;

/// See the module.
pub(super) struct AzureKind;

/// Serves one.
struct AzureBackend(ModuleBackend);

impl Kind for AzureKind {
    fn has(&self, kind: &VaultKind) -> bool {
        is_of_module(kind, AZ_KEY_VAULT)
    }

    fn open(&self, vault: &Vault) -> Arc<dyn Backend> {
        Arc::new(AzureBackend::new(vault))
    }

    fn title(&self) -> &'static str {
        "Azure Key Vault"
    }

    fn module(&self) -> Option<&'static str> {
        Some(AZ_KEY_VAULT)
    }
}

impl AzureBackend {
    /// Vaults over one vault of Azure are one store.
    fn new(vault: &Vault) -> AzureBackend {
        let id = match name_in_azure(vault) {
            Some(name) => format!("azure:{}", fold(name)),
            None => module::id(vault),
        };
        let quirks = ModuleQuirks {
            reports_failures: true,
            // After a change of subscription.
            first_read_may_fail: true,
        };
        let store = Store::new(id, discipline(vault, Discipline::Parallel));
        AzureBackend(ModuleBackend::over(store, quirks))
    }
}

impl Backend for AzureBackend {
    fn store(&self) -> &Arc<Store> {
        self.0.store()
    }

    fn registered<'a>(
        &'a self,
        worker: &'a mut Worker,
        vault: &'a VaultFacts,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        self.0.registered(worker, vault, until)
    }

    fn unlock<'a>(&'a self, turn: &'a mut Turn<'_>, password: Option<Text>) -> CallAnswer<'a, StoreReply> {
        self.0.unlock(turn, password)
    }

    fn refusal(&self, verb: &Verb) -> Option<String> {
        name(verb.key()?).or_else(|| held(verb.value()?)).or_else(|| {
            let given = verb.metadata().is_some_and(|metadata| !metadata.is_empty());
            given.then(|| "Az.KeyVault's extension keeps no metadata".to_owned())
        })
    }

    /// They only say which vault is meant.
    fn has_secret_parameters(&self) -> bool {
        false
    }

    fn get<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, detail: bool) -> CallAnswer<'a, GetReply> {
        self.0.get(turn, key, detail)
    }

    fn list<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>> {
        self.0.list(turn)
    }

    fn before_write<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        self.0.before_write(turn, key)
    }

    fn set<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: Option<&'a Metadata>,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        self.0.set(turn, key, value, metadata, before)
    }

    fn remove<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, before: &'a Present) -> CallAnswer<'a, ()> {
        self.0.remove(turn, key, before)
    }
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
