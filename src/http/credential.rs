//! What systemd asks a socket for that `LoadCredential=` names, answered as a read of a secret.
//!
//! systemd connects from an abstract address that tells the unit and the credential, ends its side, and takes
//! all that comes as the credential. There is no way to say no: nothing at all would be an empty credential,
//! and the unit would start with it. So a refusal is a text longer than systemd takes ([`LONGEST`]): the unit
//! does not start, and its log says why.
//!
//! The read goes the way of every request: it is counted, limited and noted in the audit trail, with the unit
//! as its caller.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::Method;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::message::{Head, Reply, Request, Service};
use super::problem::{DoorFault, Problem};
use super::stream::Duplex;
use crate::access::{AccessRefusal, GrantRule, Holder};
use crate::plan::credentials::{UnitCredential, UnitCredentials};

/// The longest credential that systemd takes, in bytes.
const LONGEST: usize = 1024 * 1024;

/// What was asked for: the unit and the credential's name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AskedCredential {
    unit: String,
    id: String,
}

impl AskedCredential {
    /// From the address that a client has bound itself to: some letters, `/unit/`, the unit, a slash and the name.
    fn of(address: &[u8]) -> Option<AskedCredential> {
        let address = std::str::from_utf8(address).ok()?;
        let (_, rest) = address.split_once("/unit/")?;
        let (unit, id) = rest.split_once('/')?;
        let is_name = |text: &str| !text.is_empty() && !text.contains(['/', '\0']);
        (is_name(unit) && is_name(id)).then(|| AskedCredential { unit: unit.to_owned(), id: id.to_owned() })
    }
}

/// One answer of the socket, before it is given.
pub(super) struct CredentialAnswer {
    /// The unit, if there is a secret for it.
    pub(super) holder: Option<Holder>,
    /// The path of the request that reads the secret, or that names what was refused.
    path: String,
    /// What is said where nothing is given.
    refusal: String,
}

impl CredentialAnswer {
    /// What whoever is bound to this address gets.
    pub(super) fn to(address: Option<&[u8]>, credentials: &UnitCredentials) -> CredentialAnswer {
        let wanted = address.and_then(AskedCredential::of);
        let given = wanted.as_ref().and_then(|wanted| credentials.find(&wanted.unit, &wanted.id));
        let path = match (given, &wanted) {
            (Some(given), _) => format!("/vaults/{}/secrets/{}", encoded(&given.vault), encoded(&given.key)),
            (None, Some(wanted)) => format!("/credentials/{}/{}", encoded(&wanted.unit), encoded(&wanted.id)),
            (None, None) => "/credentials".to_owned(),
        };
        CredentialAnswer {
            holder: wanted.as_ref().and_then(|wanted| holder(given?, &wanted.unit)),
            path,
            refusal: nothing_for(wanted.as_ref()),
        }
    }

    /// The head of the request that reads the secret.
    pub(super) fn parts(&self) -> Parts {
        let mut parts = hyper::Request::new(()).into_parts().0;
        parts.method = Method::GET;
        if let Ok(uri) = self.path.parse() {
            parts.uri = uri;
        }
        parts.headers.insert(ACCEPT, HeaderValue::from_static("application/octet-stream"));
        parts
    }

    /// Reads the secret, unless there is none to be given. A panic ends here.
    pub(super) async fn read(&self, service: &dyn Service, head: &Arc<Head>) -> Reply {
        if self.holder.is_none() {
            return service.refuse(head, &AccessRefusal::Forbidden.into());
        }
        let read = async {
            match service.admit(head) {
                Ok(admitted) => {
                    service.answer(Request { head: head.clone(), body: Bytes::new(), admitted }).await
                }
                Err(refused) => refused.answer().await,
            }
        };
        let done = AssertUnwindSafe(read).catch_unwind().await;
        done.unwrap_or_else(|_| service.refuse(head, &Problem::Door(DoorFault::Panicked)))
    }

    /// Gives it. Whoever asks and does not read is not waited for.
    pub(super) async fn give(self, mut to: Box<dyn Duplex>, reply: &Reply, limit: Duration) {
        let told = match self.holder {
            Some(_) => answer(&mut to, reply).boxed(),
            None => refuse(&mut to, self.refusal).boxed(),
        };
        match timeout(limit, told).await {
            Ok(Ok(())) => {}
            // systemd hangs up as soon as a refusal is too long for it.
            Ok(Err(error)) => tracing::debug!(%error, "a credential was not taken to its end"),
            Err(_) => tracing::debug!("a credential was not taken in time"),
        }
    }
}

/// The unit as a caller, who may read this one secret.
fn holder(given: &UnitCredential, unit: &str) -> Option<Holder> {
    let rule: GrantRule = format!("read {}/{}", given.vault, given.key).parse().ok()?;
    Some(Holder::new(unit, vec![rule]))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Writes the credential, or why there is none.
async fn answer(to: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> std::io::Result<()> {
    if !reply.status.is_success() {
        return refuse(to, String::from_utf8_lossy(&reply.body).into_owned()).await;
    }
    to.write_all(&reply.body).await?;
    to.shutdown().await
}

/// Writes a refusal that no unit starts with.
async fn refuse(to: &mut (impl AsyncWrite + Unpin), why: String) -> std::io::Result<()> {
    to.write_all(format!("secretbridge refuses: {why}\n").as_bytes()).await?;
    to.write_all(&vec![b'\n'; LONGEST]).await?;
    to.shutdown().await
}

fn nothing_for(wanted: Option<&AskedCredential>) -> String {
    match wanted {
        Some(AskedCredential { unit, id }) => {
            format!("[credentials.units.\"{unit}\"] of the configuration gives it no '{id}'")
        }
        None => {
            "who connects does not say which unit it is for; only LoadCredential= of systemd is answered here"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_unit_and_credential() {
        let wanted = |address: &[u8]| AskedCredential::of(address).map(|wanted| (wanted.unit, wanted.id));
        let some = |unit: &str, id: &str| Some((unit.to_owned(), id.to_owned()));
        assert_eq!(wanted(b"adf9d86b6eda275e/unit/foobar.service/credx"), some("foobar.service", "credx"));
        assert_eq!(
            wanted(b"a/unit/app@x\\x2dy.service/db.password"),
            some("app@x\\x2dy.service", "db.password")
        );
        for address in
            [&b""[..], b"a/unit/", b"a/unit/x", b"a/unit/x/", b"a/unit//y", b"a/unit/x/y/z", b"\xff/unit/x/y"]
        {
            assert_eq!(wanted(address), None, "{address:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_longer_than_systemd_takes_and_begins_with_the_reason() {
        let mut out = Vec::new();
        refuse(&mut out, "why".to_owned()).await.unwrap();
        assert!(out.starts_with(b"secretbridge refuses: why\n") && out.len() > LONGEST);
    }
}
