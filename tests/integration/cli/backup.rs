//! `backup` and `restore`.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A configuration with two local vaults, secrets of all types in both, and a passphrase file.
fn filled() -> (tempfile::TempDir, Line) {
    let folder = tempfile::tempdir().unwrap();
    let toml = ["a", "b", "c"]
        .map(|name| format!("[vaults.{name}]\nlocal = true\nfolder = \"{name}\"\nexpose = true\n"));
    std::fs::write(folder.path().join("secretbridge.toml"), toml.concat()).unwrap();
    let line = Line::alone(folder.path());
    line.ok(&["set", "a/text", "-m", "Owner=dba", "-m", "n:=5"], b"one");
    line.ok(&["set", "a/secure", "-t", "securestring"], b"two");
    line.ok(&["set", "a/bytes", "-t", "bytes"], &[0, 255, 10]);
    line.ok(&["set", "a/login", "-t", "credential", "--user", "sa"], b"pw");
    line.ok(&["set", "b/table", "-t", "hashtable"], br#"{"u":"v","b":{"Type":"ByteArray","Value":"AQ=="}}"#);
    private(folder.path(), "pass", b"correct horse\n");
    (folder, line)
}

fn private(folder: &Path, name: &str, content: &[u8]) {
    std::fs::write(folder.join(name), content).unwrap();
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Everything of the vaults: values, types, metadata.
fn all(line: &Line) -> Vec<(Value, Value)> {
    let listed = line.json(&["list", "--json"]);
    let name = |secret: &Value| {
        format!("{}/{}", secret["Vault"].as_str().unwrap(), secret["Name"].as_str().unwrap())
    };
    listed
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| (line.json(&["get", &name(secret), "--json"]), secret.clone()))
        .collect()
}

const PASS: [&str; 2] = ["--passphrase-file", "pass"];

#[test]
fn what_was_lost_comes_back_with_types_and_metadata_and_nothing_is_written_over() {
    let (folder, line) = filled();
    let before = all(&line);
    assert_eq!(before.len(), 5);
    let told = line.ok(&["backup", "all.age", PASS[0], PASS[1]], b"");
    assert_eq!(told, "all.age\t5 secrets\ta,b\n");
    let file = folder.path().join("all.age");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let sealed = std::fs::read(&file).unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    line.fails(64, &["backup", "all.age", PASS[0], PASS[1]], b"");
    for name in ["a/text", "a/login", "b/table"] {
        line.ok(&["rm", name], b"");
    }
    let dry = line.ok(&["restore", "all.age", "--dry-run", PASS[0], PASS[1]], b"");
    assert_eq!((dry.matches("would restore\t").count(), dry.matches("same\t").count()), (3, 2), "{dry}");
    line.fails(66, &["get", "a/text"], b"");
    line.ok(&["restore", "all.age", "a/te*", PASS[0], PASS[1]], b"");
    line.fails(66, &["get", "a/login"], b"");
    let rest = line.ok(&["restore", "all.age", PASS[0], PASS[1]], b"");
    assert_eq!((rest.matches("restored\t").count(), rest.matches("same\t").count()), (2, 3), "{rest}");
    assert_eq!(all(&line), before);
    line.ok(&["set", "a/text"], b"changed");
    let output = line.run(&["restore", "all.age", PASS[0], PASS[1]], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("differs\ta/text") && text(&output.stderr).contains("--overwrite"));
    assert_eq!(line.ok(&["get", "a/text"], b""), "changed\n");
    line.ok(&["restore", "all.age", "--overwrite", PASS[0], PASS[1]], b"");
    assert_eq!(all(&line), before);
    line.ok(&["restore", "all.age", "a", "--to", "c", PASS[0], PASS[1]], b"");
    assert_eq!(line.ok(&["get", "c/text"], b""), "one\n");
    line.fails(66, &["restore", "all.age", "--to", "nowhere", PASS[0], PASS[1]], b"");
    assert_eq!(std::fs::read(&file).unwrap(), sealed);
}

#[test]
fn a_torn_or_changed_archive_is_refused_and_nothing_of_it_is_written() {
    let (folder, line) = filled();
    line.ok(&["backup", "all.age", PASS[0], PASS[1]], b"");
    let whole = std::fs::read(folder.path().join("all.age")).unwrap();
    for name in ["text", "secure", "bytes", "login"] {
        line.ok(&["rm", &format!("a/{name}")], b"");
    }
    let middle = whole.len() - 200;
    let mut changed = whole.clone();
    changed[middle] ^= 1;
    let cut = |length: usize| whole[..length].to_vec();
    for (number, torn) in
        [cut(0), cut(10), cut(120), cut(middle), cut(whole.len() - 1), changed].into_iter().enumerate()
    {
        std::fs::write(folder.path().join("torn.age"), torn).unwrap();
        let told = line.fails(64, &["restore", "torn.age", PASS[0], PASS[1]], b"");
        assert!(told.contains("torn.age"), "{number}: {told}");
    }
    assert_eq!(line.ok(&["list", "a"], b""), "");
    private(folder.path(), "wrong", b"wrong");
    let told = line.fails(64, &["restore", "all.age", "--passphrase-file", "wrong"], b"");
    assert!(told.contains("passphrase"), "{told}");
    std::fs::set_permissions(folder.path().join("pass"), std::fs::Permissions::from_mode(0o644)).unwrap();
    line.fails(64, &["restore", "all.age", PASS[0], PASS[1]], b"");
}

#[test]
fn an_archive_for_a_recipient_opens_with_the_identity_alone() {
    let (folder, line) = filled();
    // The local vault's own key is an age identity.
    let key = std::fs::read_to_string(folder.path().join("c/key.txt")).unwrap_or_default();
    let key = if key.is_empty() {
        line.ok(&["list", "c"], b"");
        std::fs::read_to_string(folder.path().join("c/key.txt")).unwrap()
    } else {
        key
    };
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let told = line.ok(&["backup", "some.age", "a/te*", "a/se*", "b", "--recipient", recipient], b"");
    assert!(told.contains("3 secrets\ta,b"), "{told}");
    line.ok(&["rm", "b/table"], b"");
    assert!(line.fails(64, &["restore", "some.age"], b"").contains("--identity"));
    let told = line.fails(64, &["restore", "some.age", "--identity", "a/key.txt"], b"");
    assert!(told.contains("another key"), "{told}");
    line.ok(&["restore", "some.age", "--identity", "c/key.txt"], b"");
    line.ok(&["get", "b/table"], b"");
    line.fails(64, &["backup", "x.age", "--recipient", "age1nonsense"], b"");
    line.fails(64, &["backup", "x.age"], b"");
    line.fails(66, &["backup", "x.age", "nowhere", "--recipient", recipient], b"");
    assert!(!folder.path().join("x.age").exists());
    let left = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_running_server_is_saved_and_filled_too() {
    let server = server_with_file();
    let line = Line::beside(&server);
    private(server.folder(), "pass", b"p");
    line.ok(&["set", "team/a", "-m", "Owner=dba"], b"one");
    line.ok(&["backup", "all.age", "team", PASS[0], PASS[1]], b"");
    line.ok(&["rm", "team/a"], b"");
    assert_eq!(line.ok(&["restore", "all.age", PASS[0], PASS[1]], b""), "restored\tteam/a\n");
    assert_eq!(line.ok(&["get", "team/a"], b""), "one\n");
}

#[test]
fn a_restore_that_was_killed_is_completed_by_the_same_command() {
    let (folder, line) = filled();
    let all: serde_json::Map<String, Value> =
        (0..150).map(|number| (format!("k{number:03}"), json!(format!("of {number}")))).collect();
    line.ok(&["import", "-", "a", "--format", "json"], Value::Object(all).to_string().as_bytes());
    let before = self::all(&line);
    line.ok(&["backup", "all.age", PASS[0], PASS[1]], b"");
    let sealed = std::fs::read(folder.path().join("all.age")).unwrap();
    for name in ["a", "b"] {
        std::fs::remove_dir_all(folder.path().join(name)).unwrap();
    }
    assert_eq!(line.ok(&["list", "a"], b""), "");
    let told = line.killed_after(3, &["restore", "all.age", PASS[0], PASS[1]]);
    assert!(told.iter().all(|line| line.starts_with("restored\t")), "{told:?}");
    let rest = line.ok(&["restore", "all.age", PASS[0], PASS[1]], b"");
    let count = |word: &str| rest.lines().filter(|line| line.starts_with(word)).count();
    assert!(count("same\t") >= 3, "{rest}");
    assert_eq!(count("same\t") + count("restored\t"), before.len());
    assert_eq!(self::all(&line), before, "values, types and metadata");
    assert_eq!(std::fs::read(folder.path().join("all.age")).unwrap(), sealed);
}
