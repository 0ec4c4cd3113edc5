//! Answers that need no worker.

use bytes::Bytes;
use hyper::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::{HeaderValue, StatusCode};

use super::exchange::Exchange;
use crate::audit::AuditedAccess;
use crate::error::BridgeError;
use crate::http::Reply;
use crate::script::lift;
use crate::script::protocol::ask::Lift;
use crate::script::route::ScriptRoute;
use crate::script::seen;
use crate::script::task::Unanswered;
use crate::secret::{self, SecretValue};

impl Exchange<'_> {
    /// The answer, where it can be given without a worker.
    pub(super) async fn lifted(&self, route: &ScriptRoute) -> Option<Reply> {
        match route.lift.as_ref()? {
            Lift::Respond(template) => {
                let mut values = Vec::new();
                for name in template.secrets() {
                    match self.read(name).await {
                        Ok(value) => values.push(value?),
                        Err(error) => return self.refused(route, "read", name, error),
                    }
                }
                let body = lift::render(template, &values)?;
                let mut headers = self.headers();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
                let body = Bytes::from_owner(secret::Bytes::new(body.as_bytes()));
                Some(Reply::new(StatusCode::OK, headers, body))
            }
            Lift::Update { secret, field } => {
                if self.head.headers.contains_key(CONTENT_ENCODING) || !self.is_of_extension(secret) {
                    return None;
                }
                let forced = route.content_type.as_deref();
                let text = lift::field(&self.body, self.header(CONTENT_TYPE), forced, field)?;
                let value = SecretValue::String(text);
                match self.core.bridge.update(secret, value, None, self.head.deadline).await {
                    Ok(()) => {
                        self.seen.note(seen::of_mount(self.core, "write", secret));
                        let (headers, body) = (self.headers(), Bytes::new());
                        Some(Reply::new(StatusCode::OK, headers, body))
                    }
                    Err(error) => self.refused(route, "write", secret, error),
                }
            }
        }
    }

    /// A mounted value; nothing where only a block can tell it.
    async fn read(&self, name: &str) -> Result<Option<SecretValue>, BridgeError> {
        if !self.is_of_extension(name) {
            return Ok(None);
        }
        let value = self.core.bridge.read(name, self.head.deadline).await?;
        if value.as_text().is_none() {
            return Ok(None);
        }
        self.seen.note(seen::of_mount(self.core, "read", name));
        Ok(Some(value))
    }

    /// Whether the core may call the mount's vault by itself: custom vaults are blocks.
    fn is_of_extension(&self, mount: &str) -> bool {
        let bridge = &self.core.bridge;
        let entry = bridge.mounts().get(mount).and_then(|mount| bridge.vaults().get(&mount.vault).ok());
        entry.is_some_and(|entry| !entry.is_scripts_own())
    }

    /// An error of a lifted route: the block fails in its own words, where it can be tried without harm.
    fn refused(
        &self,
        route: &ScriptRoute,
        action: &'static str,
        mount: &str,
        error: BridgeError,
    ) -> Option<Reply> {
        match error {
            BridgeError::Saturated
            | BridgeError::Throttled { .. }
            | BridgeError::NotReady { .. }
            | BridgeError::Deadline { .. }
            | BridgeError::Worker { .. } => {
                let access = seen::of_mount(self.core, action, mount);
                self.seen.note(AuditedAccess { outcome: error.code(), ..access });
                Some(self.unanswered(route, Unanswered::Bridge(error)))
            }
            _ => None,
        }
    }
}
