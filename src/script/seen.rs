//! What a request's block got at, for the audit trail.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Core;
use crate::audit::Access;

/// The accesses of one request. A handle: the block's task goes on where its caller has given up.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Access>>>);

/// What an ask is about.
#[derive(Deserialize, Default)]
#[serde(default)]
struct About {
    name: String,
    vault: String,
    key: String,
    remove: bool,
}

// === impl Seen ===

impl Seen {
    /// Notes an access.
    pub fn note(&self, access: Access) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }

    /// What was noted so far.
    pub fn take(&self) -> Vec<Access> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The access that an ask is, if it is one; its outcome is not known yet.
pub fn access_of(core: &Core, ask: &str, what: &RawValue) -> Option<Access> {
    let action = match ask {
        "secret-get" | "read" => "read",
        "secret-set" | "set" => "write",
        "remove" | "dismount" => "remove",
        "info" => "list",
        _ => return None,
    };
    let about: About = serde_json::from_str(what.get()).ok()?;
    if ask == "dismount" && !about.remove {
        return None;
    }
    Some(match ask {
        "secret-get" | "secret-set" | "dismount" => of_mount(core, action, &about.name),
        _ => Access { vault: about.vault.into(), key: about.key.into(), ..Access::of(action) },
    })
}

/// An access to a mounted secret.
pub fn of_mount(core: &Core, action: &'static str, name: &str) -> Access {
    let mount = core.bridge().and_then(|bridge| bridge.mounts().get(name));
    let (vault, key) =
        mount.map_or_else(Default::default, |m| (m.vault.as_str().into(), m.key.as_str().into()));
    Access { vault, key, mount: name.into(), ..Access::of(action) }
}
