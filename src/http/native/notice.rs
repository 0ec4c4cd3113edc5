//! What tells the cache that secrets have changed elsewhere: `POST /admin/cache/refresh`.
//!
//! Three forms of a body, all JSON: ours, `{"secrets":[{"vault":"Team","key":"db"}]}`; a list of events in Event
//! Grid's schema, whose first is its handshake; and one event in the CloudEvents schema, whose handshake is an `OPTIONS`
//! of its own (<https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md#4-abuse-protection>). Facts of the two:
//! <https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema> and
//! <https://learn.microsoft.com/azure/event-grid/event-schema-key-vault>.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::http::message::{Head, Reply};
use crate::http::route::NOTICES;

/// Who asks whether it may send events here, and the answer.
const ASKS: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Event Grid asks whether the address wants its events.
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// Key Vault has a new version of a secret.
const NEW_VERSION: &str = "Microsoft.KeyVault.SecretNewVersionCreated";

/// Most secrets that one notice may name.
const MOST: usize = 1000;

/// What a body says.
#[derive(Debug, PartialEq, Eq)]
pub enum ChangeNotice {
    /// Event Grid's handshake: this code is to be sent back.
    Handshake(String),
    /// These have changed.
    Changed(Vec<ChangedSecret>),
}

/// A secret that has changed elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangedSecret {
    /// In which vault.
    pub vault: NoticePlace,
    /// Its key.
    pub key: String,
}

/// A vault, by one of its names.
#[derive(Debug, PartialEq, Eq)]
pub enum NoticePlace {
    /// The friendly name.
    Friendly(String),
    /// The name in Azure, which the vault's parameter `AZKVaultName` holds.
    Azure(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    secrets: Vec<NamedSecret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedSecret {
    vault: String,
    key: String,
}

#[derive(Deserialize)]
struct NoticeEvent {
    #[serde(alias = "eventType")]
    r#type: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(rename = "validationCode")]
    code: Option<String>,
    #[serde(rename = "VaultName")]
    vault: Option<String>,
    #[serde(rename = "ObjectName")]
    name: Option<String>,
}

/// The answer to an `OPTIONS` that a caller sent who may send notices: where it asks whether it may, it is told so.
pub fn allowed(head: &Head, mut reply: Reply) -> Reply {
    if head.path == NOTICES
        && let Some(origin) = head.headers.get(ASKS)
    {
        reply.status = StatusCode::OK;
        reply.headers.insert(ALLOWED, origin.clone());
        reply.headers.insert(RATE, HeaderValue::from_static("*"));
    }
    reply
}

/// Reads a body; `None` where it has none of the three forms. Events of other kinds are ignored.
pub fn read(body: &[u8]) -> Option<ChangeNotice> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let events = match value {
        Value::Array(events) => events,
        Value::Object(ref object) if object.contains_key("secrets") => {
            let ours: Ours = serde_json::from_value(value).ok()?;
            let changed = ours
                .secrets
                .into_iter()
                .map(|NamedSecret { vault, key }| ChangedSecret { vault: NoticePlace::Friendly(vault), key });
            return bounded(changed.collect());
        }
        event @ Value::Object(_) => vec![event],
        _ => return None,
    };
    let events: Vec<NoticeEvent> =
        events.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().ok()?;
    if let Some(code) =
        events.iter().find(|event| event.r#type == VALIDATION).and_then(|event| event.data.code.clone())
    {
        return Some(ChangeNotice::Handshake(code));
    }
    let changed = events.into_iter().filter(|event| event.r#type == NEW_VERSION).filter_map(|event| {
        let Data { vault, name, .. } = event.data;
        Some(ChangedSecret { vault: NoticePlace::Azure(vault?), key: name? })
    });
    bounded(changed.collect())
}

fn bounded(changed: Vec<ChangedSecret>) -> Option<ChangeNotice> {
    (changed.len() <= MOST).then_some(ChangeNotice::Changed(changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let ours = br#"{"secrets":[{"vault":"Team","key":"db"}]}"#;
        let changed = |vault: NoticePlace, key: &str| {
            Some(ChangeNotice::Changed(vec![ChangedSecret { vault, key: key.into() }]))
        };
        assert_eq!(read(ours), changed(NoticePlace::Friendly("Team".into()), "db"));
        let grid = br#"[{"id":"1","topic":"/t","subject":"db","eventType":"Microsoft.KeyVault.SecretNewVersionCreated",
            "eventTime":"2026-11-30T10:00:00Z","dataVersion":"1","metadataVersion":"1",
            "data":{"Id":"https://team.vault.azure.net/secrets/db/1","VaultName":"team","ObjectType":"Secret",
            "ObjectName":"db","Version":"1","NBF":null,"EXP":null}}]"#;
        assert_eq!(read(grid), changed(NoticePlace::Azure("team".into()), "db"));
        let cloud = br#"{"specversion":"1.0","type":"Microsoft.KeyVault.SecretNewVersionCreated","source":"/s","id":"1",
            "data":{"VaultName":"team","ObjectName":"db"}}"#;
        assert_eq!(read(cloud), changed(NoticePlace::Azure("team".into()), "db"));
    }

    #[test]
    fn the_handshake_gives_its_code_and_nothing_else() {
        let body = br#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"512d","validationUrl":"https://x"}}]"#;
        assert_eq!(read(body), Some(ChangeNotice::Handshake("512d".into())));
    }

    #[test]
    fn other_events_say_nothing_and_other_bodies_are_none() {
        let other = br#"[{"eventType":"Microsoft.KeyVault.SecretNearExpiry","data":{"VaultName":"v","ObjectName":"n"}}]"#;
        assert_eq!(read(other), Some(ChangeNotice::Changed(Vec::new())));
        for body in
            ["", "x", "1", "{}", r#"{"secrets":[{"vault":"v"}]}"#, r#"{"secrets":{},"more":1}"#, "[1]"]
        {
            assert_eq!(read(body.as_bytes()), None, "{body}");
        }
        let many = format!(r#"{{"secrets":[{}]}}"#, vec![r#"{"vault":"v","key":"k"}"#; MOST + 1].join(","));
        assert_eq!(read(many.as_bytes()), None);
    }
}
