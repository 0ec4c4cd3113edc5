//! Values that are read before anybody asks: mounts at the start, and secrets that were changed elsewhere.

use tokio::time::Instant;

use super::Bridge;
use crate::error::BridgeError;
use crate::plan::Mount;
use crate::secret::fold;
use crate::vault::backend::kinds;

impl Bridge {
    /// Begins to read the mounts that the plan wants in the cache before anybody asks. One that fails is named in the log.
    pub(super) fn prefetch(&self) {
        for mount in self.0.mounts.all().into_iter().filter(|mount| mount.prefetch) {
            let bridge = self.clone();
            tokio::spawn(async move {
                let deadline = Instant::now() + bridge.0.plan.limits.deadline;
                if let Err(error) = bridge.read(&mount.name, deadline).await {
                    tracing::warn!(secret = mount.name, "it could not be read ahead: {error}");
                }
            });
        }
    }

    /// A secret was changed elsewhere: what is kept of it is dropped, and read anew at once. Tells whether it was kept
    /// or is mounted; what is neither costs no call.
    pub fn renew(&self, vault: &str, key: &str) -> Result<bool, BridgeError> {
        let entry = self.vaults().get(vault)?;
        let folded = fold(key);
        let is_it = |name: &str| fold(name) == folded;
        let kept = self.0.values.names(&entry.store.id).into_iter().find(|name| is_it(name));
        let ours = |mount: &Mount| fold(&mount.vault) == fold(&entry.plan.name) && is_it(&mount.key);
        let mount = self.0.mounts.all().into_iter().find(|mount| ours(mount));
        if kept.is_none() && mount.is_none() {
            return Ok(false);
        }
        self.vaults().changes().announced(&entry.store.id, key);
        let bridge = self.clone();
        tokio::spawn(async move {
            let deadline = Instant::now() + bridge.0.plan.limits.deadline;
            let name = kept.or_else(|| mount.as_ref().map(|mount| mount.key.clone())).unwrap_or_default();
            let outcome = match mount {
                Some(mount) => bridge.read(&mount.name, deadline).await,
                None => bridge.get(&entry.plan.name, &name, deadline).await,
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    vault = entry.plan.name,
                    key = name,
                    "it changed and could not be read anew: {error}"
                );
            }
        });
        Ok(true)
    }

    /// The friendly names of the vaults over this vault of Azure.
    #[must_use]
    pub fn over_azure(&self, name: &str) -> Vec<String> {
        let all = self.vaults().all();
        let are_it = all.iter().filter(|entry| kinds::of(&entry.plan).is_called(&entry.plan, name));
        are_it.map(|entry| entry.plan.name.clone()).collect()
    }
}
