//! The sections about who may call: `[auth]`, `[[tokens]]`, `[[peers]]`, `[[certificates]]`.

use std::path::Path;

use super::names::{secret_file, variable};
use super::problem::quoted;
use super::reader::{Node, Table};
use crate::access::{CallLimits, GrantRule};
use crate::plan::callers::{Callers, KeptToken, NamedCertificate, NamedPeer, NamedToken};
use crate::plan::{Access, Bind, Listener, Tls};
use crate::secret::fold;

/// No server has use for more requests a second than this.
const MOST: u64 = 1_000_000;

/// Who may call. Where somebody is named and `[auth]` says nothing, nobody else may.
pub(super) fn callers(root: &mut Table<'_>, listeners: &[Listener], base: &Path) -> (Access, Callers) {
    let mut callers = Callers::default();
    let auth = root.get("auth");
    let access = auth.as_ref().and_then(|auth| auth.table(|auth| access(auth, &mut callers, base))).flatten();
    callers.tokens = named(root, "tokens", |table, name| token(table, name, base));
    callers.peers = named(root, "peers", peer);
    callers.certificates = named(root, "certificates", certificate);
    if let (Some(Access::Open), Some(auth), false) = (&access, &auth, callers.is_empty()) {
        auth.refuse(
            "open lets everybody in, but callers are named with what they may do",
            Some("take one of them out"),
        );
    }
    let is_unix = |listener: &Listener| matches!(listener.bind, Bind::Unix(_));
    if !callers.peers.is_empty() && !listeners.iter().any(is_unix) {
        root.lacks(
            "[[peers]] are users on a Unix socket, and none is listened on",
            Some("listen = \"unix:/run/…\""),
        );
    }
    let asks = |listener: &Listener| matches!(&listener.tls, Some(Tls::Files { clients: Some(_), .. }));
    if !callers.certificates.is_empty() && !listeners.iter().any(asks) {
        root.lacks(
            "[[certificates]] are shown to listeners that ask for them, and none does",
            Some("tls = { certificate = \"…\", key = \"…\", client_ca = \"ca.pem\" }"),
        );
    }
    let default = if callers.is_empty() { Access::OwnToken } else { Access::Named };
    (access.unwrap_or(default), callers)
}

fn access(auth: &mut Table<'_>, callers: &mut Callers, base: &Path) -> Option<Access> {
    callers.hosts = texts(auth, "allow_host");
    callers.origins = texts(auth, "allow_origin");
    match auth.one_of(&["token_file", "token_env", "open"])? {
        ("token_file", node) => secret_file(&node, base).map(Access::TokenFile),
        ("token_env", node) => variable(&node).map(Access::TokenEnv),
        (_, node) => node.flag().map(|open| if open { Access::Open } else { Access::OwnToken }),
    }
}

/// The tokens of a file that holds nothing else.
pub(super) fn tokens(root: &mut Table<'_>, base: &Path) -> Vec<NamedToken> {
    let tokens = named(root, "tokens", |table, name| token(table, name, base));
    if tokens.is_empty() {
        root.lacks(
            "no token is named",
            Some("[[tokens]] with name, file or hash, and allow = [\"read /secret\"]"),
        );
    }
    tokens
}

/// The keys of `[limits]` that are about callers.
pub(super) fn limits(table: &mut Table<'_>) -> CallLimits {
    let mut count = |key| table.read(key, |node| node.count(1..=MOST)).unwrap_or(0);
    CallLimits {
        rate_per_caller: count("rate_per_caller"),
        rate_per_address: count("rate_per_address"),
        concurrent_per_caller: count("concurrent_per_caller"),
        concurrent_per_address: count("concurrent_per_address"),
    }
}

fn texts(table: &mut Table<'_>, key: &'static str) -> Vec<String> {
    let items = table.get(key).map(|node| node.items_or_one()).unwrap_or_default();
    items.iter().filter_map(Node::name).collect()
}

/// A list of tables, each with a name that is there once.
fn named<'t, T>(
    root: &mut Table<'t>,
    key: &'static str,
    read: impl Fn(&mut Table<'t>, String) -> Option<T>,
) -> Vec<T> {
    let mut names: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for item in root.read(key, Node::items).unwrap_or_default() {
        let one = item.table(|table| {
            let name = table.need("name", Node::name);
            if let Some(name) = &name {
                if names.contains(&fold(name)) {
                    item.refuse(format!("{} is named twice", quoted(name)), None);
                }
                names.push(fold(name));
            }
            // The entry is read to its end although it has no name, so that every mistake is reported.
            read(table, name.clone().unwrap_or_default()).filter(|_| name.is_some())
        });
        found.extend(one.flatten());
    }
    found
}

fn token(table: &mut Table<'_>, name: String, base: &Path) -> Option<NamedToken> {
    let allow = allow(table);
    let kept = match table.one_of(&["file", "hash"]) {
        Some(("file", node)) => secret_file(&node, base).map(KeptToken::File),
        Some((_, node)) => match node.text()?.parse() {
            Ok(hash) => Some(KeptToken::Hash(hash)),
            Err(error) => {
                node.refuse(format!("{error}"), None);
                None
            }
        },
        None => {
            table.lacks("neither file nor hash says what the token is", Some("file = \"ci.token\""));
            None
        }
    };
    Some(NamedToken { name, kept: kept?, allow: allow? })
}

fn peer(table: &mut Table<'_>, name: String) -> Option<NamedPeer> {
    let allow = allow(table);
    let mut id = |key| table.read(key, |node| node.count(0..=u64::from(u32::MAX)));
    let (uid, gid) = (id("uid"), id("gid"));
    if uid.is_none() && gid.is_none() {
        table.lacks("neither uid nor gid says which user that is", Some("uid = 1001"));
        return None;
    }
    Some(NamedPeer { name, uid, gid, allow: allow? })
}

fn certificate(table: &mut Table<'_>, name: String) -> Option<NamedCertificate> {
    let allow = allow(table);
    let (subject, san) = (table.read("subject", Node::name), table.read("san", Node::name));
    if subject.is_none() && san.is_none() {
        table
            .lacks("neither subject nor san says which certificate that is", Some("subject = \"CN=backup\""));
        return None;
    }
    Some(NamedCertificate { name, subject, san, allow: allow? })
}

/// What somebody may do. An empty list is a choice, none at all a mistake.
fn allow(table: &mut Table<'_>) -> Option<Vec<GrantRule>> {
    let list = table.need("allow", |node| Some(node.items_or_one()))?;
    let rule = |node: &Node<'_>| match node.text()?.parse() {
        Ok(rule) => Some(rule),
        Err(error) => {
            node.refuse(format!("{error}"), None);
            None
        }
    };
    list.iter().map(rule).collect()
}
