//! The library's front: a builder that checks, and handles of secrets by name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::Stream;
use thiserror::Error;
use tokio::time::Instant;

use crate::bridge::{Bridge, Options, Reading, StartError};
use crate::check::check;
use crate::config::{self, ConfigError};
use crate::error::BridgeError;
use crate::plan::{Mount, Plan, PlanError, Projection, Vault, VaultKind};
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretValue, fold};

/// How long a call may take where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a built bridge did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The vaults or the workers.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Puts a bridge together: vaults of a configuration file, of your own, or both. See [`Bridge::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    file: Option<PathBuf>,
    plan: Plan,
    options: Options,
}

impl Builder {
    /// Begins with what a configuration file says; it is read at the start.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Builder {
        self.file = Some(path.into());
        self
    }

    /// A local vault: an encrypted file and its key in this folder, made if they are not there. It needs no
    /// PowerShell.
    pub fn local_vault(self, name: impl Into<String>, folder: impl Into<PathBuf>) -> Builder {
        self.vault(Vault::new(name, VaultKind::local(Some(folder.into()), None)))
    }

    /// A vault of any kind.
    pub fn vault(mut self, vault: Vault) -> Builder {
        self.plan.vaults.push(vault);
        self
    }

    /// A key of a vault under a name of its own.
    pub fn mount(
        mut self,
        name: impl Into<String>,
        vault: impl Into<String>,
        key: impl Into<String>,
    ) -> Builder {
        let projection = Projection::Whole;
        let (name, vault, key) = (name.into(), vault.into(), key.into());
        self.plan.mounts.push(Mount { name, vault, key, projection, cache_ttl: None, prefetch: false });
        self
    }

    /// The pwsh program, in place of the configuration's and the one that is found.
    pub fn pwsh(mut self, program: impl Into<PathBuf>) -> Builder {
        self.options.pwsh = Some(program.into());
        self
    }

    /// The plan, once it has been checked: no name is there twice, and every mount's vault is there.
    ///
    /// # Errors
    ///
    /// The configuration file's mistakes, or what is wrong with the plan as a whole.
    pub fn plan(&self) -> Result<Plan, BuildError> {
        let mut plan = self.file.as_deref().map(config::load).transpose()?.unwrap_or_default();
        plan.vaults.extend(self.plan.vaults.iter().cloned());
        plan.mounts.extend(self.plan.mounts.iter().cloned());
        check(&plan)?;
        Ok(plan)
    }

    /// Starts what the plan needs, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub async fn start(self) -> Result<Bridge, BuildError> {
        let plan = self.plan()?;
        Ok(Bridge::start(plan, &self.options, |_, _| {}).await?)
    }
}

impl Bridge {
    /// Begins to put a bridge together.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// use secretbridge::Bridge;
    ///
    /// let bridge = Bridge::builder().local_vault("mine", folder.path()).start().await?;
    /// bridge.secret("mine/db").set("correct horse").await?;
    /// assert_eq!(bridge.secret("mine/db").get().await?.as_text(), Some("correct horse"));
    /// # bridge.stop(std::time::Duration::from_secs(5)).await;
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new()?.block_on(example())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A secret by its name: `vault/key`, or the name of a mount. Nothing is asked yet; a call takes at most 30
    /// seconds, unless [`SecretHandle::within`] says otherwise.
    pub fn secret(&self, name: &str) -> SecretHandle {
        let place = match name.split_once('/') {
            Some((vault, key)) => HandlePlace::Key { vault: vault.to_owned(), key: key.to_owned() },
            None => HandlePlace::Mount(name.to_owned()),
        };
        SecretHandle { bridge: self.clone(), place, timeout: TIMEOUT }
    }
}

/// A secret's place, and the bridge that reaches it. Cheap to clone; it holds no value.
#[derive(Clone)]
#[must_use = "a handle does nothing until it is asked"]
pub struct SecretHandle {
    bridge: Bridge,
    place: HandlePlace,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum HandlePlace {
    Key { vault: String, key: String },
    Mount(String),
}

impl std::fmt::Debug for SecretHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretHandle").field("place", &self.place).finish_non_exhaustive()
    }
}

impl SecretHandle {
    /// The same, with another limit for each call.
    pub fn within(mut self, timeout: Duration) -> SecretHandle {
        self.timeout = timeout;
        self
    }

    /// Reads it, from the cache where the vault's `cache_ttl` allows that.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`]; none of them holds the value.
    pub async fn get(&self) -> Result<SecretValue, BridgeError> {
        self.read(Reading::Kept).await
    }

    /// Reads it from the vault itself, and renews the cache.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub async fn get_fresh(&self) -> Result<SecretValue, BridgeError> {
        self.read(Reading::New).await
    }

    /// Writes it; its metadata stays. A string becomes a secret of type String.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`]; `outcome_unknown` in some of them says that it may have been written all the same.
    pub async fn set(&self, value: impl Into<SecretValue>) -> Result<(), BridgeError> {
        self.write(value.into(), None).await
    }

    /// Writes it with this metadata in place of what it has.
    ///
    /// # Errors
    ///
    /// As [`SecretHandle::set`].
    pub async fn set_with(
        &self,
        value: impl Into<SecretValue>,
        metadata: Metadata,
    ) -> Result<(), BridgeError> {
        self.write(value.into(), Some(metadata)).await
    }

    /// Removes it from its vault.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub async fn remove(&self) -> Result<(), BridgeError> {
        match &self.place {
            HandlePlace::Key { vault, key } => self.bridge.remove(vault, key, self.deadline()).await,
            HandlePlace::Mount(name) => self.bridge.remove_mounted(name, self.deadline()).await,
        }
    }

    /// Its name, type and metadata, never its value; nothing where there is no such secret.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub async fn info(&self) -> Result<Option<SecretInfo>, BridgeError> {
        let plan = self.bridge.plan();
        let (vault, key) = match &self.place {
            HandlePlace::Key { vault, key } => (vault, key),
            HandlePlace::Mount(name) => {
                match plan.mounts.iter().find(|mount| fold(&mount.name) == fold(name)) {
                    Some(mount) => (&mount.vault, &mount.key),
                    None => return Err(BridgeError::UnknownMount { name: name.clone() }),
                }
            }
        };
        let all = self.bridge.list(vault, self.deadline()).await?;
        Ok(all.into_iter().find(|secret| fold(&secret.name) == fold(key)))
    }

    /// A stream of its values: the present one first, then each that differs from the one before. The vault is asked
    /// every `interval`, because no vault tells of its changes; one that comes and goes between is not seen. An error
    /// is an item, and the stream goes on.
    pub fn changes(
        &self,
        interval: Duration,
    ) -> impl Stream<Item = Result<SecretValue, BridgeError>> + Send + use<> {
        let watch = (self.clone(), None::<SecretValue>, true);
        futures_util::stream::unfold(watch, move |(handle, mut last, mut at_once)| async move {
            loop {
                if !std::mem::take(&mut at_once) {
                    tokio::time::sleep(interval).await;
                }
                match handle.get_fresh().await {
                    Ok(value) if last.as_ref().is_some_and(|last| value.looks_like(last)) => {}
                    Ok(value) => {
                        last = Some(value.clone());
                        return Some((Ok(value), (handle, last, false)));
                    }
                    Err(error) => return Some((Err(error), (handle, last, false))),
                }
            }
        })
    }

    async fn read(&self, reading: Reading) -> Result<SecretValue, BridgeError> {
        match &self.place {
            HandlePlace::Key { vault, key } => {
                Ok(self.bridge.get_as(vault, key, reading, self.deadline()).await?.value)
            }
            HandlePlace::Mount(name) => Ok(self.bridge.read_as(name, reading, self.deadline()).await?.value),
        }
    }

    async fn write(&self, value: SecretValue, metadata: Option<Metadata>) -> Result<(), BridgeError> {
        match &self.place {
            HandlePlace::Key { vault, key } => {
                self.bridge.set(vault, key, value, metadata, self.deadline()).await
            }
            HandlePlace::Mount(name) => self.bridge.update(name, value, metadata, self.deadline()).await,
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

impl From<&str> for SecretValue {
    fn from(text: &str) -> SecretValue {
        SecretValue::string(text)
    }
}

/// The configuration in force for this user and folder, if there is one: see `docs/configuration.md`.
#[must_use]
pub fn configuration(named: Option<&Path>) -> Option<PathBuf> {
    config::find(named).map(|place| place.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_there_twice_and_vaults_that_are_not_there_are_refused() {
        let fault = |builder: Builder| match builder.plan() {
            Err(BuildError::Plan(error)) => error,
            other => panic!("{other:?}"),
        };
        let one = || Bridge::builder().local_vault("Mine", "/x");
        assert_eq!(fault(one().local_vault("mINE", "/y")), PlanError::TwoVaults("mINE".into()));
        assert_eq!(
            fault(one().mount("A", "mine", "a").mount("a", "mine", "b")),
            PlanError::TwoMounts("a".into())
        );
        let missing = PlanError::NoSuchVault { mount: "A".into(), vault: "other".into() };
        assert_eq!(fault(one().mount("A", "other", "a")), missing);
        assert_eq!(one().mount("A", "MINE", "a").plan().unwrap().vaults.len(), 1);
    }

    #[tokio::test]
    async fn a_handle_reads_writes_and_sees_changes() {
        use futures_util::StreamExt as _;
        let folder = tempfile::tempdir().unwrap();
        let builder =
            Bridge::builder().local_vault("mine", folder.path().join("mine")).mount("Db", "mine", "db");
        let bridge = builder.start().await.unwrap();
        let (secret, mount) = (bridge.secret("mine/db"), bridge.secret("Db"));
        assert!(matches!(secret.get().await, Err(BridgeError::NotFound { .. })));
        secret.set("one").await.unwrap();
        let mut changes = Box::pin(secret.changes(Duration::from_millis(5)));
        assert_eq!(changes.next().await.unwrap().unwrap().as_text(), Some("one"));
        mount.set("two").await.unwrap();
        assert_eq!(changes.next().await.unwrap().unwrap().as_text(), Some("two"));
        assert_eq!(mount.get().await.unwrap().as_text(), Some("two"));
        assert_eq!(mount.info().await.unwrap().unwrap().name, "db");
        secret.remove().await.unwrap();
        assert!(changes.next().await.unwrap().is_err());
        bridge.stop(Duration::from_secs(5)).await;
    }
}
