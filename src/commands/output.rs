//! What commands write: values, tables, JSON.

use std::fs::Permissions;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::Value;

use crate::platform;
use crate::private_file::{put, stage};
use crate::protocol::Metadata;
use crate::reach::Failure;
use crate::secret::SecretValue;
use zeroize::Zeroizing;

/// Writes to standard output. If it is closed, its reader wants no more.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a JSON document: on a terminal for people, elsewhere on one line.
pub(super) fn json(document: &Value) -> Result<(), Failure> {
    let text = if io::stdout().is_terminal() { format!("{document:#}\n") } else { format!("{document}\n") };
    print(Zeroizing::new(text).as_bytes())
}

/// The bytes that stand for a value: text and bytes as they are, tables and credentials as JSON.
pub(super) fn bytes_of(value: &SecretValue) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(match value {
        SecretValue::String(text) | SecretValue::SecureString(text) => text.expose().as_bytes().to_vec(),
        SecretValue::Bytes(bytes) => bytes.expose().to_vec(),
        other => other.to_json().to_string().into_bytes(),
    })
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn private_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    stage(folder, ".secretbridge-", content).and_then(|staged| put(staged, path)).map(drop).map_err(failed)
}

/// Writes a file whole or not at all, for those who may use `like`. Where that is not there, the file has these
/// permissions, or is for its owner alone. A link at the path stays a link.
pub(super) fn replace(path: &Path, like: &Path, new: Option<Permissions>, content: &[u8]) -> io::Result<()> {
    let real = platform::real_path(path).unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = stage(folder, ".secretbridge-", content)?;
    match (platform::open_as(file.as_file(), file.path(), like), new) {
        (Err(error), _) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        (Err(_), Some(new)) => file.as_file().set_permissions(new)?,
        _ => {}
    }
    put(file, &real).map(drop)
}

/// Metadata on one line: `name=value` by name, apart by spaces.
pub(super) fn metadata(metadata: &Metadata) -> String {
    let shown = crate::http::value::shown_metadata(metadata);
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        Value::Object(date) => format!("{name}={}", date["Value"].as_str().unwrap_or_default()),
        other => format!("{name}={other}"),
    };
    shown.as_object().map(|all| all.iter().map(one).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

/// A table on a terminal; elsewhere lines of fields with tabs between, without a heading.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal();
    print(drawn(heading, rows, terminal).as_bytes())
}

fn drawn(heading: &[&str], rows: &[Vec<String>], terminal: bool) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| tame(cell)).collect()).collect();
    if !terminal {
        return rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or_default()
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let heading: Vec<String> = heading.iter().map(|title| title.to_uppercase()).collect();
    let heading = line(heading.iter().map(String::as_str).collect());
    rows.iter().fold(heading, |all, row| all + &line(row.iter().map(String::as_str).collect()))
}

/// Names come from vaults: one with a line break or an escape sequence must not draw over others.
fn tame(cell: &str) -> String {
    cell.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_for_terminals_and_tabs_for_programs() {
        let rows = [vec!["team/db".to_owned(), "String".to_owned()], vec!["x\ny".to_owned(), String::new()]];
        assert_eq!(drawn(&["name", "type"], &rows, false), "team/db\tString\nx\\ny\t\n");
        assert_eq!(drawn(&["name", "type"], &rows, true), "NAME     TYPE\nteam/db  String\nx\\ny\n");
    }
}
