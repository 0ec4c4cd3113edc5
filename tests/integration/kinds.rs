//! Nobody but the plan, which holds its data, and its backend knows of what kind a vault is. The rest of the program asks
//! the table of kinds, so that one more kind is a file of its own and a line there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::imports::{code, files};

/// Where kinds are known.
const AT_HOME: [&str; 3] = ["plan.rs", "plan/", "vault/backend/"];

/// Files that name a kind all the same, and what they may name it for.
const ALLOWED: [(&str, &str); 5] = [
    ("lib.rs", "the library shows what a plan is made of"),
    ("config/write.rs", "it writes what a plan is made of"),
    ("script/custom.rs", "it runs the blocks"),
    ("commands/init.rs", "its options offer three kinds by name"),
    ("commands/init/ask.rs", "its questions offer three kinds by name"),
];

/// What tells one kind from another.
const MARKS: [&str; 11] = [
    "VaultKind::Local",
    "VaultKind::Extension",
    "VaultKind::Custom",
    "SECRET_STORE",
    "AZ_KEY_VAULT",
    "is_secret_store",
    "is_local =",
    ".custom()",
    "entry.local",
    "extension().is_none()",
    "\"Microsoft.PowerShell.SecretStore",
];

/// The lines of a file's code that tell kinds apart.
fn telling(text: &str) -> Vec<String> {
    let code = code(text);
    let tells = |line: &&str| MARKS.iter().any(|mark| line.contains(mark));
    code.lines().filter(tells).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn nobody_outside_the_backends_asks_of_what_kind_a_vault_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all: Vec<PathBuf> = Vec::new();
    files(&root, &mut all);
    let (mut at_home, mut found) = (0, Vec::new());
    for path in &all {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let lines = telling(&fs::read_to_string(path).unwrap());
        if AT_HOME.iter().any(|home| name.starts_with(home)) {
            at_home += lines.len();
        } else if !ALLOWED.iter().any(|(file, _)| *file == name) {
            found.extend(lines.into_iter().map(|line| format!("{name}: {line}")));
        }
    }
    assert!(at_home > 10, "the marks are those of the code: {at_home}");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_match_on_a_kind_is_found_and_a_test_or_a_comment_is_none() {
    let text = "// VaultKind::Local\nmatch kind {\n    VaultKind::Local { .. } => 1,\n    _ => 2,\n}\n\
        #[cfg(test)]\nmod tests {\n    const X: &str = SECRET_STORE;\n}\n";
    assert_eq!(telling(text), ["VaultKind::Local { .. } => 1,"]);
}
