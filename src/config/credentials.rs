//! The section `[credentials]`: what units of systemd load from our socket.

use std::path::Path;

use super::names::path;
use super::problem::quoted;
use super::reader::Node;
use super::vaults::KnownVaults;
use crate::plan::credentials::{UnitCredential, UnitCredentials};

pub(super) fn credentials(node: &Node<'_>, base: &Path, known: &KnownVaults) -> Option<UnitCredentials> {
    node.table(|table| {
        let socket = table.need("socket", |node| path(node, base));
        let mut given = Vec::new();
        let units = table.get("units");
        for (unit, node) in units.as_ref().and_then(Node::members).unwrap_or_default() {
            if !is_unit(unit) {
                node.refuse_key("is no unit", Some("write its name with its kind, such as app.service"));
            }
            for (id, node) in node.members().unwrap_or_default() {
                given.extend(secret(&node, known).map(|(vault, key)| UnitCredential {
                    unit: unit.to_owned(),
                    id: id.to_owned(),
                    vault,
                    key,
                }));
            }
        }
        Some(UnitCredentials { socket: socket?, given })
    })?
}

/// A vault and a key of it.
fn secret(node: &Node<'_>, known: &KnownVaults) -> Option<(String, String)> {
    let text = node.name()?;
    let Some((vault, key)) = text.split_once('/').filter(|(vault, key)| !vault.is_empty() && !key.is_empty())
    else {
        node.refuse("names no secret", Some("write vault/key"));
        return None;
    };
    if node.is_whole() && known.read_only(vault).is_none() {
        node.refuse(format!("there is no vault {}", quoted(vault)), Some("add [vaults.…] for it"));
    }
    Some((vault.to_owned(), key.to_owned()))
}

/// Whether a text can be the name of a unit, with its kind.
fn is_unit(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    text.chars().all(plain)
        && text.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && !kind.is_empty())
}
