//! The native service, and one request that was let in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::Caller;
use crate::audit::{AuditName, AuditedAccess, AuditedAccesses};
use crate::bridge::{Bridge, Reading};
use crate::cache::Freshness;
use crate::http::message::{Head, Reply};
use crate::http::problem::Problem;
use crate::http::respond;
use crate::http::route::{Routed, Routes};
use crate::metrics::Metrics;

/// The service in front of a bridge.
#[derive(Debug)]
pub struct Native<S = Bridge> {
    pub(super) secrets: S,
    pub(super) default_vault: Option<String>,
    pub(super) routes: Routes,
    /// The mounts behind the plan's own routes, by their names as the routes write them.
    pub(super) mounts: HashMap<String, AccessSubject>,
    pub(super) metrics: Arc<Metrics>,
}

/// An answer, and how old the value in it is.
pub(super) struct ShownAnswer {
    pub(super) reply: Reply,
    pub(super) freshness: Option<Freshness>,
}

impl From<Reply> for ShownAnswer {
    fn from(reply: Reply) -> ShownAnswer {
        ShownAnswer { reply, freshness: None }
    }
}

/// One request that was let in.
pub(super) struct AdmittedCall<'a> {
    pub(super) head: &'a Head,
    pub(super) caller: &'a Caller,
    pub(super) found: Routed<'a>,
    /// What it got at so far.
    pub(super) accesses: Mutex<AuditedAccesses>,
}

/// What is accessed.
#[derive(Debug, Clone, Default)]
pub(super) struct AccessSubject {
    pub(super) vault: AuditName,
    pub(super) key: AuditName,
    pub(super) mount: AuditName,
}

/// Whether the caller asks for a value that is new: `?refresh=true`.
pub(super) fn reading(head: &Head) -> Reading {
    let query = head.query.as_deref().unwrap_or_default();
    let asked =
        form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "refresh" && value == "true");
    if asked { Reading::New } else { Reading::Kept }
}

// === impl AdmittedCall ===

impl AdmittedCall<'_> {
    /// What the path names, whether or not it is there.
    pub(super) fn asked(&self) -> AccessSubject {
        let name = |name: Option<&str>| name.map(AuditName::from).unwrap_or_default();
        AccessSubject {
            vault: name(self.found.vault.as_deref()),
            key: name(self.found.key.as_deref()),
            mount: AuditName::default(),
        }
    }

    /// Notes an access for the audit trail and, where the server or a vault is at fault, logs why.
    pub(super) fn note<T>(
        &self,
        action: &'static str,
        subject: AccessSubject,
        done: &Result<T, Problem>,
        word: &'static str,
    ) {
        let outcome = done.as_ref().map_or_else(Problem::code, |_| word);
        let AccessSubject { vault, key, mount } = subject;
        if let Err(problem @ Problem::Bridge(error)) = done
            && problem.status().is_server_error()
        {
            // The log says what the caller was told.
            let why = respond::one_line(&error.to_string());
            tracing::warn!(request = self.head.id, %vault, %key, "{why}");
        }
        let access = AuditedAccess { action, vault, key, mount, outcome };
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }
}
