//! The sections about the server itself: where it listens, who may call, its workers and limits.

use std::path::Path;

use super::address::{ListenAddress, ListenAddressError, format_bind, parse_address};
use super::names::{path, program, secret_file};
use super::problem::quoted;
use super::reader::{Node, Table};
use crate::access;
use crate::audit::{self, Destination};
use crate::plan::{
    AutoImport, Bind, BodyLimits, CacheLimits, DEFAULT_ADDRESS, Expose, InitScript, Limits, Listener,
    PoolLimits, Pwsh, Registry, Tls,
};
use crate::secret::fold;

/// No machine has use for more workers, connections or waiting requests than these.
const MOST_WORKERS: u64 = 256;
const MOST: u64 = 1_000_000_000;

/// No larger limit bounds anything.
const MOST_OF_A_BODY: u64 = 1_000_000;

/// A pwsh that has done anything uses more than this, and would be recycled for ever.
const LEAST_MEMORY: u64 = 64 << 20;

const CERTIFICATE_HINT: &str =
    "tls = { certificate = \"chain.pem\", key = \"key.pem\" }, or tls = \"self-signed\"";

// === where to listen ===

pub(super) fn listeners(root: &mut Table<'_>, base: &Path) -> Vec<Listener> {
    let mut found: Vec<(Node<'_>, Listener)> = Vec::new();
    if let Some(listen) = root.get("listen") {
        let items = listen.items_or_one();
        if items.is_empty() {
            listen.refuse("names no address", Some("e.g. \"127.0.0.1:8085\""));
        }
        found.extend(items.into_iter().filter_map(|item| {
            let listener = plain_listener(&item, base)?;
            Some((item, listener))
        }));
    }
    for item in root.read("listeners", Node::items).unwrap_or_default() {
        if let Some(listener) = item.table(|table| listener(table, base)).flatten() {
            found.push((item, listener));
        }
    }
    refuse_twins(&found);
    if found.is_empty() {
        let bind = Bind::Tcp(DEFAULT_ADDRESS.into());
        return vec![Listener { bind, tls: None, name: None }];
    }
    found.into_iter().map(|(_, listener)| listener).collect()
}

fn plain_listener(node: &Node<'_>, base: &Path) -> Option<Listener> {
    let ListenAddress { bind, https } = address(node, base)?;
    if https == Some(true) {
        node.refuse("https needs a certificate", Some("write [[listeners]] with address and tls"));
        return None;
    }
    Some(Listener { bind, tls: None, name: None })
}

fn listener(table: &mut Table<'_>, base: &Path) -> Option<Listener> {
    let name = table.read("name", Node::name);
    let tls_node = table.get("tls");
    let tls = tls_node.as_ref().and_then(|node| tls(node, base));
    let node = table.need("address", |node| Some(node.clone()))?;
    let ListenAddress { bind, https } = address(&node, base)?;
    match (&bind, https, &tls_node) {
        (_, Some(true), None) => node.refuse("https needs a certificate", Some(CERTIFICATE_HINT)),
        (_, Some(false), Some(_)) => node.refuse("says http, but has tls", Some("write https://")),
        (Bind::Unix(_), _, Some(tls)) => tls.refuse_key("has no use on a Unix socket", None),
        _ => {}
    }
    Some(Listener { bind, tls, name })
}

fn tls(node: &Node<'_>, base: &Path) -> Option<Tls> {
    match node.value().as_str() {
        Some("self-signed") => Some(Tls::SelfSigned),
        Some(_) => {
            node.refuse("is not known", Some(CERTIFICATE_HINT));
            None
        }
        None => node.table(|table| {
            let certificate = table.need("certificate", |node| path(node, base));
            let key = table.need("key", |node| secret_file(node, base));
            let clients = table.read("client_ca", |node| path(node, base));
            Some(Tls::Files { certificate: certificate?, key: key?, clients })
        })?,
    }
}

fn address(node: &Node<'_>, base: &Path) -> Option<ListenAddress> {
    match parse_address(node.text()?) {
        Ok(ListenAddress { bind: Bind::Unix(socket), https }) => {
            Some(ListenAddress { bind: Bind::Unix(base.join(socket)), https })
        }
        Ok(address) => Some(address),
        Err(ListenAddressError { message, hint }) => {
            node.refuse(message, Some(&hint));
            None
        }
    }
}

fn refuse_twins(found: &[(Node<'_>, Listener)]) {
    for (index, (node, listener)) in found.iter().enumerate() {
        // Port 0 is another port each time.
        let free = matches!(listener.bind, Bind::Tcp(address) if address.port() == 0);
        if let Some((first, _)) = found[..index].iter().find(|(_, other)| other.bind == listener.bind)
            && !free
        {
            let address = format_bind(&listener.bind);
            node.refuse(format!("{address} is already listened on, see line {}", first.line()), None);
        }
        let folded = listener.name.as_deref().map(fold);
        let same = |(_, other): &&(Node<'_>, Listener)| folded == other.name.as_deref().map(fold);
        if let Some((first, _)) = found[..index].iter().find(same)
            && let Some(name) = &listener.name
        {
            node.refuse(
                format!("{} is already a listener's name, see line {}", quoted(name), first.line()),
                None,
            );
        }
    }
}

// === workers ===

pub(super) fn pwsh(node: &Node<'_>, base: &Path) -> Option<(Pwsh, Vec<InitScript>)> {
    node.table(|table| {
        let path_of_pwsh = table.read("path", |node| program(node, base));
        let folders = table.get("module_path").map(|node| node.items_or_one()).unwrap_or_default();
        let module_path = folders.iter().filter_map(|node| path(node, base)).collect();
        let scripts = table.get("init").map(|node| node.items_or_one()).unwrap_or_default();
        let init = scripts.iter().filter_map(|node| init_script(node, base)).collect();
        let user = table.read("user", Node::name);
        let home = table.get("home");
        if let (None, Some(home)) = (&user, &home) {
            home.refuse_key("has no use without user", None);
        }
        let home = home.and_then(|node| path(&node, base));
        (Pwsh { path: path_of_pwsh, module_path, user, home }, init)
    })
}

fn init_script(node: &Node<'_>, base: &Path) -> Option<InitScript> {
    if let Some(text) = node.value().as_str() {
        if text.trim().is_empty() {
            node.refuse("is empty", None);
            return None;
        }
        return Some(InitScript::Text(text.to_owned()));
    }
    if !node.value().is_table() {
        return node.expected("PowerShell text or { file = \"init.ps1\" }");
    }
    node.table(|table| table.need("file", |node| path(node, base)))?.map(InitScript::File)
}

pub(super) fn pool(node: &Node<'_>) -> Option<PoolLimits> {
    node.table(|table| {
        let default = PoolLimits::default();
        let min = table.read("min", |node| node.count(1..=MOST_WORKERS));
        let max_node = table.get("max");
        let max = max_node.as_ref().and_then(|node| node.count(1..=MOST_WORKERS));
        if let (Some(min), Some(max), Some(node)) = (min, max, &max_node)
            && min > max
        {
            node.refuse(format!("is less than min, which is {min}"), None);
        }
        // If one of them is given, the default of the other does not apply.
        let least: usize = min.unwrap_or_else(|| default.min.min(max.unwrap_or(default.min)));
        PoolLimits {
            min: least,
            max: max.unwrap_or_else(|| default.max.max(least)),
            queue: table.read("queue", |node| node.count(1..=1_000_000)).unwrap_or(default.queue),
            max_calls: table.read("max_calls", |node| node.count(1..=MOST)).unwrap_or(default.max_calls),
            max_age: table.read("max_age", Node::some_duration).unwrap_or(default.max_age),
            max_memory: table
                .read("max_memory", |node| node.size(LEAST_MEMORY))
                .unwrap_or(default.max_memory),
            start_limit: table.read("start_limit", Node::some_duration).unwrap_or(default.start_limit),
        }
    })
}

pub(super) fn limits(node: &Node<'_>, callers: &mut access::CallLimits) -> Option<Limits> {
    node.table(|table| {
        *callers = super::callers::limits(table);
        let default = Limits::default();
        let max_body =
            table.read("max_body", |node| node.size(1).and_then(|size| usize::try_from(size).ok()));
        Limits {
            deadline: table.read("deadline", Node::some_duration).unwrap_or(default.deadline),
            write_grace: table.read("write_grace", Node::duration).unwrap_or(default.write_grace),
            drain: table.read("drain", Node::duration).unwrap_or(default.drain),
            max_body: max_body.unwrap_or(default.max_body),
            max_connections: table
                .read("max_connections", |node| node.count(1..=1_000_000))
                .unwrap_or(default.max_connections),
            max_connections_per_peer: table
                .read("max_connections_per_peer", |node| node.count(1..=1_000_000))
                .unwrap_or(default.max_connections_per_peer),
            first_byte_timeout: table
                .read("first_byte_timeout", Node::some_duration)
                .unwrap_or(default.first_byte_timeout),
            header_timeout: table
                .read("header_timeout", Node::some_duration)
                .unwrap_or(default.header_timeout),
            idle_timeout: table.read("idle_timeout", Node::some_duration).unwrap_or(default.idle_timeout),
            body: body_limits(table),
        }
    })
}

fn body_limits(table: &mut Table<'_>) -> BodyLimits {
    let default = BodyLimits::default();
    let mut read = |key, default| table.read(key, |node| node.count(1..=MOST_OF_A_BODY)).unwrap_or(default);
    BodyLimits {
        max_fields: read("max_fields", default.max_fields),
        max_parts: read("max_parts", default.max_parts),
        max_depth: read("max_depth", default.max_depth),
        max_digits: read("max_digits", default.max_digits),
        max_rows: read("max_rows", default.max_rows),
        max_values: read("max_values", default.max_values),
    }
}

pub(super) fn cache(node: &Node<'_>) -> Option<CacheLimits> {
    node.table(|table| {
        let default = CacheLimits::default();
        let max_bytes =
            table.read("max_bytes", |node| node.size(1).and_then(|size| usize::try_from(size).ok()));
        CacheLimits {
            max_entries: table
                .read("max_entries", |node| node.count(1..=10_000_000))
                .unwrap_or(default.max_entries),
            max_bytes: max_bytes.unwrap_or(default.max_bytes),
        }
    })
}

// === the audit trail ===

pub(super) fn audit(node: &Node<'_>, base: &Path) -> Option<audit::AuditSettings> {
    node.table(|table| {
        let file = table.get("file");
        let to = table.get("to");
        let destination = match (&file, &to) {
            (Some(_), Some(to)) => {
                to.refuse_key("has no use beside file", None);
                None
            }
            (Some(file), None) => path(file, base).map(Destination::File),
            (None, Some(to)) => destination(to),
            (None, None) => None,
        };
        let chain = table.read("chain", Node::flag).unwrap_or(false);
        audit::AuditSettings { to: destination.unwrap_or_default(), chain }
    })
}

fn destination(node: &Node<'_>) -> Option<Destination> {
    match node.text()? {
        "stderr" => Some(Destination::Stderr),
        "none" => Some(Destination::None),
        _ => {
            node.refuse("is not known", Some("\"stderr\" or \"none\"; a file is named by the key file"));
            None
        }
    }
}

// === vaults of the user ===

pub(super) fn registry(node: &Node<'_>) -> Option<Registry> {
    match node.text()? {
        "private" => Some(Registry::Private),
        "user" => Some(Registry::User),
        _ => {
            node.refuse(
                "is not known",
                Some("\"private\", or \"user\" to register the vaults in your own registry too while they are served"),
            );
            None
        }
    }
}

pub(super) fn auto_import(node: &Node<'_>) -> Option<AutoImport> {
    node.table(|table| {
        let enabled = table.read("enabled", Node::flag).unwrap_or(true);
        let list = table.get("expose");
        let items = list.as_ref().map(Node::items_or_one).unwrap_or_default();
        if let (false, Some(list), false) = (enabled, &list, items.is_empty()) {
            list.refuse_key("has no use while enabled is false", None);
        }
        let mut expose: Vec<Expose> = Vec::new();
        for item in items {
            let Some(one) = item.text().and_then(|text| exposure(&item, text)) else { continue };
            if expose.iter().any(|other| fold(&other.vault) == fold(&one.vault)) {
                item.refuse(format!("{} is named twice", quoted(&one.vault)), None);
            }
            expose.push(one);
        }
        AutoImport { enabled, expose }
    })
}

fn exposure(node: &Node<'_>, text: &str) -> Option<Expose> {
    let parsed = parse_expose(text);
    if parsed.is_none() {
        node.refuse("names no vault", Some("write \"Name\", or \"Name:rw\" to allow writes"));
    }
    parsed
}

/// Reads `Name` or `Name:rw`. `None` without a name.
pub fn parse_expose(text: &str) -> Option<Expose> {
    let (vault, writable) = match text.strip_suffix(":rw") {
        Some(vault) => (vault, true),
        None => (text, false),
    };
    let named = !vault.trim().is_empty() && !vault.chars().any(char::is_control);
    named.then(|| Expose { vault: vault.to_owned(), writable })
}
