//! The embedded vault: a file of our own, read and written in this process. No worker is asked.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kind::{Kind, ScriptRefusal, VaultFiles, VaultWay, fields};
use super::{Backend, InProcess, PROBE_EVERY, ServedBy};
use crate::cache::Changes;
use crate::error::{BridgeError, FileTrouble};
use crate::local::{self, LocalError, LocalVault};
use crate::plan::{Extension, Vault, VaultKind};
use crate::protocol::GetReply;
use crate::secret::fold;
use crate::store::Discipline;
use crate::vault::facts::VaultFacts;
use crate::vault::store::Store;
use crate::vault::verb::{Outcome, Verb};
use crate::worker::BoxFuture;

/// The module by which a script names it.
const MODULE: &str = "SecretBridge.Local";

/// See the module.
pub(super) struct LocalKind;

/// Serves one.
struct LocalBackend {
    store: Arc<Store>,
    file: Arc<LocalFile>,
}

/// The vault's file, opened at its first use.
struct LocalFile {
    files: VaultFiles,
    opened: Mutex<Option<Arc<LocalVault>>>,
}

impl Kind for LocalKind {
    fn has(&self, kind: &VaultKind) -> bool {
        matches!(kind, VaultKind::Local { .. })
    }

    fn open(&self, vault: &Vault) -> Arc<dyn Backend> {
        Arc::new(LocalBackend::new(files_of(vault)))
    }

    fn title(&self) -> &'static str {
        "local vault"
    }

    fn module(&self) -> Option<&'static str> {
        Some(MODULE)
    }

    fn files(&self, vault: &Vault) -> Option<VaultFiles> {
        self.has(&vault.kind).then(|| files_of(vault))
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

fn files_of(vault: &Vault) -> VaultFiles {
    let (folder, key) = vault.local().unzip();
    let folder = folder.flatten().map(Path::to_owned).or_else(local::default_folder);
    VaultFiles { folder, key: key.flatten().map(Path::to_owned), names: &local::FILES }
}

impl LocalBackend {
    /// The store is the file, whatever the vaults over it are called.
    fn new(files: VaultFiles) -> LocalBackend {
        let id = format!("local:{:?}", (&files.folder, &files.key));
        let file = LocalFile { files, opened: Mutex::default() };
        LocalBackend { store: Arc::new(Store::new(id, Discipline::Parallel)), file: Arc::new(file) }
    }
}

impl Backend for LocalBackend {
    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn probes(&self) -> Option<Duration> {
        Some(PROBE_EVERY)
    }

    fn served_by(&self) -> ServedBy<'_> {
        ServedBy::ThisProcess(self)
    }
}

impl InProcess for LocalBackend {
    fn open(&self) -> Result<(), LocalError> {
        self.file.open().map(drop)
    }

    fn perform<'a>(
        &'a self,
        vault: &'a VaultFacts,
        verb: Verb,
        changes: &'a Changes,
    ) -> BoxFuture<'a, Result<Outcome, BridgeError>> {
        Box::pin(self.perform_in_file(&vault.plan.name, verb, changes.clone()))
    }
}

impl LocalFile {
    fn open(&self) -> Result<Arc<LocalVault>, LocalError> {
        let VaultFiles { folder, key, .. } = &self.files;
        let folder = folder.as_deref().unwrap_or(Path::new(""));
        let vault = Arc::new(LocalVault::open_with_key(folder, key.as_deref())?);
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(vault.clone());
        Ok(vault)
    }

    fn vault(&self) -> Result<Arc<LocalVault>, LocalError> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        opened.map_or_else(|| self.open(), Ok)
    }
}

impl LocalBackend {
    /// Does a verb on a thread that may block.
    async fn perform_in_file(
        &self,
        vault: &str,
        verb: Verb,
        changes: Changes,
    ) -> Result<Outcome, BridgeError> {
        let vault = vault.to_owned();
        let key = verb.key().map(str::to_owned);
        let (file, store, writes) = (self.file.clone(), self.store.id.clone(), verb.writes());
        let joined = tokio::task::spawn_blocking(move || {
            let key = verb.key().filter(|_| writes).map(str::to_owned);
            let done = file.vault().and_then(|local| in_file(&local, verb));
            // The cache is told here, because the write is done even if its caller has gone.
            if let Some(key) = key {
                changes.wrote(&store, &key);
            }
            done
        })
        .await;
        match joined {
            Ok(Ok(Some(outcome))) => Ok(outcome),
            Ok(Ok(None)) => Err(BridgeError::NotFound { vault, key: key.unwrap_or_default() }),
            Ok(Err(LocalError::Refused { reason })) => {
                Err(BridgeError::Refused { vault, reason: reason.into() })
            }
            Ok(Err(error)) => {
                let (reason, trouble) = (error.to_string(), error.trouble());
                Err(BridgeError::Local { vault, reason, trouble })
            }
            Err(_) => {
                let (reason, trouble) = ("it panicked".to_owned(), FileTrouble::Other);
                Err(BridgeError::Local { vault, reason, trouble })
            }
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
