//! `[[routes]]`: what answers which method and path.

use super::problem::{quoted, suggest};
use super::reader::{Node, Table};
use super::template::template;
use super::vaults;
use crate::plan::{Action, Mount, Route, Template};
use crate::secret::fold;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// First parts of the paths that the server answers by itself.
const RESERVED: [&str; 8] = ["admin", "health", "metrics", "mounts", "ready", "secrets", "status", "vaults"];

/// The member of a body or an answer that holds the value.
const FIELD: &str = "Value";

/// The secrets that routes may name: those of the file, well formed or not.
pub(super) struct KnownSecrets {
    secrets: Vec<(String, bool)>,
}

impl KnownSecrets {
    pub fn new(mounts: &[Mount], table: Option<&Node<'_>>, vaults: &vaults::KnownVaults) -> KnownSecrets {
        let read_only = |mount: &Mount| vaults.read_only(&mount.vault).unwrap_or(false);
        let mut secrets: Vec<_> = mounts.iter().map(|mount| (mount.name.clone(), read_only(mount))).collect();
        if let Some(table) = table.and_then(|node| node.value().as_table()) {
            secrets.extend(table.keys().map(|name| (name.get_ref().to_string(), false)));
        }
        KnownSecrets { secrets }
    }

    fn read_only(&self, name: &str) -> Option<bool> {
        let folded = fold(name);
        self.secrets.iter().find(|(known, _)| fold(known) == folded).map(|(_, read_only)| *read_only)
    }

    /// Reads the name of a mounted secret.
    fn secret(&self, node: &Node<'_>) -> Option<String> {
        let name = node.name()?;
        if node.is_whole() && self.read_only(&name).is_none() {
            let mut names: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let hint = suggest(&name, "secrets", names);
            let hint = hint.unwrap_or_else(|| "mount it under [secrets]".to_owned());
            node.refuse(format!("there is no secret {}", quoted(&name)), Some(&hint));
        }
        Some(name)
    }

    /// Reads the name of a mounted secret that is to be changed.
    fn writable(&self, node: &Node<'_>) -> Option<String> {
        let name = self.secret(node)?;
        if self.read_only(&name) == Some(true) {
            node.refuse(format!("the vault of {} is served for reading only", quoted(&name)), None);
        }
        Some(name)
    }
}

pub(super) fn routes(node: &Node<'_>, known: &KnownSecrets) -> Vec<Route> {
    let mut seen = EarlierRoutes::default();
    let mut routes = Vec::new();
    for item in node.items().unwrap_or_default() {
        routes.extend(item.table(|table| route(table, known, &mut seen)).flatten());
    }
    routes
}

fn route(table: &mut Table<'_>, known: &KnownSecrets, seen: &mut EarlierRoutes) -> Option<Route> {
    let method = match table.get("method") {
        Some(node) => method(&node),
        None => Some("GET"),
    };
    let path_node = table.need("path", |node| Some(node.clone()));
    let path = path_node.as_ref().and_then(path);
    if let (Some(node), Some(path)) = (&path_node, &path) {
        seen.add(node, method, path);
    }
    let action = action(table, method, known);
    Some(Route { method: method?.to_owned(), path: path?, action: action? })
}

fn method(node: &Node<'_>) -> Option<&'static str> {
    let text = node.text()?;
    let known = METHODS.iter().find(|method| method.eq_ignore_ascii_case(text));
    if known.is_none() {
        let hint = suggest(text, "methods", METHODS);
        node.refuse(format!("there is no method {}", quoted(text)), hint.as_deref());
    }
    known.copied()
}

// === actions ===

fn action(table: &mut Table<'_>, method: Option<&str>, known: &KnownSecrets) -> Option<Action> {
    let Some((key, node)) = table.one_of(&["secret", "respond", "update", "remove"]) else {
        table.lacks(
            "does nothing",
            Some("add secret = \"Name\", or respond = { Value = { secret = \"Name\" } }"),
        );
        return None;
    };
    let field_node = table.get("field");
    let field = match &field_node {
        Some(node) => node.name(),
        None => Some(FIELD.to_owned()),
    };
    let takes_field = key == "update" || (key == "secret" && method != Some("DELETE"));
    if let (Some(field), false) = (&field_node, takes_field) {
        field.refuse_key("has no use here", None);
    }
    match key {
        "respond" => template(&node, &|place| known.secret(place)).map(Action::Respond),
        "update" => Some(Action::Update { secret: known.writable(&node)?, field: field? }),
        "remove" => Some(Action::Remove { secret: known.writable(&node)? }),
        _ => by_method(&node, method, field, known),
    }
}

/// What `secret` alone means with each method.
fn by_method(
    node: &Node<'_>,
    method: Option<&str>,
    field: Option<String>,
    known: &KnownSecrets,
) -> Option<Action> {
    let changes = matches!(method, Some("POST" | "PUT" | "PATCH" | "DELETE"));
    let secret = if changes { known.writable(node) } else { known.secret(node) };
    match method? {
        "GET" => Some(Action::Respond(Template::Object(vec![(field?, Template::Secret(secret?))]))),
        "POST" | "PUT" | "PATCH" => Some(Action::Update { secret: secret?, field: field? }),
        "DELETE" => Some(Action::Remove { secret: secret? }),
        method => {
            node.refuse_key(format!("says nothing with {method}"), Some("write respond, update or remove"));
            None
        }
    }
}

// === paths ===

/// The routes before this one.
#[derive(Default)]
struct EarlierRoutes {
    // There is one table for all methods, because a path has the same parameter names for each method.
    router: matchit::Router<()>,
    routes: Vec<(String, Option<&'static str>, usize)>,
}

impl EarlierRoutes {
    fn add(&mut self, node: &Node<'_>, method: Option<&'static str>, path: &str) {
        let mut same_path = self.routes.iter().filter(|(other, _, _)| other == path).peekable();
        if same_path.peek().is_none() {
            match self.router.insert(path, ()) {
                Ok(()) => {}
                Err(matchit::InsertError::Conflict { with }) => node.refuse(
                    format!("cannot be told from {}", quoted(&with)),
                    Some("use the same parameter names"),
                ),
                Err(error) => node.refuse(pattern_fault(&error), Some("e.g. /db/{name} or /files/{*rest}")),
            }
        } else if let (Some(method), Some((_, _, line))) =
            (method, same_path.find(|(_, other, _)| *other == method))
        {
            node.refuse(format!("{method} {path} is already declared on line {line}"), None);
        }
        self.routes.push((path.to_owned(), method, node.line()));
    }
}

fn pattern_fault(error: &matchit::InsertError) -> &'static str {
    match error {
        matchit::InsertError::InvalidParamSegment => "has two parameters between slashes",
        matchit::InsertError::InvalidCatchAll => "has {*…} before its end",
        _ => "has a parameter without a good name, or braces that do not match",
    }
}

fn path(node: &Node<'_>) -> Option<String> {
    let path = node.text()?;
    let fault = if !path.starts_with('/') {
        Some(("does not start with '/'", None))
    } else if path.chars().any(|c| !c.is_ascii_graphic()) {
        Some(("has a space, or a character that is not ASCII", Some("write it percent-encoded, as in a URL")))
    } else if path.contains(['?', '#']) {
        Some(("has a query or a fragment", Some("a route is a path only")))
    } else if path.split('/').any(|part| part.starts_with(':')) {
        Some(("has a parameter in the ':name' form", Some("write {name}")))
    } else if path.split('/').any(|part| part == "*") {
        Some(("has a bare '*'", Some("write {*rest}")))
    } else {
        None
    };
    if let Some((message, hint)) = fault {
        node.refuse(message, hint);
        return None;
    }
    let first = path.split('/').nth(1).unwrap_or_default();
    if RESERVED.contains(&first) {
        node.refuse(format!("/{first} is answered by the server itself"), Some("choose another path"));
        return None;
    }
    Some(path.to_owned())
}
