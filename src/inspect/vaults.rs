//! Each vault, reached by listing it. Nothing is written: a store is not configured, a file that is not there is not
//! made.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::Finding;
use crate::bridge::{Bridge, Options};
use crate::error::BridgeError;
use crate::local::{self, LocalError, LocalVault, VaultFolder};
use crate::plan::{AutoImport, Plan, Registry, Vault};
use crate::vault::backend::kind::{VaultFiles, VaultWay};
use crate::vault::backend::kinds;

const AREA: &str = "vaults";

/// How long a vault may take to close.
const CLOSING: Duration = Duration::from_secs(5);

/// Reaches one vault.
pub async fn reach(plan: &Plan, vault: &Vault, pwsh: Option<PathBuf>, limit: Duration) -> Finding {
    let name = &vault.name;
    let finding = match kinds::of(vault).way(vault) {
        VaultWay::Files(VaultFiles { folder: Some(folder), key, .. }) => in_files(name, folder, key).await,
        VaultWay::Files(_) => {
            Finding::problem(AREA, format!("'{name}': no home folder is known"), "set HOME")
        }
        VaultWay::None(why) => Finding::ok(AREA, why),
        VaultWay::Worker => {
            let work = by_worker(plan, vault, pwsh, limit);
            match tokio::time::timeout(limit * 2, work).await {
                Ok(finding) => finding,
                Err(_) => Finding::problem(
                    AREA,
                    format!("'{name}' did not answer in time"),
                    "give it more with --timeout",
                ),
            }
        }
    };
    finding.with("vault", name.as_str())
}

async fn in_files(name: &str, folder: PathBuf, key: Option<PathBuf>) -> Finding {
    match local::look(&folder, key.as_deref()) {
        Ok(VaultFolder::Nothing) => {
            return Finding::ok(AREA, format!("'{name}': empty; its files are made at the first use"));
        }
        Ok(VaultFolder::Begun) => {
            let message = format!("'{name}': its first use was cut off; the next one completes its files");
            return Finding::ok(AREA, message);
        }
        Ok(VaultFolder::Whole) => {}
        Err(error) => return refused(name, &error),
    }
    let listed = tokio::task::spawn_blocking(move || {
        LocalVault::open_with_key(&folder, key.as_deref()).and_then(|vault| vault.list())
    })
    .await;
    match listed {
        Ok(Ok(secrets)) => Finding::ok(AREA, format!("'{name}': reached, {} secrets", secrets.len()))
            .with("secrets", secrets.len()),
        Ok(Err(error)) => refused(name, &error),
        Err(error) => Finding::problem(AREA, format!("'{name}': {error}"), "report this as a bug"),
    }
}

/// A local vault's error says what is wrong, and after a semicolon what to do.
fn refused(name: &str, error: &LocalError) -> Finding {
    let text = error.to_string();
    let (what, cure) = text.split_once("; ").unwrap_or((&text, "look at the file that is named"));
    Finding::problem(AREA, format!("'{name}': {what}"), cure)
}

/// Opens the vault as one that somebody else has configured, and lists it.
async fn by_worker(plan: &Plan, vault: &Vault, pwsh: Option<PathBuf>, limit: Duration) -> Finding {
    let name = vault.name.clone();
    let mut vault = vault.clone();
    if let Some(extension) = vault.extension_mut() {
        // A vault of the user's registry is not configured. Its parameters are still given to its module.
        extension.imported = true;
    }
    (vault.read_only, vault.repair) = (true, false);
    let mut alone = Plan { vaults: vec![vault], mounts: Vec::new(), routes: Vec::new(), ..plan.clone() };
    (alone.pool.min, alone.pool.max) = (1, 1);
    // Nothing is registered in the user's own registry.
    alone.registry = Registry::Private;
    alone.auto_import = AutoImport { enabled: false, expose: Vec::new() };
    let began = Instant::now();
    let bridge = match Bridge::start(alone, &Options { pwsh }, |_, _| {}).await {
        Ok(bridge) => bridge,
        Err(error) => {
            return Finding::problem(AREA, format!("'{name}': {error}"), "mend what the message names");
        }
    };
    let listed = bridge.list(&name, Instant::now() + limit).await;
    let took = began.elapsed();
    bridge.stop(CLOSING).await;
    match listed {
        Ok(secrets) => {
            let message = format!(
                "'{name}': reached and unlocked, {} secrets, {} ms with a new worker",
                secrets.len(),
                took.as_millis()
            );
            Finding::ok(AREA, message).with("secrets", secrets.len()).with("unlocked", true)
        }
        Err(error @ BridgeError::Locked { .. }) => {
            Finding::problem(AREA, format!("'{name}': {error}"), error.hint()).with("unlocked", false)
        }
        Err(error) => Finding::problem(AREA, format!("'{name}': {error}"), error.hint()),
    }
}
