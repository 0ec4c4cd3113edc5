//! Paths and names that a file says.

use std::path::{Path, PathBuf};

use super::reader::Node;
use crate::private_file::is_credential;

/// A path, relative to the file's folder.
pub(super) fn path(node: &Node<'_>, base: &Path) -> Option<PathBuf> {
    let text = node.name()?;
    if text.starts_with('~') {
        node.refuse("'~' is not expanded here", Some("write the full path"));
        return None;
    }
    Some(base.join(text))
}

/// The path of a file with a secret. What the service manager hands over, `credential:NAME`, is in no folder of ours.
pub(super) fn secret_file(node: &Node<'_>, base: &Path) -> Option<PathBuf> {
    let text = node.name()?;
    if is_credential(&text) { Some(text.into()) } else { path(node, base) }
}

/// A program: a bare name is looked up in PATH, so it stays as it is.
pub(super) fn program(node: &Node<'_>, base: &Path) -> Option<PathBuf> {
    let text = node.name()?;
    if text.contains(std::path::is_separator) || text.starts_with('~') {
        return path(node, base);
    }
    Some(PathBuf::from(text))
}

/// The name of an environment variable. It is not repeated in a message: it may be the password itself.
pub(super) fn variable(node: &Node<'_>) -> Option<String> {
    let name = node.name()?;
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        node.refuse("is not the name of an environment variable", Some("letters, digits and _ only"));
        return None;
    }
    Some(name)
}
