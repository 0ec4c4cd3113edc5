//! The native service, and one request that was let in.

use std::sync::{Arc, Mutex, PoisonError};

use crate::access::Caller;
use crate::audit::{AuditName, AuditedAccess};
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
    pub(super) accesses: Mutex<Vec<AuditedAccess>>,
}

/// What is accessed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AccessSubject<'a> {
    pub(super) vault: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) mount: Option<&'a str>,
}

/// Whether the caller asks for a value that is new: `?refresh=true`.
pub(super) fn reading(head: &Head) -> Reading {
    let query = head.query.as_deref().unwrap_or_default();
    let asked =
        form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "refresh" && value == "true");
    if asked { Reading::New } else { Reading::Kept }
}

// === impl Call ===

impl AdmittedCall<'_> {
    /// What the path names, whether or not it is there.
    pub(super) fn asked(&self) -> AccessSubject<'_> {
        AccessSubject { vault: self.found.vault.as_deref(), key: self.found.key.as_deref(), mount: None }
    }

    /// Notes an access for the audit trail and, where the server or a vault is at fault, logs why.
    pub(super) fn note<T>(
        &self,
        action: &'static str,
        subject: AccessSubject<'_>,
        done: &Result<T, Problem>,
        word: &'static str,
    ) {
        let name = |name: Option<&str>| name.map(AuditName::from).unwrap_or_default();
        let outcome = done.as_ref().map_or_else(Problem::code, |_| word);
        let AccessSubject { vault, key, mount } = subject;
        let access =
            AuditedAccess { action, vault: name(vault), key: name(key), mount: name(mount), outcome };
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner).push(access);
        if let Err(problem @ Problem::Bridge(error)) = done
            && problem.status().is_server_error()
        {
            // The log says what the caller was told.
            let why = respond::one_line(&error.to_string());
            let (vault, key) = (vault.unwrap_or_default(), key.unwrap_or_default());
            tracing::warn!(request = self.head.id, vault, key, "{why}");
        }
    }
}
