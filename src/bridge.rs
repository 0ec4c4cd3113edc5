//! The bridge: mounts, cache and vaults behind one handle.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::error::BridgeError;
use crate::plan::Plan;
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::SecretValue;

/// A running bridge. Cheap to clone.
#[derive(Clone)]
pub struct Bridge(Arc<()>);

/// How the bridge is.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Requests can be served.
    pub ready: bool,
}

impl Bridge {
    /// Reads a mounted secret, projected as the mount says.
    pub async fn read(&self, mount: &str, deadline: Instant) -> Result<SecretValue, BridgeError> {
        let _ = (mount, deadline);
        Err(BridgeError::Saturated)
    }

    /// Writes a mounted secret. With a member projection the other members are kept.
    pub async fn update(
        &self,
        mount: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let _ = (mount, value, metadata, deadline);
        Err(BridgeError::Saturated)
    }

    /// Removes a mounted secret's key from its vault.
    pub async fn remove_mounted(&self, mount: &str, deadline: Instant) -> Result<(), BridgeError> {
        let _ = (mount, deadline);
        Err(BridgeError::Saturated)
    }

    /// Reads a key of a vault.
    pub async fn get(&self, vault: &str, key: &str, deadline: Instant) -> Result<SecretValue, BridgeError> {
        let _ = (vault, key, deadline);
        Err(BridgeError::Saturated)
    }

    /// Writes a key of a vault. Without metadata the present metadata is kept.
    pub async fn set(
        &self,
        vault: &str,
        key: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let _ = (vault, key, value, metadata, deadline);
        Err(BridgeError::Saturated)
    }

    /// Removes a key of a vault.
    pub async fn remove(&self, vault: &str, key: &str, deadline: Instant) -> Result<(), BridgeError> {
        let _ = (vault, key, deadline);
        Err(BridgeError::Saturated)
    }

    /// Lists a vault: names, types and metadata; never values.
    pub async fn list(&self, vault: &str, deadline: Instant) -> Result<Vec<SecretInfo>, BridgeError> {
        let _ = (vault, deadline);
        Err(BridgeError::Saturated)
    }

    /// The plan that it serves.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::default()
    }

    /// How it is, without calling a vault.
    pub fn health(&self) -> Health {
        Health { ready: false }
    }

    /// Drains, unregisters what was registered, ends the workers.
    pub async fn stop(&self, drain: Duration) {
        let _ = drain;
    }
}
