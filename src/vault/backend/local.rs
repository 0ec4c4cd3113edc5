//! The embedded vault: a file of our own, read and written in this process. No worker is asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kind::{Kind, ScriptRefusal, VaultFiles, VaultWay, fields};
use super::{Backend, PROBE_EVERY};
use crate::cache::Changes;
use crate::error::{BridgeError, FileTrouble};
use crate::local::{self, LocalError, LocalVault};
use crate::plan::{Extension, Vault, VaultKind};
use crate::protocol::GetReply;
use crate::secret::fold;
use crate::store::Discipline;
use crate::vault::entry::Entry;
use crate::vault::store::Store;
use crate::vault::verb::{Outcome, Verb};

/// The module by which a script names it.
const MODULE: &str = "SecretBridge.Local";

/// See the module.
pub(super) struct LocalKind;

/// Serves one.
struct LocalBackend(Arc<Store>);

impl Kind for LocalKind {
    fn has(&self, kind: &VaultKind) -> bool {
        matches!(kind, VaultKind::Local { .. })
    }

    fn open(&self, vault: &Vault) -> Arc<dyn Backend> {
        Arc::new(LocalBackend::new(vault))
    }

    fn title(&self) -> &'static str {
        "local vault"
    }

    fn module(&self) -> Option<&'static str> {
        Some(MODULE)
    }

    fn files(&self, vault: &Vault) -> Option<VaultFiles> {
        let VaultKind::Local { folder, key } = &vault.kind else { return None };
        let folder = folder.clone().or_else(local::default_folder);
        Some(VaultFiles { folder, key: key.clone(), names: &local::FILES })
    }

    fn way(&self, vault: &Vault) -> VaultWay {
        self.files(vault).map_or(VaultWay::Worker, VaultWay::Files)
    }

    fn line(&self, _vault: &Vault) -> String {
        "the embedded vault".to_owned()
    }

    fn shown(&self, vault: &Vault) -> Map<String, Value> {
        let VaultKind::Local { folder, .. } = &vault.kind else { return Map::new() };
        fields(json!({ "type": "local", "folder": folder }))
    }

    fn by_script(&self, extension: Extension, base: Option<&Path>) -> Result<VaultKind, ScriptRefusal> {
        if extension.unlock.is_some() {
            // A password that is accepted but not used would only look like protection.
            let message = "the embedded vault has a key file of its own and takes no UnlockSecret".to_owned();
            return Err(ScriptRefusal { id: "LocalVaultUnlock", message });
        }
        let mut folder = None;
        for (name, value) in &extension.parameters.0 {
            match (fold(name).as_str(), value.as_str()) {
                ("FOLDER" | "PATH", Some(path)) => {
                    folder = Some(base.map_or_else(|| path.into(), |base| base.join(path)));
                }
                _ => {
                    let message =
                        format!("the embedded vault takes one parameter, Folder, a path; not '{name}'");
                    return Err(ScriptRefusal { id: "SecretVault", message });
                }
            }
        }
        Ok(VaultKind::local(folder, None))
    }
}

impl LocalBackend {
    fn new(vault: &Vault) -> LocalBackend {
        LocalBackend(Arc::new(Store::new(format!("local:{}", fold(&vault.name)), Discipline::Parallel)))
    }
}

impl Backend for LocalBackend {
    fn store(&self) -> &Arc<Store> {
        &self.0
    }

    fn probes(&self) -> Option<Duration> {
        Some(PROBE_EVERY)
    }
}

/// Does a verb on a thread that may block. `changes` is told of a key that it may have changed.
pub(in crate::vault) async fn perform(
    entry: &Entry,
    local: Arc<LocalVault>,
    verb: Verb,
    changes: Changes,
) -> Result<Outcome, BridgeError> {
    let name = entry.plan.name.clone();
    let key = verb.key().map(str::to_owned);
    let (store, writes) = (entry.store.id.clone(), verb.writes());
    let joined = tokio::task::spawn_blocking(move || {
        let key = verb.key().filter(|_| writes).map(str::to_owned);
        let done = in_file(&local, verb);
        // The cache is told here, because the write is done even if its caller has gone.
        if let Some(key) = key {
            changes.wrote(&store, &key);
        }
        done
    })
    .await;
    match joined {
        Ok(Ok(Some(outcome))) => Ok(outcome),
        Ok(Ok(None)) => Err(BridgeError::NotFound { vault: name, key: key.unwrap_or_default() }),
        Ok(Err(LocalError::Refused { reason })) => {
            Err(BridgeError::Refused { vault: name, reason: reason.into() })
        }
        Ok(Err(error)) => {
            let (reason, trouble) = (error.to_string(), error.trouble());
            Err(BridgeError::Local { vault: name, reason, trouble })
        }
        Err(_) => {
            let (reason, trouble) = ("it panicked".to_owned(), FileTrouble::Other);
            Err(BridgeError::Local { vault: name, reason, trouble })
        }
    }
}

fn in_file(local: &LocalVault, verb: Verb) -> Result<Option<Outcome>, LocalError> {
    Ok(match verb {
        Verb::Get { key, .. } => {
            local.get(&key)?.map(|(value, metadata)| Outcome::Value(GetReply { value, metadata }))
        }
        Verb::Set { key, value, metadata, member } => {
            let value = (*value).clone();
            match member {
                Some(member) => local.set_member(&key, &member, value, metadata)?,
                None => local.set(&key, value, metadata)?,
            }
            Some(Outcome::Done)
        }
        Verb::SetInfo { key, metadata } => local.set_metadata(&key, metadata)?.then_some(Outcome::Done),
        Verb::Remove { key } => local.remove(&key)?.then_some(Outcome::Done),
        Verb::List => Some(Outcome::List(local.list()?)),
        Verb::Probe => {
            local.list()?;
            Some(Outcome::Done)
        }
        Verb::Unlock | Verb::UnlockWith { .. } => Some(Outcome::Done),
    })
}
