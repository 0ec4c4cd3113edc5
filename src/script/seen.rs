//! What a request's block got at, for the audit trail.

use std::sync::{Arc, Mutex, PoisonError};

use super::core::Core;
use super::protocol::Ask;
use crate::audit::{AuditedAccess, AuditedAccesses};

/// The accesses of one request. A handle: the block's task goes on where its caller has given up.
#[derive(Debug, Clone, Default)]
pub struct SeenAccesses(Arc<Mutex<AuditedAccesses>>);

// === impl SeenAccesses ===

impl SeenAccesses {
    /// Notes an access.
    pub fn note(&self, access: AuditedAccess) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }

    /// What was noted so far.
    pub fn take(&self) -> AuditedAccesses {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The access that an ask is, if it is one; its outcome is not known yet.
pub fn access_of(core: &Core, ask: &Ask) -> Option<AuditedAccess> {
    let of_key = |action, vault: &str, key: &str| AuditedAccess {
        vault: vault.into(),
        key: key.into(),
        ..AuditedAccess::of(action)
    };
    Some(match ask {
        Ask::SecretGet(named) => of_mount(core, "read", &named.name),
        Ask::SecretSet(set) => of_mount(core, "write", &set.name),
        Ask::Dismount(dismount) if dismount.remove => of_mount(core, "remove", &dismount.name),
        Ask::Read(read) => of_key("read", &read.vault, &read.key),
        Ask::Set(set) => of_key("write", &set.vault, &set.key),
        Ask::Remove(remove) => of_key("remove", &remove.vault, &remove.key),
        Ask::Info(info) => of_key("list", &info.vault, ""),
        _ => return None,
    })
}

/// An access to a mounted secret.
pub fn of_mount(core: &Core, action: &'static str, name: &str) -> AuditedAccess {
    let mount = core.bridge.mounts().get(name);
    let (vault, key) =
        mount.map_or_else(Default::default, |m| (m.vault.as_str().into(), m.key.as_str().into()));
    AuditedAccess { vault, key, mount: name.into(), ..AuditedAccess::of(action) }
}
