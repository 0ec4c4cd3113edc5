//! What the native service asks of a bridge. [`Bridge`] is the one implementation; tests have another.

use tokio::time::Instant;

use crate::bridge::{Answer, Bridge, Health, Reading};
use crate::error::BridgeError;
use crate::plan::Plan;
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretValue, Text};

/// Mounts and vaults, as routes need them. The methods are those of [`Bridge`].
pub trait Secrets: Clone + Send + Sync + 'static {
    /// Reads a mounted secret.
    fn read(
        &self,
        mount: &str,
        reading: Reading,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, BridgeError>> + Send;

    /// Writes a mounted secret.
    fn update(
        &self,
        mount: &str,
        value: SecretValue,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Removes a mounted secret's key.
    fn remove_mounted(
        &self,
        mount: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Reads a key of a vault.
    fn get(
        &self,
        vault: &str,
        key: &str,
        reading: Reading,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, BridgeError>> + Send;

    /// Writes a key of a vault.
    fn set(
        &self,
        vault: &str,
        key: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Writes one member of a table.
    fn set_member(
        &self,
        vault: &str,
        key: &str,
        member: String,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Writes a secret's metadata.
    fn set_metadata(
        &self,
        vault: &str,
        key: &str,
        metadata: Metadata,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Unlocks a vault.
    fn unlock(
        &self,
        vault: &str,
        password: Option<Text>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Locks a vault.
    fn lock(&self, vault: &str) -> Result<(), BridgeError>;

    /// Forgets the cached values.
    fn clear_cache(&self);

    /// Removes a key of a vault.
    fn remove(
        &self,
        vault: &str,
        key: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), BridgeError>> + Send;

    /// Lists a vault.
    fn list(
        &self,
        vault: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<SecretInfo>, BridgeError>> + Send;

    /// A secret was changed elsewhere: it is read anew, if it is kept or mounted; tells whether.
    fn renew(&self, vault: &str, key: &str) -> Result<bool, BridgeError>;

    /// The friendly names of the vaults over this vault of Azure.
    fn over_azure(&self, name: &str) -> Vec<String>;

    /// Whether it has begun to stop.
    fn is_stopping(&self) -> bool;

    /// The plan that is served.
    fn plan(&self) -> &Plan;

    /// How it is.
    fn health(&self) -> Health;
}

impl Secrets for Bridge {
    async fn read(&self, mount: &str, reading: Reading, deadline: Instant) -> Result<Answer, BridgeError> {
        self.read_as(mount, reading, deadline).await
    }

    async fn update(&self, mount: &str, value: SecretValue, deadline: Instant) -> Result<(), BridgeError> {
        Bridge::update(self, mount, value, None, deadline).await
    }

    async fn remove_mounted(&self, mount: &str, deadline: Instant) -> Result<(), BridgeError> {
        Bridge::remove_mounted(self, mount, deadline).await
    }

    async fn get(
        &self,
        vault: &str,
        key: &str,
        reading: Reading,
        deadline: Instant,
    ) -> Result<Answer, BridgeError> {
        self.get_as(vault, key, reading, deadline).await
    }

    async fn set(
        &self,
        vault: &str,
        key: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        Bridge::set(self, vault, key, value, metadata, deadline).await
    }

    async fn set_member(
        &self,
        vault: &str,
        key: &str,
        member: String,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        Bridge::set_member(self, vault, key, Some(member), value, metadata, deadline).await
    }

    async fn set_metadata(
        &self,
        vault: &str,
        key: &str,
        metadata: Metadata,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        Bridge::set_metadata(self, vault, key, metadata, deadline).await
    }

    async fn unlock(
        &self,
        vault: &str,
        password: Option<Text>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        Bridge::unlock(self, vault, password, deadline).await
    }

    fn lock(&self, vault: &str) -> Result<(), BridgeError> {
        Bridge::lock(self, vault)
    }

    fn clear_cache(&self) {
        Bridge::clear_cache(self);
    }

    async fn remove(&self, vault: &str, key: &str, deadline: Instant) -> Result<(), BridgeError> {
        Bridge::remove(self, vault, key, deadline).await
    }

    async fn list(&self, vault: &str, deadline: Instant) -> Result<Vec<SecretInfo>, BridgeError> {
        Bridge::list(self, vault, deadline).await
    }

    fn renew(&self, vault: &str, key: &str) -> Result<bool, BridgeError> {
        Bridge::renew(self, vault, key)
    }

    fn over_azure(&self, name: &str) -> Vec<String> {
        Bridge::over_azure(self, name)
    }

    fn is_stopping(&self) -> bool {
        Bridge::is_stopping(self)
    }

    fn plan(&self) -> &Plan {
        Bridge::plan_in_force(self)
    }

    fn health(&self) -> Health {
        Bridge::health(self)
    }
}
