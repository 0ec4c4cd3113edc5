//! The configuration that is found, by `serve`, `check` and the verbs alike.

use super::*;

/// A vault by this name.
fn vault(name: &str) -> String {
    format!("listen = \"127.0.0.1:0\"\n[vaults.{name}]\nlocal = true\nfolder = \"{name}\"\nexpose = true\n")
}

#[test]
fn every_command_finds_the_configuration_in_the_same_places() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let told = line.fails(64, &["check"], b"");
    for place in ["./secretbridge.toml", ".config/secretbridge/secretbridge.toml", "secretbridge init"] {
        assert!(told.contains(place), "{place}: {told}");
    }
    let user = folder.path().join("home/.config/secretbridge");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(folder.path().join("named.toml"), vault("of_the_variable")).unwrap();
    let line = line.env("SECRETBRIDGE_CONFIG", "");
    for (place, name) in [(user.as_path(), "of_the_user"), (folder.path(), "of_the_folder")] {
        std::fs::write(place.join("secretbridge.toml"), vault(name)).unwrap();
        let output = line.run(&["check"], b"");
        assert!(output.status.success() && text(&output.stderr).contains("secretbridge.toml: no mistakes"));
        assert!(line.ok(&["vaults"], b"").starts_with(&format!("{name}\t")));
    }
    let line = line.env("SECRETBRIDGE_CONFIG", "named.toml");
    assert!(text(&line.run(&["check"], b"").stderr).contains("named.toml: no mistakes"));
    assert!(line.ok(&["vaults"], b"").starts_with("of_the_variable\t"));
    assert!(line.ok(&["vaults", "--config", "secretbridge.toml"], b"").starts_with("of_the_folder\t"));
    assert!(line.ok(&["vaults", "--local-vault", "other"], b"").starts_with("local\t"));
    let line = line.env("SECRETBRIDGE_CONFIG", "missing.toml");
    assert!(line.fails(64, &["vaults"], b"").contains("missing.toml"), "one that is named must be there");
}

#[test]
fn what_the_command_line_says_goes_before_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path()).env("SECRETBRIDGE_ADDR", "http://127.0.0.1:1");
    line.fails(68, &["vaults"], b"");
    line.ok(&["vaults", "--direct"], b"");
    line.ok(&["vaults", "--local-vault", "other"], b"");
    line.fails(64, &["vaults", "--direct", "--url", "http://127.0.0.1:1"], b"");
}

#[test]
fn serve_finds_it_and_says_where() {
    let user = |builder: &Builder| {
        let folder = builder.folder().join("home/.config/secretbridge");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("secretbridge.toml"), vault("of_the_user")).unwrap();
    };
    let builder = Builder::new().arg("serve");
    user(&builder);
    let server = builder.start();
    assert!(server.stderr().contains("secretbridge.toml (yours)"), "{}", server.stderr());
    assert!(Line::beside(&server).ok(&["vaults"], b"").starts_with("of_the_user\t"));
    let builder = Builder::new().arg("serve");
    user(&builder);
    builder.file("secretbridge.toml", vault("of_the_folder"));
    let server = builder.start();
    assert!(Line::beside(&server).ok(&["vaults"], b"").starts_with("of_the_folder\t"));
    let builder = Builder::new().args(["serve", "--local-vault", "mine", "--listen", "127.0.0.1:0"]);
    user(&builder);
    assert!(Line::beside(&builder.start()).ok(&["vaults"], b"").starts_with("local\t"));
}
