//! Verbs where no server runs.

use super::*;

#[test]
fn without_a_configuration_the_local_vault_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    line.ok(&["set", "local/db"], b"one\n");
    assert_eq!(line.ok(&["get", "db"], b""), "one\n");
    assert_eq!(line.ok(&["list"], b""), "local/db\tString\t\n");
    assert_eq!(line.ok(&["vaults"], b""), "local\tread,write\t-\n");
    line.fails(66, &["get", "local/none"], b"");
    line.fails(66, &["get", "nowhere/key"], b"");
    line.fails(68, &["unlock", "local"], b"pw");
    line.ok(&["set", "--local-vault", "other", "k"], b"v");
    assert_eq!(line.ok(&["get", "--local-vault", "other", "k"], b""), "v\n");
    line.fails(66, &["get", "k"], b"");
}

#[test]
fn a_configuration_is_found_and_only_what_is_wanted_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let toml = r#"
        [vaults.mine]
        local = true
        folder = "data"
        [vaults.cloud]
        module = "Az.KeyVault"
        [secrets.Db]
        vault = "mine"
        key = "db"
        [secrets.Both]
        vault = "mine"
        key = "login"
        property = ["a"]
    "#;
    std::fs::write(folder.path().join("secretbridge.toml"), toml).unwrap();
    // There is no pwsh that could open the other vault.
    let line = line.env("SECRETBRIDGE_PWSH", "/nowhere/pwsh");
    line.ok(&["set", "Db"], b"one");
    assert_eq!(line.ok(&["get", "mine/db"], b""), "one\n");
    line.ok(&["set", "mine/login", "-t", "hashtable"], br#"{"a":"1","b":"2"}"#);
    assert_eq!(line.ok(&["get", "Both"], b""), "{\"a\":\"1\"}\n");
    assert_eq!(line.ok(&["vaults"], b""), "mine\tread,write\t-\ncloud\tread,write\t-\n");
    line.fails(69, &["get", "cloud/key"], b"");
    let named = folder.path().join("elsewhere.toml");
    std::fs::write(&named, "[vaults.x]\nlocal = true\nfolder = \"x\"\nexpose = true\n").unwrap();
    assert_eq!(line.ok(&["vaults", "-c", "elsewhere.toml"], b""), "x\tread,write\t-\n");
    let line = line.env("SECRETBRIDGE_CONFIG", "elsewhere.toml");
    assert_eq!(line.ok(&["vaults"], b""), "x\tread,write\t-\n");
    std::fs::write(&named, "[vaults.x]\nlocl = true\n").unwrap();
    assert!(line.fails(64, &["vaults"], b"").contains("locl"));
}
