//! `copy` and `import`.

use super::*;

/// A configuration with two local vaults that no server has open.
fn two_vaults() -> (tempfile::TempDir, Line) {
    let folder = tempfile::tempdir().unwrap();
    let toml =
        "[vaults.a]\nlocal = true\nfolder = \"a\"\nexpose = true\n[vaults.b]\nlocal = true\nfolder = \"b\"\n";
    std::fs::write(folder.path().join("secretbridge.toml"), toml).unwrap();
    let line = Line::alone(folder.path());
    (folder, line)
}

#[test]
fn a_copy_keeps_types_and_metadata_and_is_completed_by_the_same_command() {
    let (_folder, line) = two_vaults();
    line.ok(&["set", "a/text", "-m", "Owner=dba", "-m", "n:=5"], b"one");
    line.ok(&["set", "a/secure", "-t", "securestring"], b"two");
    line.ok(&["set", "a/bytes", "-t", "bytes"], &[0, 255, 10]);
    line.ok(&["set", "a/login", "-t", "credential", "--user", "sa"], b"pw");
    line.ok(&["set", "a/table", "-t", "hashtable"], br#"{"u":"v","b":{"Type":"ByteArray","Value":"AQ=="}}"#);
    assert!(
        line.ok(&["copy", "a", "b", "--dry-run"], b"").lines().all(|line| line.starts_with("would copy\tb/"))
    );
    assert_eq!(line.ok(&["list", "b"], b""), "");
    line.ok(&["copy", "a/t*", "b"], b"");
    let rest = line.ok(&["copy", "a", "b"], b"");
    assert_eq!(rest.matches("same\t").count(), 2, "{rest}");
    assert_eq!(rest.matches("copied\t").count(), 3, "{rest}");
    for name in ["text", "secure", "bytes", "login", "table"] {
        let both = ["a", "b"].map(|vault| {
            let name = format!("{vault}/{name}");
            let mut info = line.json(&["info", &name, "--json"]);
            info["Vault"].take();
            (line.json(&["get", &name, "--json"]), info)
        });
        assert_eq!(both[0], both[1]);
    }
    line.ok(&["set", "a/text"], b"changed");
    let output = line.run(&["copy", "a", "b"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("differs\tb/text") && text(&output.stderr).contains("--overwrite"));
    assert_eq!(line.ok(&["get", "b/text"], b""), "one\n");
    line.ok(&["copy", "a", "b", "--overwrite"], b"");
    assert_eq!(line.ok(&["get", "b/text"], b""), "changed\n");
    line.fails(64, &["copy", "a", "A"], b"");
    line.fails(66, &["copy", "a", "nowhere"], b"");
}

#[test]
fn an_import_writes_all_of_a_file_or_nothing() {
    let (folder, line) = two_vaults();
    std::fs::write(folder.path().join("x.env"), "A=1\nB='two words'\n").unwrap();
    assert_eq!(
        line.ok(&["import", "x.env", "a", "--dry-run"], b""),
        "would import\ta/A\tString\nwould import\ta/B\tString\n"
    );
    assert_eq!(line.ok(&["list", "a"], b""), "");
    line.ok(&["import", "x.env", "a"], b"");
    assert_eq!(line.ok(&["get", "a/b"], b""), "two words\n");
    let told = line.fails(64, &["import", "-", "a", "--format", "json"], br#"{"new":"x","A":"y"}"#);
    assert!(told.contains("'A' is in the vault already"), "{told}");
    line.fails(66, &["get", "a/new"], b"");
    line.ok(&["import", "-", "a", "--format", "json", "--overwrite"], br#"{"new":"x","A":"y"}"#);
    assert_eq!(line.ok(&["get", "a/A"], b""), "y\n");
    let told = line.fails(64, &["import", "-", "a", "--format", "json"], br#"{"n":["canary"]}"#);
    assert!(told.contains("'n'") && !told.contains("canary"), "{told}");
    line.fails(64, &["import", "-", "a"], b"A=1");
}

#[test]
fn a_copy_that_was_killed_is_completed_by_the_same_command() {
    let (_folder, line) = two_vaults();
    let names: Vec<String> = (0..150).map(|number| format!("k{number:03}")).collect();
    let all: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!(format!("of {name}")))).collect();
    line.ok(&["import", "-", "a", "--format", "json"], Value::Object(all).to_string().as_bytes());
    let told = line.killed_after(3, &["copy", "a", "b"]);
    assert!(told.iter().all(|line| line.starts_with("copied\tb/")), "{told:?}");
    let rest = line.ok(&["copy", "a", "b"], b"");
    let count = |word: &str| rest.lines().filter(|line| line.starts_with(word)).count();
    assert!(count("same\t") >= 3, "{rest}");
    assert_eq!(count("same\t") + count("copied\t"), names.len());
    let listed = line.json(&["list", "b", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), names.len());
    assert_eq!(line.ok(&["get", "b/k149"], b""), "of k149\n");
}

#[test]
fn an_import_tells_every_twin_at_once_and_what_it_leaves_out() {
    let (_folder, line) = two_vaults();
    let twins = br#"{"items":[{"name":"a","login":{"password":"canary"}},{"name":"A","notes":"x"},{"name":"b","notes":"x"},{"name":"B","notes":"y"}]}"#;
    let told = line.fails(64, &["import", "-", "a", "--format", "bitwarden"], twins);
    assert!(told.contains("'a', 'b'") && !told.contains("canary"), "{told}");
    let nameless = br#"{"items":[{"name":" ","notes":"x"}]}"#;
    assert!(line.fails(64, &["import", "-", "a", "--format", "bitwarden"], nameless).contains("entry 1"));
    let with_totp = br#"{"items":[{"name":"l","login":{"username":"u","password":"p","totp":"canary"}}]}"#;
    let output = line.run(&["import", "-", "a", "--format", "bitwarden"], with_totp);
    assert!(output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("'l'") && told.contains("totp") && !told.contains("canary"), "{told}");
}
