//! Whatever a log line may show by `Debug`, with each type of secret in it. Types of the crate's own are looked at
//! where they are.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Version};
use secretbridge::inside::access::{Caller, Token};
use secretbridge::inside::http::{Admitted, Head, Peer, Reply, Request, Written};
use secretbridge::inside::plan::{self, InitScript};
use secretbridge::inside::protocol::GetReply;
use secretbridge::{
    Bytes, Credential, Extension, Metadata, Parameters, SECRET_STORE, SecretSource, SecretValue, Vault,
    VaultKind,
};
use serde_json::json;
use tokio::time::Instant;

use super::{PARAMETER, PASSWORD, SECRET, TOKEN, assert_clean};

#[test]
fn no_canary_shows_in_debug_output() {
    let values = [
        SecretValue::string(SECRET),
        SecretValue::SecureString(SECRET.into()),
        SecretValue::Bytes(Bytes::new(SECRET)),
        SecretValue::Credential(Credential { user: "u".into(), password: SECRET.into() }),
        SecretValue::Hashtable([("a".to_owned(), SecretValue::SecureString(SECRET.into()))].into()),
        SecretValue::Clixml(SECRET.into()),
    ];
    for value in values {
        let reply = GetReply { value: value.clone(), metadata: Metadata::new() };
        let written = Written { value: value.clone(), metadata: None };
        assert_clean("Debug", format!("{value:?} {reply:?} {written:?}"));
        assert_clean("Debug", format!("{value:#?} {reply:#?} {written:#?}"));
    }
    let mut extension = Extension::new("v", SECRET_STORE);
    extension.unlock = Some(SecretSource::Value(PASSWORD.into()));
    let parameters = json!({ "ApiKey": PARAMETER, "Nested": { "Token": [PARAMETER] } });
    extension.parameters = Parameters(parameters.as_object().cloned().unwrap());
    let vault = Vault::new("v", VaultKind::Extension(extension));
    let init = vec![InitScript::Text(format!("Connect-It '{SECRET}'"))];
    let plan = plan::of(vec![vault], Vec::new(), init);
    let token = Token::from_text(TOKEN).unwrap();
    let shown = format!("{plan:?} {plan:#?} {token:?}");
    assert!(shown.contains("ApiKey"), "names are shown: {shown}");
    assert_clean("Debug", shown);
}

#[test]
fn no_canary_shows_in_debug_output_of_requests_and_replies() {
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("authorization", bearer.as_str()), ("cookie", SECRET), ("set-cookie", SECRET)];
    let headers: HeaderMap = fields
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .into_iter()
        .collect();
    let head = Head {
        id: 1,
        method: Method::PUT,
        path: "/kept".into(),
        query: Some(format!("value={SECRET}")),
        headers: headers.clone(),
        version: Version::HTTP_11,
        peer: Peer::Unix { uid: None, gid: None, pid: None },
        certificate: None,
        holder: None,
        listener: 0,
        received: Instant::now(),
        deadline: Instant::now(),
    };
    let admitted = Admitted::new(Caller::Anyone, None);
    let request = Request { head: Arc::new(head.clone()), body: SECRET.into(), admitted };
    let reply = Reply::new(StatusCode::OK, headers, SECRET);
    let shown = format!("{head:?} {request:?} {reply:?} {head:#?} {request:#?} {reply:#?}");
    assert!(shown.contains("/kept"), "{shown}");
    assert_clean("Debug", shown);
}
