//! No circles of imports between the files of `src`, so none between a file and its parts either.
//!
//! An edge is a path outside of tests that leads to another file: from `crate::`, from `super::`, or to a part of the
//! file's own module by the part's name, with `self::` before it or without. `mod` and a `pub use` of a part, `pub(crate) use` too, are no edges: they only show where it is.
//! Nor is the path in `pub(in …)`, which only says who may see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files of a folder, without those of tests.
pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files(&path, found);
        } else if name.ends_with(".rs") && !["tests.rs", "testing.rs", "fake.rs"].contains(&name.as_str()) {
            found.push(path);
        }
    }
}

/// `src/vault/act.rs` is `vault::act`; `src/lib.rs` is the root.
fn module(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap().with_extension("");
    let parts: Vec<_> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.join("::")
}

/// The text without comments and without what follows `#[cfg(test)]` at the start of a line.
pub fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == "#[cfg(test)]" {
            let indent = line.len() - line.trim_start().len();
            // The item: to its closing brace, or its semicolon.
            for line in lines.by_ref() {
                let own = line.len() - line.trim_start().len();
                let ends = line.ends_with(';') || line.trim_start().starts_with('}');
                if own == indent && ends && !line.trim().is_empty() {
                    break;
                }
            }
            continue;
        }
        if !line.trim_start().starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The paths that a text names: each `crate::a::b`, `super::a`, `self::a` and `part::a`, and the members of its braces.
fn paths(text: &str, parts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate", "super", "self"].iter().chain(parts) {
        for (at, _) in text.match_indices(&format!("{start}::")) {
            let before = &text[..at];
            let goes_on = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let is_of_a_part = *start == "self" || parts.contains(start);
            let only_shows = (is_of_a_part && is_shown(before)) || before.ends_with("pub(in ");
            if !goes_on && !only_shows {
                expand(&text[at..], String::new(), &mut found);
            }
        }
    }
    found
}

/// Whether a text ends in the `pub use`, or the `pub(…) use`, before a path.
fn is_shown(before: &str) -> bool {
    let Some(visibility) = before.strip_suffix("use ").map(str::trim_end) else { return false };
    let word = visibility
        .strip_suffix(')')
        .and_then(|inner| inner.rsplit_once('('))
        .map_or(visibility, |(word, _)| word);
    word.ends_with("pub")
}

/// Reads a path at the start of `text`, and with braces each of its members.
fn expand(text: &str, prefix: String, found: &mut Vec<String>) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if path.ends_with("::") && text[end..].starts_with('{') {
        let (mut depth, mut from) = (0, end + 1);
        for (at, c) in text[end..].char_indices() {
            let at = end + at;
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if (c == ',' && depth == 1) || depth == 0 {
                let member = text[from..at].trim();
                // What follows the last comma is none.
                if !member.is_empty() {
                    expand(member, path.clone(), found);
                }
                from = at + 1;
            }
            if depth == 0 {
                return;
            }
        }
    }
    found.push(path);
}

/// The file that a path of `from` leads to, by the longest module that it begins with.
fn target(path: &str, from: &str, modules: &BTreeSet<String>) -> Option<String> {
    // A part's name begins at the file's own module.
    let mut parts: Vec<&str> = from.split("::").collect();
    let mut rest = path;
    if let Some(inner) = rest.strip_prefix("crate::") {
        (parts, rest) = (Vec::new(), inner);
    }
    rest = rest.strip_prefix("self::").unwrap_or(rest);
    while let Some(inner) = rest.strip_prefix("super::") {
        parts.pop();
        rest = inner;
    }
    parts.extend(rest.split("::").filter(|part| !part.is_empty()));
    while !parts.is_empty() {
        let name = parts.join("::");
        if modules.contains(&name) {
            return (name != from).then_some(name);
        }
        parts.pop();
    }
    None
}

fn edges(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = Vec::new();
    files(root, &mut all);
    let modules: BTreeSet<String> = all.iter().map(|path| module(root, path)).collect();
    let edge = |path: &PathBuf| {
        let from = module(root, path);
        let text = code(&fs::read_to_string(path).unwrap());
        let own = |name: &&String| name.rsplit_once("::").is_some_and(|(of, _)| of == from);
        let parts: Vec<&str> =
            modules.iter().filter(own).filter_map(|name| name.rsplit("::").next()).collect();
        let to = paths(&text, &parts).iter().filter_map(|path| target(path, &from, &modules)).collect();
        (from, to)
    };
    all.iter().map(edge).collect()
}

/// All files that a file leads to.
fn reached(from: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(next) = left.pop() {
        for to in edges.get(&next).into_iter().flatten() {
            if seen.insert(to.clone()) {
                left.push(to.clone());
            }
        }
    }
    seen
}

/// The groups of files that reach each other.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<String>> =
        edges.keys().map(|file| (file, reached(file, edges))).collect();
    let mut groups: Vec<BTreeSet<String>> = Vec::new();
    for (file, all) in &reach {
        if groups.iter().any(|group| group.contains(*file)) || !all.contains(*file) {
            continue;
        }
        groups.push(all.iter().filter(|other| reach[other].contains(*file)).cloned().collect());
    }
    groups
}

#[test]
fn a_circle_is_found_by_paths_and_by_members_of_braces() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    write("a.rs", "use crate::{b::{B, C}, d};\n#[cfg(test)]\nmod tests {\n    use crate::e::E;\n}\n");
    write("a/part.rs", "use super::Thing;\n");
    write("b.rs", "fn f() { crate::a::part::go() }\n");
    fs::create_dir(folder.path().join("f")).unwrap();
    write("f.rs", "pub use shown::Shown;\npub(crate) use shown::{\n    Also,\n};\nuse used::Used;\n");
    write("f/shown.rs", "use super::F;\n");
    write("f/used.rs", "use super::F;\n");
    write("d.rs", "// crate::a\npub(in crate::a) fn f() {}\n");
    fs::create_dir(folder.path().join("g")).unwrap();
    write("g.rs", "use part::{\n    Of,\n};\n");
    write("g/part.rs", "use super::{\n    other,\n};\n");
    write("g/other.rs", "");
    write("e.rs", "use crate::a::A;\n");
    fs::create_dir(folder.path().join("h")).unwrap();
    write("h.rs", "pub use self::shown::Shown;\nuse self::used::Used;\n");
    write("h/shown.rs", "use super::H;\n");
    write("h/used.rs", "use super::H;\n");
    let edges = edges(folder.path());
    assert_eq!(edges["a"], ["b", "d"].map(str::to_owned).into());
    let groups: [BTreeSet<String>; 3] = [
        ["a", "a::part", "b"].map(str::to_owned).into(),
        ["f", "f::used"].map(str::to_owned).into(),
        ["h", "h::used"].map(str::to_owned).into(),
    ];
    assert_eq!(circles(&edges), groups);
}

#[test]
fn there_is_no_circle_of_imports_between_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges = edges(&root);
    // The root only names what there is, and starts it.
    edges.remove("lib");
    assert!(edges.len() > 100 && edges["vault::act"].contains("vault::turn"), "the files are read");
    let groups = circles(&edges);
    assert!(groups.is_empty(), "{groups:#?}");
}

/// The top folder of a file.
fn room(file: &str) -> &str {
    file.split("::").next().unwrap_or(file)
}

/// Types of one name in `src`, outside of tests. What `platform` has once for each system is one thing.
fn doubled_types(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    files(root, &mut all);
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in &all {
        let file = module(root, path);
        for line in code(&fs::read_to_string(path).unwrap()).lines() {
            if let Some(name) = type_of(line) {
                places.entry(name.to_owned()).or_default().insert(file.clone());
            }
        }
    }
    let of_systems = |files: &BTreeSet<String>| files.iter().all(|file| room(file) == "platform");
    let doubled = places.into_iter().filter(|(_, files)| files.len() > 1 && !of_systems(files));
    doubled.map(|(name, files)| format!("{name}: {files:?}")).collect()
}

/// The type that a line defines; aliases inside of an `impl` belong to their trait.
fn type_of(line: &str) -> Option<&str> {
    let inner = line.trim_start();
    let item = match inner.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => inner,
    };
    let (kind, rest) = item.split_once(' ')?;
    let is_alias = kind == "type" && line == inner;
    let is_type = ["struct", "enum", "trait", "union"].contains(&kind) || is_alias;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (is_type && rest.starts_with(char::is_uppercase)).then_some(&rest[..end])
}

#[test]
fn a_type_that_is_defined_twice_is_found_whatever_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.rs", "pub(crate) struct Kept<T>(T);\nimpl X for Y {\n    type Item = u8;\n}\nenum One {}\n");
    write("b.rs", "    enum Kept { A }\ntype Item = u8;\n#[cfg(test)]\nmod tests {\n    struct One;\n}\n");
    assert_eq!(doubled_types(folder.path()), ["Kept: {\"a\", \"b\"}"]);
}

#[test]
fn no_name_stands_for_two_types() {
    let doubled = doubled_types(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(doubled.is_empty(), "{doubled:#?}");
}
